"""Every op, recorded as a graph of one batch and run by ONNX Runtime on another, against the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are made of it (extra: onnx)")
pytest.importorskip("onnxruntime", reason="it runs the graphs (extra: onnx)")

from salon.kernels.backends import create
from salon.kernels.onnx.arrays import RecordError
from salon.kernels.onnx.recording import record, write
from salon.kernels.ops import AdapterTerms
from salon.kernels.reference import ReferenceOps

Array = np.ndarray[Any, Any]
D, HEADS, COLUMNS = 24, 3, 8  # columns of rows; a head has 8
# The batch that is recorded, and two others: rows of text and of images of each sample, sides of the images.
BATCHES: list[tuple[list[int], list[tuple[int, int]]]] = [
    ([5, 40, 11], [(3, 5), (9, 8), (4, 7)]),
    ([7], [(6, 4)]),
    ([3, 1, 8, 2], [(2, 2), (5, 3), (2, 9), (4, 4)]),
]


@pytest.fixture(scope="module")
def host() -> Any:
    return create("onnx", threads=1)


class Batch:
    """Inputs of a batch, on a table."""

    def __init__(self, ops: Any, number: int) -> None:
        self.ops, rng = ops, np.random.default_rng(number)
        self.texts, self.grids = BATCHES[number]
        self.areas = [height * width for height, width in self.grids]
        self.samples, self.total = len(self.texts), sum(self.texts) + sum(self.areas)
        self.rng = rng

    def array(self, rows: int, width: int = D) -> Any:
        return self.ops.array(self.rng.standard_normal((rows, width)).astype(np.float32), "float32")

    def joint(self) -> Any:
        return self.ops.segments([*self.texts, *self.areas], [*range(self.samples)] * 2)

    def terms(self, first: int) -> dict[str, Any]:
        counts = [3, 2, 4, 1, 2, 3, 2, 4] if self.samples == 3 else [2, 3]
        ends = np.cumsum([0, *counts]).astype(np.int32)
        owners = np.array([first, first + self.samples - 1] * (len(counts) // 2), np.int32)
        rows = self.rng.permutation(37)[: ends[-1]].astype(np.int32)
        weights = np.linspace(0.3, 1, len(counts), dtype=np.float32)
        names = "segments", "offsets", "rows", "weights"
        made = dict(zip(names, self.ops.vectors(owners, ends, rows, weights), strict=True))
        return {
            **made,
            "keys": self.array(37),
            "values": self.array(37),
            "only": self.ops.vectors(np.unique(owners))[0],
        }


Made = Callable[[Batch], dict[str, Any]]
CASES: dict[str, tuple[Made, Callable[..., Any]]] = {}


def case(made: Made) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        CASES[function.__name__] = made, function
        return function

    return add


def rows_of(b: Batch) -> dict[str, Any]:
    return {
        "x": b.array(b.total), "y": b.array(b.total), "segments": b.joint(), "each": b.array(b.samples),
        "more": b.array(b.samples),
    }  # fmt: skip


class Weights:
    """Weights of a table, which every call of a function finds again."""

    def __init__(self, ops: Any) -> None:
        rng = np.random.default_rng(99)

        def drawn(*shape: int) -> Array:
            return (rng.standard_normal(shape) / 4).astype(np.float32)

        self.linear = ops.pack_linear([drawn(D, D)], [drawn(D)])
        self.double = ops.pack_linear([drawn(D, D), drawn(D, D)], [drawn(D), None], swiglu=True)
        self.qkv = ops.pack_linear([drawn(3 * D, D)])
        self.narrow = ops.pack_linear([drawn(2 * COLUMNS + D, D)])
        self.head, self.other = (ops.array(1 + drawn(1, COLUMNS), "float32") for _ in range(2))
        self.weight, self.bias = (ops.array(drawn(1, D), "float32") for _ in range(2))
        self.conv, self.point = ops.pack_conv(drawn(D, D, 3, 3), drawn(D)), ops.pack_conv(drawn(6, D, 1, 1), None)
        self.distances = ops.array(drawn(HEADS, 9), "float32")


WEIGHTS: dict[int, tuple[Any, Weights]] = {}  # by the id of a table, which is kept with them


def weights(ops: Any) -> Weights:
    table = getattr(ops, "host", ops)
    if id(table) not in WEIGHTS:
        WEIGHTS[id(table)] = table, Weights(table)
    return WEIGHTS[id(table)][1]


@case(rows_of)
def linears(ops: Any, x: Any, y: Any, segments: Any, each: Any, more: Any) -> Any:
    w, stream = weights(ops), ops.cast(x, "float32")
    for activation in ("none", "gelu_tanh", "gelu", "silu", "quick_gelu"):
        made = ops.linear(y, w.linear, activation=activation)
        ops.linear(made, w.linear, residual=stream, gate=each, segments=segments)
    for activation in ("swiglu", "geglu", "geglu_tanh"):
        ops.add(stream, ops.linear(y, w.double, activation=activation, dtype="float32"))
    ops.linear(y, w.linear, residual=stream)
    return stream


@case(rows_of)
def norms(ops: Any, x: Any, y: Any, segments: Any, each: Any, more: Any) -> Any:
    w = weights(ops)
    parts = [
        ops.modulate(x, each, more, segments),
        ops.modulate(x, None, more, segments, kind="rms", eps=1e-5, weight=w.weight),
        ops.norm(y, w.weight, w.bias),
        ops.norm(y, w.weight, kind="rms", eps=1e-6, dtype="float32"),
        ops.gated(x, y, "sigmoid"),
        ops.cast(x, activation="tanh"),
    ]
    total = ops.cast(parts[0], "float32")
    for part in parts[1:]:
        ops.add(total, part)
    ops.add(total, y, segments, gate=each)
    return total


def streams_of(b: Batch) -> dict[str, Any]:
    text, image = sum(b.texts), sum(b.areas)
    return {
        "text": b.array(text), "image": b.array(image), "sizes": (text, image), "segments": b.joint(),
        "cos": b.array(b.total, COLUMNS // 2), "sin": b.array(b.total, COLUMNS // 2),
    }  # fmt: skip


@case(streams_of)
def views(ops: Any, text: Any, image: Any, sizes: tuple[int, int], segments: Any, cos: Any, sin: Any) -> Any:
    """Streams that are parts of one array, written apart and read together, as double blocks do."""
    w, (first, second) = weights(ops), sizes
    stream = ops.concat([text, image])
    parts = ops.split(stream, [first, second])
    qkv = ops.empty(first + second, 3 * D)
    plain = ops.empty(first + second, D)
    for part, start, stop in ((parts[0], 0, first), (parts[1], first, first + second)):
        rows = ops.rows(qkv, start, stop)
        ops.linear(part, w.qkv, out=rows)
        turn = ops.rows(cos, start, stop), ops.rows(sin, start, stop)
        ops.qk_norm_rope(rows, HEADS, w.head, w.other, *turn, plain_q=ops.rows(plain, start, stop))
    q, k, v = (ops.columns(qkv, i * D, (i + 1) * D) for i in range(3))
    both = ops.empty(first + second, 2 * D)
    ops.linear(stream, w.linear, activation="silu", out=ops.columns(both, D, 2 * D))
    ops.attention(q, k, v, segments, HEADS, out=ops.columns(both, 0, D))
    for part, start, stop in ((parts[0], 0, first), (parts[1], first, first + second)):
        for left in (0, D):
            ops.linear(ops.columns(ops.rows(both, start, stop), left, left + D), w.linear, residual=part)
    ops.add(stream, plain)
    return stream


@case(streams_of)
def attentions(ops: Any, text: Any, image: Any, sizes: tuple[int, int], segments: Any, cos: Any, sin: Any) -> Any:
    """Fewer heads of keys, causal, with distances and a scale of its own."""
    w, x = weights(ops), ops.concat([text, image])
    qkv = ops.linear(x, w.narrow)
    ops.qk_norm_rope(qkv, HEADS, None, w.other, cos, sin, kv_heads=1)
    cuts = [(0, D), (D, D + COLUMNS), (D + COLUMNS, D + 2 * COLUMNS)]
    q, k, v = (ops.columns(qkv, *cut) for cut in cuts)
    total = ops.cast(ops.attention(q, k, v, segments, HEADS, kv_heads=1), "float32")
    ops.add(total, ops.attention(q, k, v, segments, HEADS, kv_heads=1, causal=True, scale=0.5))
    ops.add(total, ops.attention(q, k, v, segments, HEADS, kv_heads=1, bias=w.distances))
    return total


def crossed_of(b: Batch) -> dict[str, Any]:
    images, texts = b.ops.segments(b.areas), b.ops.segments(b.texts)
    return {
        "x": b.array(sum(b.areas)), "k": b.array(sum(b.texts)), "v": b.array(sum(b.texts)), "images": images,
        "texts": texts, "terms": b.terms(0),
    }  # fmt: skip


@case(crossed_of)
def adapters(ops: Any, x: Any, k: Any, v: Any, images: Any, texts: Any, terms: dict[str, Any]) -> Any:
    only = terms["only"]
    parts = {name: value for name, value in terms.items() if name != "only"}
    total = ops.cast(
        ops.attention(x, k, v, images, HEADS, kv_segments=texts, adapters=AdapterTerms(**parts)), "float32"
    )
    aside = ops.empty(*x.shape)
    apart = AdapterTerms(**parts, queries=total, out=aside)
    ops.attention(x, k, v, images, HEADS, kv_segments=texts, adapters=apart)
    ops.add(total, aside, images, only)
    return total


def lookups_of(b: Batch) -> dict[str, Any]:
    first = b.rng.integers(0, b.samples, b.total).astype(np.int32)
    numbers = b.rng.uniform(0, 1000, 4 * b.samples).astype(np.float32)
    places, told = b.ops.vectors(first, numbers)
    segments = b.ops.segments([text + area for text, area in zip(b.texts, b.areas, strict=True)])
    rows = {"x": b.array(b.total), "w": b.array(b.total, 1), "table": b.array(b.samples)}
    return {**rows, "places": places, "told": told, "segments": segments}


@case(lookups_of)
def lookups(ops: Any, x: Any, w: Any, places: Any, told: Any, table: Any, segments: Any) -> Any:
    count = len(segments)
    times, a, b, _ = (told[i * count : (i + 1) * count] for i in range(4))
    sinusoid = ops.cast(ops.timestep_embedding(times, D), "float32")
    total = ops.embed([places, places], [table, sinusoid])
    ops.blend(total, x, ops.zeros(*x.shape, "float32"), w, segments, a, b)
    ops.blend(total, x, total, w, segments, b, b)
    return total


def images_of(b: Batch) -> dict[str, Any]:
    return {"x": b.array(sum(b.areas)), "grids": np.array(b.grids, np.int32)}


@case(images_of)
def convolutions(ops: Any, x: Any, grids: Any) -> Any:
    w = weights(ops)
    y = ops.conv2d(x, w.conv, grids, residual=x)
    y = ops.group_norm_silu(y, w.weight, w.bias, grids, 6)
    y = ops.conv2d(y, w.conv, grids, wrap=True, dtype="float32")
    y = ops.group_norm_silu(y, w.weight, w.bias, grids, 3, eps=1e-3, silu=False)
    return ops.conv2d(y, w.point, grids)


@case(images_of)
def resolutions(ops: Any, x: Any, grids: Any) -> Any:
    w = weights(ops)
    finer = grids * np.int32(2)
    y = ops.upsample(ops.upsample(x, w.conv, grids), w.conv, finer, wrap=True)
    y = ops.downsample(y, w.conv, finer * np.int32(2), symmetric=True)
    return ops.conv2d(ops.downsample(y, w.conv, finer), w.point, grids)


@pytest.mark.parametrize("name", CASES)
def test_one_graph_serves_every_batch(host: Any, name: str, tmp_path: Path) -> None:
    made, function = CASES[name]
    recording = record(host, function, made(Batch(host, 0)), result="made")
    path = tmp_path / "graph.onnx"
    write({path: recording}, tmp_path / "weights")
    onnx.checker.check_model(str(path), full_check=True)
    session, reference = host.start(path), ReferenceOps()
    for number in range(len(BATCHES)):
        want = reference.numpy(function(reference, **made(Batch(reference, number))))
        feeds = recording.feeds(made(Batch(host, number)))
        assert feeds is not None
        session.bind({})
        got = session.run(feeds)
        assert got.shape == want.shape
        assert np.isfinite(want).all()
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_what_no_graph_can_hold_is_named_with_its_line(host: Any) -> None:
    def asks_the_host(ops: Any, x: Any) -> Any:
        return ops.array(ops.numpy(x))

    def cuts_anywhere(ops: Any, x: Any) -> Any:
        return ops.zeros(6, D)

    x = host.array(np.ones((35, D), np.float32))
    with pytest.raises(RecordError, match=r"array cannot be recorded: .*test_recorder.py, line \d+: return ops.array"):
        record(host, asks_the_host, {"x": x}, result="made")
    with pytest.raises(RecordError, match="6 rows, which are no size of the batch cannot be recorded: .*ops.zeros"):
        record(host, cuts_anywhere, {"x": x}, result="made")


def test_terms_of_adapters_are_a_node_that_a_runtime_may_have_a_kernel_of(host: Any, tmp_path: Path) -> None:
    """Those that have none find what it stands for in the model."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class AdapterTerms(OpRun):  # type: ignore[misc]  # onnx has no types
        op_domain = "salon"

        def _run(
            self, q: Array, keys: Array, values: Array, segment_of: Array, segments: Array, offsets: Array, rows: Array,
            weights: Array, heads: int = 0, width: int = 0, scale: float = 0.0,
        ) -> tuple[Array]:  # fmt: skip
            total = np.zeros_like(q)
            for m, segment in enumerate(segments):
                mine, hit = rows[offsets[m] : offsets[m + 1]], segment_of == segment
                for cut in (slice(h * width, (h + 1) * width) for h in range(heads)):
                    scores = np.exp(scale * q[hit][:, cut] @ keys[mine][:, cut].T)
                    total[hit, cut] += weights[m] * (scores / scores.sum(axis=1, keepdims=True)) @ values[mine][:, cut]
            return (total,)

    made, function = CASES["adapters"]
    recording = record(host, function, made(Batch(host, 0)), result="made", named=True)
    path = tmp_path / "graph.onnx"
    write({path: recording}, tmp_path / "weights")
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    assert [each.name for each in model.functions] == ["AdapterTerms"]
    assert sum(node.op_type == "AdapterTerms" for node in model.graph.node) == 2
    del model.functions[:]
    feeds = recording.feeds(made(Batch(host, 2)))
    session = host.start(path)
    session.bind({})
    (got,) = ReferenceEvaluator(model, new_ops=[AdapterTerms]).run(None, feeds)
    np.testing.assert_allclose(got, session.run(feeds), rtol=1e-4, atol=1e-5)
