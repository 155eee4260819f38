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
from ..errors import SalonError, complaint, is_text
from ..kernels.bfloat16 import widen
from .errors import StudioError, WorkerLost
from .fleet import Fleet, Slot
from .messages import Ack, AddAdapter, AddBranch, Array, Failure


@dataclass(eq=False)
class Thing:
    """A branch, or an adapter of a branch.

    Attributes:
        asked: what workers are to answer, those that were ready when it came.
        settled: all of them took it: it can be used, and is told to every worker that starts.
    """

    kind: str
    name: str
    arrays: dict[str, NDArray[np.float32]]
    branch: str = "default"
    asked: list[Future[Failure | None]] = field(default_factory=list)
    settled: bool = False

    def same(self, other: Thing) -> bool:
        """Whether it is the other one again."""
        return (
            self.branch == other.branch
            and self.arrays.keys() == other.arrays.keys()
            and all(np.array_equal(values, other.arrays[key]) for key, values in self.arrays.items())
        )

    def wait(self, timeout_s: float) -> SalonError | None:
        """Without the lock: until all workers have answered. The first error."""
        end = time.monotonic() + timeout_s
        for future in self.asked:
            try:
                failure = future.result(max(0.0, end - time.monotonic()))
            except TimeoutError:
                return WorkerLost(complaint("worker", "no answer", f"one within {timeout_s:g} s", "look at its log"))
            if failure is not None:
                return typed(failure)
        return None


@dataclass
class Registry:
    """Driven under the loop's lock.

    Attributes:
        adapters: id -> tokens, of those that are ready to be used.
    """

    fleet: Fleet
    adapters: dict[str, int] = field(default_factory=dict)
    _things: dict[tuple[str, str], Thing] = field(default_factory=dict)
    _acks: dict[int, tuple[str, Thing, Future[Failure | None]]] = field(default_factory=dict)

    def add_branch(self, name: str, weights: Mapping[str, NDArray[Any]]) -> Thing:
        """Tell all workers. StateError if the name belongs to other weights, SpecError for none that could be told."""
        name = _text("branch", name)
        arrays = {_text("weight", key): _floats(f"weight {key!r}", values) for key, values in weights.items()}
        return self._add(Thing("branch", name, arrays))

    def add_adapter(self, name: str, tokens: NDArray[Any], branch: str) -> Thing:
        """Tell all workers. StateError if the name belongs to other tokens: an id stands for one adapter for ever."""
        name, branch = _text("adapter", name), _text("adapter branch", branch)
        values = _floats(f"adapter {name!r}", tokens)
        if values.ndim != 2 or not np.isfinite(values).all():
            got = f"tokens of shape {list(values.shape)}"
            raise SpecError(complaint(f"adapter {name!r}", got, "[n, token width], all finite", "correct them"))
        return self._add(Thing("adapter", name, {"tokens": values}, branch))

    def settle(self, thing: Thing, error: SalonError | None) -> SalonError | None:
        """After `Thing.wait`: from now on it can be used, or it never was. The error, if it cannot."""
        if self._things.get((thing.kind, thing.name)) is not thing:
            return error or _gone(thing)  # it was dropped already
        if error is None:
            thing.settled = True
            if thing.kind == "adapter":
                self.adapters[thing.name] = len(thing.arrays["tokens"])
        elif not thing.settled:
            del self._things[thing.kind, thing.name]
        return error

    def replay(self, slot: Slot) -> None:
        """Tell a worker that starts everything, in the order in which it came."""
        for thing in self._things.values():
            self._tell(slot, thing)

    def heard(self, answer: Ack) -> Failure | None:
        """A worker's answer; the failure, if nobody waits for it."""
        if answer.number not in self._acks:
            return answer.failure
        _, thing, future = self._acks.pop(answer.number)
        future.set_result(answer.failure)
        return answer.failure if thing.settled else None

    def lost(self, slot: Slot) -> None:
        """A worker is gone. What it was told and has not answered may be the cause: it is not told again, unless it is
        in use already."""
        for number in [number for number, (name, _, _) in self._acks.items() if name == slot.port.name]:
            _, thing, future = self._acks.pop(number)
            error = _gone(thing)
            future.set_result(Failure.of(error))
            self.settle(thing, error)

    def _add(self, thing: Thing) -> Thing:
        known = self._things.get((thing.kind, thing.name))
        if known is not None:
            if known.same(thing):
                return known  # ready, or on its way
            remedy = "choose another name"
            raise StateError(complaint(f"{thing.kind} {thing.name!r}", "other values", "those that it has", remedy))
        ready = [slot for slot in self.fleet.slots.values() if slot.life]
        if not ready:  # nobody could say whether it is sound
            raise WorkerLost(complaint("worker", "none that is ready", "one", "try again in a moment"))
        self._things[thing.kind, thing.name] = thing
        thing.asked += [self._tell(slot, thing) for slot in ready]
        return thing

    def _tell(self, slot: Slot, thing: Thing) -> Future[Failure | None]:
        number, future = self.fleet.number(), Future[Failure | None]()
        self._acks[number] = slot.port.name, thing, future
        pairs = [Array.of(key, values) for key, values in thing.arrays.items()]
        records, frames = tuple(record for record, _ in pairs), [frame for _, frame in pairs]
        if thing.kind == "branch":
            self.fleet.send(slot, AddBranch(number, thing.name, records), frames)
        else:
            self.fleet.send(slot, AddAdapter(number, thing.name, thing.branch, records[0]), frames)
        return future


def _gone(thing: Thing) -> WorkerLost:
    return WorkerLost(complaint(f"{thing.kind} {thing.name!r}", "a worker that ended", "an answer", "try again"))


def _text(what: str, value: Any) -> str:
    """A name as plain text. SpecError for what a worker process could not be told."""
    if not isinstance(value, str) or not value or not is_text(value):
        raise SpecError(complaint(what, repr(value)[:80], "a name", "give it one"))
    return str.__str__(value)


def _floats(what: str, values: Any) -> NDArray[np.float32]:
    """A copy; bfloat16 bits come as uint16."""
    try:
        return widen(np.asarray(values), what)
    except (TypeError, ValueError) as error:
        raise SpecError(complaint(what, type(values).__name__, "an array of numbers", "correct it")) from error


def typed(failure: Failure) -> SalonError:
    """A worker's failure as the error that it was."""
    if failure.kind == WorkerLost.__name__:
        return WorkerLost(failure.text)
    kind = getattr(errors, failure.kind, None)
    if isinstance(kind, type) and issubclass(kind, SalonError) and not issubclass(kind, errors.CheckpointError):
        return kind(failure.text)
    return StudioError(str(failure))
