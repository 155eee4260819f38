"""The command line: what it takes, and how it refuses the rest."""

from __future__ import annotations

from typing import Any

import pytest

from salon.frontends import arguments
from salon.frontends.arguments import UsageError, parse
from salon.parameters.errors import PromptRefused
from salon.scheduler.tickets import Lane


def imagine(*words: str) -> Any:
    return parse(["imagine", *words], "1.2.3")


def test_names_agree_with_the_engine() -> None:
    assert tuple(Lane) == arguments.LANES


def test_defaults_leave_the_choice_to_the_model() -> None:
    options = parse(["imagine", "a red apple"], "")
    assert (options.prompt, options.backend) == ("a red apple", "cpu")
    left = (
        "ar",
        "n",
        "lane",
        "private",
        "seed",
        "steps",
        "guidance",
        "solver",
        "no",
        "output",
        "model",
        "device",
        "isa",
        "dtype",
        "threads",
    )
    assert all(getattr(options, name) is None for name in left)
    assert not any(getattr(options, name) for name in ("quiet", "json", "force"))


def test_everything_is_read() -> None:
    what = [
        "--ar",
        "16:9",
        "--seed",
        "4294967295",
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
    assert (options.ar, options.seed, options.steps, options.n) == ((16, 9), 2**32 - 1, 3, 8)
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
        (["--seed", "-1"], r"--seed: got '-1', allowed a whole number from 0 to 4294967295; choose"),
        (["--seed", "4294967296"], r"--seed: got '4294967296'"),
        (["--seed", "9" * 5000], r"--seed: got '9{40}\.\.\.'"),
        (["--guidance", "nan"], r"--guidance: got 'nan', allowed a number from 0 to 100"),
        (["--guidance", "101"], r"--guidance: got '101', allowed .*; leave it out for the model's own; 1 is none$"),
        (["--solver", "ddim"], r"--solver: got 'ddim', allowed euler or dpmpp_2m or .* or lcm or pndm or unipc"),
        (["--backend", "cuda"], r"--backend: got 'cuda', allowed cpu or cpu_int8 or onnx or openvino or reference"),
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
        ("--ar 2:1 a cat", "got 'a' behind a parameter"),
        ("a cat — ar 2:1", "got — ar, nearly a parameter, .*write --ar"),
        ("a cat -- ar 2:1", "got -- ar, nearly a parameter"),
        ("a cat --seeds 2", "'--seeds': got a name that no parameter has, .*did you mean --seed"),
        ("a cat --stylize 2000", "--stylize: got '2000', allowed a number from 0 to 1000"),
    ],
)
def test_what_is_wrong_in_the_text_is_refused_with_its_place(prompt: str, message: str) -> None:
    with pytest.raises(PromptRefused, match=message) as caught:
        imagine(prompt)
    assert caught.value.prompt == prompt


@pytest.mark.parametrize(
    ("prompt", "flags"),
    [
        ("a cat --ar 3:2 --s 250", ["--ar", "3:2", "--s", "250"]),
        ("a cat —ar 2:1 --raw", ["—ar", "2:1", "--raw"]),
        ("a cat –no people, dogs", ["–no", "people, dogs"]),  # faults.md 23: drawn as words
        ("a cat \uff0d\uff0dar 2:1", ["\uff0d\uff0dar", "2:1"]),
        ("a cat --sref 4093::2 7 --sw 50", ["--sref", "4093::2", "7", "--sw", "50"]),
        ("a cat --relax --stealth --aspect 1:1", ["--lane", "relax", "--private", "--ar", "1:1"]),
        ("a cat --n 1 --s 3", ["--n", "1", "--stylize=3"]),
    ],
)
def test_flags_in_the_prompt_and_beside_it_are_the_same(prompt: str, flags: list[str]) -> None:
    within, beside = parse(["imagine", prompt], "").prompts, parse(["imagine", "a", "cat", *flags], "").prompts
    assert within == beside
    assert parse(["imagine", prompt, *flags], "").prompts == within  # both at once, and the same


