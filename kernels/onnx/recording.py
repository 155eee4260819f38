"""Record a function of the op table as an ONNX model, and write it with its weights beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnx import TensorProto

from ..ops import Dtype
from .graph import Graph, Weight
from .inputs import Feeds, Opaque, feeds_of, flatten, symbol_of
from .recorder import Recorder

# Bytes at whose multiples a weight begins; a large one, so that runtimes can map the file.
ALIGNED, PAGE, LARGE = 64, 4096, 65536
Progress = Callable[[int, int], None]  # bytes that are written, and bytes in all


class Recording:
    """A recorded function.

    Args:
        host: the table whose arrays the function's arguments have.
        model: the ONNX model; its weights are named, and have neither a place nor numbers yet.
        weights: by their names.
        skeletons: of each argument, by its name.

    Attributes:
        inputs: the names of the model's inputs.
        result: the name of its output.
        arguments: the names of the function's arguments.
    """

    def __init__(self, host: Any, model: Any, weights: Mapping[str, Weight], skeletons: Mapping[str, Hashable]) -> None:
        self._host, self._skeletons = host, dict(skeletons)
        self.model, self.arguments = model, frozenset(skeletons)
        self.inputs = frozenset(given.name for given in model.graph.input)
        (self.result,) = (given.name for given in model.graph.output)
        names = {tensor.name for tensor in model.graph.initializer}
        self.weights = [weight for name, weight in weights.items() if name in names]

    @property
    def num_bytes(self) -> int:
        """Bytes of the file of weights, about."""
        return sum(weight.num_bytes for weight in self.weights)

    def feeds(self, arguments: Mapping[str, Any]) -> Feeds | None:
        """Return what is fed for some of the arguments; None: they are not like those that were recorded."""
        feeds: Feeds = {}
        for name, argument in arguments.items():
            try:
                leaves, skeleton, _ = flatten(argument, self._host.is_array, name)
            except Opaque:
                return None
            if skeleton != self._skeletons[name]:
                return None
            for leaf in leaves:
                feeds |= feeds_of(leaf, self._host)
        return {name: value for name, value in feeds.items() if name in self.inputs}


def size_of(recordings: Iterable[Recording]) -> int:
    """Return the bytes of weights that models need, each once."""
    weights = {weight.key: weight.num_bytes for recording in recordings for weight in recording.weights}
    return sum(weights.values())


def write(
    recordings: Mapping[Path, Recording], data: Path, progress: Progress | None = None
) -> dict[Path, dict[str, Any]]:
    """Write models to files, and the weights of all to one beside them, each once.

    Args:
        recordings: the models, by their files.
        data: the file of weights, in the same folder.
        progress: is told of every weight that is written.

    Returns:
        Bytes and SHA-256 (hex) of every file.
    """
    weights = {weight.key: weight for recording in recordings.values() for weight in recording.weights}
    total, done = size_of(recordings.values()), 0
    places, digest = dict[object, tuple[int, int]](), hashlib.sha256()
    with open(data, "wb") as file:
        for key, weight in weights.items():
            gap = bytes(-file.tell() % (PAGE if weight.num_bytes >= LARGE else ALIGNED))
            numbers = weight.read()
            assert numbers.shape == weight.shape, f"{weight.name}: {numbers.shape}"
            raw = numbers.reshape(-1).view(np.uint8).data
            for part in (gap, raw):
                digest.update(part)
                file.write(part)
            places[key] = file.tell() - raw.nbytes, raw.nbytes
            done += raw.nbytes
            if progress is not None:
                progress(done, total)
        written = {data: {"bytes": file.tell(), "sha256": digest.hexdigest()}}
    for path, recording in recordings.items():
        named = {weight.name: places[weight.key] for weight in recording.weights}
        for tensor in recording.model.graph.initializer:
            if tensor.name in named:
                offset, length = named[tensor.name]
                tensor.data_location = TensorProto.EXTERNAL
                del tensor.external_data[:]
                for key, value in (("location", data.name), ("offset", str(offset)), ("length", str(length))):
                    entry = tensor.external_data.add()
                    entry.key, entry.value = key, value
        raw = recording.model.SerializeToString(deterministic=True)
        path.write_bytes(raw)
        written[path] = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    return written


def record(
    host: Any,
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    result: str,
    dtype: Dtype = "float32",
    notes: Mapping[str, str] | None = None,
    named: bool = False,
) -> Recording:
    """Record `function(ops, **arguments)`, which returns an array.

    The sizes of the arguments must tell one another apart: what is equal among them counts as always equal.

    Args:
        host: the table whose arrays the arguments have.
        result: name of the output.
        dtype: compute dtype of the graph.
        notes: properties of the model.
        named: see `Graph`.

    Raises:
        RecordError: the function does what no graph can hold.
        Opaque: an argument has a part of a kind that cannot be an input.
    """
    recorder = Recorder(Graph(named=named), host, dtype)
    symbols, skeletons = {}, {}
    for name, argument in arguments.items():
        leaves, skeletons[name], rebuild = flatten(argument, host.is_array, name)
        made = [symbol_of(leaf, recorder) for leaf in leaves]
        symbols[name] = rebuild(iter(made))
    assert result not in recorder.graph.inputs, f"a result of the name of an input, {result!r}"
    found = function(recorder, **symbols)
    rows, width = found.shape
    output = found.read(), result, (recorder.sizes.name(rows, f"{result}.rows"), width)
    model = recorder.graph.model([output], dict(notes or {}))
    return Recording(host, model, recorder.graph.weights, skeletons)
