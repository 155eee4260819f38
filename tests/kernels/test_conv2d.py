"""conv2d, upsample and downsample against the reference, on every instruction set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.kernels.cpu import CpuOps

Float32 = NDArray[np.float32]

# Around the kernels' blocks of pixels (6, 14, 16, 32), their tiles of 128 columns, and sides of one.
GRIDS = {
    "point": [(1, 1)],
    "ragged": [(5, 13), (1, 29), (17, 1), (2, 16), (7, 15)],
    "wide": [(3, 129), (4, 33)],
}
CHANNELS = [(1, 1), (3, 32), (32, 3), (8, 17), (33, 65), (64, 40)]


def grid(pairs: Any) -> NDArray[np.int32]:
    return np.array(pairs, np.int32).reshape(-1, 2)


def pixels(grids: Any) -> int:
    return int((grids[:, 0].astype(np.int64) * grids[:, 1]).sum())


def draw_weight(pair: Any, rng: np.random.Generator, outputs: int, inputs: int, side: int) -> Float32:
    w = rng.standard_normal((outputs, inputs * side * side)) / np.sqrt(inputs * side * side)
    rounded: Float32 = pair.round(w)
    return rounded.reshape(outputs, inputs, side, side)


def padded(ops: Any, values: Float32, dtype: str = "compute") -> Any:
    """The values as a column view of a wider array whose other columns are NaN."""
    wide = np.full((len(values), values.shape[1] + 7), np.nan, np.float32)
    wide[:, 4:-3] = values
    return ops.columns(ops.array(wide, dtype), 4, 4 + values.shape[1])


def assert_exact_sums(got: Float32, want: Float32) -> None:
    """Float32 results of products that both sides hold exactly differ by the order of their sums alone."""
    assert got.shape == want.shape
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("grids", GRIDS.values(), ids=GRIDS)
def test_conv2d_parity(pair: Any, rng: np.random.Generator, grids: Any, channels: Any, side: int) -> None:
    (inputs, outputs), grids = channels, grid(grids)
    x = pair.round(rng.standard_normal((pixels(grids), inputs)))
    residual = pair.round(rng.standard_normal((pixels(grids), outputs)))
    weight, bias = draw_weight(pair, rng, outputs, inputs, side), rng.standard_normal(outputs).astype(np.float32)
    for with_residual in (False, True):
        for make in (lambda ops, values: ops.array(values), padded):
            results = [
                ops.numpy(
                    ops.conv2d(
                        make(ops, x),
                        ops.pack_conv(weight, bias),
                        grids,
                        residual=make(ops, residual) if with_residual else None,
                        dtype="float32",
                    )
                )
                for ops in pair.both
            ]
            assert_exact_sums(*results)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("grids", GRIDS.values(), ids=GRIDS)
def test_wrapping_parity(pair: Any, rng: np.random.Generator, grids: Any, channels: Any) -> None:
    (inputs, outputs), grids = channels, grid(grids)
    x = pair.round(rng.standard_normal((pixels(grids), inputs)))
    weight, bias = draw_weight(pair, rng, outputs, inputs, 3), rng.standard_normal(outputs).astype(np.float32)
    for make in (lambda ops, values: ops.array(values), padded):
        packed = [ops.pack_conv(weight, bias) for ops in pair.both]
        results = [
            ops.numpy(ops.conv2d(make(ops, x), w, grids, dtype="float32", wrap=True))
            for ops, w in zip(pair.both, packed, strict=True)
        ]
        assert_exact_sums(*results)
        results = [
            ops.numpy(ops.upsample(make(ops, x), w, grids, wrap=True)) for ops, w in zip(pair.both, packed, strict=True)
        ]
        pair.close(*results, scale=2)


def test_a_wrapped_image_is_the_middle_of_one_that_repeats(pair: Any, rng: np.random.Generator) -> None:
    """To the bit, and so is one shifted round, or one in company: no pixel knows where the image begins."""
    image = rng.standard_normal((13, 135, 40)).astype(np.float32)
    weight, point = draw_weight(pair, rng, 33, 40, 3), draw_weight(pair, rng, 33, 40, 1)
    ops = pair.cpu
    packed, small = ops.pack_conv(weight, None), ops.pack_conv(point, None)

    def run(op: str, part: Float32, wrap: bool) -> Float32:
        rows, scale = ops.array(part.reshape(-1, 40)), {"conv2d": 1, "upsample": 2}[op]
        y: Float32 = ops.numpy(getattr(ops, op)(rows, packed, grid([part.shape[:2]]), wrap=wrap))
        return y.reshape(part.shape[0] * scale, part.shape[1] * scale, 33)

    for op, cut in (("conv2d", 1), ("upsample", 2)):
        whole = run(op, image, True)
        repeated = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="wrap")
        np.testing.assert_array_equal(whole, run(op, repeated, False)[cut:-cut, cut:-cut])
        by = np.array([4, 77])
        moved = run(op, np.roll(image, by, axis=(0, 1)), True)
        np.testing.assert_array_equal(moved, np.roll(whole, by * cut, axis=(0, 1)))
        assert (whole != run(op, image, False)).any()
    both = ops.array(np.concatenate([image[:3].reshape(-1, 40), image.reshape(-1, 40)]))
    together = ops.numpy(ops.conv2d(both, packed, grid([(3, 135), (13, 135)]), wrap=True))
    np.testing.assert_array_equal(together[3 * 135 :].reshape(13, 135, 33), run("conv2d", image, True))
    rows, size = ops.array(image.reshape(-1, 40)), grid([(13, 135)])
    np.testing.assert_array_equal(
        ops.numpy(ops.conv2d(rows, small, size, wrap=True)), ops.numpy(ops.conv2d(rows, small, size))
    )


def test_compute_result_is_the_float32_result_rounded(pair: Any, rng: np.random.Generator) -> None:
    grids = grid([(9, 21)])
    x, weight = rng.standard_normal((189, 32)).astype(np.float32), draw_weight(pair, rng, 48, 32, 3)
    ops = pair.cpu
    packed = ops.pack_conv(weight, None)
    exact = ops.numpy(ops.conv2d(ops.array(x), packed, grids, dtype="float32"))
    np.testing.assert_array_equal(ops.numpy(ops.conv2d(ops.array(x), packed, grids)), pair.round(exact))


def test_bfloat16_bits_are_weights(pair: Any, rng: np.random.Generator) -> None:
    grids = grid([(3, 4)])
    x = rng.standard_normal((12, 5)).astype(np.float32)
    bits = rng.integers(0x3D00, 0x3F80, (7, 5, 3, 3)).astype(np.uint16)
    values = (bits.astype(np.uint32) << 16).view(np.float32)
    ops = pair.cpu
    got = ops.numpy(ops.conv2d(ops.array(x), ops.pack_conv(bits, None), grids))
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(got, ops.numpy(ops.conv2d(ops.array(x), ops.pack_conv(values, None), grids)))


@pytest.mark.parametrize("op", ["upsample", "downsample", "symmetric"])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("grids", [*list(GRIDS.values())[1:], [(2, 2)], [(1, 1), (3, 259)]])
def test_resampling_parity(pair: Any, rng: np.random.Generator, op: str, grids: Any, channels: Any) -> None:
    (inputs, outputs), grids = channels, grid(grids)
    options = {"symmetric": True} if op == "symmetric" else {}
    if op != "upsample":
        op, grids = "downsample", np.maximum(grids, 2)
    x = pair.round(rng.standard_normal((pixels(grids), inputs)))
    weight, bias = draw_weight(pair, rng, outputs, inputs, 3), rng.standard_normal(outputs).astype(np.float32)
    for make in (lambda ops, values: ops.array(values), padded):
        results = [
            ops.numpy(getattr(ops, op)(make(ops, x), ops.pack_conv(weight, bias), grids, **options))
            for ops in pair.both
        ]
        pair.close(*results, scale=2)


def run_all(ops: Any, x: Any, weight: Any, small: Any, grids: Any, residual: Any) -> list[Float32]:
    """Every form of the op on the same input."""
    w, s, x = ops.pack_conv(weight, None), ops.pack_conv(small, None), ops.array(x)
    return [
        ops.numpy(y)
        for y in (
            ops.conv2d(x, w, grids, residual=ops.array(residual)),
            ops.conv2d(x, s, grids, dtype="float32"),
            ops.upsample(x, w, grids),
            ops.downsample(x, w, grids),
            ops.downsample(x, w, grids, symmetric=True),
        )
    ]


def test_bitwise_independent_of_company_and_threads(pair: Any, rng: np.random.Generator) -> None:
    pairs = [(11, 37), (40, 18), (2, 3)]
    grids = grid(pairs)
    x = rng.standard_normal((pixels(grids), 35)).astype(np.float32)
    residual = rng.standard_normal((pixels(grids), 70)).astype(np.float32)
    weight, small = draw_weight(pair, rng, 70, 35, 3), draw_weight(pair, rng, 3, 35, 1)
    whole = run_all(CpuOps(pair.cpu.isa, pair.cpu.compute, 1), x, weight, small, grids, residual)
    for threads in (2, 5):
        again = run_all(CpuOps(pair.cpu.isa, pair.cpu.compute, threads), x, weight, small, grids, residual)
        for got, want in zip(again, whole, strict=True):
            np.testing.assert_array_equal(got, want)
    starts, out = np.cumsum([0] + [h * w for h, w in pairs]), np.zeros(len(whole), np.int64)
    for i in range(len(pairs)):
        rows = slice(starts[i], starts[i + 1])
        alone = run_all(pair.cpu, x[rows], weight, small, grids[i : i + 1], residual[rows])
        for n, got in enumerate(alone):
            np.testing.assert_array_equal(got, whole[n][out[n] : out[n] + len(got)])
            out[n] += len(got)
    assert out.tolist() == [len(y) for y in whole]


def test_bitwise_independent_of_tiles(pair: Any, rng: np.random.Generator) -> None:
    """A pixel far from the border has the bits that it has in a crop, where blocks and tiles fall otherwise."""
    image = rng.standard_normal((50, 150, 40)).astype(np.float32)
    crop = image[7:31, 90:147]
    weight = draw_weight(pair, rng, 33, 40, 3)
    ops = pair.cpu
    packed = ops.pack_conv(weight, None)

    def run(op: str, part: Float32) -> Float32:
        y: Float32 = ops.numpy(getattr(ops, op)(ops.array(part.reshape(-1, 40)), packed, grid([part.shape[:2]])))
        scale = {"conv2d": 1, "upsample": 2, "downsample": 0.5}[op]
        return y.reshape(int(part.shape[0] * scale), int(part.shape[1] * scale), 33)

    np.testing.assert_array_equal(run("conv2d", crop)[1:-1, 1:-1], run("conv2d", image)[8:30, 91:146])
    np.testing.assert_array_equal(run("upsample", crop)[2:-2, 2:-2], run("upsample", image)[16:60, 182:292])
    even = image[8:30, 90:146]
    np.testing.assert_array_equal(run("downsample", even)[:-1, :-1], run("downsample", image)[4:14, 45:72])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_numbers_reach_their_neighbours_alone(pair: Any, rng: np.random.Generator, bad: float) -> None:
    grids = grid([(6, 30), (9, 20)])
    x = pair.round(rng.standard_normal((pixels(grids), 5)))
    weight = draw_weight(pair, rng, 4, 5, 3)
    ops = pair.cpu
    packed = ops.pack_conv(weight, None)
    y, column = 4, 11
    spoilt = x.copy()
    spoilt[180 + y * 20 + column, 4] = bad
    for op, shape, rows, columns in (
        ("conv2d", (9, 20), (y - 1, y + 2), (column - 1, column + 2)),
        ("upsample", (18, 40), (2 * y - 1, 2 * y + 3), (2 * column - 1, 2 * column + 3)),
        ("downsample", (4, 10), (1, 3), (5, 6)),  # centres at odd rows and columns: rows 3 and 5, column 11
    ):
        before, after = (ops.numpy(getattr(ops, op)(ops.array(v), packed, grids)) for v in (x, spoilt))
        first = len(before) - shape[0] * shape[1]
        np.testing.assert_array_equal(after[:first], before[:first])
        touched = np.zeros(shape, bool)
        touched[slice(*rows), slice(*columns)] = True
        after, before = after[first:].reshape(*shape, 4), before[first:].reshape(*shape, 4)
        assert not np.isfinite(after[touched]).any()
        np.testing.assert_array_equal(after[~touched], before[~touched])


def test_old_scratch_is_never_multiplied(pair: Any, rng: np.random.Generator) -> None:
    """Scratch that an earlier call left full of NaN: borders and missing channels are zeros all the same."""
    ops = CpuOps(pair.cpu.isa, pair.cpu.compute, 1)
    wide = ops.pack_conv(draw_weight(pair, rng, 8, 64, 3), None)
    for op in ("conv2d", "upsample", "downsample"):
        poison = getattr(ops, op)(ops.array(np.full((40 * 40, 64), np.nan, np.float32)), wide, grid([(40, 40)]))
        assert np.isnan(ops.numpy(poison)).any()
        for inputs in (1, 3, 31, 33):
            x = ops.array(rng.standard_normal((7 * 9, inputs)).astype(np.float32))
            y = getattr(ops, op)(x, ops.pack_conv(draw_weight(pair, rng, 8, inputs, 3), None), grid([(7, 9)]))
            assert np.isfinite(ops.numpy(y)).all()


def test_no_images(pair: Any) -> None:
    ops = pair.cpu
    packed = ops.pack_conv(np.ones((4, 2, 3, 3), np.float32), None)
    for op in (ops.conv2d, ops.upsample, ops.downsample):
        assert op(ops.empty(0, 2), packed, grid([])).shape == (0, 4)


def test_refusals(pair: Any) -> None:
    ops = pair.cpu
    x, w = ops.zeros(12, 4), ops.pack_conv(np.ones((5, 4, 3, 3), np.float32), np.ones(5, np.float32))
    point = ops.pack_conv(np.ones((5, 4, 1, 1), np.float32), None)
    good = grid([(3, 4)])
    ones = np.ones
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: ops.pack_conv(ones((5, 4, 3), np.float32), None), r"pack_conv: weight: got \[5, 4, 3\]"),
        (lambda: ops.pack_conv(ones((5, 4, 3, 1), np.float32), None), "pack_conv: weight"),
        (lambda: ops.pack_conv(ones((5, 4, 5, 5), np.float32), None), "pack_conv: weight"),
        (lambda: ops.pack_conv(ones((0, 4, 3, 3), np.float32), None), "pack_conv: weight"),
        (lambda: ops.pack_conv(ones((5, 4, 3, 3), np.float32), ones(4, np.float32)), "pack_conv: bias: got length 4"),
        (lambda: ops.conv2d(ops.zeros(12, 3), w, good), r"conv2d: x: got \[12, 3\].*want \[P, 4\]"),
        (lambda: ops.conv2d(x, w, grid([(3, 3)])), "conv2d: grids: got 9 pixels, want 12"),
        (lambda: ops.conv2d(x, w, grid([(3, 4), (1, 1)])), "conv2d: grids: got at least 13 pixels, want 12"),
        (lambda: ops.conv2d(x, w, grid([(-3, -4)])), "conv2d: grids: got -3 x -4"),
        (lambda: ops.conv2d(x, w, grid([(0, 4), (3, 4)])), "conv2d: grids: got 0 x 4, want sides of at least 1"),
        (lambda: ops.conv2d(x, w, np.array([3, 4], np.int32)), r"conv2d: grids: got \[2\]"),
        (lambda: ops.conv2d(x, w, good, residual=ops.zeros(12, 4)), r"conv2d: residual: got \[12, 4\]"),
        (lambda: ops.conv2d(x, w, good, dtype="half"), "dtype: got"),
        (lambda: ops.upsample(x, point, good), "upsample: weight: got a 1x1"),
        (lambda: ops.downsample(x, point, good), "downsample: weight: got a 1x1"),
        (lambda: ops.downsample(x, w, grid([(1, 12)])), "downsample: grids: got 1 x 12, want sides of at least 2"),
    ]
    if ops.compute == "bfloat16":
        wrong = ops.zeros(12, 4, "float32")
        cases.append((lambda: ops.conv2d(wrong, w, good), "conv2d: x: got .* float32, want bfloat16"))
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
