"""A row's bits depend on its own sample alone, on every op of the triton table; bad numbers stay where they belong."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from salon.kernels.ops import AdapterTerms, GuidanceTerms
from salon.kernels.segments import Segments
from salon.kernels.triton import linear
from salon.kernels.triton.devices import Device
from salon.kernels.triton.linear import TritonLinear
from salon.kernels.triton.table import TritonOps

from ..test_attention import Case, make, make_terms, rows_of
from .conftest import make_pair


@pytest.fixture(scope="module")
def ops() -> Any:
    return make_pair("float32").cpu


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def batch(pair, rng, apart):
    """Three samples in five segments, terms on three of them."""
    case = make(pair, rng, 1, 10, Segments.of([3, 10, 1, 19, 4], [0, 1, 2, 0, 1], 3))
    lists = [[], [([0, 1, 2, 3], 0.5)], [([4, 5], 1.0), ([6], 0.2)], [(list(range(20)), -0.3)] * 2, []]
    return replace(case, terms=make_terms(pair, rng, lists, 10, queries_rows=37, apart=apart))


@pytest.mark.parametrize("apart", [False, True])
def test_attention(pair, rng, apart):
    """A sample has the bits that it has alone; segments without terms have those that they have without any."""
    case = batch(pair, rng, apart)
    full = case.run(pair.cpu)
    plain = replace(case, terms=None).run(pair.cpu)[0]
    without = [*range(3), *range(33, 37)]
    np.testing.assert_array_equal(full[0][without], plain[without])
    assert np.array_equal(full[0][3:33], plain[3:33]) == apart
    for sample in range(3):
        mine, picked = rows_of(case.segments, sample), np.flatnonzero(case.segments.owners == sample)
        terms = replace(case.terms, lists=[case.terms.lists[j] for j in picked], queries=case.terms.queries[mine])
        segments = Segments.of(case.segments.lengths()[picked].tolist(), [0] * len(picked))
        alone = Case(case.q[mine], case.k[mine], case.v[mine], 1, segments, None, terms)
        for a, b in zip(alone.run(pair.cpu), full, strict=True):
            assert (a is None) == (b is None)
            assert a is None or np.array_equal(a, b[mine])


def test_bad_numbers_stay_in_their_sample(pair, rng):
    case = batch(pair, rng, False)
    clean = case.run(pair.cpu)[0]
    mine = rows_of(case.segments, 1)
    others = np.setdiff1d(np.arange(37), mine)
    for name in ("k", "v"):
        values = getattr(case, name).copy()
        values[mine[5]] = np.nan
        got = replace(case, **{name: values}).run(pair.cpu)[0]
        assert np.isnan(got[mine]).all()
        assert np.array_equal(got[others], clean[others])
    q, values = case.q.copy(), case.terms.values.copy()
    q[16] = np.nan
    got = replace(case, q=q).run(pair.cpu)[0]
    assert np.isnan(got[16]).all()
    assert np.array_equal(np.delete(got, 16, 0), np.delete(clean, 16, 0))
    values[5] = np.nan  # of segments 2 and 3
    got = replace(case, terms=replace(case.terms, values=values)).run(pair.cpu)[0]
    assert np.isnan(got[13:33]).all()
    assert np.array_equal(np.delete(got, range(13, 33), 0), np.delete(clean, range(13, 33), 0))


def test_rows_of_products_and_norms(pair, rng):
    """Slices that begin anywhere in a tile, gated and not."""
    ops, count, width = pair.cpu, 37, 35
    x, stream, gates = normal(rng, count, 70), normal(rng, count, width), normal(rng, 3, width)
    packed = ops.pack_linear([normal(rng, width, 70)])
    owners = Segments.of([4, 20, 13]).row_owners()
    qkv, turn, weight = normal(rng, count, 36), normal(rng, 2, count, 3), normal(rng, 1, 6)

    def run(start: int, stop: int) -> list[Any]:
        part = Segments.of([1] * (stop - start), owners[start:stop].tolist(), 3)
        given, gate, w = ops.array(x[start:stop]), ops.array(gates, "float32"), ops.array(weight, "float32")
        total, heads = ops.array(stream[start:stop], "float32"), ops.array(qkv[start:stop])
        cos, sin = (ops.array(t[start:stop], "float32") for t in turn)
        ops.qk_norm_rope(heads, 2, w, w, cos, sin)
        normed = ops.modulate(total, gate, gate, part)
        return [
            ops.numpy(got)
            for got in (
                ops.linear(given, packed, activation="gelu_tanh"),
                ops.linear(given, packed, residual=total, gate=gate, segments=part),
                normed,
                heads,
                ops.cast(given, "float32", activation="silu"),
            )
        ]

    whole = run(0, count)
    for start, stop in [(0, 1), (15, 18), (36, 37), (7, 37)]:
        for got, want in zip(run(start, stop), whole, strict=True):
            np.testing.assert_array_equal(got, want[start:stop])
    clean, x[17, 33] = x[17, 33], np.nan
    spoilt = run(0, count)[0]
    x[17, 33] = clean
    assert np.isnan(spoilt[17]).all()
    np.testing.assert_array_equal(np.delete(spoilt, 17, 0), np.delete(whole[0], 17, 0))


def test_terms_of_guidance(ops, rng):
    """They are summed in their order, whatever stands beside them."""
    v = ops.array(normal(rng, 40, 19), "float32")

    def moved(lengths: list[int], *terms: Any) -> Any:
        x, one = ops.zeros(sum(lengths), 19, "float32"), np.ones(len(lengths), np.float32)
        kinds = (np.int32, np.int32, np.int32, np.float32)
        guidance = GuidanceTerms(*ops.vectors(*(np.array(t, kind) for t, kind in zip(terms, kinds, strict=True))))
        ops.solver_step(x, v, ops.segments(lengths), guidance, *ops.vectors(one, 0 * one))
        return ops.numpy(x)

    alone = moved([5], [30], [0, 3], [0, 10, 20], [2.0, -0.7, 0.3])
    mixed = moved([3, 5, 4], [3, 30, 7], [0, 1, 4, 4], [8, 0, 10, 20], [9.0, 2.0, -0.7, 0.3])
    np.testing.assert_array_equal(mixed[3:8], alone)
    np.testing.assert_array_equal(mixed[8:], ops.numpy(v)[7:11])  # no terms


def test_images(ops, rng):
    """Alone as in company; what is wrong in one reaches no other."""
    pairs = [(3, 7), (4, 2), (5, 5)]
    grids, areas = np.array(pairs, np.int32), [h * w for h, w in pairs]
    x, residual = normal(rng, sum(areas), 6), normal(rng, sum(areas), 5)
    packed = ops.pack_conv(normal(rng, 5, 6, 3, 3), None)
    weight = ops.array(normal(rng, 1, 6), "float32")

    def run(x: Any, residual: Any, grids: Any) -> list[Any]:
        given = ops.array(x)
        return [
            ops.numpy(y)
            for y in (
                ops.conv2d(given, packed, grids, residual=ops.array(residual), wrap=True),
                ops.upsample(given, packed, grids),
                ops.downsample(given, packed, grids),
                ops.group_norm_silu(given, weight, weight, grids, 2),
            )
        ]

    spoilt = x.copy()
    spoilt[areas[0] + 3] = np.nan  # the second image
    whole, bad = run(x, residual, grids), run(spoilt, residual, grids)
    starts, ends = np.cumsum([0, *areas]), np.zeros(4, int)
    for i in range(3):
        rows = slice(starts[i], starts[i + 1])
        for n, got in enumerate(run(x[rows], residual[rows], grids[i : i + 1])):
            mine = slice(ends[n], ends[n] + len(got))
            np.testing.assert_array_equal(got, whole[n][mine])
            assert np.array_equal(got, bad[n][mine]) == (i != 1)
            ends[n] += len(got)
    assert ends.tolist() == [len(y) for y in whole]


def test_views_stand_as_arrays_do(ops):
    """Rows start at multiples of 16 bytes, so that no view is loaded in another way than the whole."""
    for width in (1, 7, 64):
        for made in (ops.empty(5, width), ops.concat([ops.zeros(2, width), ops.zeros(3, width)])):
            assert all(ops.rows(made, i, 5).data_ptr() % 16 == 0 for i in range(5))


class Recorder:
    """A launch that notes what would be compiled, and which whole numbers it would be specialised for."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, kernel: Any, grid: Any, *args: Any, warps: int = 4, stages: int = 2, **constants: Any) -> None:
        free = kernel.kwargs.get("do_not_specialize") or ()
        named = zip(kernel.arg_names, args, strict=False)
        fixed = {name: value for name, value in named if isinstance(value, int) and name not in free}
        kinds = [x.dtype if isinstance(x, torch.Tensor) else type(x) for x in args]
        self.seen.append((kernel.fn.__name__, warps, stages, sorted(constants.items()), fixed, kinds))