@pytest.mark.parametrize(
    ("prompt", "flags", "message"),
    [
        ("a cat --ar 3:2", ["--ar", "1:1"], "--ar: got another value than --ar beside the prompt, allowed one of them"),
        ("a cat --s 3", ["--stylize", "4"], "--s: got another value than --stylize beside the prompt"),
        ("a cat --raw", ["--s", "4"], "got it beside"),
        (
            "a cat --guidance 0",
            ["--no", "a"],
            "--no: got it with --guidance 0, allowed with guidance; raise --guidance",
        ),
        ("a cat --repeat 2", ["--seed", "7"], "got it beside"),
        ("a cat --relax", ["--fast"], "--relax: got another value than --fast"),
        ("a {cat, dog --n 1}", ["--n", "2"], "--n: got another value"),
    ],
)
def test_both_at_once_and_different_is_refused(prompt: str, flags: list[str], message: str) -> None:
    with pytest.raises(PromptRefused, match=message):
        imagine(prompt, *flags)


def test_refusals_use_the_name_that_was_typed() -> None:
    for words, name in (
        (["--aspect", "99:1"], "--aspect"), (["--stylize", "x"], "--stylize"), (["--r", "99"], "--r"),
        (["--private", "--private"], "--private"), (["--stealth", "--private"], "--private"),
        (["--relax", "--lane", "fast"], "--lane"), (["--style", "cute"], "--style"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"^{name}: got "):
            imagine("a cat", *words)


def test_parameters_after_the_end_of_flags_are_those_of_the_prompt() -> None:
    for words in (["-a red apple", "--n", "1"], ["-a red apple --n 1"]):
        options = imagine("--", *words)
        assert [prompt.terms[0].text for prompt in options.prompts] == ["-a red apple"]
        assert options.prompts[0].said["images"].value == 1
    assert parse(["imagine", "--n", "1", "--", "-a red apple"], "").prompt == "-a red apple"


def test_a_prompt_may_stand_for_several() -> None:
    options = imagine("a {red, green} apple", "--repeat", "2", "--n", "1")
    assert [prompt.terms[0].text for prompt in options.prompts] == ["a red apple"] * 2 + ["a green apple"] * 2
    assert all(prompt.said["images"].value == 1 for prompt in options.prompts)


def test_dashes_of_other_commands_are_hyphens_too() -> None:
    assert parse(["show", "job-1", "—follow"], "").follow
    assert imagine("a cat", "—quiet").quiet
    assert imagine("a cat", "—quietly").prompt == "a cat —quietly"


def test_quiet_and_json_go_together() -> None:
    """faults.md 27: what a program reads, and nothing for people beside it."""
    options = parse(["imagine", "x", "--quiet", "--json"], "")
    assert options.quiet
    assert options.json


@pytest.mark.parametrize("prompt", ["a cat — black and white", "a cat—black", "a well-known cat", "x -- y", "a -b"])
def test_dashes_between_words_are_text(prompt: str) -> None:
    assert parse(["imagine", "--", prompt], "").prompt == prompt


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no command"),
        (["imagin", "x"], r"'imagin': unknown command; did you mean imagine\? see `salon --help`"),
        (["qqqq"], "'qqqq': unknown command; allowed imagine, .*, jobs, .*, see `salon --help`"),
        (["--sed", "3", "imagine", "x"], "'--sed': unknown flag, before any command"),
        (["imagine"], "required: PROMPT"),
        (["doctor", "--jsn"], "'--jsn': unknown flag; did you mean --json"),
        (["doctor", "here", "now"], "'now': got words"),
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


def test_words_behind_the_flags_of_a_command_that_starts_from_a_picture() -> None:
    for words in (
        ["job-1", "2", "--strong", "a", "dog"],
        ["job-1", "2", "a dog", "--strong"],
        ["--strong", "job-1", "2", "a dog"],
    ):
        options = parse(["vary", *words], "0")
        assert (options.sources[0].job, options.sources[0].index, options.prompt, options.strong) == (
            "job-1",
            1,
            "a dog",
            True,
        )
    with pytest.raises(
        UsageError, match="'dog': got words after the flags, allowed none; put the whole prompt in quotes"
    ):
        parse(["vary", "job-1", "2", "a", "--strong", "dog"], "0")
    assert parse(["reroll", "job-1", "--n", "2", "a dog"], "0").prompt == "a dog"


def test_a_job_without_the_number_of_its_picture() -> None:
    with pytest.raises(
        UsageError,
        match=r"^vary: got 'job-1', allowed a job and its picture, like `JOB 2`, or a picture's file; "
        "if that is a job, say which picture, like `vary job-1 1`",
    ):
        parse(["vary", "job-1"], "0")
