"""Flags of `account`, which lets browsers and programs in over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...bounds import MAX_LABEL
from .parsing import account_id, json_flag, matching, server_flags


def add(commands: Any) -> None:
    """Add the parsers of `account` and what is below it."""
    account = commands.add_parser(
        "account",
        help="let browsers and programs in over HTTP",
        description="Make links that let a browser in, and tokens for programs that ask over HTTP; list and end them.",
    )
    below = account.commands()

    def command(name: str, text: str, description: str, what: str = "print one JSON object") -> Any:
        parser = below.add_parser(name, help=text, description=description)
        json_flag(parser, what)
        server_flags(parser)
        return parser

    link = command(
        "link", "a link to the page", "Print a link to the page, which lets a browser in once, within 15 minutes."
    )
    link.add_argument("account", nargs="?", type=account_id("ACCOUNT"), metavar="ACCOUNT", help="another (operators)")
    link.add_argument(
        "--new", type=_label("--new"), default="", metavar="NAME", help="open an account for NAME (operators)"
    )
    token = command(
        "token",
        "a token for a program",
        "Print a token for a program that asks over HTTP, such as a client of OpenAI's images (OPENAI_API_KEY). It is "
        "shown this once, and works until it is revoked.",
    )
    token.add_argument("name", nargs="?", type=_label("NAME"), default="", metavar="NAME", help="what to call it")
    command("list", "what lets in", "List the links, sessions and tokens of the account.", "print one JSON array")
    revoke = command("revoke", "end one", "End a link, a session or a token, which then lets in no more.")
    id = matching("ID", r"[0-9a-f]{12}", "12 hex digits", "see `salon account list`")
    revoke.add_argument("id", type=id, metavar="ID", help="see `salon account list`")


def _label(flag: str) -> Callable[[str], str]:
    """Return the reader of a name for people."""
    pattern = rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{{0,{MAX_LABEL}}}"
    return matching(flag, pattern, f"up to {MAX_LABEL} characters on one line", "shorten it")