@pytest.mark.parametrize("arch", [80, 90, 100, 120])
def test_no_launch_depends_on_the_number_of_rows(arch):
    """Tiles, warps and what is compiled belong to a layer. So no order of a sum changes with the batch."""

    def launches(rows: int) -> list[Any]:
        recorder = Recorder()
        ops = TritonOps(Device(torch.device("meta"), arch, "bfloat16"), recorder)
        segments, wide = ops.segments([rows, rows]), 1536
        x, stream, gate = ops.empty(2 * rows, wide), ops.empty(2 * rows, wide, "float32"), ops.empty(2, wide, "float32")
        bias = torch.empty(2 * wide, dtype=torch.float32, device="meta")
        plain, paired = (TritonLinear(ops.empty(n * wide, wide), bias[: n * wide], n == 2) for n in (1, 2))
        small = TritonLinear(plain.weight.to(torch.float8_e4m3fn), plain.bias, False, plain.bias)
        for weight in (plain, small):
            ops.linear(x, weight, activation="gelu_tanh")
            ops.linear(x, weight, residual=stream)
            ops.linear(x, weight, residual=stream, gate=gate, segments=segments)
        ops.linear(x, paired, activation="swiglu")
        ops.add(stream, x, segments, *ops.vectors(np.array([1], np.int32)))
        ops.cast(stream, activation="silu")
        ops.modulate(stream, gate, gate, segments)
        ops.norm(x, ops.rows(gate, 0, 1), kind="rms")
        norm, turn = ops.empty(1, 128, "float32"), ops.empty(2 * rows, 64, "float32")
        ops.qk_norm_rope(ops.empty(2 * rows, 3 * wide), 12, norm, norm, turn, turn)
        ints, one = np.array([0], np.int32), np.array([0.5], np.float32)
        vectors = ops.vectors(ints, np.array([0, 4], np.int32), np.arange(4, dtype=np.int32), one)
        ops.attention(x, x, x, segments, 12, adapters=AdapterTerms(ops.empty(8, wide), ops.empty(8, wide), *vectors))
        ops.finite(stream, segments)
        return recorder.seen

    alone = launches(1)
    assert {name for name, *_ in alone} >= {"linear", "to_float8", "attention", "norm", "qk_norm_rope", "cast", "add"}
    assert launches(16) == launches(37) == launches(4608) == alone


def test_no_product_is_left_to_a_library(ops):
    """cuBLAS and cuDNN choose by the number of rows: no op calls their products, only what checks float8.

    Torch's attention is called where `choices.toml` says so.
    """
    folder = Path(linear.__file__).parent
    called = {
        (path.name, word)
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for word in ("matmul", "mm", "bmm", "addmm", "linear", "conv2d", "scaled_dot_product_attention", "einsum", "@")
        if (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult) and word == "@")
        or (isinstance(node, ast.Attribute) and node.attr == word and _of_torch(node))
    }
    assert called == {("float8.py", "@"), ("library.py", "scaled_dot_product_attention")}


def _of_torch(node: ast.Attribute) -> bool:
    """Whether a name such as torch.nn.functional.linear begins with torch."""
    inner: Any = node
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return isinstance(inner, ast.Name) and inner.id in ("torch", "F")
