"""The command line: its flags with their ranges, and one-line refusals that name the flag, the range and the remedy.

Only the standard library and `engine.errors` are imported here: `salon --help` must answer at once. What a flag's range
cannot say, such as a size off the model's granularity, the engine refuses later, in the same wording. Parameters inside
the prompt's own text (`"a cat --ar 2:1"`) belong to the prompt language; until it exists they are refused, never
passed on as words.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from ..engine.errors import SalonError
from ..errors import complaint

MAX_SEED: Final = 2**32 - 1
MAX_IMAGES: Final = 8
MAX_ASPECT: Final = 14
SOLVERS: Final = ("euler", "heun")
BACKENDS: Final = ("cpu", "reference")
DTYPES: Final = ("bfloat16", "float32")

_IN_TEXT = re.compile(r"(?:^|\s)(?:--|—)(?P<gap>\s*)(?P<name>[A-Za-z][\w-]*)")


class UsageError(SalonError):
    """A command line that cannot be understood."""


class _Parser(argparse.ArgumentParser):
    """argparse, but an error is an exception, flags are never abbreviated, and no flag counts twice."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **options)
        self.register("action", None, _Once)
        self.register("action", "store", _Once)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


class _Help(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=100)


class _Once(argparse.Action):
    """Store a value; a second one is a contradiction, not a correction."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        given: set[str] = namespace.__dict__.setdefault("given", set())
        if option_string is not None and self.dest in given:
            raise UsageError(f"{option_string}: got it twice, allowed once; drop one")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def _whole(flag: str, low: int, high: int, remedy: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise UsageError(complaint(flag, _shown(text), f"a whole number from {low} to {high}", remedy))
        return int(text)

    return read


def _number(flag: str, low: float, high: float, remedy: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", text) or not low <= float(text) <= high:
            raise UsageError(complaint(flag, _shown(text), f"a number from {low:g} to {high:g}", remedy))
        return float(text)

    return read


def _one_of(flag: str, names: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise UsageError(complaint(flag, _shown(text), " or ".join(names), "choose one of these"))
        return text

    return read


def _aspect(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})", text)
    sides = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(sides) == 0 or max(sides) > MAX_ASPECT * min(sides):
        allowed = f"whole numbers W:H from 1:{MAX_ASPECT} to {MAX_ASPECT}:1"
        raise UsageError(complaint("--ar", _shown(text), allowed, "write it like 16:9"))
    return sides


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _parser(version: str) -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(prog="salon", description="Text-to-image inference engine with taste.")
    parser.add_argument("--version", action="version", version=f"salon {version}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)
    imagine = commands.add_parser(
        "imagine",
        help="make pictures of a prompt",
        description="Make pictures of a prompt: a grid and its single pictures, as PNG with the recipe inside.",
        epilog="Example: salon imagine 'a red apple, 3d render, on a teal background' --n 2 --seed 7",
    )
    _imagine_flags(imagine)
    doctor = commands.add_parser(
        "doctor",
        help="what this machine has, and whether Salon works on it",
        description="Show CPU, backend, model and versions, and try them. Exit code 1 if something does not work.",
    )
    _engine_flags(doctor)
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    return parser, {"imagine": imagine, "doctor": doctor}


def _imagine_flags(parser: _Parser) -> None:
    parser.add_argument("prompt", nargs="+", metavar="PROMPT", help="what to draw (words; quotes are optional)")
    what = parser.add_argument_group("what to make")
    what.add_argument(
        "--ar", type=_aspect, metavar="W:H", help=f"aspect ratio, up to {MAX_ASPECT}:1 (the model's, mostly 1:1)"
    )
    remedy = "choose one of these, or leave it out for a random one"
    seed = _whole("--seed", 0, MAX_SEED, remedy)
    what.add_argument("--seed", type=seed, metavar="N", help=f"0 to {MAX_SEED} (random, and printed)")
    images = _whole("--n", 1, MAX_IMAGES, "run it again with another seed for more")
    what.add_argument("--n", type=images, default=4, metavar="N", help=f"pictures, 1 to {MAX_IMAGES} (4)")
    what.add_argument("--no", metavar="TEXT", help="what to leave out")
    steps = _whole("--steps", 1, 1000, "20 is usual")
    what.add_argument("--steps", type=steps, metavar="N", help="solver steps (the model's default)")
    guidance = _number("--guidance", 0, 100, "3 is usual, 1 is none")
    what.add_argument(
        "--guidance", type=guidance, metavar="X", help="how strongly to follow the prompt; 1 is none (the model's)"
    )
    what.add_argument(
        "--solver", type=_one_of("--solver", SOLVERS), metavar="NAME", help=f"{' or '.join(SOLVERS)} (the model's)"
    )
    where = parser.add_argument_group("where to put it")
    where.add_argument(
        "-o", "--output", metavar="PATH", help="a folder, or a file name ending in .png (outputs/WORDS-SEED.png)"
    )
    where.add_argument("--force", action="store_true", help="overwrite the file that -o names")
    _engine_flags(parser)
    talk = parser.add_argument_group("what to print")
    talk.add_argument("--quiet", action="store_true", help="print errors only")
    talk.add_argument("--json", action="store_true", help="print one JSON object with files, recipe and times")


def _engine_flags(parser: _Parser) -> None:
    group = parser.add_argument_group("how to compute it")
    group.add_argument("--model", metavar="FOLDER", help="a model folder in diffusers' layout (the embedded one)")
    backend = _one_of("--backend", BACKENDS)
    group.add_argument(
        "--backend", type=backend, default="cpu", metavar="NAME", help="cpu, or reference: numpy, slow (cpu)"
    )
    group.add_argument("--isa", metavar="NAME", help="instruction set, see `salon doctor` (SALON_ISA, else the best)")
    dtype = _one_of("--dtype", DTYPES)
    group.add_argument("--dtype", type=dtype, metavar="NAME", help=f"{' or '.join(DTYPES)} (bfloat16 where it is fast)")
    threads = _whole("--threads", 1, 256, "leave it out to use every core")
    group.add_argument("--threads", type=threads, metavar="N", help="1 to 256 (SALON_THREADS, else one a core)")


def parse(argv: Sequence[str], version: str) -> argparse.Namespace:
    """The command line, without the program's name, as a namespace with `command` and that command's values.

    For "imagine", `prompt` is the text of all words. `--help` and `--version` print and raise SystemExit(0).

    Raises:
        UsageError: an unknown, repeated or misspelt flag, a value out of range, a missing command or prompt.
    """
    parser, commands = _parser(version)
    words = [re.sub(r"^—(?=[A-Za-z])", "--", word) for word in argv]  # phones and editors make -- into an em dash
    if not words:
        raise UsageError('no command; try `salon imagine "a red apple"`, or see `salon --help`')
    if words[0] not in (*commands, "-h", "--help", "--version"):
        what = "flag, before any command" if words[0].startswith("-") else "command"
        raise UsageError(f"{_shown(words[0])}: unknown {what}; allowed {' or '.join(commands)}, see `salon --help`")
    options, unknown = parser.parse_known_args(words)
    flags = [name for action in commands[options.command]._actions for name in action.option_strings]
    if unknown:
        _refuse_unknown(unknown, options.command, flags)
    if options.command == "imagine":
        options.prompt = " ".join(options.prompt)
        _refuse_parameters(options.prompt, flags)
        if options.no is not None and options.guidance == 1:
            raise UsageError("--no: got it with --guidance 1, allowed with guidance; raise --guidance or drop --no")
        if options.force and options.output is None:
            raise UsageError("--force: got it without -o, allowed with -o; default names never overwrite anything")
        if options.quiet and options.json:
            raise UsageError("--quiet: got it with --json, allowed alone; drop one")
    return options


def _refuse_unknown(unknown: Sequence[str], command: str, flags: Sequence[str]) -> NoReturn:
    flag = next((word for word in unknown if word.startswith("-")), None)
    if flag is None:
        remedy = "put the whole prompt in quotes, before the flags"
        raise UsageError(f"{_shown(' '.join(unknown))}: got words after the flags, allowed none; {remedy}")
    raise UsageError(f"{_shown(flag.partition('=')[0])}: unknown flag; {_remedy(flag, command, flags)}")


def _refuse_parameters(prompt: str, flags: Sequence[str]) -> None:
    for match in _IN_TEXT.finditer(prompt):
        flag = f"--{match['name']}"
        if match["gap"] and flag not in flags:
            continue  # a dash between words
        if match["gap"]:
            raise UsageError(f"prompt: got {_shown(match[0].strip())} in the text; write {flag}, after the text")
        near = f"drop the dashes, or {_remedy(flag, 'imagine', flags)}"
        remedy = f"close the quotes before {flag}" if flag in flags else near
        raise UsageError(f"prompt: got the parameter {_shown(flag)} inside the text, allowed only after it; {remedy}")


def _remedy(flag: str, command: str, flags: Sequence[str]) -> str:
    from difflib import get_close_matches

    names = {name.lstrip("-"): name for name in flags}
    near = get_close_matches(flag.partition("=")[0].lstrip("-").lower(), names, 1, 0.6)
    return f"did you mean {names[near[0]]}?" if near else f"see `salon {command} --help`"
