"""`salon account`: links that let browsers in over HTTP, and tokens for programs."""

from __future__ import annotations

import argparse
import sys

from . import exits, words
from .connection import connected
from .tables import print_json, print_table

COLUMNS = ("id", "kind", "name", "made", "used", "ends")


def account_link(options: argparse.Namespace) -> int:
    """Print a link to the page."""
    with connected(options) as client:
        made = client.entry.link(options.account or "", new=options.new)
    if options.json:
        print_json(made)
    else:
        print(made.url)
    return exits.DONE


def account_token(options: argparse.Namespace) -> int:
    """Print a token for programs."""
    with connected(options) as client:
        made = client.entry.token(options.name)
    if options.json:
        print_json(made)
    else:
        if not made.secret:
            note = "on this server everybody is the same account, and no token is needed; any word will do"
            print(f"salon: note: {note}", file=sys.stderr, flush=True)
        print(made.secret or "none")
    return exits.DONE


def account_list(options: argparse.Namespace) -> int:
    """List what lets in as the account."""
    with connected(options) as client:
        found = client.entry.list()
    if options.json:
        print_json(found)
        return exits.DONE
    rows = [
        [
            one.id,
            one.kind,
            one.name,
            words.moment(one.made_ms),
            words.moment(one.used_ms) if one.used_ms else "",
            words.moment(one.ends_ms) if one.ends_ms else "",
        ]
        for one in found
    ]
    print_table(COLUMNS, rows, "no links, sessions or tokens")
    return exits.DONE


def account_revoke(options: argparse.Namespace) -> int:
    """End a link, a session or a token."""
    with connected(options) as client:
        client.entry.end(options.id)
    if options.json:
        print_json({"revoked": options.id})
    else:
        print("revoked")
    return exits.DONE
