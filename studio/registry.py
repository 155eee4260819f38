"""Adapters and adapter branches that every worker has, also one that was started later."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import errors
from ..engine.errors import SpecError, StateError
from ..errors import SalonError, complaint
from .errors import StudioError, WorkerLost
from .fleet import Fleet, Slot
from .messages import Ack, AddAdapter, AddBranch, Array, Failure


@dataclass
class _Thing:
    """A branch, or an adapter of a branch."""

    name: str
    arrays: dict[str, NDArray[np.float32]]
    branch: str | None = None

    def same(self, other: _Thing) -> bool:
        """Whether it is the other one again."""
        return (
            self.branch == other.branch
            and self.arrays.keys() == other.arrays.keys()
            and all(np.array_equal(values, other.arrays[key]) for key, values in self.arrays.items())
        )


@dataclass
class Registry:
    """Driven under the loop's lock, but for `wait`.

    Attributes:
        adapters: id -> tokens, of those that are ready to be used.
    """

    fleet: Fleet
    adapters: dict[str, int] = field(default_factory=dict)
    _things: dict[tuple[str, str], _Thing] = field(default_factory=dict)
    _acks: dict[int, tuple[str, Future[Failure | None]]] = field(default_factory=dict)

    def add_branch(self, name: str, weights: Mapping[str, NDArray[Any]]) -> list[Future[Failure | None]]:
        """Tell all workers. StateError if the name belongs to other weights."""
        arrays = {key: np.array(values, np.float32) for key, values in weights.items()}
        return self._add("branch", _Thing(name, arrays))

    def add_adapter(self, name: str, tokens: NDArray[Any], branch: str) -> list[Future[Failure | None]]:
        """Tell all workers. StateError if the name belongs to other tokens: an id stands for one adapter for ever."""
        if not isinstance(name, str) or not name:
            raise SpecError(complaint("adapter", repr(name), "a name", "give it one"))
        values = np.array(tokens, np.float32)
        if values.ndim != 2 or not np.isfinite(values).all():
            got = f"tokens of shape {list(values.shape)}"
            raise SpecError(complaint(f"adapter {name!r}", got, "[n, token width], all finite", "correct them"))
        return self._add("adapter", _Thing(name, {"tokens": values}, branch))

    def settle(self, kind: str, name: str, error: SalonError | None) -> None:
        """After `wait`: from now on it can be used, or it never was."""
        thing = self._things.get((kind, name))
        if error is not None:
            if name not in self.adapters or kind != "adapter":
                self._things.pop((kind, name), None)
        elif kind == "adapter" and thing is not None:
            self.adapters[name] = len(thing.arrays["tokens"])

    def replay(self, slot: Slot) -> None:
        """Tell a worker that starts everything, in the order in which it came."""
        for (kind, _), thing in self._things.items():
            self._tell(slot, kind, thing)

    def heard(self, answer: Ack) -> Failure | None:
        """A worker's answer; the failure, if nobody waits for it."""
        _, future = self._acks.pop(answer.number, ("", None))
        if future is None:
            return answer.failure
        future.set_result(answer.failure)
        return None

    def lost(self, slot: Slot) -> None:
        """A worker died: it will be told again when it is back."""
        for number in [number for number, (name, _) in self._acks.items() if name == slot.port.name]:
            self._acks.pop(number)[1].set_result(None)

    def _add(self, kind: str, thing: _Thing) -> list[Future[Failure | None]]:
        known = self._things.get((kind, thing.name))
        if known is not None:
            if known.same(thing):
                return []
            remedy = "choose another name"
            raise StateError(complaint(f"{kind} {thing.name!r}", "other values", "those that it has", remedy))
        self._things[kind, thing.name] = thing
        return [self._tell(slot, kind, thing) for slot in self.fleet.slots.values() if slot.life]

    def _tell(self, slot: Slot, kind: str, thing: _Thing) -> Future[Failure | None]:
        number, future = self.fleet.number(), Future[Failure | None]()
        self._acks[number] = slot.port.name, future
        pairs = [Array.of(key, values) for key, values in thing.arrays.items()]
        records, frames = tuple(record for record, _ in pairs), [frame for _, frame in pairs]
        if kind == "branch":
            self.fleet.send(slot, AddBranch(number, thing.name, records), frames)
        else:
            self.fleet.send(slot, AddAdapter(number, thing.name, thing.branch or "default", records[0]), frames)
        return future


def wait(futures: list[Future[Failure | None]], timeout_s: float) -> SalonError | None:
    """Without the lock: until all workers have answered. The first error."""
    end = time.monotonic() + timeout_s
    for future in futures:
        try:
            failure = future.result(max(0.0, end - time.monotonic()))
        except TimeoutError:
            return WorkerLost(complaint("worker", "no answer", f"one within {timeout_s:g} s", "look at its log"))
        if failure is not None:
            return typed(failure)
    return None


def typed(failure: Failure) -> SalonError:
    """A worker's failure as the error that it was."""
    kind = getattr(errors, failure.kind, None)
    if isinstance(kind, type) and issubclass(kind, SalonError) and not issubclass(kind, errors.CheckpointError):
        return kind(failure.text)
    return StudioError(str(failure))
