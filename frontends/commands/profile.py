"""`salon profile ...`: what an account likes, as profiles, events and codes. `report.py` has the reports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...errors import complaint
from . import exits, words
from .connection import connected
from .parsing import UsageError
from .rank import summary
from .report import profile_report
from .tables import print_json, print_pairs, print_table

if TYPE_CHECKING:
    from ..client.client import Client
    from ..wire.messages import TasteCode, TasteDependants, TasteEvent, TasteProfile

__all__ = [
    "profile_codes",
    "profile_delete",
    "profile_events",
    "profile_list",
    "profile_new",
    "profile_private",
    "profile_public",
    "profile_report",
    "profile_revoke",
    "profile_show",
    "profile_switch",
    "profile_undo",
]

PROFILE_COLUMNS: Final = ("id", "name", "kind", "?public", ">taught", "?>pictures", "?>styles", "?>changed", "code")
EVENT_COLUMNS: Final = (">event", "kind", "?>age", "?profile", "counts", ">pull", "what")
CODE_COLUMNS: Final = ("code", "profile", "?shows", "?>made", ">events", "?>algorithm", "?model", "state")


def profile_list(options: argparse.Namespace) -> int:
    """List profiles."""
    with connected(options) as client:
        return show_profiles(client.taste.profiles(), json=options.json)


def show_profiles(found: Sequence[TasteProfile], *, json: bool) -> int:
    """Print profiles, as a table or JSON."""
    if json:
        print_json(list(found))
    else:
        print_table(PROFILE_COLUMNS, map(_profile_row, found), "no profiles; `salon rank` begins one")
    return exits.DONE


def _profile_row(one: TasteProfile) -> list[str]:
    return [
        one.profile,
        one.name or "(own)",
        one.kind,
        "yes" if one.public else "",
        f"{one.events:,} of {one.needed:,}" if one.events < one.needed else f"{one.events:,}" if one.needed else "",
        f"{len(one.pictures):,}" if one.pictures else "",
        f"{len(one.styles):,}" if one.styles else "",
        words.age(one.changed_ms or one.made_ms),
        one.code,
    ]


def profile_new(options: argparse.Namespace) -> int:
    """Make a profile."""
    with connected(options) as client:
        return show_profile(client.taste.new(options.name, public=options.public), json=options.json)


def profile_show(options: argparse.Namespace) -> int:
    """Show a profile."""
    with connected(options) as client:
        return show_profile(client.taste.profile(options.name), json=options.json)


def show_profile(one: TasteProfile, *, json: bool) -> int:
    """Print a profile, whole."""
    if json:
        print_json(one)
        return exits.DONE
    print_pairs(
        [
            ("profile", one.profile),
            ("name", one.name or "(the account's own)"),
            ("kind", one.kind),
            ("account", one.account),
            ("public", "yes" if one.public else "no"),
            ("taught", summary(one.events, one.needed) if one.needed else ""),
            ("made", words.moment(one.made_ms)),
            ("changed", f"{words.moment(one.changed_ms)} ({words.age(one.changed_ms)})" if one.changed_ms else ""),
            *[("picture", digest) for digest in one.pictures],
            *[("style", f"{style.number}::{style.weight:g}") for style in one.styles],
            ("code", one.code),
        ]
    )
    for left_out in one.left_out:
        print(words.clean(f"salon: note: {left_out.digest} is left out: {left_out.reason}"), file=sys.stderr)
    return exits.DONE


def profile_public(options: argparse.Namespace) -> int:
    """Let others name a profile."""
    with connected(options) as client:
        return show_profile(client.taste.change(options.name, public=True), json=options.json)


def profile_private(options: argparse.Namespace) -> int:
    """Let no other account name a profile."""
    with connected(options) as client:
        return show_profile(client.taste.change(options.name, public=False), json=options.json)


def profile_events(options: argparse.Namespace) -> int:
    """List the log."""
    found, before = list["TasteEvent"](), 0
    with connected(options) as client:
        while True:
            page = client.taste.events(options.name or "", before=before, limit=options.limit)
            found += page.events
            before = page.next
            if not options.all_pages or not before:
                break
    if options.json:
        print_json(found)
        return exits.DONE
    print_table(EVENT_COLUMNS, map(event_row, found), "no events")
    if before:
        print("salon: note: there are more; pass --all-pages, or a larger --limit", file=sys.stderr)
    return exits.DONE


def event_row(one: TasteEvent) -> list[str]:
    """Return the cells of `EVENT_COLUMNS`."""
    counts = "off" if not one.on else "yes" if one.teaches else "no"
    return [
        str(one.event),
        one.kind,
        words.age(one.at_ms),
        one.profile,
        counts,
        f"{one.pull:.3f}" if one.pull else "",
        told(one),
    ]


def told(event: TasteEvent) -> str:
    """Write an event's pictures; those that were liked have a star."""
    pictures = [f"{'*' if picture.picked else ''}{picture.job} {picture.index + 1}" for picture in event.pictures]
    return (f"{event.choice}: " if event.choice else "") + ", ".join(pictures)


