"""Parse the command line: flags with their ranges, and one-line refusals that name flag, range and remedy.

This module imports only the standard library, errors and the list of parameters, because `salon --help` must answer
at once. Each group of commands has its flags in `commands/flags_*.py`. What a flag's range cannot state, such as a size
off the model's granularity, the engine or the server refuses later, in the same wording. Parameters mean the same as
options and inside the prompt's own text (`"a cat --ar 2:1"`), which `parameters/language` reads.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache
from typing import Final, NoReturn

from ..bounds import LANES, MAX_ASPECT, MAX_IMAGES, MAX_SEED
from ..kernels import backends
from ..parameters.known import parameters
from ..parameters.language.reading import parse as read_prompt
from .commands import (
    exits,
    flags_chat,
    flags_entry,
    flags_export,
    flags_jobs,
    flags_make,
    flags_ops,
    flags_organize,
    flags_parameters,
    flags_recipe,
    flags_serve,
    flags_taste,
)
from .commands.flags_make import DTYPES, KINDS, REMAKES
from .commands.parsing import Parser, UsageError, flags_of, remedy_for, shown
from .commands.sources import sources_in

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

_GROUPS: Final = (
    flags_make,
    flags_recipe,
    flags_jobs,
    flags_chat,
    flags_organize,
    flags_taste,
    flags_entry,
    flags_ops,
    flags_serve,
    flags_export,
)
MAKING: Final = ("imagine", *REMAKES)
PROMPTED: Final = (*MAKING, "plan")  # commands that are given a prompt
_DASHES: Final = ("—", "–", "\uff0d\uff0d")  # what phones, editors and full-width keyboards make of --


def parser(version: str) -> Parser:
    """Return the parser of the whole command line. It is made once for the files that bring choices and flags: nothing
    of what it reads stays in it."""
    return _made(version, backends.names(), tuple(parameters()), KINDS.names())


@cache
def _made(version: str, *_: tuple[str, ...]) -> Parser:
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
    For "imagine", `prompt` is the text of all words, and `prompts` what it says, with the options. `--help` and
    `--version` print and raise SystemExit(0).

    Raises:
        UsageError: a flag is unknown, repeated or misspelt, a value is out of range, or a command or prompt is missing.
        PromptRefused: the same within the prompt.
    """
    words = _with_hyphens(argv, version)
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
    options.typed = getattr(options, "typed", {})
    options.sources = []
    if options.command in REMAKES and KINDS.constant(options.command, "SOURCES")[1]:
        unknown = _take_sources(options, unknown)
    if unknown:
        _refuse_unknown(unknown, leaf)
    if options.command in PROMPTED:
        options.prompt = " ".join(options.prompt)
        options.prompts = read_prompt(options.prompt, options=flags_parameters.said(options))
    if options.command in (*MAKING, "again"):
        if options.detach and options.output is not None:
            raise UsageError("-o: got it with --detach, allowed without; fetch them later: salon show JOB -o PATH")
        if options.detach and options.preview is not None:
            raise UsageError("--preview: got it with --detach, allowed without; drop one")
    if options.command in (*MAKING, "again", "reproduce", "show") and options.force and options.output is None:
        raise UsageError("--force: got it without -o, allowed with -o; default names never overwrite anything")
    if options.command == "serve":
        flags_serve.check(options)
    return options


def _take_sources(options: argparse.Namespace, behind: list[str]) -> list[str]:
    """Take the pictures that a command starts from off its words, and return what of the words behind its flags has no
    place. Where only pictures stand before the flags, those words are the prompt, or begin with further pictures."""
    most = int(KINDS.constant(options.command, "SOURCES")[1])
    whole = bool(KINDS.constant(options.command, "WHOLE"))
    more = [] if any(word.startswith("-") for word in behind) else behind
    options.sources, options.prompt = sources_in([*options.prompt, *more], most, options.command, whole)
    if len(options.prompt) > len(more):  # words of a prompt stand before the flags
        return behind
    return [] if more else behind


def _refuse_unknown(unknown: Sequence[str], leaf: Parser) -> NoReturn:
    flag = next((word for word in unknown if word.startswith("-")), None)
    if flag is not None:
        raise UsageError(f"{shown(flag.partition('=')[0])}: unknown flag; {remedy_for(flag, leaf)}")
    if leaf.prog.removeprefix("salon ") in PROMPTED:
        remedy = "put the whole prompt in quotes, before the flags"
        raise UsageError(f"{shown(' '.join(unknown))}: got words after the flags, allowed none; {remedy}")
    raise UsageError(f"{shown(' '.join(unknown))}: got words too many; see `{leaf.prog} --help`")


def _with_hyphens(argv: Sequence[str], version: str) -> list[str]:
    """Return the words with two hyphens in place of the dash before a flag. Of `imagine` only before its own flags:
    what other dashes of a prompt mean, its language says."""
    if not any(word.startswith(_DASHES) for word in argv):
        return list(argv)
    own = flags_of(parser(version).command(argv[0])) if argv[0] in PROMPTED else None
    words = []
    for i, word in enumerate(argv):
        dash = next((dash for dash in _DASHES if word.startswith(dash)), None)
        name = word.removeprefix(dash or "").partition("=")[0]
        if dash is not None and "--" not in argv[:i] and len(name) > 1 and (own is None or f"--{name}" in own):
            word = f"--{word.removeprefix(dash)}"
        words.append(word)
    return words
