"""Parse the command line: flags with their ranges, and one-line refusals that name flag, range and remedy.

This module imports only the standard library and errors, because `salon --help` must answer at once. Each group of
commands has its flags in `commands/flags_*.py`. What a flag's range cannot state, such as a size off the model's
granularity, the engine or the server refuses later, in the same wording. Parameters inside the prompt's own text (`"a
cat --ar 2:1"`) belong to the prompt language. Until that exists they are refused, never passed on as words.
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Sequence
from typing import Final, NoReturn

from ..bounds import LANES, MAX_ASPECT, MAX_IMAGES, MAX_SEED
from .commands import exits, flags_jobs, flags_make, flags_ops, flags_recipe, flags_serve
from .commands.flags_make import DTYPES
from .commands.parsing import Parser, UsageError, flags_of, remedy_for, shown

__all__ = [
    "DTYPES",
    "LANES",
    "MAX_ASPECT",
    "MAX_IMAGES",
    "MAX_SEED",
    "UsageError",
    "parse",
    "parser",
]

_GROUPS: Final = (flags_make, flags_recipe, flags_jobs, flags_ops, flags_serve)
_DASHES = re.compile("^(?:—|\uff0d\uff0d)(?=[A-Za-z])")  # what phones, editors and full-width keyboards make of --
_IN_TEXT = re.compile(r"(?:^|\s)(?:--|—)(?P<gap>\s*)(?P<name>[A-Za-z][\w-]*)")


def parser(version: str) -> Parser:
    """Make the parser of the whole command line."""
    parser = Parser(
        prog="salon",
        description="Text-to-image inference engine with taste.",
        epilog=f"Every command has --help and --json. Exit codes: {exits.SUMMARY}.",
    )
    parser.add_argument("--version", action="version", version=f"salon {version}")
    commands = parser.commands()
    for group in _GROUPS:
        group.add(commands)
    return parser


def parse(argv: Sequence[str], version: str) -> argparse.Namespace:
    """Parse the command line, without the program's name, into a namespace of `command` and that command's values.

    `command` has all words of a nested one ("ops accounts set"); `given` are the names of the values that were typed.
    For "imagine", `prompt` is the text of all words. `--help` and `--version` print and raise SystemExit(0).

    Raises:
        UsageError: a flag is unknown, repeated or misspelt, a value is out of range, or a command or prompt is missing.
    """
    words = [_DASHES.sub("--", word) for word in argv]
    if not words:
        raise UsageError('no command; try `salon imagine "a red apple"`, or see `salon --help`')
    if words[0].startswith("-") and words[0] not in ("-h", "--help", "--version"):
        raise UsageError(f"{shown(words[0])}: unknown flag, before any command; see `salon --help`")
    options: argparse.Namespace
    options, unknown = parser(version).parse_known_args(words)
    leaf: Parser = options.leaf
    del options.leaf
    options.command = leaf.prog.removeprefix("salon ")
    options.given = getattr(options, "given", set())
    if unknown:
        _refuse_unknown(unknown, leaf)
    if options.command == "imagine":
        options.prompt = " ".join(options.prompt)
        _refuse_parameters(options.prompt, leaf, after_end="--" in words)
        if options.no is not None and options.guidance == 1:
            raise UsageError("--no: got it with --guidance 1, allowed with guidance; raise --guidance or drop --no")
        if options.detach and options.output is not None:
            raise UsageError("-o: got it with --detach, allowed without; fetch them later: salon show JOB -o PATH")
        if options.detach and options.preview is not None:
            raise UsageError("--preview: got it with --detach, allowed without; drop one")
    if options.command in ("imagine", "reproduce", "show") and options.force and options.output is None:
        raise UsageError("--force: got it without -o, allowed with -o; default names never overwrite anything")
    if options.command == "serve":
        flags_serve.check(options)
    return options


def _refuse_unknown(unknown: Sequence[str], leaf: Parser) -> NoReturn:
    flag = next((word for word in unknown if word.startswith("-")), None)
    if flag is not None:
        raise UsageError(f"{shown(flag.partition('=')[0])}: unknown flag; {remedy_for(flag, leaf)}")
    if leaf.prog == "salon imagine":
        remedy = "put the whole prompt in quotes, before the flags"
        raise UsageError(f"{shown(' '.join(unknown))}: got words after the flags, allowed none; {remedy}")
    raise UsageError(f"{shown(' '.join(unknown))}: got words too many; see `{leaf.prog} --help`")


def _refuse_parameters(prompt: str, leaf: Parser, *, after_end: bool) -> None:
    """Refuse parameters in the prompt's text. After `--` (`after_end`), every word is part of the prompt."""
    flags = flags_of(leaf)
    for match in _IN_TEXT.finditer(unicodedata.normalize("NFKC", prompt)):  # turns full-width dashes into plain ones
        flag = f"--{match['name']}"
        if match["gap"] and flag not in flags:
            continue  # only a dash between words
        if match["gap"]:
            raise UsageError(f"prompt: got {shown(match[0].strip())} in the text; write {flag}, after the text")
        if after_end and flag in flags:
            got = f"the parameter {shown(flag)} after --, which ends the flags"
            raise UsageError(f"prompt: got {got}, allowed only before it; move {flag} before the --")
        near = f"drop the dashes, or {remedy_for(flag, leaf)}"
        remedy = f"close the quotes before {flag}" if flag in flags else near
        raise UsageError(f"prompt: got the parameter {shown(flag)} inside the text, allowed only after it; {remedy}")
