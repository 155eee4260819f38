"""Flags of `ops`, the commands of operators."""

from __future__ import annotations

from typing import Any, Final

from ...bounds import ID, MAX_LABEL, ROLES, TASTE, WORD
from .flags_jobs import page_flags
from .parsing import Names, account_id, job_id, json_flag, matching, number, server_flags, whole

SOURCES: Final = ("bought", "bonus", "operator")
MAX_MINUTES: Final = 1_000_000


def add(commands: Any) -> None:
    """Add the parsers of `ops` and what is below it."""
    ops = commands.add_parser(
        "ops", help="run the server (operators only)", description="Look at the server and steer it. For operators."
    )
    below = ops.commands()

    def command(name: str, text: str, description: str, what: str = "print one JSON object") -> Any:
        parser = below.add_parser(name, help=text, description=description)
        json_flag(parser, what)
        server_flags(parser)
        return parser

    command("status", "the server at a glance", "Show the server: state, queues, workers, storage.")
    top = command("top", "the same, live", "Show queues, workers and running jobs, every second. q or Ctrl-C ends it.")
    top.add_argument("--once", action="store_true", help="print it once (always, if the output is no terminal)")
    command("workers", "the workers", "Show the workers.", "print one JSON array")
    command("pause", "start no further step", "Start no further step. Jobs are still accepted, and wait.")
    command("resume", "end a pause or a drain", "End a pause or a drain.")
    drain = command("drain", "accept no further jobs", "Accept no further jobs, and finish those that are there.")
    drain.add_argument("--stop", action="store_true", help="end the server then")
    drain.add_argument("--wait", action="store_true", help="wait until all jobs have ended")
    retry = command("retry", "run a failed job again", "Run a failed job again, under its own id.")
    retry.add_argument("job", type=job_id(), metavar="JOB", help="its id")
    _accounts(below)
    grant = command("grant", "give GPU time", "Give an account GPU time.")
    grant.add_argument("account", type=account_id("ACCOUNT"), metavar="ACCOUNT", help="its id")
    minutes = number("MINUTES", 0.001, MAX_MINUTES, "write minutes of GPU time, like 90 or 7.5")
    grant.add_argument("minutes", type=minutes, metavar="MINUTES", help="of GPU time")
    source = Names("--source", SOURCES)
    grant.add_argument("--source", type=source, default="bought", metavar="NAME", help=f"{', '.join(SOURCES)} (bought)")
    days = number("--expires", 0.001, 36_500, "leave it out for time that does not expire")
    grant.add_argument("--expires", type=days, metavar="DAYS", help="after so many days (operator time only)")
    key = matching("--key", ID, "1 to 64 letters, digits, '.', '_', ':' or '-'", "correct it")
    grant.add_argument("--key", type=key, metavar="KEY", help="a grant with the same key counts once, if repeated")
    ledger = command("ledger", "the books of GPU time", "Show entries of the books.", "print one JSON object")
    ledger.add_argument("account", type=account_id("ACCOUNT", TASTE), nargs="?", metavar="ACCOUNT", help="(all)")
    after = whole("--after", 0, 10**18 - 1, "give the number of the last entry that you have")
    ledger.add_argument("--after", type=after, default=0, metavar="N", help="entries after number N (0)")
    ledger.add_argument("--newest", action="store_true", help="newest first; --after N is before it, then")
    page_flags(ledger, 100)
    text = "Show what the server's policies have blocked, the latest first."
    blocks = command("blocks", "what policies have blocked", text, "print one JSON array")
    blocks.add_argument("account", type=account_id("ACCOUNT", TASTE), nargs="?", metavar="ACCOUNT", help="(all)")
    page_flags(blocks, 50)
    text = "End the timeout of an account that policies have blocked too often. Its blocks of before count no more."
    lift = command("lift", "end an account's timeout", text)
    lift.add_argument("account", type=account_id("ACCOUNT"), metavar="ACCOUNT", help="its id")


def _accounts(below: Any) -> None:
    accounts = below.add_parser(
        "accounts", help="list accounts, or set one", description="List the accounts, or open or change one with `set`."
    )
    page_flags(accounts, 50)
    json_flag(accounts, "print one JSON array")
    server_flags(accounts)
    change = accounts.commands(required=False).add_parser(
        "set", help="open or change one", description="Open an account, or change what is given."
    )
    change.add_argument("account", type=account_id("ACCOUNT"), metavar="ACCOUNT", help="64 hex digits (`salon keys`)")
    change.add_argument("--name", type=_label, metavar="TEXT", help="for people")
    plan = matching("--plan", WORD, "the name of a plan", "see the server's plans file")
    change.add_argument("--plan", type=plan, metavar="NAME", help="basic, standard, pro, mega, unlimited, ...")
    role = Names("--role", ROLES)
    change.add_argument("--role", type=role, metavar="NAME", help=" or ".join(ROLES))
    quota = number("--quota", 0, 1e9, "0 is the server's own limit")
    change.add_argument("--quota", type=quota, metavar="MB", help="pictures that it may store (0: as the server says)")
    block = change.add_mutually_exclusive_group()
    block.add_argument("--block", dest="blocked", action="store_true", default=None, help="refuse its requests")
    block.add_argument("--unblock", dest="blocked", action="store_false", default=None, help="take them again")
    json_flag(change)
    server_flags(change)


_label = matching(
    "--name",
    rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{{0,{MAX_LABEL}}}",
    f"up to {MAX_LABEL} characters on one line",
    "shorten it",
)
