"""Turn what a function is called with into inputs of a graph, and later calls into what is fed to them.

Arrays, vectors, segments and grids of the arguments become inputs, named by their places. Whole numbers are sizes of
the batch. Everything else has to be the same at each call: it is the skeleton, by which a recording is found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..segments import Segments
from .arrays import Array, Buffer
from .batches import RecordedGrids, RecordedSegments, RecordedVector
from .graph import FLOAT, INT64
from .recorder import Recorder

Feeds = dict[str, NDArray[Any]]


class Opaque(Exception):
    """An argument has a part that no graph can take as an input."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Leaf:
    """A part of the arguments that becomes an input, and its place."""

    name: str
    value: Any


_Rebuild = Callable[[Iterator[Any]], Any]


def flatten(value: Any, is_array: Callable[[Any], bool], name: str = "") -> tuple[list[_Leaf], Hashable, _Rebuild]:
    """Return the leaves of a value, its skeleton, and what makes it anew of others in the place of its leaves.

    Raises:
        Opaque: it has a part of another kind than arrays, vectors, segments, grids, numbers and text, and tuples,
            lists, dicts and dataclasses of them.
    """
    if isinstance(value, Segments):
        return [_Leaf(name, value)], "segments", next
    if is_array(value):
        return [_Leaf(name, value)], ("array", value.shape[1]), next
    if isinstance(value, np.ndarray):
        if value.ndim > 2 or value.dtype not in (np.int32, np.float32) or (value.ndim == 2 and value.shape[1] != 2):
            raise Opaque(f"{name}: {value.dtype} {list(value.shape)}")
        return [_Leaf(name, value)], ("vector" if value.ndim == 1 else "grids", value.dtype.name), next
    if type(value) is int:
        return [], "size", lambda _: value
    if value is None or isinstance(value, bool | float | str | np.number):
        return [], (type(value).__name__, value), lambda _: value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        inner = [flatten(getattr(value, field), is_array, f"{name}.{field}") for field in fields]

        def replaced(parts: Iterator[Any]) -> Any:
            return dataclasses.replace(value, **{f: make(parts) for f, (_, _, make) in zip(fields, inner, strict=True)})

        return _joined(inner), (type(value).__qualname__, tuple(part[1] for part in inner)), replaced
    if isinstance(value, tuple | list):
        inner = [flatten(part, is_array, f"{name}.{place}") for place, part in enumerate(value)]
        kind: Any = type(value)
        make: Any = getattr(kind, "_make", kind)  # of a named tuple
        skeleton = kind.__name__, tuple(part[1] for part in inner)
        return _joined(inner), skeleton, lambda parts: make([part[2](parts) for part in inner])
    if isinstance(value, dict):
        inner = [flatten(part, is_array, f"{name}.{key}") for key, part in value.items()]
        skeleton = "dict", (*value, *(part[1] for part in inner))
        return _joined(inner), skeleton, lambda parts: {k: part[2](parts) for k, part in zip(value, inner, strict=True)}
    raise Opaque(f"{name}: {type(value).__name__}")


def _joined(inner: list[tuple[list[_Leaf], Hashable, _Rebuild]]) -> list[_Leaf]:
    return [leaf for leaves, _, _ in inner for leaf in leaves]


def longest(segments: Segments) -> int:
    """Return how many rows the sample with most rows has."""
    counts = np.bincount(segments.owners, weights=np.diff(segments.offsets), minlength=1)
    return int(counts.max(initial=0))


def feeds_of(leaf: Any, host: Any) -> Feeds:
    """Return what is fed for a leaf, by the names of inputs."""
    name, value = leaf.name, leaf.value
    if isinstance(value, Segments):
        return {
            f"{name}.offsets": value.offsets.astype(np.int64),
            f"{name}.owners": value.owners.astype(np.int64),
            f"{name}.samples": np.arange(value.num_samples, dtype=np.int64),
            f"{name}.lanes": np.arange(longest(value), dtype=np.int64),
        }
    if isinstance(value, np.ndarray):
        return {name: value.astype(np.int64) if value.dtype == np.int32 else np.ascontiguousarray(value)}
    return {name: host.numpy(value)}


def symbol_of(leaf: Any, recorder: Recorder) -> Any:
    """Return what stands for a leaf while the function is recorded, and add the inputs that it is made of."""
    graph, sizes, name, value = recorder.graph, recorder.sizes, leaf.name, leaf.value
    if isinstance(value, Segments):
        count, samples = len(value), value.num_samples
        shapes = {
            "offsets": sizes.name(count + 1, f"{name}.ends"), "owners": sizes.name(count, f"{name}.count"),
            "samples": sizes.name(samples, "samples", f"{name}.samples"), "lanes": f"{name}.longest",
        }  # fmt: skip
        parts = {part: graph.input(f"{name}.{part}", INT64, (shape,)) for part, shape in shapes.items()}
        return RecordedSegments(sizes, **parts, num_rows=value.num_rows, count=count, num_samples=samples)
    if isinstance(value, np.ndarray) and value.ndim == 2:
        images = 1 if len(value) == 1 else sizes.name(len(value), "samples", f"{name}.images")
        return RecordedGrids(graph, graph.input(name, INT64, (images, 2)), value, recorder.grids)
    rows = value.shape[0]
    label = sizes.name(rows, f"{name}.rows")
    if isinstance(value, np.ndarray):
        made = graph.input(name, INT64 if value.dtype == np.int32 else FLOAT, (label,))
        sizes.learn(rows, made)
        return RecordedVector(graph, made, rows)
    width = value.shape[1]
    made = graph.input(name, FLOAT, (label, width))
    sizes.learn(rows, made)
    return Array(Buffer(sizes, rows, width, FLOAT, made), 0, rows, 0, width)
