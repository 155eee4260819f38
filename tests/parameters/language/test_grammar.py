"""What prompts say, and what is refused with the place."""

from __future__ import annotations

from typing import Any

import pytest

from salon.errors import SalonError
from salon.parameters.errors import ParameterError, PromptRefused
from salon.parameters.known import flags, parameters
from salon.parameters.language.prompt import Term
from salon.parameters.language.reading import parse, parse_one
from salon.parameters.pictures import Form, Named
from salon.parameters.references import Typed

DIGEST, JOB = "ab" * 32, "0123456789abcdef01234567:2"


def said(prompt: str) -> dict[str, Any]:
    """The parameters of a prompt, by name."""
    return {name: one.value for name, one in parse_one(prompt).said.items()}


def text(prompt: str) -> str:
    """The words of a prompt that has one term."""
    (term,) = parse_one(prompt).terms
    assert term.weight == 1
    return term.text


def refusal(prompt: str) -> PromptRefused:
    with pytest.raises(PromptRefused) as caught:
        parse(prompt)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 260
    assert caught.value.prompt == prompt
    return caught.value


@pytest.mark.parametrize(
    ("prompt", "values"),
    [
        ("a cat", {}),
        ("a cat --ar 3:2 --s 250", {"aspect": (3, 2), "stylize": 250.0}),
        ("a cat --aspect 3:2 --stylize 250", {"aspect": (3, 2), "stylize": 250.0}),
        ("a cat --ar=3:2 --raw", {"aspect": (3, 2), "raw": True}),
        ("a cat --style raw", {"raw": True}),
        ("a cat —ar 2:1 –seed 7", {"aspect": (2, 1), "seed": 7}),
        ("a cat \uff0d\uff0dar 2:1", {"aspect": (2, 1)}),
        ("a cat \u3000--\uff41\uff52 2:1", {"aspect": (2, 1)}),
        ("a cat\n--n 2", {"images": 2}),
        ("a cat --no people, dogs --n 1", {"no": "people, dogs", "images": 1}),
        ("a cat --no=-red", {"no": "-red"}),
        ('a cat --no "a --n 2 dog"', {"no": '"a --n 2 dog"'}),
        (f"a cat --sref 4093::2 {DIGEST}", {"style_references": (Typed(4093, False, 2.0), Typed(DIGEST, False, 1.0))}),
        ("a cat --sref random", {"style_references": (Typed("random", False, 1.0),)}),
        ('a cat --sref "/a/my poster.png"::2', {"style_references": (Typed("/a/my poster.png", True, 2.0),)}),
        ("a cat --relax --private", {"lane": "relax", "private": True}),
        ("a cat --lane relax --stealth", {"lane": "relax", "private": True}),
        ("a cat --public --turbo", {"lane": "turbo", "private": False}),
        ("a cat --p", {"profile": ()}),
        ("a cat --p abc m12::2 @ann", {"profile": (("abc", 1.0), ("m12", 2.0), ("@ann", 1.0))}),
        ("a cat --video --loop --motion high --bs 2 --v mini", {
            "video": True, "loop": True, "motion": "high", "batch_size": "2", "model_version": "mini",
        }),
        ("--ar 3:2", {"aspect": (3, 2)}),
    ],
)  # fmt: skip
def test_what_is_said(prompt: str, values: dict[str, Any]) -> None:
    assert said(prompt) == values


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("  a cat\t--n 1", "a cat"),
        ("a cat — black and white", "a cat — black and white"),
        ("a cat—black", "a cat—black"),
        ("a well-known cat, 3-4 x -5", "a well-known cat, 3-4 x -5"),
        ("x -- y", "x -- y"),
        ("a road — fast and wet", "a road — fast and wet"),
        ("an old lighthouse — quiet, foggy dawn", "an old lighthouse — quiet, foggy dawn"),
        ("un gato —pequeño— en la playa", "un gato —pequeño— en la playa"),
        ("a –fast, furious– car", "a –fast, furious– car"),
        ("the — end of the world", "the — end of the world"),
        ("a line ----- here", "a line ----- here"),
        ('a sign "a, {b} --ar 3:2 :: c" big', 'a sign "a, {b} --ar 3:2 :: c" big'),
        ("a sign “sale --n 2” here", "a sign “sale --n 2” here"),
        ('7" nails and 5" bolts', '7" nails and 5" bolts'),
        (r"a \--ar 3:2 \{x\} \"b a\::b \\", r"""a --ar 3:2 {x} "b a::b \ """.strip()),
        ("it's 12:30, ratio 3:2", "it's 12:30, ratio 3:2"),
        ("shot in a cat.png style", "shot in a cat.png style"),
        ("c:\\", "c:\\"),
    ],
)
def test_what_is_prose(prompt: str, words: str) -> None:
    assert text(prompt) == words


