"""The command line: what it takes, and how it refuses the rest."""

from __future__ import annotations

import pytest

from salon.frontends import arguments
from salon.frontends.arguments import UsageError, parse
from salon.scheduler.tickets import Lane


def imagine(*words: str) -> object:
    return parse(["imagine", *words], "1.2.3")


def test_names_agree_with_the_engine() -> None:
    assert tuple(Lane) == arguments.LANES


def test_defaults_leave_the_choice_to_the_model() -> None:
    options = parse(["imagine", "a red apple"], "")
    assert (options.prompt, options.n, options.backend) == ("a red apple", 4, "cpu")
    left = ("ar", "seed", "steps", "guidance", "solver", "no", "output", "model", "isa", "dtype", "threads")
    assert all(getattr(options, name) is None for name in left)
    assert not any(getattr(options, name) for name in ("quiet", "json", "force"))


def test_everything_is_read() -> None:
    what = [
        "--ar",
        "16:9",
        "--seed",
        "18446744073709551615",
        "--steps",
        "3",
        "--n",
        "8",
        "--guidance",
        "2.5",
        "--no",
        "a worm",
    ]
    how = ["--solver", "heun", "-o", "x.png", "--force", "--dtype=float32", "--threads", "2"]
    options = parse(["imagine", "a", "red", "apple", *what, *how], "")
    assert options.prompt == "a red apple"
    assert (options.ar, options.seed, options.steps, options.n) == ((16, 9), 2**64 - 1, 3, 8)
    assert (options.guidance, options.solver, options.no) == (2.5, "heun", "a worm")
    assert (options.output, options.force, options.dtype, options.threads) == ("x.png", True, "float32", 2)


def test_an_em_dash_serves_as_two_dashes() -> None:
    assert parse(["imagine", "a cat", "—ar", "2:1"], "").ar == (2, 1)
    assert parse(["imagine", "a cat", "\uff0d\uff0dar", "2:1"], "").ar == (2, 1)  # of a full-width keyboard


@pytest.mark.parametrize("text", ["14:1", "1:14", "1:1", "99999:99999", "140:10"])
def test_aspects_taken(text: str) -> None:
    wide, high = parse(["imagine", "x", "--ar", text], "").ar
    assert f"{wide}:{high}" == text


