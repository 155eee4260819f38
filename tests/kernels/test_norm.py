"""norm and modulate against the reference, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from salon.kernels.cpu import CpuOps
from salon.kernels.segments import Segments

WIDTHS = [1, 3, 8, 15, 16, 17, 64, 384, 385]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("rows", [1, 70])
def test_norm_parity(pair, rng, width, kind, rows):
    x = rng.standard_normal((rows, width)).astype(np.float32) * 5 + 3
    w, b = rng.standard_normal((2, 1, width)).astype(np.float32)
    for bias in (None, b):
        for source in ("float32", "compute"):
            values = pair.round(x)
            got, want = (
                ops.numpy(
                    ops.norm(
                        ops.array(values, source),
                        ops.array(w, "float32"),
                        None if bias is None else ops.array(bias, "float32"),
                        kind=kind,
                        eps=1e-5,
                        dtype="float32",
                    )
                )
                for ops in pair.both
            )
            assert np.isfinite(got).all()
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-4 if width > 1 else 5e-3)


@pytest.mark.parametrize("lengths", [[1], [5, 0, 3], [0, 0, 64, 1, 0], [300, 211]])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_modulate_parity(pair, rng, lengths, kind):
    owners = [len(lengths) - 1 - j for j in range(len(lengths))]
    segments, width = Segments.of(lengths, owners=owners), 45
    x = rng.standard_normal((segments.num_rows, width)).astype(np.float32)
    cond = rng.standard_normal((segments.num_samples, 3 * width)).astype(np.float32)
    results = []
    for ops in pair.both:
        c = ops.array(cond, "float32")
        shift, scale = ops.columns(c, width, 2 * width), ops.columns(c, 2 * width, 3 * width)
        results.append(ops.numpy(ops.modulate(ops.array(x, "float32"), shift, scale, segments, kind=kind)))
    pair.close(*results, scale=2)


def test_bitwise_independent_of_company_and_threads(pair, rng):
    segments, width = Segments.of([400, 37]), 100
    x = rng.standard_normal((437, width)).astype(np.float32)
    cond = rng.standard_normal((2, 2 * width)).astype(np.float32)

    def run(ops, rows, seg, c):
        c = ops.array(c, "float32")
        return ops.numpy(
            ops.modulate(ops.array(rows, "float32"), ops.columns(c, 0, width), ops.columns(c, width, 2 * width), seg)
        )

    whole = run(CpuOps(pair.cpu.isa, pair.cpu.compute, 3), x, segments, cond)
    one = CpuOps(pair.cpu.isa, pair.cpu.compute, 1)
    np.testing.assert_array_equal(run(one, x[400:], Segments.of([37]), cond[1:]), whole[400:])
    np.testing.assert_array_equal(run(one, x[99:100], Segments.of([1]), cond[:1]), whole[99:100])


def test_bad_numbers_stay_in_their_row(pair, rng):
    x = rng.standard_normal((9, 33)).astype(np.float32)
    weight = np.ones((1, 33), np.float32)
    ops = pair.cpu
    clean = ops.numpy(ops.norm(ops.array(x, "float32"), ops.array(weight, "float32")))
    x[4, 32] = np.nan
    spoilt = ops.numpy(ops.norm(ops.array(x, "float32"), ops.array(weight, "float32")))
    assert np.isnan(spoilt[4]).all()
    keep = np.arange(9) != 4
    np.testing.assert_array_equal(spoilt[keep], clean[keep])


def test_refusals(pair):
    ops = pair.cpu
    x, cond = ops.zeros(4, 8, "float32"), ops.zeros(1, 8, "float32")
    with pytest.raises(ValueError, match="owner 1, want 0 to 0"):
        ops.modulate(x, cond, cond, Segments.of([4], owners=[1]))
    with pytest.raises(ValueError, match="got 3 rows, want 4 rows"):
        ops.modulate(x, cond, cond, Segments.of([3]))
    with pytest.raises(ValueError, match="eps"):
        ops.norm(x, cond, eps=0.0)
    with pytest.raises(ValueError, match="kind"):
        ops.norm(x, cond, kind="batch")
