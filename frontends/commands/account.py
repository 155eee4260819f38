"""`salon info` and `salon keys`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ...scheduler.calendar import spoken
from . import exits, words
from .connection import connected
from .tables import print_json, print_pairs

if TYPE_CHECKING:
    from ..wire.messages import AccountInfo


def info(options: argparse.Namespace) -> int:
    """Show an account."""
    with connected(options) as client:
        account = client.info(options.account or "")
    show_account(account, json=options.json)
    return exits.DONE


def show_account(account: AccountInfo, *, json: bool) -> None:
    """Print one account, whole."""
    if json:
        print_json(account)
    else:
        print_pairs(account_pairs(account))


def account_pairs(account: AccountInfo) -> list[tuple[str, str]]:
    """Return all that is known of an account, by name."""
    quota = f" of {words.size(account.quota_bytes)}" if account.quota_bytes else ""
    return [
        ("account", account.account),
        ("name", account.name),
        ("role", account.role + (", blocked" if account.blocked else "")),
        ("plan", account.plan),
        ("timeout", f"until {words.moment(account.timeout_ms)}, blocked too often" if account.timeout_ms else ""),
        ("renewal", words.moment(account.renewal_ms)),
        ("fast time", fast_time(account)),
        ("held", spoken(account.held_ms) + " by jobs that have not ended" if account.held_ms else ""),
        ("relax time", spoken(account.relax_ms) + " used" if account.relax_ms else ""),
        ("lifetime", f"{spoken(account.lifetime_ms)}, {words.plural(account.lifetime_jobs, 'job')}"),
        ("jobs now", f"{account.num_running} running, {account.num_queued} queued"),
        ("stored", words.size(account.stored_bytes) + quota),
    ]


def fast_time(account: AccountInfo) -> str:
    """Write the time that is left: "2 h 3 min (plan 2 h, bonus 3 min)"."""
    if account.fast_ms is None:
        return "unlimited"
    total = spoken(sum(account.fast_ms.values()))
    parts = ", ".join(f"{name} {spoken(ms)}" for name, ms in account.fast_ms.items() if ms)
    return f"{total} left ({parts})" if parts else f"{total} left"


def keys(options: argparse.Namespace) -> int:
    """Print the public key; make the pair where there is none. Nothing here ever prints a secret."""
    from ..wire.keys import client_key_path, load_or_make, load_pair

    path = client_key_path()
    made = not path.exists() and not options.show
    pair = load_or_make(path) if made else load_pair(path)
    if options.json:
        print_json({"account": pair.account, "file": str(path), "made": made})
        return exits.DONE
    if made:
        print(f"salon: note: made a key pair in {words.clean(str(path))}; keep a copy", file=sys.stderr, flush=True)
    print(pair.account)
    return exits.DONE