@pytest.mark.parametrize("text", ["0:1", "1:0", "0:0", "15:1", "1:100", "nonsense", "1", "1:", ":1", "1:1:1", "1.5:1"])
def test_aspects_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--ar: got .*allowed whole numbers W:H from 1:14 to 14:1; write it like"):
        imagine("x", "--ar", text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "0"], r"--steps: got '0', allowed a whole number from 1 to 200"),
        (["--steps", "201"], r"--steps: got '201'"),
        (["--steps", "2.5"], r"--steps: got '2.5'"),
        (["--steps", "٣"], r"--steps: got '٣'"),
        (["--steps", "1_0"], r"--steps: got '1_0'"),
        (["--n", "99"], r"--n: got '99', allowed a whole number from 1 to 8"),
        (["--n", "0"], r"--n: got '0'"),
        (["--seed", "-1"], r"--seed: got '-1', allowed a whole number from 0 to 18446744073709551615"),
        (["--seed", "18446744073709551616"], r"--seed: got '18446744073709551616'"),
        (["--seed", "9" * 5000], r"--seed: got '9{40}\.\.\.'"),
        (["--guidance", "nan"], r"--guidance: got 'nan', allowed a number from 0 to 100"),
        (["--guidance", "101"], r"--guidance: got '101', allowed .*; leave it out for the model's own; 1 is none$"),
        (["--solver", "ddim"], r"--solver: got 'ddim', allowed euler or heun"),
        (["--backend", "cuda"], r"--backend: got 'cuda', allowed cpu or reference"),
        (["--dtype", "int8"], r"--dtype: got 'int8', allowed bfloat16 or float32"),
        (["--threads", "0"], r"--threads: got '0', allowed a whole number from 1 to 256"),
        (["--seed"], r"--seed: got nothing after it, allowed one value; write it, or drop --seed$"),
        # faults.md 17: "expected one argument"
        (["--no", "-red"], r"^--no: got '-red', which looks like a flag; write --no=-red$"),
        (["--no", "-it's"], r"^--no: got \"-it's\", which looks like a flag; write --no='-it'\"'\"'s'$"),
        (["-o", "-x.png"], r"^-o: got '-x.png', which looks like a flag; write --output=-x.png$"),
        (["--no", "--n", "1"], r"^--no: got nothing after it"),
        (["--seed", "1", "--seed", "1"], r"--seed: got it twice, allowed once"),
        (["--no", "a", "--n", "2", "--no", "b"], r"--no: got it twice"),
        (["--sed", "3"], r"'--sed': unknown flag; did you mean --seed\?"),
        (["--sed=3"], r"'--sed': unknown flag; did you mean --seed\?"),
        (["--Seed", "3"], r"'--Seed': unknown flag; did you mean --seed\?"),
        (["--se", "3"], r"'--se': unknown flag"),  # flags are never abbreviated
        (["--qqqq"], r"'--qqqq': unknown flag; see `salon imagine --help`"),
        (["--n", "2", "apple"], r"'apple': got words after the flags"),
        (["--no", "a", "--guidance", "1"], r"--no: got it with --guidance 1"),
        (["--force"], r"--force: got it without -o"),
    ],
)
def test_refusals_name_the_flag_the_range_and_the_remedy(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        imagine("a red apple", *words)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a cat --ar 2:1", r"parameter '--ar' inside the text.*close the quotes before --ar"),
        ("--ar 2:1 a cat", r"parameter '--ar' inside"),
        ("a cat —ar 2:1", r"parameter '--ar' inside"),
        ("a cat \uff0d\uff0dar 2:1", r"parameter '--ar' inside"),  # faults.md 5: drawn as words
        ("a cat \u3000--\uff41\uff52 2:1", r"parameter '--ar' inside"),
        ("a cat — ar 2:1", r"got '— ar' in the text; write --ar"),
        ("a cat -- ar 2:1", r"got '-- ar' in the text; write --ar"),
        ("a cat --sede 2", r"parameter '--sede' inside.*did you mean --seed\?"),
        ("a cat --stylize 2", r"parameter '--stylize' inside the text"),
    ],
)
def test_parameters_inside_the_text_are_not_taken_for_words(prompt: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        imagine(prompt)


@pytest.mark.parametrize("words", [["-a red apple", "--n", "1"], ["-a red apple --n 1"]])
def test_flags_after_the_end_of_flags_are_told_from_open_quotes(words: list[str]) -> None:
    """faults.md 17: "close the quotes", which are closed."""
    with pytest.raises(UsageError, match=r"'--n' after --, which ends the flags, allowed only before it; move --n "):
        imagine("--", *words)
    assert parse(["imagine", "--n", "1", "--", "-a red apple"], "").prompt == "-a red apple"


def test_quiet_and_json_go_together() -> None:
    """faults.md 27: what a program reads, and nothing for people beside it."""
    options = parse(["imagine", "x", "--quiet", "--json"], "")
    assert options.quiet
    assert options.json


@pytest.mark.parametrize(
    "prompt", ["a cat — black and white", "a cat—black", "a well-known cat", "x -- y", "--", "a -b"]
)
def test_dashes_between_words_are_text(prompt: str) -> None:
    assert parse(["imagine", "--", prompt], "").prompt == prompt


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no command"),
        (["imagin", "x"], r"'imagin': unknown command; did you mean imagine\? see `salon --help`"),
        (["qqqq"], "'qqqq': unknown command; allowed imagine, doctor, .*, see `salon --help`"),
        (["--sed", "3", "imagine", "x"], "'--sed': unknown flag, before any command"),
        (["imagine"], "required: PROMPT"),
        (["doctor", "--jsn"], "'--jsn': unknown flag; did you mean --json"),
        (["doctor", "now"], "'now': got words"),
    ],
)
def test_commands_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(words, "")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["imagine", "--help"], ["doctor", "-h"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parse(words, "")
    assert done.value.code == 0
    assert "usage: salon" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parse(["--version"], "1.2.3")
    assert done.value.code == 0
    assert capsys.readouterr().out == "salon 1.2.3\n"
