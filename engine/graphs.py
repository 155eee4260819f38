"""Replay the model's evaluation as a captured graph, so that a step costs the device's time and hardly the host's.

A graph belongs to a signature: shapes, strides, dtypes and launch sizes of everything that an evaluation reads. It has
arrays of its own for the latents, the times and all of the layout, adapter weights and segments included; a batch of an
equal signature is copied into them once, and each further step copies latents and times alone. So one graph serves any
mix of requests, and batches are padded (`padding.py`) so that many are alike. The evaluation of a signature is run
without a graph until it has been run once, because then everything is compiled; the next time it is captured.

Graphs are bounded in number and bytes, and the least recently used ones go first. A graph reads the adapter arena's
arrays where they lie, and goes when the arena replaces them.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..kernels.accelerator import Accelerator, CaptureError, Graph
from ..kernels.ops import Ops, Vector

if TYPE_CHECKING:
    from .adapters.arena import Arena
    from .denoiser import Denoiser

MAX_GRAPHS: Final = 32
MAX_BYTES: Final = 2 * 2**30  # of all graphs together, beside the layouts' copies
_REMEMBERED: Final = 1024  # signatures that were run once


@dataclasses.dataclass(eq=False)
class _Entry:
    """A captured evaluation.

    Attributes:
        graph: the graph.
        latents, times: what it reads.
        parts: arrays, vectors and segments of its layout, in the order of `_flatten`.
        version: of the pages that it reads.
        holds: layout that was copied into these last.
    """

    graph: Graph
    latents: Any
    times: Any
    parts: list[Any]
    version: int
    holds: Any = None


class StepGraphs:
    """The captured evaluations of a model on one device.

    Args:
        ops, denoiser: what is evaluated.
        device: the device that `ops` computes on.
        max_graphs, max_bytes: the bounds.

    Attributes:
        captures, replays, evictions, refused: counts since the start. Refused are signatures that cannot be captured,
            which are evaluated without a graph.
    """

    def __init__(
        self,
        ops: Ops[Any, Any],
        denoiser: Denoiser,
        device: Accelerator,
        *,
        max_graphs: int = MAX_GRAPHS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.ops, self.denoiser, self.device = ops, denoiser, device
        self.max_graphs, self.max_bytes = max_graphs, max_bytes
        self.captures = self.replays = self.evictions = self.refused = 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()  # least recently used first
        self._once: OrderedDict[Hashable, bool] = OrderedDict()  # signature -> whether it can be captured
        self._present: tuple[Any, int, Hashable | None, list[Any]] = (None, -1, None, [])  # of the last layout

    @property
    def num_graphs(self) -> int:
        """Number of graphs that are held."""
        return len(self._entries)

    @property
    def num_bytes(self) -> int:
        """Device bytes that the graphs hold."""
        return sum(entry.graph.num_bytes for entry in self._entries.values())

    def clear(self) -> None:
        """Drop all graphs, and with them their memory."""
        self.evictions += len(self._entries)
        self._entries.clear()
        self._present = (None, -1, None, [])

    def velocity(self, layout: Any, latents: Sequence[Any], times: Vector, pages: Arena) -> Any:
        """Evaluate the model as `Denoiser.velocity` does. The result is overwritten by the next call.

        Args:
            latents: the parts of the latents, one below another.
        """
        key, parts = self._look(layout, latents, times, pages.version)
        if key is None or not self._once.get(key, True):
            return self._plain(layout, latents, times, pages)
        entry = self._entries.get(key)
        if entry is None:
            if key not in self._once:
                self._once[key] = True
                while len(self._once) > _REMEMBERED:
                    self._once.popitem(last=False)
                return self._plain(layout, latents, times, pages)
            entry = self._captured(key, layout, latents, times, pages)
            if entry is None:
                return self._plain(layout, latents, times, pages)
        self._entries.move_to_end(key)
        if entry.holds is not layout:
            for into, part in zip(entry.parts, parts, strict=True):
                self.device.copy(into, part)
            entry.holds = layout
        start = 0
        for part in latents:
            stop = start + part.shape[0]
            self.device.copy(self.ops.rows(entry.latents, start, stop), part)
            start = stop
        self.device.copy(entry.times, times)
        entry.graph.replay()
        self.replays += 1
        return entry.graph.result

    def _plain(self, layout: Any, latents: Sequence[Any], times: Vector, pages: Arena) -> Any:
        whole = latents[0] if len(latents) == 1 else self.ops.concat(latents)
        return self.denoiser.velocity(self.ops, layout, whole, times, pages=pages)

    def _look(
        self, layout: Any, latents: Sequence[Any], times: Vector, version: int
    ) -> tuple[Hashable | None, list[Any]]:
        """Return the signature of an evaluation and the parts of its layout; None: it cannot be captured."""
        last, since, key, parts = self._present
        if last is layout and since == version:
            return key, parts
        if since != version:
            for stale in [name for name, entry in self._entries.items() if entry.version != version]:
                del self._entries[stale]
                self.evictions += 1
        try:
            parts, fixed, _ = _flatten(layout, self.device)
            rows = sum(part.shape[0] for part in latents)
            key = (rows, latents[0].shape[1], self.device.describe(times), version, fixed)
        except _Opaque:
            key, parts = None, []
            self.refused += 1
        self._present = (layout, version, key, parts)
        return key, parts

    def _captured(
        self, key: Hashable, layout: Any, latents: Sequence[Any], times: Vector, pages: Arena
    ) -> _Entry | None:
        """Capture an evaluation on arrays of its own. None: it cannot be, or the device has no room for it."""
        device, ops = self.device, self.ops
        while len(self._entries) >= max(1, self.max_graphs) or (self._entries and self.num_bytes > self.max_bytes):
            self._entries.popitem(last=False)
            self.evictions += 1
        try:
            parts, _, rebuild = _flatten(layout, device)
            own = [device.clone(part) for part in parts]
            whole = device.clone(latents[0] if len(latents) == 1 else ops.concat(latents))
            at, mine = device.clone(times), rebuild(own)

            def evaluate() -> Any:
                return self.denoiser.velocity(ops, mine, whole, at, pages=pages)

            evaluate()  # what ops make once of vectors and segments is there then, and is not made within the capture
            graph = device.capture(evaluate)
        except CaptureError:
            self._once[key] = False
            self.refused += 1
            return None
        except Exception as error:
            if not device.full(error):
                raise
            self._once[key] = False  # without a graph there may be room
            self.refused += 1
            self.clear()
            device.trim()
            return None
        self.captures += 1
        entry = self._entries[key] = _Entry(graph, whole, at, own, pages.version, holds=layout)
        return entry


class _Opaque(Exception):
    """A layout has a part of another kind than graphs can take over."""


_Rebuild = Callable[[Sequence[Any]], Any]
_Flat = tuple[list[Any], Hashable, _Rebuild]


def _flatten(value: Any, device: Accelerator) -> _Flat:
    """Return arrays, vectors and segments of a layout, everything else of it as something to compare, and what makes it
    anew of others like these.

    Raise _Opaque for a layout with a part of another kind than these, numbers, text, and tuples, lists, dicts and
    dataclasses of them.
    """
    described = device.describe(value)
    if described is not None:
        return [value], described, lambda parts: parts[0]
    if value is None or isinstance(value, bool | int | float | str | bytes | np.number):
        return [], (type(value).__name__, value), lambda _: value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        inner = [_flatten(getattr(value, name), device) for name in names]

        def made(parts: Sequence[Any]) -> Any:
            return dataclasses.replace(value, **dict(zip(names, _each(inner, parts), strict=True)))

        return _joined(inner), (type(value).__qualname__, tuple(fixed for _, fixed, _ in inner)), made
    if isinstance(value, tuple | list):
        inner = [_flatten(part, device) for part in value]
        kind: Any = type(value)
        make: Any = getattr(kind, "_make", kind)  # of a named tuple
        described = (kind.__name__, tuple(fixed for _, fixed, _ in inner))
        return _joined(inner), described, lambda parts: make(_each(inner, parts))
    if isinstance(value, dict):
        inner = [_flatten(part, device) for part in value.values()]
        described = ("dict", tuple(value), tuple(fixed for _, fixed, _ in inner))
        return _joined(inner), described, lambda parts: dict(zip(value, _each(inner, parts), strict=True))
    raise _Opaque(type(value).__name__)


def _joined(inner: list[_Flat]) -> list[Any]:
    return [part for parts, _, _ in inner for part in parts]


def _each(inner: list[_Flat], parts: Sequence[Any]) -> list[Any]:
    """Make every part of its own share of the parts."""
    found, start = [], 0
    for mine, _, rebuild in inner:
        found.append(rebuild(parts[start : start + len(mine)]))
        start += len(mine)
    return found
