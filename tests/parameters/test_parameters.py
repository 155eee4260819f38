"""The one list of parameters, and everything that is made from it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.info import ModelInfo
from salon.frontends.arguments import parse
from salon.frontends.commands.flags_parameters import given, sent
from salon.frontends.commands.parsing import UsageError
from salon.frontends.wire import messages as m
from salon.frontends.wire.codec import decode_request, encode
from salon.frontends.wire.errors import BadMessage
from salon.parameters import document
from salon.parameters import known as package
from salon.parameters.errors import ParameterError
from salon.parameters.known import checked, parameters
from salon.parameters.references import Typed
from salon.parameters.request import fields_of

DIGEST = "ab" * 32


def typed(*words: str) -> dict[str, Any]:
    """Parameters of a command line."""
    return given(parse(["imagine", "a cat", *words], "1"))


def test_names_and_flags_are_unique_and_said_in_help(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [flag for parameter in parameters().values() for flag in parameter.flags]
    assert len(flags) == len(set(flags))
    with pytest.raises(SystemExit):
        parse(["imagine", "--help"], "1")
    told = " ".join(capsys.readouterr().out.split())
    for parameter in parameters().values():
        for flag in parameter.flags:
            assert f"{flag} " in told
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
        (("--no", "people"), "negative_prompt", "people"),
    ],
)
def test_a_flag_becomes_data_and_survives_the_wire(words: tuple[str, ...], name: str, value: Any) -> None:
    values = sent(typed(*words), {})
    assert values[name] == value
    assert checked(values)[name] == value
    request = decode_request(encode(m.Submit(key="k", prompt="p", parameters=values)))
    assert isinstance(request, m.Submit)
    assert request.parameters is not None
    assert checked(request.parameters) == checked(values)


def test_every_value_is_read_as_it_is_written() -> None:
    written = {
        "aspect": (3, 2), "seed": 2**64 - 1, "images": 8, "negative_prompt": "people", "steps": 200,
        "guidance_scale": 3.5, "solver": "heun", "stylize": 1000.0, "style_weight": 0.0,
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
        (("--sref", ""), "--sref: got ''"),
        (("--s", "1", "--s", "2"), "--s: got it twice"),
    ],
)
def test_a_wrong_flag_is_refused_by_name(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        typed(*words)
    assert told in str(refused.value)


def test_random_is_a_number_from_then_on() -> None:
    first, second = typed("--sref", "random", "random::2")["style_references"]
    assert first.source != second.source
    assert isinstance(first.source, int)
    assert (first.weight, second.weight) == (1.0, 2.0)


def test_a_file_that_is_called_like_a_number() -> None:
    (reference,) = typed("--sref", "./4093::2")["style_references"]
    assert reference == Typed(str(Path("4093").resolve()), True, 2.0)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"stylise": 1}, "got 'stylise', allowed the names of parameters; did you mean stylize?"),
        ({"zzz": 1}, "see docs/parameters.md"),
        ({"stylize": "1"}, "stylize: got '1'"),
        ({"stylize": True}, "stylize: got True"),
        ({"raw": 1}, "raw: got 1, allowed true or false"),
        ({"seed": 1.5}, "seed: got 1.5"),
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


PLUGIN = """
from salon.bounds import MAX_STEPS
from salon.parameters.kinds import Number
from salon.parameters.known import Parameter

PARAMETERS = (Parameter("{name}", ("{flag}",), Number(0, 3), "how odd", "0", "choose"),)
"""


def test_a_parameter_is_one_file(folder: Path) -> None:
    (folder / "oddness.py").write_text(PLUGIN.format(name="oddness", flag="--odd"))
    assert "oddness" in parameters()
    assert typed("--odd", "2") == {"images": 4, "oddness": 2.0}
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
    """Every name of the list reaches a spec, or its styles."""
    from salon.engine.engine import Engine
    from salon.engine.spec import GenerationSpec
    from salon.engine.styles.choice import FIELDS

    fields = {*inspect.signature(GenerationSpec).parameters, *FIELDS}
    fields |= set(inspect.signature(ModelInfo.make_spec).parameters) | set(
        inspect.signature(Engine.make_spec).parameters
    )
    assert parameters().keys() <= fields
