"""The dry run: what a prompt would do, and what it would cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...parameters.known import parameters
from .request import ResolvedRequest, Source

if TYPE_CHECKING:
    from ...engine.spec import GenerationSpec


class PlannedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a prompt would make.

    Attributes:
        prompt: with everything that the account's settings add.
        parameters: every value by name; a seed only where one is given. `sources`: where each comes from.
        lane: that it asks for.
        cost_ms: GPU time that it would be charged.
        list_ms: the same for an account whose time is counted.
    """

    prompt: str
    parameters: dict[str, Any]
    sources: dict[str, str]
    lane: str
    cost_ms: int
    list_ms: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a prompt would do. `queue_position`: jobs that wait in its lane before it."""

    jobs: tuple[PlannedJob, ...]
    total_cost_ms: int
    queue_position: int = 0


def planned_job(
    request: ResolvedRequest, spec: GenerationSpec, *, cost_ms: int, list_ms: int, remade: bool = False
) -> PlannedJob:
    """Return the plan of one request, whose spec is known. `remade`: it makes something of a picture."""
    whole = request.completed(spec, remade=remade)
    values = {
        name: each
        for name, each in whole.values.items()
        if name in parameters() and not (name == "seed" and each.source is Source.DEFAULT)
    }
    return PlannedJob(
        prompt=whole.printed(),
        parameters={name: each.value for name, each in values.items()},
        sources={name: str(each.source) for name, each in values.items()},
        lane=request.lane,
        cost_ms=cost_ms,
        list_ms=list_ms,
    )


def plan_of(jobs: Sequence[PlannedJob], queue_position: int = 0) -> Plan:
    """Return the plan of several jobs."""
    total = sum(job.cost_ms for job in jobs)
    return Plan(jobs=tuple(jobs), total_cost_ms=total, queue_position=queue_position)
