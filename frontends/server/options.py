"""What `salon serve` is told. The command line reads its defaults from here; standard library only."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ...system import home

DEFAULT_LISTEN: Final = "tcp://127.0.0.1:5599"
DEFAULT_METRICS: Final = "127.0.0.1:5600"


def default_data() -> Path:
    """`$XDG_DATA_HOME/salon`, or `~/.local/share/salon` where that is not set (or relative, which does not count).

    Raises:
        NoHome: neither is there.
    """
    base = os.environ.get("XDG_DATA_HOME", "")
    folder = Path(base) if os.path.isabs(base) else home("name a folder with --data") / ".local" / "share"
    return folder / "salon"


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Everything about a server; nothing is read from the environment later.

    Attributes:
        listen: addresses to bind, `tcp://HOST:PORT`.
        data: folder of the server's key, the database (without `database`) and the pictures; made if it is not there.
        database: SQLAlchemy's URL; None: SQLite in `data`.
        model: folder in diffusers' layout; None: the embedded one.
        workers: engines, each with the whole model.
        threads: of each engine; None: the usable cores, shared out.
        backend, isa, dtype: see `Engine.load`; None: the best here.
        process: each engine in a process of its own, which is watched and started again.
        paused: accept jobs, but start no step before `salon ops resume`.
        plans: another plans file than `scheduler/plans.toml`.
        metrics: `HOST:PORT` of the page of metrics; None: none.
        operators: accounts (64 hex digits) that are operators, besides those in the books; blocked ones no longer are.
        curve: encrypt and identify; None: exactly if an address of `listen` is beyond loopback.
        open: a key that is not in the books gets an account; else it is turned away.
        open_plan: of these accounts; None: the lowest one of the plans file.
        open_accounts: they are made while there are fewer accounts than this; then new keys are turned away.
        keep_days: pictures are deleted so long after their job's end; None: never.
        quota_bytes: of stored pictures, for each account; 0: no limit.
        rate, burst: requests a second that one account may send over time, and at once; a rate of 0: no limit; None:
            500 with `curve`, else no limit.
        grace_s: after SIGTERM, running jobs may go on so long; what is left goes on after the next start.
        log_json: log lines as JSON objects.
    """

    listen: tuple[str, ...] = (DEFAULT_LISTEN,)
    data: Path = field(default_factory=default_data)
    database: str | None = None
    model: str | None = None
    workers: int = 1
    threads: int | None = None
    backend: str = "cpu"
    isa: str | None = None
    dtype: str | None = None
    process: bool = True
    paused: bool = False
    plans: Path | None = None
    metrics: str | None = DEFAULT_METRICS
    operators: tuple[str, ...] = ()
    curve: bool | None = None
    open: bool = False
    open_plan: str | None = None
    open_accounts: int = 1000
    keep_days: float | None = None
    quota_bytes: int = 0
    rate: float | None = None
    burst: int = 1000
    grace_s: float = 10.0
    log_json: bool = False
