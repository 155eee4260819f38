"""gated, and the gates of add, cast, linear and modulate, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salon.kernels.segments import Segments

SHAPES = [(1, 1), (5, 31), (3, 64), (0, 4)]
GATES = ("none", "silu", "sigmoid", "tanh")


@pytest.mark.parametrize("activation", GATES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gated(pair: Any, rng: np.random.Generator, shape: Any, activation: str) -> None:
    gate, value = (pair.round(rng.standard_normal(shape) * 3) for _ in range(2))
    for dtypes in (("compute", "compute"), ("float32", "compute"), ("compute", "float32")):
        results = []
        for ops in pair.both:
            x, y = (ops.array(part, dtype) for part, dtype in zip((gate, value), dtypes, strict=True))
            results.append(ops.numpy(ops.gated(x, y, activation)))
            assert ops.gated(x, y, activation, out=x) is x
            pair.close(ops.numpy(x), results[-1])
        pair.close(*results)


@pytest.mark.parametrize("activation", GATES)
def test_cast_over_the_whole_range(pair: Any, activation: str) -> None:
    x = np.linspace(-120, 120, 4001, dtype=np.float32)[None]
    got, want = (ops.numpy(ops.cast(ops.array(x, "float32"), "float32", activation=activation)) for ops in pair.both)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)
    bad = np.array([[np.nan, 1.0]], np.float32)
    held = pair.cpu.numpy(pair.cpu.cast(pair.cpu.array(bad, "float32"), "float32", activation=activation))
    assert np.isnan(held[0, 0])
    assert np.isfinite(held[0, 1])


@pytest.mark.parametrize("width", [1, 30, 64])
def test_add_with_a_gate(pair: Any, rng: np.random.Generator, width: int) -> None:
    segments = Segments.of([3, 0, 70, 2], [1, 0, 2, 1], 3)
    x, y = (rng.standard_normal((75, width)).astype(np.float32) for _ in range(2))
    gate, y = rng.standard_normal((3, width)).astype(np.float32), pair.round(y)
    for only in (None, np.array([3, 0], np.int32)):
        results = []
        for ops in pair.both:
            total = ops.array(x, "float32")
            ops.add(total, ops.array(y), segments, only, gate=ops.array(gate, "float32"))
            results.append(ops.numpy(total))
        np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)
        assert np.array_equal(results[0][3:73], x[3:73]) == (only is not None)


@pytest.mark.parametrize("activation", ["quick_gelu", "geglu", "geglu_tanh"])
@pytest.mark.parametrize(("rows", "width", "depth"), [(1, 2, 1), (7, 74, 33), (33, 64, 40)])
def test_linear(pair: Any, rng: np.random.Generator, activation: str, rows: int, width: int, depth: int) -> None:
    x, w = pair.round(rng.standard_normal((rows, depth))), pair.round(rng.standard_normal((width, depth)))
    bias, gated = rng.standard_normal(width).astype(np.float32), activation != "quick_gelu"
    results = []
    for ops in pair.both:
        weight = ops.pack_linear([w], [bias], swiglu=gated)
        results.append(
            [ops.linear(ops.array(x), weight, activation=activation, dtype=d) for d in ("compute", "float32")]
        )
        results[-1] = [ops.numpy(y) for y in results[-1]]
    for mine, theirs in zip(*results, strict=True):
        pair.close(mine, theirs, depth**0.5 * 4)
    alone = pair.cpu.linear(
        pair.cpu.array(x[-1:]), pair.cpu.pack_linear([w], [bias], swiglu=gated), activation=activation
    )
    np.testing.assert_array_equal(pair.cpu.numpy(alone)[0], results[0][0][-1])


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize(("shifted", "weighted"), [(False, False), (False, True), (True, True)])
def test_modulate(pair: Any, rng: np.random.Generator, kind: str, shifted: bool, weighted: bool) -> None:
    """Also with rows of one sample that have owners of their own."""
    segments = Segments.of([4, 9, 4], [2, 0, 2], 4)
    x, shift, scale, weight = (rng.standard_normal((n, 37)).astype(np.float32) for n in (17, 4, 4, 1))
    results = []
    for ops in pair.both:
        arrays = [ops.array(part, "float32") for part in (x, shift, scale, weight)]
        options = {"weight": arrays[3]} if weighted else {}
        results.append(
            ops.numpy(
                ops.modulate(arrays[0], arrays[1] if shifted else None, arrays[2], segments, kind=kind, **options)
            )
        )
    pair.close(*results, 4)
    one = Segments.of([9], [0], 4)
    parts = [pair.cpu.array(part, "float32") for part in (x[4:13], shift, scale, weight)]
    options = {"kind": kind, "weight": parts[3] if weighted else None}
    alone = pair.cpu.modulate(parts[0], parts[1] if shifted else None, parts[2], one, **options)
    np.testing.assert_array_equal(pair.cpu.numpy(alone), results[0][4:13])


@pytest.mark.parametrize("which", ["cpu", "reference"])
def test_refusals(pair: Any, which: str) -> None:
    ops = getattr(pair, which)
    x, y, segments = ops.zeros(4, 6, "float32"), ops.zeros(4, 6), Segments.of([4])
    gate, weight = ops.zeros(1, 6, "float32"), ops.pack_linear([np.zeros((4, 6), np.float32)])
    for call, message in (
        (lambda: ops.gated(y, ops.zeros(4, 5), "tanh"), "value"),
        (lambda: ops.gated(y, y, "gelu"), "activation"),
        (lambda: ops.gated(y, y, out=ops.zeros(3, 6)), "out"),
        (lambda: ops.cast(y, activation="gelu"), "activation"),
        (lambda: ops.add(x, y, gate=gate), "segments"),
        (lambda: ops.add(x, y, segments, gate=ops.zeros(1, 5, "float32")), "gate"),
        (lambda: ops.add(x, y, Segments.of([4], [1], 2), gate=gate), "segments"),
        (lambda: ops.linear(y, weight, activation="tanh"), "activation"),
        (lambda: ops.linear(y, weight, activation="geglu"), "activation"),
        (lambda: ops.modulate(x, None, gate, segments, weight=ops.zeros(1, 5, "float32")), "weight"),
        (lambda: ops.modulate(x, ops.zeros(2, 6, "float32"), gate, segments), "scale"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
