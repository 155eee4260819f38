"""Wrong arguments name themselves, before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from salon.kernels.ops import AdapterTerms, GuidanceTerms
from salon.kernels.segments import Segments

from .conftest import make_pair

ONE = np.ones(1, np.float32)


@pytest.fixture(scope="module")
def ops() -> Any:
    return make_pair("bfloat16").cpu


def ints(*values: int) -> Any:
    return np.array(values, np.int32)


def test_products_and_norms(ops):
    weight, x, stream = ops.pack_linear([np.ones((4, 8), np.float32)]), ops.zeros(3, 8), ops.zeros(3, 4, "float32")
    gate, qkv = ops.zeros(1, 4, "float32"), ops.zeros(4, 48)
    for call, told in (
        (lambda: ops.linear(ops.zeros(3, 7), weight), r"linear: x: got \[3, 7\] bfloat16, want \[any, 8\] bfloat16"),
        (
            lambda: ops.linear(ops.zeros(3, 8, "float32"), weight),
            r"linear: x: got .* float32, want \[any, 8\] bfloat16",
        ),
        (lambda: ops.linear(np.zeros((3, 8), np.float32), weight), r"linear: x: got \[3, 8\] float32 of numpy"),
        (lambda: ops.linear(x, "w"), "linear: weight: got str, want the result of pack_linear"),
        (lambda: ops.linear(x, weight, residual=ops.zeros(3, 5, "float32")), r"linear: residual: got \[3, 5\]"),
        (lambda: ops.linear(x, weight, residual=stream, gate=gate), "linear: segments: got None"),
        (lambda: ops.linear(x, weight, residual=stream, activation="silu"), "activation: got silu, want none"),
        (lambda: ops.linear(x, weight, activation="swiglu"), "linear: activation: got swiglu"),
        (lambda: ops.linear(x, weight, gate=gate), "linear: gate: got .*, want None without residual"),
        (
            lambda: ops.linear(x, weight, residual=stream, gate=gate, segments=Segments.of([3], owners=[3])),
            "linear: segments: got owner 3, want owners below 1",
        ),
        (lambda: ops.pack_linear([np.ones((5, 8), np.float32)], swiglu=True), "an even number for swiglu"),
        (lambda: ops.modulate(stream, gate, gate, Segments.of([2])), "modulate: segments: got 2 rows, want 3 rows"),
        (lambda: ops.norm(stream, gate, eps=0.0), "norm: eps"),
        (lambda: ops.norm(stream, gate, kind="batch"), "norm: kind"),
        (lambda: ops.qk_norm_rope(qkv, 5, None, None, None, None), "qk_norm_rope: qkv"),
        (lambda: ops.qk_norm_rope(qkv, 2, None, None, ops.zeros(4, 4, "float32"), None), "qk_norm_rope: cos, sin"),
    ):
        with pytest.raises(ValueError, match=told):
            call()
    assert not ops.numpy(stream).any()


def test_attention(ops):
    q, short, one = ops.zeros(4, 16), ops.zeros(3, 16), Segments.of([4])
    out = ops.array(np.full((4, 16), 7, np.float32))
    terms = AdapterTerms(q, q, ints(0), ints(0, 1), ints(0), ONE)
    for change, told in (
        ({"heads": 3}, "heads"),
        ({"v": short}, "attention: v"),
        ({"segments": Segments.of([5])}, "attention: segments"),
        ({"out": short}, "attention: out"),
        ({"adapters": replace(terms, rows=ints(4))}, r"adapters\.rows: got 4\.\.4, want indices in 0\.\.3"),
        ({"adapters": replace(terms, segments=ints(1))}, r"adapters\.segments"),
        ({"adapters": replace(terms, offsets=ints(0, 2))}, r"adapters\.offsets: got \[0, 2\]"),
        ({"adapters": replace(terms, weights=ints(1))}, r"adapters\.weights: got \[1\] int32.*, want \[1\] float32"),
        ({"adapters": replace(terms, queries=short)}, r"adapters\.queries"),
    ):
        values = {"q": q, "k": q, "v": q, "segments": one, "heads": 2, "out": out} | change
        with pytest.raises(ValueError, match=told):
            ops.attention(**values)
    assert (ops.numpy(out) == 7).all()


def test_steps_and_rows(ops):
    x, one = ops.zeros(4, 3, "float32"), Segments.of([4])
    good = GuidanceTerms(ints(0), ints(0, 1), ints(0), ONE)
    for change, told in (
        (
            {"guidance": replace(good, origins=ints(1))},
            r"guidance\.origins: got \[1\], want rows that end within the 4",
        ),
        ({"guidance": replace(good, rows=ints(-1))}, r"guidance\.rows"),
        ({"guidance": replace(good, offsets=ints(1, 1))}, r"guidance\.offsets"),
        ({"b": ONE}, "solver_step: previous: got None"),
        ({"a": ints(1)}, "solver_step: a"),
    ):
        values = {"latents": x, "velocity": x, "segments": one, "guidance": good, "a": ONE, "b": 0 * ONE} | change
        with pytest.raises(ValueError, match=told):
            ops.solver_step(**values)
    for call, told in (
        (lambda: ops.embed([ints(4)], [x]), r"embed: indices: got 4\.\.4, want indices in 0\.\.3"),
        (lambda: ops.add(x, x, one, ints(0, 0)), "add: only: got .*, want each segment once"),
        (lambda: ops.rows(x, 2, 5), "rows: start, stop: got 2, 5"),
        (lambda: ops.split(x, [1, 2]), "split: sizes"),
        (lambda: ops.array(np.array([["a"]])), "array: values"),
        (lambda: ops.vectors(np.zeros(2)), r"vectors: values: got \[2\] float64"),
        (lambda: ops.numpy(x.T), "numpy: x: got .* strides"),
        (lambda: ops.timestep_embedding(ONE, 3), "timestep_embedding: width: got 3"),
        (lambda: ops.finite(x, Segments.of([3])), "finite: segments: got 3 rows"),
    ):
        with pytest.raises(ValueError, match=told):
            call()
    assert not ops.numpy(x).any()


def test_images(ops):
    x, grids = ops.zeros(12, 4), np.array([(3, 4)], np.int32)
    w, point = (ops.pack_conv(np.ones((5, 4, side, side), np.float32), None) for side in (3, 1))
    ones = ops.zeros(1, 4, "float32")
    for call, told in (
        (lambda: ops.pack_conv(np.ones((5, 4, 5, 5), np.float32), None), "pack_conv: weight"),
        (lambda: ops.conv2d(ops.zeros(12, 3), w, grids), r"conv2d: x: got \[12, 3\]"),
        (lambda: ops.conv2d(x, w, grids[:, ::-1] - 1), "conv2d: grids: got 6 pixels, want 12"),
        (lambda: ops.upsample(x, point, grids), "upsample: weight: got 1x1, want 3x3"),
        (lambda: ops.downsample(x, w, np.array([(1, 12)], np.int32)), "downsample: grids: got a side of 1"),
        (lambda: ops.group_norm_silu(x, ones, ones, grids, 3), "group_norm_silu: groups: got 3"),
    ):
        with pytest.raises(ValueError, match=told):
            call()
