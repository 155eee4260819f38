"""`salon chat`: say what to change about a picture, turn by turn."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...errors import SalonError
from . import exits, remote, words
from .connection import Contact, connected, server_of
from .parsing import UsageError
from .pictures import destination_of, fetch
from .show import look
from .tables import plain, print_json, print_pairs, print_table

if TYPE_CHECKING:
    from ..client.client import Client
    from ..wire.messages import Chat, ChatSaid, Turn

COLUMNS = (">chat", "changed", ">turns", "title")
LEAVE = ("q", "quit", "exit")


def chat(options: argparse.Namespace) -> int:
    """Take one turn or several, or look after conversations."""
    said = bool(options.words) or options.prompt is not None
    of_old = next((f"--{name}" for name in ("list", "show", "delete") if getattr(options, name)), None)
    if of_old is not None and (said or options.chat or options.job):
        raise UsageError(f"{of_old}: got it with something to say, allowed alone; leave one out")
    if options.turn is not None and options.chat is None:
        raise UsageError("--turn: got it without --chat, allowed with one; say which conversation")
    if options.force and options.output is None:
        raise UsageError("--force: got it without -o, allowed with -o; drop it")
    options.preview = None
    contact = Contact(server_of(options) or "", quiet=options.quiet)
    with connected(options, contact=contact) as client:
        if options.list:
            return _list(client, options)
        if options.show:
            return _show(client, options)
        if options.delete:
            client.chat.delete(options.delete)
            _tell(options, {"deleted": options.delete}, f"conversation {options.delete} is deleted; its jobs stay")
            return exits.DONE
        if said or options.job:
            return _turn(client, options, " ".join(options.words))[0]
        return _converse(client, options)


def _converse(client: Client, options: argparse.Namespace) -> int:
    """Take turns line by line. One that is refused ends nothing on a terminal, and the command elsewhere."""
    code, at_terminal = exits.DONE, sys.stdin.isatty()
    for line in _lines(at_terminal and not options.quiet):
        try:
            code, said = _turn(client, options, line)
        except SalonError as error:
            if not at_terminal or exits.code_of(error) == exits.UNREACHABLE:
                raise
            remote.say(f"salon: error: {words.typed(str(error))}")
            continue
        if said.chat:
            options.chat, options.job, options.turn = said.chat, None, None
    return code


def _lines(prompted: bool) -> Iterator[str]:
    while True:
        if prompted:
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        text = " ".join(line.split())
        if not line or text.lower() in LEAVE:
            return
        if text:
            yield text


def _turn(client: Client, options: argparse.Namespace, text: str) -> tuple[int, ChatSaid]:
    """Take a turn, and show what came of it."""
    said = client.chat.say(
        text, chat=options.chat or 0, turn=options.turn or 0, prompt=options.prompt, job=options.job or "",
        private=options.private, rules=options.rules, run=not options.dry,
    )  # fmt: skip
    told: dict[str, Any] = {"chat": said.chat, "turn": plain(said.turn)}
    if not options.json:
        print(_line(said.turn), flush=True)
        for note in said.turn.notes:
            remote.say(f"salon: note: {note}")
    if not said.turn.job:
        if options.json:
            print_json(told)
        return exits.DONE, said
    job = client.job(said.turn.job)
    try:
        remote.follow(job, options)
    except (KeyboardInterrupt, SystemExit) as stop:
        remote.cancel([job], stop)
    info = job.refresh()
    told |= {"job": plain(info), "files": []}
    if info.state != "done":
        if options.json:
            print_json(told)
        remote.say(f"salon: error: job {info.job} {info.state}: {info.reason or info.failure or 'no reason given'}")
        return exits.BROKEN, said
    if options.output is not None:
        told["files"], _ = fetch(job, info, destination_of(options.output, info, force=options.force))
    if options.json:
        print_json(told)
        return exits.DONE, said
    if sys.stdout.isatty() and not options.quiet:
        look([job.picture(each.index) for each in info.pictures if each.index >= 0], options.graphics)
    print("\n".join([*told["files"], f"conversation {said.chat}, turn {said.turn.number}, job {info.job}"]), flush=True)
    return exits.DONE, said


def _line(turn: Turn) -> str:
    """Write what a turn draws."""
    of = f" (near picture {turn.source.index + 1} of job {turn.source.job})" if turn.source is not None else ""
    return words.clean(turn.prompt) + of


def _list(client: Client, options: argparse.Namespace) -> int:
    found: list[Chat] = []
    before = 0
    while True:
        page = client.chat.list(before=before)
        found += page.chats
        if not (before := page.next):
            break
    if options.json:
        print_json(found)
    else:
        rows = [[str(each.chat), words.age(each.changed_ms), f"{each.turns:,}", each.title] for each in found]
        print_table(COLUMNS, rows, "no conversations")
    return exits.DONE


def _show(client: Client, options: argparse.Namespace) -> int:
    page = client.chat.show(options.show)
    turns = list(page.turns)
    while page.more and page.turns:
        page = client.chat.show(options.show, after=turns[-1].number)
        turns += page.turns
    if options.json:
        print_json({"chat": plain(page.chat), "turns": [plain(turn) for turn in turns]})
        return exits.DONE
    for turn in turns:
        pairs = [("turn", f"{turn.number}" + (f", job {turn.job}" if turn.job else "")), ("said", turn.text)]
        print_pairs([*pairs, ("drawn", _line(turn)), *[("note", note) for note in turn.notes]])
        print()
    return exits.DONE


def _tell(options: argparse.Namespace, told: dict[str, Any], text: str) -> None:
    if options.json:
        print_json(told)
    else:
        print(text)
