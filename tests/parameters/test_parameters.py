"""The one list of parameters, and everything that is made from it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.info import ModelInfo
from salon.frontends.arguments import parse
from salon.frontends.commands.parsing import UsageError
from salon.frontends.wire import messages as m
from salon.frontends.wire.codec import decode_request, encode
from salon.frontends.wire.errors import BadMessage
from salon.parameters import document
from salon.parameters import known as package
from salon.parameters.errors import ParameterError
from salon.parameters.known import Parameter, checked, parameters
from salon.parameters.language.data import data_of
from salon.parameters.references import Typed
from salon.parameters.request import fields_of

DIGEST = "ab" * 32


def typed(*words: str) -> dict[str, Any]:
    """Parameters of a command line."""
    (prompt,) = parse(["imagine", "a cat", *words], "1").prompts
    return {name: one.value for name, one in prompt.said.items()}


def data(*words: str) -> dict[str, Any]:
    """The same as data."""
    (prompt,) = parse(["imagine", "a cat", *words], "1").prompts
    return data_of(prompt)


def of_pictures() -> list[Parameter]:
    """Those that `make_spec` takes."""
    return [each for each in parameters().values() if not (each.of_job or each.missing or each.job_kinds)]


def test_names_and_flags_are_unique_and_said_in_help(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [flag for parameter in parameters().values() for flag in parameter.all_flags]
    assert len(flags) == len(set(flags))
    told_by = {}
    for parameter in parameters().values():
        kind = parameter.job_kinds[0] if parameter.job_kinds else "imagine"
        if kind not in told_by:
            with pytest.raises(SystemExit):
                parse([kind, "--help"], "1")
            told_by[kind] = " ".join(capsys.readouterr().out.split())
        told = told_by[kind]
        if parameter.missing:
            assert all(f"{flag} " not in told for flag in parameter.flags if len(flag) > 4)
            continue
        for flag in parameter.flags:
            assert re.search(rf"{flag}[ ,]", told)
        assert not parameter.flags or parameter.help.split(":")[0][:40] in told


def test_the_page_is_what_the_list_says() -> None:
    page = Path(__file__).parents[2] / "docs" / document.PAGE.name  # an installed package has no pages
    assert page.read_text() == document.page(), "run python -m salon.parameters.document --write"


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (("--ar", "16:9"), "aspect", (16, 9)),
        (("--seed", "7"), "seed", 7),
        (("--s", "250"), "stylize", 250.0),
        (("--stylize", "0.5"), "stylize", 0.5),
        (("--raw",), "raw", True),
        (("--sref", "4093"), "style_references", ((4093, 1.0),)),
        (("--sref", "4093::2.5", DIGEST), "style_references", ((4093, 2.5), (DIGEST, 1.0))),
        (("--sw", "0", "--sref", "1"), "style_weight", 0.0),
        (("--no", "red, people"), "no", "red, people"),
        (("--chaos", "20"), "chaos", 20.0),
        (("--c", "20"), "chaos", 20.0),
        (("--weird", "3000"), "weird", 3000.0),
        (("--w", "0"), "weird", 0.0),
        (("--exp", "7"), "experimental", 7.0),
        (("--q", "4"), "quality", 4),
        (("--quality", "1"), "quality", 1),
        (("--stop", "50"), "stop", 50.0),
        (("--progressive", "60"), "progressive", 60.0),
        (("--tile",), "tile", True),
        (("--draft",), "draft", True),
        (("--guidance-interval", "0.2:.8"), "guidance_interval", (0.2, 0.8)),
    ],
)
def test_a_flag_becomes_data_and_survives_the_wire(words: tuple[str, ...], name: str, value: Any) -> None:
    values = data(*words)
    assert values[name] == value
    assert checked(values)[name] == value
    request = decode_request(encode(m.Submit(key="k", prompt="p", parameters=values)))
    assert isinstance(request, m.Submit)
    assert request.parameters is not None
    assert checked(request.parameters) == checked(values)


def test_every_value_is_read_as_it_is_written() -> None:
    written = {
        "guidance_interval": (0.0, 1 / 3),
        "aspect": (3, 2), "seed": 2**32 - 1, "images": 8, "quality": 4, "stop": 12.5, "chaos": 100.0,
        "negative_prompt": "people", "steps": 200, "prompt_weight": -0.5,
        "guidance_scale": 3.5, "solver": "heun", "stylize": 1000.0, "style_weight": 0.0, "no": "red, people",
    }  # fmt: skip
    for name, value in written.items():
        kind = parameters()[name].kind
        assert kind.read("--x", kind.write(value), "") == value


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--s", "1001"), "--s: got '1001', allowed a number from 0 to 1000; 0 is none, 100 is usual"),
        (("--s", "-1"), "--s"),
        (("--s", "1e3"), "--s: got '1e3'"),
        (("--sw", "nan"), "--sw: got 'nan'"),
        (("--sref", "4294967296"), "--sref: got '4294967296', allowed a style number from 0 to 4294967295"),
        (("--sref", "9" * 30), "--sref: got '9"),
        (("--sref", "7::0"), "--sref: got '7::0', allowed a weight from 0.01 to 100 behind ::"),
        (("--sref", "7::"), "--sref: got '7::'"),
        (("--guidance-interval", "0.8:0.2"), "--guidance-interval: got '0.8:0.2', allowed two numbers A:B from 0 to 1"),
        (("--guidance-interval", "0.5"), "--guidance-interval: got '0.5'"),
        (("--sref", ""), "--sref: got ''"),
        (("--s", "1", "--s", "2"), "--s: got it twice"),
        (("--c", "1", "--chaos", "2"), "--chaos: got it beside --c, allowed one of them"),
        (("--chaos", "101"), "--chaos: got '101', allowed a number from 0 to 100; 0 is none, 100 is most"),
        (("--weird", "3001"), "--weird: got '3001', allowed a number from 0 to 3000"),
        (("--exp", "-1"), "--exp"),
        (("--q", "3"), "--q: got '3', allowed 1 or 2 or 4; choose one of these"),
        (("--q", "0.5"), "--q: got '0.5'"),
        (("--stop", "9"), "--stop: got '9', allowed a number from 10 to 100; 100 is the whole way"),
        (("--sv", "2"), "--sv: got '2', allowed 1; there is one version: drop it"),
        (("--seed", "4294967296"), "--seed: got '4294967296', allowed a whole number from 0 to 4294967295"),
    ],
)
def test_a_wrong_flag_is_refused_by_name(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        typed(*words)
    assert told in str(refused.value)


def test_random_is_a_number_as_data() -> None:
    assert [each.source for each in typed("--sref", "random")["style_references"]] == ["random"]
    first, second = data("--sref", "random", "random::2")["style_references"]
    assert first[0] != second[0]
    assert isinstance(first[0], int)
    assert (first[1], second[1]) == (1.0, 2.0)


def test_a_file_that_is_called_like_a_number() -> None:
    (reference,) = typed("--sref", "./4093::2")["style_references"]
    assert reference == Typed(str(Path("4093").resolve()), True, 2.0)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"stylise": 1}, "got 'stylise', allowed the names of parameters; did you mean stylize?"),
        ({"zzz": 1}, "see docs/parameters.md"),
        ({"lane": "fast"}, "got 'lane', allowed the names of parameters"),
        ({"video": True}, "video: got it, allowed what this version can do; leave it out: it needs video"),
        ({"profile": ["a b"]}, "profile: got 'a b::1', allowed profiles by name"),
        ({"profile": "ink 2"}, "profile: got 'ink 2::1', allowed profiles by name"),
        ({"profile": [("abc", 0)]}, "profile: got 'abc::0', allowed profiles by name"),
        ({"stylize": "1"}, "stylize: got '1'"),
        ({"stylize": True}, "stylize: got True"),
        ({"raw": 1}, "raw: got 1, allowed true or false"),
        ({"seed": 1.5}, "seed: got 1.5"),
        ({"quality": 3}, "quality: got 3, allowed 1 or 2 or 4"),
        ({"quality": True}, "quality: got True"),
        ({"stop": 101}, "stop: got 101"),
        ({"tile": "yes"}, "tile: got 'yes', allowed true or false"),
        ({"seed": 2**64}, "seed: got"),
        ({"aspect": [1]}, "aspect: got"),
        ({"aspect": [0, 1]}, "aspect: got"),
        ({"aspect": [float("inf"), 1]}, "aspect: got"),
        ({"style_references": []}, "style_references: got 0 references"),
        ({"style_references": [1, 2, 3, 4, 5]}, "style_references: got 5 references"),
        ({"style_references": ["cat.png"]}, "style_references: got 'cat.png'"),
        ({"style_references": [[1, 0]]}, "style_references: weight: got 0"),
        ({"style_references": [[1, 1, 1]]}, "allowed a reference and its weight"),
        ({"style_references": [1, 1]}, "1 twice"),
        ({"solver": "x"}, "solver: got 'x'"),
        ({"negative_prompt": "\0"}, "negative_prompt: got"),
        ({"no": 3}, "no: got 3"),
        ({"terms": "a dog"}, "terms: got 'a dog', allowed up to 8 pairs of text and weight, -100 to 100; write pairs"),
        ({"terms": []}, "terms: got 0 texts"),
        ({"terms": [["a dog", 1]] * 9}, "terms: got 9 texts, allowed up to 8 pairs"),
        ({"terms": ["a dog"]}, "terms: got 'a dog', allowed a text and its weight"),
        ({"terms": [["a dog"]]}, "terms: got ['a dog'], allowed a text and its weight"),
        ({"terms": [["a dog", "1"]]}, "terms: weight: got '1', allowed a number from -100 to 100"),
        ({"terms": [["a dog", 101]]}, "terms: weight: got 101"),
        ({"terms": [[" ", 1]]}, "terms: got ' ', allowed some words"),
        ({"terms": [["x" * 2001, 1]]}, "2,001 characters"),
        ({"prompt_weight": 101}, "prompt_weight: got 101"),
        ({"negative_prompt": "x" * 2001}, "2,001 characters"),
    ],
)
def test_wrong_data_is_refused_by_name_on_the_wire_too(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterError) as refused:
        checked(values)
    assert told in str(refused.value)
    if values.get("seed") != 2**64:  # which msgpack has not
        with pytest.raises(BadMessage) as bad:
            decode_request(encode(m.Submit(key="k", prompt="p", parameters=values)))
        assert told in str(bad.value)


class Broken:
    """What raises when it is looked at."""

    def __iter__(self) -> Iterator[Any]:
        yield 1
        raise ValueError("out of joint")


@pytest.mark.parametrize("name", [name for name, one in parameters().items() if not one.missing])
def test_whatever_a_program_hands_in_is_taken_or_refused_by_name(name: str) -> None:
    wrong: tuple[Any, ...] = (
        *(Broken(), object(), 5, 1.5, "x", b"x", [], [5], [None], [[]], {}, {"x": 5}, float("nan"), 2**70, True),
        *(np.array(5), np.array([1, 2]), "\ud800", ["\ud800"], [(1, 2, 3)], [("x", "y")], (5, Broken()), [Broken()]),
    )
    told = list[str]()
    for value in wrong:
        try:
            parameters()[name].check(value)
        except ParameterError as error:
            told.append(str(error))
    assert len(told) > 10
    assert all(re.match(f"{name}: .*got .*, allowed .*; .", line) for line in told), told


def test_texts_with_weights_are_read_as_they_are_written() -> None:
    kind = parameters()["terms"].kind
    texts = (("a dog", 1.0), ("red::blue", -0.5), ("x", 0.25))
    assert kind.check("terms", [list(pair) for pair in texts], "") == texts
    assert tuple(kind.read("--x", f"{text}::{weight}", "") for text, weight in texts) == texts
    assert kind.read("--x", "a dog", "") == kind.read("--x", "a dog::", "") == ("a dog", 1.0)
    assert kind.write(texts) == "a dog::1 red::blue::-0.5 x::0.25"
    with pytest.raises(ParameterError, match="--x: got 'a::b', allowed a text, perhaps with ::WEIGHT behind it"):
        kind.read("--x", "a::b", "write one")
    request = decode_request(encode(m.Submit(key="k", prompt="p", parameters={"terms": texts})))
    assert isinstance(request, m.Submit)
    assert checked(request.parameters)["terms"] == texts


def test_numbers_of_numpys_are_numbers() -> None:
    values = checked({"seed": np.int64(7), "stylize": np.float32(0.5), "raw": np.bool_(False), "steps": None})
    assert values == {"seed": 7, "stylize": 0.5, "raw": False}
    assert [type(value) for value in values.values()] == [int, float, bool]


def test_a_request_that_says_nothing_of_styles_has_the_models_own() -> None:
    assert fields_of({}, True) == {"images": 4, "stylize": 100.0}
    assert fields_of({}, False) == {"images": 4}
    for own in ({"stylize": 0.0}, {"raw": True}, {"style_references": ((7, 1.0),)}):
        assert fields_of(own, True) == {"images": 4, **own}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of further parameters."""
    monkeypatch.setattr(package.PLUGINS, "_path", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    package.forget()
    monkeypatch.delitem(sys.modules, f"{package.__name__}.oddness", raising=False)
    yield tmp_path
    monkeypatch.undo()
    package.forget()


def test_a_lora_that_is_not_there_is_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a name of a server's: these have no suffix."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.safetensors").write_bytes(b"")
    for text, is_file in (("film.safetensors:0.8", True), ("gone.safetensors:0.8", True), ("film:0.8", False)):
        (lora,) = typed("--lora", text)["loras"]
        assert (lora.is_file, lora.weight) == (is_file, 0.8)
    with pytest.raises(UsageError, match=r"--lora: got 'strong', allowed a weight .*; write it like film\.safetensors"):
        typed("--lora", "film.safetensors:strong")


PLUGIN = """
from salon.bounds import MAX_STEPS
from salon.parameters.kinds import Number
from salon.parameters.known import Parameter

PARAMETERS = (Parameter("{name}", ("{flag}",), Number(0, 3), "how odd", "0", "choose"),)
"""


def test_a_parameter_is_one_file(folder: Path) -> None:
    (folder / "oddness.py").write_text(PLUGIN.format(name="oddness", flag="--odd"))
    assert "oddness" in parameters()
    assert typed("--odd", "2") == {"oddness": 2.0}
    assert "| `--odd` `X` | `oddness` | a number from 0 to 3 | 0 | how odd |" in document.page()
    with pytest.raises(UsageError, match="--odd: got '4', allowed a number from 0 to 3; choose"):
        typed("--odd", "4")
    with pytest.raises(BadMessage, match="oddness: got 4"):
        decode_request(encode(m.Submit(key="k", prompt="p", parameters={"oddness": 4})))


@pytest.mark.parametrize(("name", "flag"), [("seed", "--odd"), ("oddness", "--seed")])
def test_two_parameters_of_one_name_are_refused(folder: Path, name: str, flag: str) -> None:
    (folder / "oddness.py").write_text(PLUGIN.format(name=name, flag=flag))
    with pytest.raises(ValueError, match="twice, the second in .*; rename one"):
        parameters()


def test_what_fields_of_returns_is_what_make_spec_takes() -> None:
    """Every name of the list reaches a spec, its guidance, its styles or its start."""
    from salon.engine import image_prompts, start
    from salon.engine.guidance import FIELDS as GUIDANCE_FIELDS
    from salon.engine.spec import GenerationSpec
    from salon.engine.styles.choice import FIELDS

    fields = {*inspect.signature(GenerationSpec).parameters, *FIELDS, *GUIDANCE_FIELDS, *start.FIELDS}
    fields |= {*image_prompts.FIELDS, *inspect.signature(ModelInfo.make_spec).parameters}
    assert {parameter.name for parameter in of_pictures()} <= fields
