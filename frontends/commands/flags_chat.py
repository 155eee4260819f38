"""Flags of `chat`."""

from __future__ import annotations

from typing import Any

from .flags_taste import graphics_flag
from .parsing import FILE, PathName, job_id, json_flag, server_flags, whole

MOST = 2**63 - 1


def add(commands: Any) -> None:
    """Add the parser of this command."""
    chat = commands.add_parser(
        "chat",
        help="say what to change about a picture",
        usage="salon chat [WORDS ...] [FLAGS]",
        description="Draw a draft of a prompt, and change it by saying how: make it blue, add a hat, without the tree, "
        "at night, wider, again, more like the second. Each turn shows the prompt that it draws. Without words it "
        "reads turns line by line, until q or the end.",
        epilog="Example: salon chat a red apple, then salon chat make it blue --chat 1.",
    )
    text = "what is said; of a new conversation the prompt"
    chat.add_argument("words", nargs="*", metavar="WORDS", help=text)
    number = whole("--chat", 1, MOST, "see `salon chat --list`")
    which = chat.add_mutually_exclusive_group()
    which.add_argument("--chat", type=number, metavar="N", help="go on with this conversation (a new one)")
    which.add_argument("--job", type=job_id(), metavar="JOB", help="begin with the prompt of a job")
    turn = whole("--turn", 1, MOST, "see `salon chat --show N`")
    chat.add_argument("--turn", type=turn, metavar="N", help="go on from this turn of it (the last)")
    chat.add_argument("--prompt", metavar="TEXT", help="draw this prompt, in place of what would be written")
    chat.add_argument("--rules", action="store_true", help="leave the server's language model out")
    chat.add_argument("--dry", action="store_true", help="only show the prompt, and draw nothing")
    chat.add_argument("--private", action="store_true", help="shown to nobody else")
    output = chat.add_argument("-o", "--output", type=PathName("-o", FILE), metavar="PATH", help="write the pictures")
    output.completes = FILE
    chat.add_argument("--force", action="store_true", help="overwrite files")
    graphics_flag(chat)
    chat.add_argument("--quiet", action="store_true", help="no progress, no pictures in the terminal")
    old = chat.add_argument_group("conversations that there are")
    look = old.add_mutually_exclusive_group()
    look.add_argument("--list", action="store_true", help="list them, the latest first")
    look.add_argument("--show", type=whole("--show", 1, MOST, "see --list"), metavar="N", help="show one")
    look.add_argument("--delete", type=whole("--delete", 1, MOST, "see --list"), metavar="N", help="delete one")
    json_flag(chat)
    server_flags(chat)
