"""`salon words`: what the model can draw, and which names are near to a word."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from . import exits
from .connection import connected, server_of
from .parsing import UsageError
from .tables import print_json, print_table

if TYPE_CHECKING:
    from ...engine.words import WordList
    from ..wire.messages import WordList as ServersList


def words(options: argparse.Namespace) -> int:
    """List the words of a model: the server's if there is a server, else the embedded one's or that of --model."""
    if options.like is not None and not options.like.strip():
        raise UsageError("--like: got '', allowed a word; write one, or drop --like")
    found: WordList | ServersList
    if server_of(options) is not None and options.model is None:
        with connected(options) as client:
            found = client.words(options.like or "")
    elif options.server is not None:
        raise UsageError("--model: got it with a server, allowed without one; drop it, or drop --server")
    else:
        from ...engine.words import Words

        found = Words(options.model).look(options.like or "")
    if options.json:
        print_json(found)
    elif options.like is not None:
        print_table(("name", ">similarity"), [(one.name, f"{one.similarity:.2f}") for one in found.near], "no names")
        nothing = "not drawn: nothing that the model knows is a picture of it"
        print(f"drawn as {found.drawn}" if found.drawn else nothing)
    else:
        rows = [(slot, entry[0], ", ".join(entry[1:])) for slot, entries in found.slots.items() for entry in entries]
        print_table(("slot", "name", "also"), rows, "no words")
    return exits.DONE
