"""`salon wildcards`: the lists of words for `__name__` in prompts, the server's or one's own."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ...studio.prompt.word_lists import FOLDER, WordLists
from ...system import expand_home, home
from . import exits
from .connection import connected, server_of
from .tables import print_json, print_table
from .words import clean


def own_lists() -> WordLists:
    """Return this user's lists: in the folder `SALON_WILDCARDS`, else `salon/wildcards` in `XDG_CONFIG_HOME` or
    `~/.config`. NoHome: none is named, and there is no home."""
    if named := os.environ.get("SALON_WILDCARDS"):
        return WordLists(Path(expand_home(named, "SALON_WILDCARDS")))
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():  # XDG says that relative paths are ignored
        base = home("set SALON_WILDCARDS to the folder of the lists") / ".config"
    return WordLists(base / "salon" / FOLDER)


def own_words(name: str) -> tuple[str, ...] | None:
    """Return the words of one of this user's lists, which are looked for only where a prompt names one. Raises as
    `own_lists` and `WordLists.words`."""
    return own_lists().words(name)


def wildcards(options: argparse.Namespace) -> int:
    """List the lists, or the words of one."""
    words: tuple[str, ...] = ()
    if server_of(options) is not None:
        with connected(options) as client:
            counts = {} if options.name else client.wildcards()
            words = client.wildcard(options.name) if options.name else ()
    else:
        counts = {} if options.name else own_lists().counts()
        words = own_lists().listed(options.name) if options.name else ()
    if options.json:
        print_json(list(words) if options.name else counts)
    elif options.name:
        print("\n".join(map(clean, words)), end="\n" if words else "")
    else:
        print_table(("list", ">words"), [(name, f"{count:,}") for name, count in counts.items()], "no lists")
    return exits.DONE