@pytest.mark.parametrize(
    ("prompt", "terms"),
    [
        ("hot:: dog", [("hot", 1), ("dog", 1)]),
        ("hot::2 dog", [("hot", 2), ("dog", 1)]),
        ("a:: b::2", [("a", 1), ("b", 2)]),
        ("tulips:: red::-.5 --n 1", [("tulips", 1), ("red", -0.5)]),
        ("hot::dog", [("hot", 1), ("dog", 1)]),
        ("a::1 2 cats::2", [("a", 1), ("2 cats", 2)]),
        (r"a:: \2", [("a", 1), ("2", 1)]),
    ],
)
def test_terms(prompt: str, terms: list[tuple[str, float]]) -> None:
    assert parse_one(prompt).terms == tuple(Term(words, weight) for words, weight in terms)


def test_pictures_lead() -> None:
    found = parse_one(f"https://x.org/a b.png {DIGEST} {JOB} a cat --n 1")
    assert found.pictures == (
        Named("https://x.org/a", Form.LINK), Named("b.png", Form.FILE),
        Named(DIGEST, Form.DIGEST), Named(JOB, Form.JOB),
    )  # fmt: skip
    assert found.terms[0].text == "a cat"
    assert parse_one("a.png b.jpg").terms == ()


@pytest.mark.parametrize(
    ("prompt", "position", "message"),
    [
        ("a cat --foo 3", 6, "'--foo': got a name that no parameter has, .*did you mean"),
        ("a cat --AR 3:2", 6, "'--AR': got .*did you mean --ar"),
        ("a cat --seeds 2", 6, "did you mean --seed"),
        ("a cat --s250", 6, "--s250: got no space before the value, allowed one; write --s 250"),
        ("a cat --ar 15:1", 11, "--ar: got '15:1', allowed whole numbers W:H from 1:14 to 14:1; write it like 16:9"),
        ("a cat --aspect 15:1", 15, "--aspect: got '15:1'"),  # the name that was typed
        ("a cat --stylize 1001", 16, "--stylize: got '1001', allowed a number from 0 to 1000"),
        ("a cat --ar", 6, "--ar: got nothing after it, allowed one value; write it, or drop --ar"),
        ("a cat --no --n 1", 6, "--no: got nothing after it"),
        ("a cat --sref --n 1", 6, "--sref: got nothing after it, allowed one value or more"),
        ("a cat --raw=1", 6, "--raw: got '1', allowed no value; write --raw alone"),
        ("a cat --raw, wet", 6, "--raw: got ',' right behind it"),
        ("a cat --style cute", 6, "--style: got 'cute', allowed raw"),
        ("a cat --n 1 --n 1", 12, "--n: got it twice, allowed it once; drop one"),
        ("a cat --s 1 --stylize 1", 12, "--stylize: got it beside --s, allowed one of them"),
        ("a cat --fast --relax", 13, "--relax: got it beside --fast, allowed one of them"),
        ("a cat --lane fast --relax", 18, "--relax: got it beside --lane"),
        ("a cat --raw --s 5", 12, "--s: got it beside --raw, allowed one of them"),
        ("a cat --public --stealth", 15, "--stealth: got it beside --public"),
        ("a cat --ar 3:2 on a beach", 15, "got 'on' behind a parameter, allowed all words before"),
        ("a cat --raw wet", 12, "got 'wet' behind a parameter"),
        ("a cat — ar 2:1", 6, "got — ar, nearly a parameter, .*write --ar, or "),
        ("a cat -- ar 2:1", 6, "got -- ar, nearly a parameter"),
        ("a cat -- s 250", 6, "got -- s, nearly a parameter"),
        ("a cat —s 250", 6, "got —s, nearly a parameter, .*write --s"),
        ("a beach — no people", 8, "got — no, nearly"),
        ("a road — fast", 7, "got — fast, nearly"),
        ("a cat --no people — ar 2:1", 18, "got — ar, nearly"),
        ("a cat --n 1 — ar 2:1", 12, "got — ar, nearly"),
        ("un gato —no un perro—", 8, "got a second — behind —no, .*write --no and no dash behind it"),
        ("un coche —fast y rojo—", 15, "got 'y' behind a parameter"),
        ("a cat--ar 2:1", 5, "got --ar without white space before it, nearly a parameter"),
        ("a cat https://x.org/a.png", 6, "the link 'https://x.org/a.png' among the words"),
        ("a.png::2 a cat", 0, "a weight of one picture"),
        ("a:: ::b", 4, ":: without words before it"),
        ("::b", 0, ":: without words before it"),
        ("a::b:::c", 4, "three colons"),
        ("a::2b", 1, "weight: got '2b', allowed a number from -100 to 100 behind ::"),
        ("a::1e3 b", 1, "weight: got '1e3'"),
        ("a::" + "9" * 400, 1, "weight: got '9999"),
        ("a:: 2", 4, "got :: and '2' with a space between, .*write ::2"),
        ("a::1 b::-1", 6, "weights: got a sum of 0.0, allowed more than 0"),
        ("a cat --no red::2", 14, "--no: got :: in it"),
        ('a sign "sale', 7, "a quotation that does not end"),
        ("a\0b", 1, "got NUL"),
        ("a\ud800b", 1, "bytes that are no UTF-8"),
        ("a cat --sref 7::0", 13, "--sref: got '7::0', allowed a weight"),
        ("a cat --seed __x__", 13, "--seed: got '__x__', a word of a list"),
        ("a cat --end \"\"", 12, "--end: got '', allowed a picture's file"),
        ("a cat --motion wild", 15, "--motion: got 'wild', allowed low or high"),
        ("a cat --p !!", 10, "--p: got '!!'"),
    ],
)  # fmt: skip
def test_refusals_name_flag_place_and_remedy(prompt: str, position: int, message: str) -> None:
    error = refusal(prompt)
    assert error.position == position
    with pytest.raises(PromptRefused, match=message):
        raise error


