"""The mixed load: what people of four lanes ask of one small server, seeded.

Fast and Draft jobs arrive at random (Poisson). One Turbo user asks for a grid, waits for it, looks at it for a while
and asks again. Relax is a backlog of several accounts that is longer than the run, so the device always has work:
goodput then says what a scheduler makes of the device, and Turbo's finish what its user notices of the others.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...engine.info import ModelInfo
from ...engine.spec import AdapterUse, GenerationSpec
from ...scheduler.tickets import Lane, Ticket
from ...studio.scheduling.tickets import ticket_of

SIZES = ((128, 128), (176, 96), (96, 176), (160, 112), (192, 128))
PROMPTS = ("a red apple, doodle", "a whale, on a pink background", "a rocket, 3d render", "a cat, bold ink", "a house")
GUIDANCE = (-0.5, 0.0, 1.0)  # of guided jobs, beside the model's own
UNGUIDED = 0.25  # share of Fast and Relax jobs: half the samples
NUM_ADAPTERS, ADAPTER_TOKENS = 4, 4  # random ones
NUM_STYLES = 4  # of the shipped adapter
FAST_LOAD, DRAFT_LOAD = 0.25, 0.10  # share of the device's time, served one by one
RELAX_LOAD = 2.0  # the backlog, in lengths of the run
ACCOUNTS = 8
LIMIT = 3  # started jobs of an account


@dataclass(frozen=True)
class Request:
    """A job to be submitted at `time` ms."""

    time: float
    spec: GenerationSpec
    ticket: Ticket


class Load:
    """A seeded mix for `seconds` of run time.

    Args:
        adapters: name -> tokens of those that jobs use.

    Attributes:
        requests: Fast, Draft and Relax, in order of time.
        info: of the engine that the requests are for.
    """

    def __init__(self, info: ModelInfo, solo: Any, seconds: float, seed: int, adapters: Mapping[str, int]) -> None:
        self.info, self._solo = info, solo
        self._draw = random.Random(f"lanes {seed}")
        self._count = 0
        self._turbo_ms = 0.0
        self.adapters = dict(adapters)
        self._guidance: float = info.defaults["guidance_scale"]
        self.specs: dict[str, GenerationSpec] = {}
        horizon = 1000 * seconds
        requests = [
            *self._poisson(Lane.FAST, FAST_LOAD, horizon),
            *self._poisson(Lane.DRAFT, DRAFT_LOAD, horizon),
            *self._backlog(RELAX_LOAD * horizon),
        ]
        self.requests = sorted(requests, key=lambda request: request.time)

    def turbo(self, time: float) -> Request:
        """Make the Turbo user's next grid: four pictures as the model makes them by default."""
        spec = self.info.make_spec(
            "a red apple, 3d render, on a teal background", images=4, seed=self._draw.randrange(2**32),
            adapters=self._uses(2),
        )  # fmt: skip
        request = self._request(Lane.TURBO, "turbo user", spec, time)
        self._turbo_ms = self._solo(request.ticket)
        return request

    def pause(self) -> float:
        """Draw how long the Turbo user looks at a grid, ms: about as long as a grid or two take."""
        return self._draw.uniform(0.7, 2.3) * self._turbo_ms

    def traits(self, job: str) -> tuple[str, int, int, int]:
        """Return what an engine that joins only equals has to compare: size, images, guidance, adapters."""
        spec = self.specs[job]
        adapters = hash(tuple((use.adapter, use.weight) for use in spec.adapters)) if spec.adapters else 0
        return f"{spec.width}x{spec.height}", spec.images, round(100 * spec.guidance_scale), adapters

    def _poisson(self, lane: Lane, load: float, horizon: float) -> list[Request]:
        found: list[Request] = []
        time = 0.0
        while time < horizon:
            request = self._random(lane, time)
            found.append(request)
            time += self._draw.expovariate(load / self._solo(request.ticket))
        return found

    def _backlog(self, work: float) -> list[Request]:
        found: list[Request] = []
        while work > 0:
            found.append(self._random(Lane.RELAX, 0.0))
            work -= self._solo(found[-1].ticket)
        return found

    def _random(self, lane: Lane, time: float) -> Request:
        draw = self._draw
        width, height = (64, 64) if lane is Lane.DRAFT else draw.choice(SIZES)
        guidance = self._guidance + draw.choice(GUIDANCE)
        spec = GenerationSpec(
            prompt=draw.choice(PROMPTS), width=width, height=height,
            steps=draw.choice((4, 6, 8) if lane is Lane.DRAFT else (8, 12, 20, 28)),
            images=draw.choice((1, 2)) if lane is Lane.DRAFT else draw.choice((1, 1, 2, 4)),
            guidance_scale=1.0 if lane is Lane.DRAFT or draw.random() < UNGUIDED else guidance,
            seed=draw.randrange(2**32), adapters=self._uses(draw.choice((0, 0, 1, 2))),
        )  # fmt: skip
        return self._request(lane, f"{lane.value} {draw.randrange(ACCOUNTS)}", spec, time)

    def _uses(self, number: int) -> tuple[AdapterUse, ...]:
        names = self._draw.sample(sorted(self.adapters), number)
        return tuple(AdapterUse(name, self._draw.choice((0.3, 0.6, 1.0))) for name in names)

    def _request(self, lane: Lane, account: str, spec: GenerationSpec, time: float) -> Request:
        self._count += 1
        job = f"{lane.value}-{self._count}"
        self.specs[job] = spec
        ticket = ticket_of(
            self.info, spec, job=job, account=account, lane=lane, max_running=LIMIT, adapters=self.adapters
        )
        return Request(time, spec, ticket)
