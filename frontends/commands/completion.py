"""`salon completion`: scripts for shells, made from the parser itself, so that they never lag behind it.

Every script finds the command's words first ("ops accounts set"), then offers what may come next: its commands and
flags, or the values of the flag before. Positionals are offered where they have a few names or are files.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ... import __version__
from . import exits
from .parsing import FILE, FOLDER, ListOfNames, Names, PathName
from .tables import print_json


@dataclass(frozen=True)
class Flag:
    """A flag of a command, or a positional (`names` empty).

    Attributes:
        names: "-o", "--output".
        values: the names that it takes; () if it takes none, or any text.
        kind: "" or what a value names: "file", "folder".
        takes: whether a value follows.
        text: its help.
    """

    names: tuple[str, ...]
    values: tuple[str, ...]
    kind: str
    takes: bool
    text: str


@dataclass(frozen=True)
class Command:
    """A command: `path` like "ops accounts", "" for `salon` itself; `below`: its commands and what they are for."""

    path: str
    below: dict[str, str]
    flags: tuple[Flag, ...]


def completion(options: argparse.Namespace) -> int:
    """Print the script of a shell."""
    text = script(options.shell)
    if options.json:
        print_json({"shell": options.shell, "script": text})
    else:
        print(text, end="")
    return exits.DONE


def script(shell: str) -> str:
    """Return the script of "bash", "zsh" or "fish"."""
    from ..arguments import parser
    from . import completion_scripts

    write = {
        "bash": completion_scripts.bash,
        "zsh": completion_scripts.zsh,
        "fish": completion_scripts.fish,
    }[shell]
    return write(list(walk(parser(__version__))))


def walk(parser: argparse.ArgumentParser, path: str = "") -> Iterator[Command]:
    """Return all commands of a parser, itself first."""
    below: dict[str, str] = {}
    nested: dict[str, Any] = {}
    flags = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            nested.update(action.choices)
            below = {choice.dest: choice.help or "" for choice in action._choices_actions}
        else:
            flags.append(_flag(action))
    yield Command(path, below, tuple(flags))
    for name, parser_below in nested.items():
        yield from walk(parser_below, f"{path} {name}".strip())


def _flag(action: argparse.Action) -> Flag:
    reader = action.type
    values = reader.names if isinstance(reader, Names) and not isinstance(reader, ListOfNames) else ()
    if isinstance(reader, ListOfNames):
        values = reader.names  # one of them at least; commas are for the user
    kind = reader.kind if isinstance(reader, PathName) else getattr(action, "completes", "")
    assert kind in ("", FILE, FOLDER)
    return Flag(tuple(action.option_strings), values, kind, action.nargs != 0, (action.help or "").replace("%%", "%"))
