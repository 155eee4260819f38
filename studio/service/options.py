"""What a service stands on. A server's own options add to these; standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Store, model, workers, plans and accounts of a service.

    Attributes:
        data: folder of the database (without `database`) and the pictures; made if it is not there.
        database: SQLAlchemy's URL; None: SQLite in `data`.
        model: folder in diffusers' layout; None: the embedded one.
        workers: engines, each with the whole model.
        threads: of each engine; None: the usable cores, shared out.
        backend, isa, dtype: see `Engine.load`; None: the best here.
        process: each engine in a process of its own, which is watched and started again.
        plans: another plans file than `scheduler/plans.toml`.
        operators: accounts that are operators, besides those in the store; blocked ones no longer are.
        open: an account that is not in the store is opened when it comes; else it is turned away.
        open_plan: of these accounts; None: the lowest one of the plans file.
        open_accounts: they are made while there are fewer accounts than this; then new ones are turned away.
        keep_days: pictures are deleted so long after their job's end; None: never.
        quota_bytes: of stored pictures, for each account; 0: no limit.
    """

    data: Path
    database: str | None = None
    model: str | None = None
    workers: int = 1
    threads: int | None = None
    backend: str = "cpu"
    isa: str | None = None
    dtype: str | None = None
    process: bool = True
    plans: Path | None = None
    operators: tuple[str, ...] = ()
    open: bool = False
    open_plan: str | None = None
    open_accounts: int = 1000
    keep_days: float | None = None
    quota_bytes: int = 0