def test_every_flag_of_the_list_is_refused_twice_and_out_of_its_range() -> None:
    """Generated from the list, so that a new parameter is checked too."""
    for flag, (parameter, spelling) in flags().items():
        if spelling is not None or not parameter.kind.metavar:
            word = f" {spelling.word}" if spelling is not None and spelling.word else ""
            assert "twice" in str(refusal(f"a cat {flag}{word} {flag}{word}"))
            assert refusal(f"a cat {flag}=x").position == 6
            continue
        low = getattr(parameter.kind, "low", None)
        if low is None:
            continue
        assert "twice" in str(refusal(f"a cat {flag} {parameter.kind.write(low)} {flag} {parameter.kind.write(low)}"))
        kind: Any = parameter.kind
        error = refusal(f"a cat {flag} {kind.high + 1:.0f}")
        assert str(error).startswith(f"{flag}: got ")
        assert parameter.kind.allowed in str(error)
        assert str(error).endswith(parameter.remedy)


def test_the_pointer_shows_the_line_and_the_place() -> None:
    assert refusal("a cat\non a mat --n 9\nthere").pointer() == "on a mat --n 9\n             ^"
    far = refusal("x" * 500 + " --n 9")
    line, caret = far.pointer(60).split("\n")
    assert line[len(caret) - 1] == "9"
    assert len(line) <= 60


def test_errors_are_of_the_tree_and_survive_a_pickle() -> None:
    import pickle

    error = refusal("a cat --n 9")
    assert isinstance(error, ParameterError)
    assert isinstance(error, SalonError)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.prompt, copy.position) == (str(error), error.prompt, error.position)


def test_names_of_flags_are_of_the_list() -> None:
    assert {flag.parameter.name for flag in flags().values()} <= parameters().keys()