def profile_switch(options: argparse.Namespace) -> int:
    """Switch an event off, or on."""
    with connected(options) as client:
        event = client.taste.switch(options.event, options.to == "on")
    return _tell_event(event, json=options.json)


def profile_undo(options: argparse.Namespace) -> int:
    """Switch the last event off."""
    with connected(options) as client:
        event = client.taste.undo(options.name or "")
    return _tell_event(event, json=options.json)


def _tell_event(event: TasteEvent, *, json: bool) -> int:
    if json:
        print_json(event)
    else:
        print(words.clean(f"event {event.event} is {'on' if event.on else 'off'}: {event.kind}, {told(event)}"))
    return exits.DONE


def profile_codes(options: argparse.Namespace) -> int:
    """List codes."""
    with connected(options) as client:
        codes = client.taste.codes(options.name or "")
    if options.json:
        print_json(list(codes))
    else:
        print_table(CODE_COLUMNS, map(_code_row, codes), "no codes")
    return exits.DONE


def _code_row(one: TasteCode) -> list[str]:
    return [
        one.code,
        one.name or (one.profile if one.kind != "global" else "(own)"),
        one.shows,
        words.moment(one.made_ms),
        f"{one.events:,}",
        str(one.algorithm),
        f"{one.model_name or 'model'} {one.model[:8]}".strip(),
        "revoked" if one.revoked else "",
    ]


def profile_revoke(options: argparse.Namespace) -> int:
    """Revoke a code."""
    with connected(options) as client:
        client.taste.revoke(options.code)
    if options.json:
        print_json({"code": options.code, "revoked": True})
    else:
        print(f"code {options.code} is revoked")
    return exits.DONE


def profile_delete(options: argparse.Namespace) -> int:
    """Delete a profile, once it is said what becomes of its codes."""
    with connected(options) as client:
        done = delete(client, options)
    if options.json:
        print_json(done)
    elif done.deleted:
        print(f"profile {done.profile} is deleted")
    else:
        print("nothing is deleted")
    return exits.DONE if done.deleted else exits.REFUSED


def delete(client: Client, options: argparse.Namespace) -> TasteDependants:
    """Show what names a profile, ask what becomes of its codes, unless that was typed, and delete it."""
    codes = options.codes
    if not codes:
        if not sys.stdin.isatty():
            got, remedy = "no terminal to ask in", "pass --keep-codes or --revoke-codes"
            raise UsageError(complaint("delete", got, "one of these flags then", remedy))
        found = client.taste.delete(options.name)
        for line in dependants(found):
            print(line, file=sys.stderr)
        print("k: delete it, its codes go on working; r: delete it and revoke its codes; else nothing: ", end="",
              file=sys.stderr, flush=True)  # fmt: skip
        codes = {"k": "keep", "r": "revoke"}.get(sys.stdin.readline().strip().lower(), "")
        if not codes:
            return found
    return client.taste.delete(options.name, codes)


def dependants(found: TasteDependants) -> list[str]:
    """Write what names a profile, a line each."""
    live = [code.code for code in found.codes if not code.revoked]
    jobs = words.plural(found.num_jobs, "job")
    some = f": {', '.join(found.jobs[:5])}{', ...' if found.num_jobs > 5 else ''}" if found.jobs else ""
    lines = [
        f"{words.plural(len(live), 'code')}{': ' + ', '.join(live) if live else ''}",
        f"{jobs} drawn with it{some}",
    ]
    return [words.clean(line) for line in [*lines, *(["the account's settings name it"] if found.settings else [])]]
