"""Take snapshots of a studio: queues, workers, counts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...scheduler.tickets import Stage
from ..job import JobState

if TYPE_CHECKING:
    from .core import Core


@dataclass(frozen=True, kw_only=True)
class WorkerView:
    """A worker.

    Attributes:
        state: "starting", "idle", "busy" or "gone".
        started_jobs: that it has seats for.
        steps, step_ms: step plans, and their mean duration.
        busy_share: of the last minute.
        cost_error: mean of |predicted - measured| / measured over its step plans.
        losses: times that it was lost.
        arena_hits, arena_misses, arena_bytes: of its adapters.
    """

    name: str
    state: str
    started_jobs: int
    steps: int
    step_ms: float
    busy_share: float
    cost_error: float
    losses: int
    arena_hits: int
    arena_misses: int
    arena_bytes: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A studio at one moment; `queued` and `running` are jobs by lane, paused ones among the queued.

    `batch_jobs`: mean jobs in a step batch."""

    held: bool
    queued: Mapping[str, int]
    running: Mapping[str, int]
    steps: int
    batch_jobs: float
    workers: tuple[WorkerView, ...]


def take(core: Core) -> Snapshot:
    """Take a snapshot of a core whose lock is held. O(jobs that have not ended)."""
    queued: Counter[str] = Counter()
    running: Counter[str] = Counter()
    for entry in core.pool.entries.values():
        (running if entry.job.state is JobState.RUNNING else queued)[str(entry.job.lane)] += 1
    metrics, now = core.metrics, time.monotonic()
    steps = metrics.plans[Stage.STEP]
    views = []
    for name, slot in core.pool.slots.items():
        own = metrics.workers[name]
        state = "gone" if slot.gone else "starting" if slot.life == 0 else "idle" if slot.idle else "busy"
        known = core.scheduler.workers.get(name)
        views.append(
            WorkerView(
                name=name,
                state=state,
                started_jobs=len(known.seats) if known is not None else 0,
                steps=own.steps,
                step_ms=own.step_ms / own.steps if own.steps else 0.0,
                busy_share=own.busy_share(now, metrics.start),
                cost_error=own.error / own.steps if own.steps else 0.0,
                losses=own.losses,
                arena_hits=own.arena.hits,
                arena_misses=own.arena.misses,
                arena_bytes=own.arena.num_bytes,
            )
        )
    return Snapshot(
        held=core.held,
        queued=dict(queued),
        running=dict(running),
        steps=steps,
        batch_jobs=metrics.batch_jobs / steps if steps else 0.0,
        workers=tuple(views),
    )
