"""The scheduler's numbers: lane shares, windows and caps. Data, so that an operator can change them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import complaint
from .errors import PlanFileError


@dataclass(frozen=True)
class Policy:
    """One frozen set of numbers for all workers of a scheduler.

    Attributes:
        turbo_slack: by how much other work may lengthen a Turbo job: t(B) <= (1 + turbo_slack) t({i}), and likewise
            the sum of all that runs between its steps.
        turbo_wait: no shared step is planned longer than this share of a typical Turbo job alone: what a Turbo job may
            have to wait for when it arrives.
        turbo_share: share of a worker's time that Turbo may take over `window_ms`; past it, new Turbo jobs are Fast.
        relax_share: share of a worker's time that Relax gets at least, while it has work.
        window_ms: W, over which shares are kept.
        quantum_ms: Q, how far the service of two backlogged accounts of a lane may drift apart, in ms of work.
        efficiency: a batch grows until a step's fixed cost is at most 1 - efficiency of it: then this share of what
            sharing can gain is gained, and more company only delays.
        max_step_ms: no batch of several jobs is planned longer than this, so that a newcomer need not wait longer.
        max_floors: a shared step may take this many times the floor of the device, whatever `max_step_ms` and
            `turbo_wait` say: there no step takes less than once. Nothing where a device has no floor, as a CPU.
        ageing: ms of remaining work that one ms of waiting outweighs, within Fast and Draft.
        relax_ageing: ms of Relax use that one ms of waiting outweighs.
        max_losses: how often a job is started again after its worker died.
    """

    turbo_slack: float = 0.06
    turbo_wait: float = 0.08
    turbo_share: float = 0.80
    relax_share: float = 0.05
    window_ms: float = 60_000.0
    quantum_ms: float = 500.0
    efficiency: float = 0.97
    max_step_ms: float = 200.0
    max_floors: float = 2.0
    ageing: float = 0.25
    relax_ageing: float = 0.1
    max_losses: int = 3

    def __post_init__(self) -> None:
        bounds = {
            "turbo_slack": (0.0, 1.0), "turbo_wait": (0.0, 1.0),
            "turbo_share": (0.0, 1.0), "relax_share": (0.0, 0.5), "window_ms": (1.0, 1e9),
            "quantum_ms": (0.0, 1e9), "efficiency": (0.0, 0.999), "max_step_ms": (0.0, 1e9), "max_floors": (0.0, 1e3),
            "ageing": (0.0, 1e3), "relax_ageing": (1e-6, 1e3), "max_losses": (0, 1000),
        }  # fmt: skip
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), bounds[field.name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise PlanFileError(complaint(field.name, repr(value), f"a number from {low:g} to {high:g}", "fix it"))
            if not low <= value <= high:
                raise PlanFileError(complaint(field.name, repr(value), f"{low:g} to {high:g}", "choose another"))
