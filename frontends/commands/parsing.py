"""The parts of every command's flags: a parser that raises, and readers of values that say their range.

Standard library only: `salon --help` must answer at once.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn

from ...bounds import ID, LOCAL, PUBLIC_KEY
from ...errors import SalonError, complaint
from ...system import expand_home

FILE: Final = "file"  # hints for completion: what a value names
FOLDER: Final = "folder"


class UsageError(SalonError):
    """A command line that cannot be understood."""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are exceptions. Flags are never abbreviated, and no flag may be repeated.

    `leaf` of the namespace is the parser of the innermost command; `given` are the names of the values that were typed,
    `typed` the flags that they were typed with.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **options)
        self.register("action", None, Once)
        self.register("action", "store", Once)
        self.set_defaults(leaf=self)
        self._words: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._words = list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        match = re.match(r"argument (\S+): expected one argument", message)
        if match is not None:
            self._refuse_missing(match[1].split("/"))
        raise UsageError(f"{message}; see `{self.prog} --help`")

    def _refuse_missing(self, names: Sequence[str]) -> NoReturn:
        """Refuse a flag without its value. A value that looks like a flag needs an equals sign before it."""
        typed, *after = self._words[next(i for i, word in enumerate(self._words) if word in names) :]
        if after and after[0].startswith("-") and after[0].partition("=")[0] not in ("--", *flags_of(self)):
            joined = shlex.quote(after[0])
            raise UsageError(f"{typed}: got {shown(after[0])}, which looks like a flag; write {names[-1]}={joined}")
        raise UsageError(f"{typed}: got nothing after it, allowed one value; write it, or drop {typed}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            near = closest(value, action.choices)
            remedy = f"did you mean {near}?" if near else f"allowed {', '.join(action.choices)},"
            raise UsageError(f"{shown(value)}: unknown command; {remedy} see `{self.prog} --help`")
        super()._check_value(action, value)

    def command(self, name: str) -> argparse.ArgumentParser:
        """Return the parser of a command. KeyError: there is none."""
        actions = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        parser: argparse.ArgumentParser = next(actions).choices[name]
        return parser

    def commands(self, title: str = "commands", *, required: bool = True) -> Any:
        """Add subcommands. `add_parser` of the result makes one."""
        return self.add_subparsers(
            dest="command", metavar="COMMAND", title=title, parser_class=Parser, required=required
        )


class _Help(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=100)

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):  # argparse forgets that these are indented once more
            self._action_max_length = max(self._action_max_length, *(len(name) + 4 for name in action.choices))


class Once(argparse.Action):
    """Store a value; a second one is a contradiction, not a correction."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        given: set[str] = namespace.__dict__.setdefault("given", set())
        typed: dict[str, str] = namespace.__dict__.setdefault("typed", {})
        if option_string is not None and self.dest in given:
            before = typed.get(self.dest, option_string)
            if before != option_string and not {before, option_string} <= {"-o", "--output"}:
                raise UsageError(f"{option_string}: got it beside {before}, allowed one of them; drop one")
            raise UsageError(f"{option_string}: got it twice, allowed once; drop one")
        given.add(self.dest)
        typed[self.dest] = option_string or ""
        setattr(namespace, self.dest, values)


class Names:
    """A reader of one of some names; completion finds them in `names`."""

    def __init__(self, flag: str, names: Sequence[str]) -> None:
        self.flag = flag
        self.names = tuple(names)

    def __call__(self, text: str) -> str:
        if text not in self.names:
            raise UsageError(complaint(self.flag, shown(text), " or ".join(self.names), "choose one of these"))
        return text


class ListOfNames(Names):
    """A reader of some of these names, with commas between them."""

    def __call__(self, text: str) -> str:
        for name in text.split(","):
            super().__call__(name)
        return text


class PathName:
    """A reader of a path, in which `~` means home; completion finds in `kind` what it names."""

    def __init__(self, flag: str, kind: str) -> None:
        self.flag = flag
        self.kind = kind

    def __call__(self, text: str) -> str:
        if not text or "\0" in text:
            raise UsageError(complaint(self.flag, shown(text), f"the name of a {self.kind}", "write one, or drop it"))
        return expand_home(text, self.flag)


def whole(flag: str, low: int, high: int, remedy: str) -> Callable[[str], int]:
    """Return a reader of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise UsageError(complaint(flag, shown(text), f"a whole number from {low} to {high}", remedy))
        return int(text)

    return read


def number(flag: str, low: float, high: float, remedy: str) -> Callable[[str], float]:
    """Return a reader of numbers from `low` to `high`, without exponents, NaN and infinity."""

    def read(text: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", text) or not low <= float(text) <= high:
            raise UsageError(complaint(flag, shown(text), f"a number from {low:.12g} to {high:.12g}", remedy))
        return float(text)

    return read


def matching(flag: str, pattern: str, allowed: str, remedy: str) -> Callable[[str], str]:
    """Return a reader of text that matches a whole pattern."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise UsageError(complaint(flag, shown(text), allowed, remedy))
        return text

    return read


def job_id(flag: str = "JOB") -> Callable[[str], str]:
    """Return a reader of a job's id."""
    allowed = "a job's id: letters, digits, '.', '_', ':' or '-'"
    return matching(flag, ID, allowed, "`salon jobs` lists them")


def account_id(flag: str, *besides: str) -> Callable[[str], str]:
    """Return a reader of an account. `besides`: other words that are allowed."""
    words = "".join(f", {word!r}" for word in (LOCAL, *besides))
    pattern = "|".join([PUBLIC_KEY, *(re.escape(word) for word in (LOCAL, *besides))])
    return matching(flag, pattern, f"the 64 hex digits of a public key{words}", "its owner gets them from `salon keys`")


def shown(text: str) -> str:
    """Quote what was typed, cut where it is long."""
    return repr(text if len(text) <= 40 else text[:40] + "...")


def closest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that was probably meant."""
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), list(names), 1, 0.6)
    return near[0] if near else None


def flags_of(parser: argparse.ArgumentParser) -> list[str]:
    """Return all flags of one command."""
    return [name for action in parser._actions for name in action.option_strings]


def remedy_for(flag: str, parser: argparse.ArgumentParser) -> str:
    """Say what to do about a flag that a command does not have."""
    names = {name.lstrip("-"): name for name in flags_of(parser)}
    near = closest(flag.partition("=")[0].lstrip("-"), names)
    return f"did you mean {names[near]}?" if near else f"see `{parser.prog} --help`"


def json_flag(parser: Any, what: str = "print one JSON object") -> None:
    """Add --json, which every command has."""
    parser.add_argument("--json", action="store_true", help=what)


def server_flags(parser: Any) -> None:
    """Add the flags that name the server, for commands that speak with one."""
    group = parser.add_argument_group("which server")
    group.add_argument("--server", metavar="ADDRESS", help="tcp://HOST:5599, with #KEY if encrypted ($SALON_SERVER)")
    seconds = number("--timeout", 0.1, 3600, "10 is usual")
    group.add_argument("--timeout", type=seconds, default=10.0, metavar="S", help="seconds to wait for an answer (10)")
