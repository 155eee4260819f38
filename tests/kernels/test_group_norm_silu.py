"""group_norm_silu against the reference (whose statistics are float64), on every instruction set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.kernels.cpu import CpuOps

Float32 = NDArray[np.float32]

# Below, at and past one chunk of pixels (16384 / channels), images of one pixel, and many.
GRIDS = [[(1, 1)], [(16, 16), (1, 7), (3, 5)], [(40, 37), (2, 1), (33, 31)]]


def grid(pairs: Any) -> NDArray[np.int32]:
    return np.array(pairs, np.int32).reshape(-1, 2)


def pixels(grids: Any) -> int:
    return int((grids[:, 0].astype(np.int64) * grids[:, 1]).sum())


def run(ops: Any, x: Any, weight: Any, bias: Any, grids: Any, groups: int, **options: Any) -> Float32:
    values = x if not isinstance(x, np.ndarray) else ops.array(x)
    got: Float32 = ops.numpy(
        ops.group_norm_silu(values, ops.array(weight, "float32"), ops.array(bias, "float32"), grids, groups, **options)
    )
    return got


@pytest.mark.parametrize("silu", [True, False])
@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (3, 1), (8, 4), (32, 4), (33, 11), (64, 4), (70, 2), (128, 4)]
)
@pytest.mark.parametrize("grids", GRIDS)
def test_parity(pair: Any, rng: np.random.Generator, grids: Any, channels: Any, groups: int, silu: bool) -> None:
    grids = grid(grids)
    x = pair.round(rng.standard_normal((pixels(grids), channels)) * 3 + 2)
    weight, bias = rng.standard_normal((2, 1, channels)).astype(np.float32)
    for eps in (1e-6, 0.5):
        got, want = (run(ops, x, weight, bias, grids, groups, eps=eps, silu=silu) for ops in pair.both)
        pair.close(got, want)


def test_strided_input(pair: Any, rng: np.random.Generator) -> None:
    grids = grid([(9, 30)])
    x = rng.standard_normal((270, 48)).astype(np.float32)
    weight, bias = rng.standard_normal((2, 1, 48)).astype(np.float32)
    wide = np.full((270, 60), np.nan, np.float32)
    wide[:, 5:53] = x
    ops = pair.cpu
    view = ops.columns(ops.array(wide), 5, 53)
    np.testing.assert_array_equal(run(ops, view, weight, bias, grids, 4), run(ops, x, weight, bias, grids, 4))


@pytest.mark.parametrize("mean", [300.0, -3000.0])
def test_large_mean_does_not_cancel(pair: Any, rng: np.random.Generator, mean: float) -> None:
    grids = grid([(50, 60)])
    x = pair.round(rng.standard_normal((3000, 16)) * (1 if pair.cpu.compute == "float32" else 30) + mean)
    weight, bias = np.ones((1, 16), np.float32), np.zeros((1, 16), np.float32)
    got, want = (run(ops, x, weight, bias, grids, 2, silu=False) for ops in pair.both)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, rtol=pair.rtol, atol=pair.atol)


@pytest.mark.parametrize("pixel", [0, 5, 16, 2999])
def test_an_outlier_does_not_cancel(pair: Any, rng: np.random.Generator, pixel: int) -> None:
    """Pixels 0 and 16 are among those that the kernel takes its shift from."""
    grids = grid([(50, 60)])
    x = pair.round(rng.standard_normal((3000, 16)))
    x[pixel] = pair.round(np.full(16, 1e4))
    weight, bias = np.ones((1, 16), np.float32), np.zeros((1, 16), np.float32)
    got, want = (run(ops, x, weight, bias, grids, 2, silu=False) for ops in pair.both)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, rtol=pair.rtol, atol=pair.atol / 10)


def test_constant_image(pair: Any) -> None:
    """No variance: eps alone stands under the root."""
    x, bias = np.full((35, 8), 0.1, np.float32), np.linspace(-2, 2, 8, dtype=np.float32)[None]
    got = run(pair.cpu, x, np.ones((1, 8), np.float32), bias, grid([(5, 7)]), 2, eps=1e-6)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(
        got, np.tile(bias / (1 + np.exp(-bias)), (35, 1)), rtol=pair.rtol, atol=max(pair.atol, 1e-4)
    )


def test_silu_over_its_range(pair: Any) -> None:
    """With a weight of zero the result is silu(bias)."""
    bias = np.concatenate([np.linspace(-110, 110, 4001), [-3e38, -1e30, -1e4, 0, 1e4, 1e30, 3e38]]).astype(np.float32)
    got = run(
        pair.cpu,
        np.ones((2, len(bias)), np.float32),
        np.zeros((1, len(bias)), np.float32),
        bias[None],
        grid([(1, 2)]),
        1,
    )
    assert np.isfinite(got).all()
    with np.errstate(over="ignore"):
        want = bias / (1 + np.exp(-bias.astype(np.float64)))
    exact = pair.cpu.compute == "float32"
    for row in got:
        np.testing.assert_allclose(row, want, rtol=5e-6 if exact else 2.0**-8, atol=1e-30)


def test_bitwise_independent_of_company_and_threads(pair: Any, rng: np.random.Generator) -> None:
    pairs = [(30, 31), (5, 5), (64, 40)]
    grids = grid(pairs)
    x = rng.standard_normal((pixels(grids), 40)).astype(np.float32)
    weight, bias = rng.standard_normal((2, 1, 40)).astype(np.float32)
    whole = run(CpuOps(pair.cpu.isa, pair.cpu.compute, 1), x, weight, bias, grids, 4)
    for threads in (2, 5):
        got = run(CpuOps(pair.cpu.isa, pair.cpu.compute, threads), x, weight, bias, grids, 4)
        np.testing.assert_array_equal(got, whole)
    start = 0
    for i, (h, w) in enumerate(pairs):
        rows = slice(start, start + h * w)
        np.testing.assert_array_equal(run(pair.cpu, x[rows], weight, bias, grids[i : i + 1], 4), whole[rows])
        start += h * w


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_numbers_stay_in_their_image(pair: Any, rng: np.random.Generator, bad: float) -> None:
    grids = grid([(20, 31), (25, 30), (4, 4)])
    x = rng.standard_normal((pixels(grids), 32)).astype(np.float32)
    weight, bias = rng.standard_normal((2, 1, 32)).astype(np.float32)
    before = run(pair.cpu, x, weight, bias, grids, 4)
    x[620 + 700, 9] = bad  # second image, second group
    after = run(pair.cpu, x, weight, bias, grids, 4)
    group = after[620:1370].reshape(750, 4, 8)
    assert np.isnan(group[:, 1]).all()
    np.testing.assert_array_equal(group[:, [0, 2, 3]], before[620:1370].reshape(750, 4, 8)[:, [0, 2, 3]])
    np.testing.assert_array_equal(after[:620], before[:620])
    np.testing.assert_array_equal(after[1370:], before[1370:])


def test_no_images(pair: Any) -> None:
    ops = pair.cpu
    ones = np.ones((1, 8), np.float32)
    assert run(ops, np.empty((0, 8), np.float32), ones, ones, grid([]), 2).shape == (0, 8)


def test_refusals(pair: Any) -> None:
    ops = pair.cpu
    x, ones = np.zeros((12, 8), np.float32), np.ones((1, 8), np.float32)
    good = grid([(3, 4)])
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: run(ops, x, ones[:, :7], ones, good, 2), r"group_norm_silu: weight: got \[1, 7\].*want \[1, 8\]"),
        (lambda: run(ops, x, ones, ones[:, :7], good, 2), "group_norm_silu: bias"),
        (lambda: run(ops, x, ones, ones, good, 3), "group_norm_silu: groups: got 3, want a divisor of the 8 channels"),
        (lambda: run(ops, x, ones, ones, good, 0), "group_norm_silu: groups"),
        (lambda: run(ops, x, ones, ones, good, -2), "group_norm_silu: groups"),
        (lambda: run(ops, x, ones, ones, good, 2, eps=0.0), "group_norm_silu: eps"),
        (lambda: run(ops, x, ones, ones, good, 2, eps=float("nan")), "group_norm_silu: eps"),
        (lambda: run(ops, x, ones, ones, grid([(3, 3)]), 2), "group_norm_silu: grids: got 9 pixels, want 12"),
    ]
    if ops.compute == "bfloat16":
        wrong = ops.array(x, "float32")
        cases.append((lambda: run(ops, wrong, ones, ones, good, 2), "group_norm_silu: x: got .*, want bfloat16"))
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
