"""`salon ops accounts`, `grant`, `ledger`, `blocks` and `lift`: accounts, their GPU time, and what was blocked."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from . import exits, words
from .account import fast_time, show_account
from .connection import connected
from .parsing import UsageError
from .tables import print_json, print_table

if TYPE_CHECKING:
    from ..wire.messages import AccountInfo, Block, LedgerEntry

ACCOUNT_COLUMNS = (
    "account",
    "?role",
    "?plan",
    "?fast time",
    "?>running",
    "?>queued",
    "?>jobs",
    "?>stored",
    "name",
)
LEDGER_COLUMNS = (">no", "time", "?account", "kind", ">amount", "?source", "?expires", "job")
BLOCK_COLUMNS = (">no", "time", "?account", "stage", "rule", "?job", "message")
DAY_MS = 86_400_000


def accounts(options: argparse.Namespace) -> int:
    """List the accounts."""
    found: list[AccountInfo] = []
    with connected(options) as client:
        while True:
            page = client.ops.accounts(after=found[-1].account if found else "", limit=options.limit)
            found += page.accounts
            if not options.all_pages or not page.more or not page.accounts:
                break
    if options.json:
        print_json(found)
        return exits.DONE
    print_table(ACCOUNT_COLUMNS, map(_account_row, found), "no accounts")
    _more(page.more)
    return exits.DONE


def _account_row(account: AccountInfo) -> list[str]:
    return [
        account.account,
        "blocked" if account.blocked else account.role,
        account.plan,
        fast_time(account).partition(" left")[0],
        f"{account.num_running:,}",
        f"{account.num_queued:,}",
        f"{account.lifetime_jobs:,}",
        words.size(account.stored_bytes),
        account.name,
    ]


def accounts_set(options: argparse.Namespace) -> int:
    """Open an account, or change it."""
    with connected(options) as client:
        account = client.ops.set_account(
            options.account,
            name=options.name,
            plan=options.plan,
            role=options.role,
            blocked=options.blocked,
            quota_bytes=None if options.quota is None else round(options.quota * 1_000_000),
        )
    show_account(account, json=options.json)
    return exits.DONE


def grant(options: argparse.Namespace) -> int:
    """Give GPU time."""
    if options.expires is not None and options.source != "operator":
        remedy = "drop --expires, or pass --source operator"
        raise UsageError(f"--expires: got it with --source {options.source}, allowed with operator; {remedy}")
    expires_ms = 0 if options.expires is None else time.time_ns() // 1_000_000 + round(options.expires * DAY_MS)
    with connected(options) as client:
        account = client.ops.grant(
            options.account,
            max(1, round(options.minutes * 60_000)),
            source=options.source,
            expires_ms=expires_ms,
            key=options.key,
        )
    show_account(account, json=options.json)
    return exits.DONE


def ledger(options: argparse.Namespace) -> int:
    """List entries of the books."""
    found: list[LedgerEntry] = []
    after = options.after
    with connected(options) as client:
        while True:
            page = client.ops.ledger(options.account or "", after=after, limit=options.limit, newest=options.newest)
            found += page.entries
            if not options.all_pages or not page.more or not page.entries:
                break
            after = page.entries[-1].seq
    if options.json:
        balance = page.balance_ms if options.account else None
        print_json({"entries": found, "balance_ms": balance, "more": page.more})
        return exits.DONE
    print_table(LEDGER_COLUMNS, map(_ledger_row, found), "no entries")
    if options.account:
        print(f"balance: {_signed(page.balance_ms)}")
    _more(page.more)
    return exits.DONE


def blocks(options: argparse.Namespace) -> int:
    """List what policies have blocked."""
    found: list[Block] = []
    before = 0
    with connected(options) as client:
        while True:
            page = client.ops.blocks(options.account or "", before=before, limit=options.limit)
            found += page.blocks
            before = page.next
            if not options.all_pages or not before:
                break
    if options.json:
        print_json(found)
        return exits.DONE
    print_table(BLOCK_COLUMNS, map(_block_row, found), "nothing was blocked")
    _more(bool(page.next))
    return exits.DONE


def lift(options: argparse.Namespace) -> int:
    """End the timeout of an account."""
    with connected(options) as client:
        changed = client.ops.lift(options.account)
    if options.json:
        print_json({"lifted": changed})
    else:
        print("lifted" if changed else "it had none")
    return exits.DONE


def _block_row(block: Block) -> list[str]:
    when, account = words.moment(block.at_ms), words.short_account(block.account)
    return [str(block.number), when, account, block.stage, block.rule, block.job, block.message]


def _ledger_row(entry: LedgerEntry) -> list[str]:
    return [
        str(entry.seq),
        words.moment(entry.at_ms),
        words.short_account(entry.account),
        entry.kind,
        _signed(entry.amount_ms),
        entry.source,
        words.moment(entry.expires_ms),
        entry.job,
    ]


def _signed(ms: int) -> str:
    return f"-{words.span(-ms)}" if ms < 0 else words.span(ms)


def _more(more: bool) -> None:
    if more:
        print("salon: note: there are more; pass --all-pages", file=sys.stderr)
