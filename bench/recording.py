"""The calls that the shipped model makes of the op table: what `ops` measures, so that its shapes cannot drift.

A `Recorder` stands around a backend while the engine takes a step and decodes; every call of an op that has a case in
`cases` becomes a `Call`, with how often it was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..engine.engine import Engine
from ..engine.limits import Limits
from ..engine.loading import load_model
from ..engine.spec import AdapterUse
from ..kernels import backends
from .adapters import Shipped
from .facts import SHIPPED

# What is no work of its own (views, buffers, copies of a few rows), or is too small to have a floor.
NOT_MEASURED = frozenset(
    {"array", "numpy", "empty", "zeros", "rows", "columns", "concat", "split", "cast", "add", "embed", "norm",
     "timestep_embedding", "solver_step", "blend", "pack_linear", "pack_conv", "name", "compute", "vectors",
     "segments", "finite"}
)  # fmt: skip
LARGE = 512  # pixels along the sides of a picture for which attention counts


class Call(NamedTuple):
    """An op on one shape. `arguments`: of the method of `cases.Cases` that is called like the op."""

    op: str
    arguments: tuple[tuple[str, Any], ...]


class Recorder:
    """A backend that notes the calls which it passes on.

    Attributes:
        calls: of each, how often; None: nothing is noted.
        used: names of all ops that were called while it noted.
        given: of each call, the arguments that it was first made with, to make it again.
    """

    def __init__(self, ops: Any) -> None:
        self._ops = ops
        self.calls: Counter[Call] | None = None
        self.used: set[str] = set()
        self.given: dict[Call, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ops, name)
        if self.calls is None:
            return found
        self.used.add(name)
        read: Callable[..., dict[str, Any]] | None = _READERS.get(name)
        if read is None:
            return found

        def noted(*arguments: Any, **named: Any) -> Any:
            assert self.calls is not None
            call = Call(name, tuple(sorted(read(*arguments, **named).items())))
            self.calls[call] += 1
            self.given.setdefault(call, (arguments, named))
            return found(*arguments, **named)

        return noted

    @contextmanager
    def noting(self) -> Iterator[Counter[Call]]:
        """Note the calls that are made inside."""
        self.calls = Counter()
        try:
            yield self.calls
        finally:
            self.calls = None


def _linear(x: Any, weight: Any, **named: Any) -> dict[str, Any]:
    gate = named.get("gate")
    return {
        "rows": x.shape[0], "k": weight.k, "n": weight.n, "activation": named.get("activation", "none"),
        "gated": 0 if gate is None else gate.shape[0], "dtype": named.get("dtype", "compute"),
    }  # fmt: skip


def _attention(q: Any, k: Any, v: Any, segments: Any, heads: int, **named: Any) -> dict[str, Any]:
    terms = named.get("adapters")
    samples, adapters, tokens = segments.num_samples, 0, 0
    if terms is not None:
        acted_on = len(set(terms.segments.tolist()))
        adapters, tokens = len(terms.segments) // acted_on, int(terms.offsets[1])
    rows = segments.num_rows // samples
    assert rows * samples == segments.num_rows, "samples of one size"
    found = {"samples": samples, "rows": rows, "heads": heads, "width": q.shape[1] // heads}
    return {**found, "adapters": adapters, "tokens": tokens}


def _modulate(x: Any, shift: Any, scale: Any, segments: Any, **named: Any) -> dict[str, Any]:
    return {"samples": shift.shape[0], "rows": x.shape[0] // shift.shape[0], "d": x.shape[1]}


def _qk_norm_rope(qkv: Any, heads: int, *rest: Any, **named: Any) -> dict[str, Any]:
    return {"rows": qkv.shape[0], "heads": heads, "width": qkv.shape[1] // (3 * heads)}


def _conv2d(x: Any, weight: Any, grids: Any, **named: Any) -> dict[str, Any]:
    height, width = grids[0].tolist()
    return {
        "images": len(grids), "height": height, "width": width, "inputs": x.shape[1], "outputs": weight.n,
        "taps": weight.taps, "residual": named.get("residual") is not None,
    }  # fmt: skip


def _upsample(x: Any, weight: Any, grids: Any, **named: Any) -> dict[str, Any]:
    height, width = grids[0].tolist()
    return {"images": len(grids), "height": height, "width": width, "inputs": x.shape[1], "outputs": weight.n}


def _group_norm_silu(x: Any, weight: Any, bias: Any, grids: Any, groups: int, **named: Any) -> dict[str, Any]:
    height, width = grids[0].tolist()
    return {"images": len(grids), "height": height, "width": width, "channels": x.shape[1], "groups": groups}


_READERS: dict[str, Callable[..., dict[str, Any]]] = {
    "linear": _linear, "attention": _attention, "modulate": _modulate, "qk_norm_rope": _qk_norm_rope,
    "conv2d": _conv2d, "upsample": _upsample, "group_norm_silu": _group_norm_silu,
}  # fmt: skip


def record(ops: Any = None, images: int = 4) -> tuple[Counter[Call], set[str]]:
    """Record the calls of one default grid of the shipped model and the names of all ops that it used.

    A step and a decode without adapters; the attention calls of a step with the shipped adapter once and four times
    for each picture, and those of a step of one large picture."""
    recorder = Recorder(ops or backends.create("cpu"))
    engine = Engine(recorder, load_model(recorder, SHIPPED, Limits()), Limits())
    adapter = Shipped.of(engine)
    names = adapter.register(engine, 4)
    found: Counter[Call] = Counter()

    def step(**fields: Any) -> Counter[Call]:
        generation = engine.open(engine.make_spec("a red apple", steps=1, **fields))
        with recorder.noting() as calls:
            engine.step([generation])
        if not fields.get("adapters") and "width" not in fields:
            with recorder.noting() as decoding:
                engine.finish(generation)
            calls += decoding
        engine.close(generation)
        return calls

    found += step(images=images)
    for number in (1, 4):
        found += _only(step(images=images, adapters=tuple(AdapterUse(name) for name in names[:number])), adapters=True)
    found += _only(step(width=LARGE, height=LARGE), adapters=False)
    return found, recorder.used


def _only(calls: Counter[Call], *, adapters: bool) -> Counter[Call]:
    """Return the attention calls: with adapters, or all."""
    kept = {call: n for call, n in calls.items() if call.op == "attention"}
    return Counter({call: n for call, n in kept.items() if not adapters or dict(call.arguments)["adapters"]})
