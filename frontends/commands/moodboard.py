"""`salon moodboard ...`: collections of pictures that serve as a profile."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ...errors import complaint
from .connection import connected
from .parsing import UsageError
from .profile import profile_delete, show_profile, show_profiles

if TYPE_CHECKING:
    from ..client.client import Client
    from ..wire.messages import TasteProfile

moodboard_delete = profile_delete


def moodboard_list(options: argparse.Namespace) -> int:
    """List moodboards."""
    with connected(options) as client:
        boards = [one for one in client.taste.profiles() if one.kind == "moodboard"]
    return show_profiles(boards, json=options.json)


def moodboard_new(options: argparse.Namespace) -> int:
    """Make a moodboard."""
    with connected(options) as client:
        made = client.taste.new(options.name, "moodboard", pictures=options.files, public=options.public)
    return show_profile(made, json=options.json)


def moodboard_add(options: argparse.Namespace) -> int:
    """Add pictures."""
    with connected(options) as client:
        return show_profile(client.taste.change(options.name, add=options.files), json=options.json)


def moodboard_remove(options: argparse.Namespace) -> int:
    """Remove pictures, by the beginnings of their digests."""
    with connected(options) as client:
        board = _board(client, options.name)
        gone = []
        for start in options.digests:
            found = [digest for digest in board.pictures if digest.startswith(start)]
            if len(found) != 1:
                got = f"{start}, which {len(found)} of its {len(board.pictures)} pictures begin with"
                remedy = f"`salon moodboard show {options.name}` lists them"
                raise UsageError(complaint("DIGEST", got, "the beginning of one", remedy))
            gone += found
        return show_profile(client.taste.change(options.name, remove=gone), json=options.json)


def moodboard_show(options: argparse.Namespace) -> int:
    """Show a moodboard."""
    with connected(options) as client:
        return show_profile(_board(client, options.name), json=options.json)


def _board(client: Client, name: str) -> TasteProfile:
    board = client.taste.profile(name)
    if board.kind != "moodboard":
        remedy = "see `salon moodboard list`, or `salon profile show`"
        raise UsageError(complaint("NAME", f"{name}, a {board.kind}", "a moodboard", remedy))
    return board
