"""linear and pack_linear against the reference, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from salon.kernels.cpu import CpuOps, isa_levels
from salon.kernels.segments import Segments

SHAPES = [
    (1, 1, 1),
    (1, 384, 384),
    (5, 7, 33),
    (12, 32, 2),
    (13, 33, 31),
    (31, 64, 64),
    (33, 100, 65),
    (200, 48, 130),
    (14, 33, 3073),
]


def weights(pair, rng, n, k):
    return pair.round(rng.standard_normal((n, k)) / np.sqrt(k)), rng.standard_normal(n).astype(np.float32)


@pytest.mark.parametrize(("rows", "width", "depth"), SHAPES)
@pytest.mark.parametrize("activation", ["none", "gelu_tanh", "gelu", "silu"])
def test_parity(pair, rng, rows, width, depth, activation):
    x = pair.round(rng.standard_normal((rows, depth)) * 3)
    w, b = weights(pair, rng, width, depth)
    for dtype in ("compute", "float32"):
        got, want = (
            ops.numpy(ops.linear(ops.array(x), ops.pack_linear([w], [b]), activation=activation, dtype=dtype))
            for ops in pair.both
        )
        pair.close(got, want)


@pytest.mark.parametrize(("rows", "width", "depth"), [(1, 1, 3), (7, 16, 32), (13, 40, 33), (40, 100, 64)])
def test_swiglu(pair, rng, rows, width, depth):
    x = pair.round(rng.standard_normal((rows, depth)))
    w, b = weights(pair, rng, 2 * width, depth)
    got, want = (
        ops.numpy(ops.linear(ops.array(x), ops.pack_linear([w], [b], swiglu=True), activation="swiglu"))
        for ops in pair.both
    )
    assert got.shape == (rows, width)
    pair.close(got, want)


@pytest.mark.parametrize("lengths", [[3], [0, 5, 1, 0], [16, 1, 40]])
@pytest.mark.parametrize("gated", [False, True])
def test_residual_is_written_in_place(pair, rng, lengths, gated):
    segments = Segments.of(lengths, owners=list(range(len(lengths)))[::-1])
    rows, width, depth = segments.num_rows, 37, 50
    x, stream = pair.round(rng.standard_normal((rows, depth))), rng.standard_normal((rows, width)).astype(np.float32)
    w, b = weights(pair, rng, width, depth)
    gates = rng.standard_normal((segments.num_samples, 3 * width)).astype(np.float32)
    results = []
    for ops in pair.both:
        residual = ops.array(stream, "float32")
        gate = ops.columns(ops.array(gates, "float32"), width, 2 * width) if gated else None
        packed = ops.pack_linear([w], [b])
        result = ops.linear(ops.array(x), packed, residual=residual, gate=gate, segments=segments)
        np.testing.assert_array_equal(ops.numpy(result), ops.numpy(residual))
        results.append(ops.numpy(residual))
    pair.close(*results)
    assert not np.array_equal(results[0], stream)


def test_the_owners_of_rows_are_found_once():  # house 1A.4
    """Every gated layer built the same array anew, more than a hundred times a step."""
    segments = Segments.of([2, 0, 3], owners=[1, 2, 0])
    owners = segments.row_owners()
    assert owners.dtype == np.int32
    assert owners.tolist() == [1, 1, 0, 0, 0]
    assert segments.row_owners() is owners
    with pytest.raises(ValueError, match="read-only"):
        owners[0] = 0


def test_packed_together_and_strided_views(pair, rng):
    """q, k and v as one layer, read from and written into column views."""
    x = pair.round(rng.standard_normal((21, 96)))
    parts = [weights(pair, rng, n, 64) for n in (40, 8, 24)]
    results = []
    for ops in pair.both:
        source = ops.columns(ops.array(x), 16, 80)
        wide = ops.zeros(30, 100)
        target = ops.columns(ops.rows(wide, 4, 25), 10, 82)
        ops.linear(source, ops.pack_linear([w for w, _ in parts], [b for _, b in parts]), out=target)
        results.append(ops.numpy(wide))
    pair.close(*results)
    outside = results[0].copy()
    outside[4:25, 10:82] = 0
    assert not outside.any()


def test_bfloat16_bits_are_taken_as_they_are(pair, rng):
    w = rng.standard_normal((9, 24)).astype(np.float32)
    bits = (w.view(np.uint32) >> 16).astype(np.uint16)
    exact = (bits.astype(np.uint32) << 16).view(np.float32)
    x = pair.round(rng.standard_normal((4, 24)))
    a, b = (pair.cpu.numpy(pair.cpu.linear(pair.cpu.array(x), pair.cpu.pack_linear([v]))) for v in (bits, exact))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("depth", [72, 2050])
def test_rows_do_not_depend_on_company_or_threads(pair, rng, threads, depth):
    """Bitwise: any slice of rows gives the same rows, whatever else is in the call."""
    width, rows = 70, 150
    x = pair.round(rng.standard_normal((rows, depth)))
    w, b = weights(pair, rng, width, depth)
    one = CpuOps(pair.cpu.isa, pair.cpu.compute, 1)
    whole = one.numpy(one.linear(one.array(x), one.pack_linear([w], [b]), activation="gelu_tanh"))
    many = CpuOps(pair.cpu.isa, pair.cpu.compute, threads)
    packed = many.pack_linear([w], [b])
    for start, stop in [(0, 1), (1, 2), (149, 150), (3, 20), (17, 150), (0, 33), (64, 128), (0, 150)]:
        part = many.numpy(many.linear(many.array(x[start:stop]), packed, activation="gelu_tanh"))
        np.testing.assert_array_equal(part, whole[start:stop])


@pytest.mark.skipif("avx512_bf16" not in isa_levels(), reason="needs AVX512-BF16")
@pytest.mark.parametrize("depth", [31, 128, 150, 2050])
def test_products_of_bfloat16_have_one_result(rng, depth):
    """On Intel's CPUs avx512_bf16 takes multiply-adds for the dot product, which the modelled tiles still use."""
    x, w = rng.standard_normal((30, depth)), rng.standard_normal((70, depth))
    x[:, ::5] *= 1e-39  # denormal numbers
    w[:, ::7] *= 1e-30
    results = []
    for isa in ("avx512_bf16", "amx_model"):
        ops = CpuOps(isa, "bfloat16", 1)
        layer = ops.pack_linear([w.astype(np.float32)])
        results.append(ops.numpy(ops.linear(ops.array(x.astype(np.float32)), layer, dtype="float32")))
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_numbers_stay_in_their_row(pair, rng, bad):
    x = pair.round(rng.standard_normal((40, 33)))
    w, b = weights(pair, rng, 50, 33)
    clean = pair.cpu.numpy(pair.cpu.linear(pair.cpu.array(x), pair.cpu.pack_linear([w], [b])))
    x[17, 32] = bad
    spoilt = pair.cpu.numpy(pair.cpu.linear(pair.cpu.array(x), pair.cpu.pack_linear([w], [b])))
    assert not np.isfinite(spoilt[17]).any()
    keep = np.arange(40) != 17
    np.testing.assert_array_equal(spoilt[keep], clean[keep])


def test_no_rows(pair):
    empty = pair.cpu.linear(pair.cpu.empty(0, 8), pair.cpu.pack_linear([np.ones((4, 8), np.float32)]))
    assert empty.shape == (0, 4)


def test_refusals_name_the_argument(pair):
    ops = pair.cpu
    weight = ops.pack_linear([np.ones((4, 8), np.float32)])
    x, stream = ops.zeros(3, 8), ops.zeros(3, 4, "float32")
    with pytest.raises(ValueError, match=r"x: got \[3, 7\].*want \[T, 8\]"):
        ops.linear(ops.zeros(3, 7), weight)
    with pytest.raises(ValueError, match=r"residual: got \[3, 5\]"):
        ops.linear(x, weight, residual=ops.zeros(3, 5, "float32"))
    with pytest.raises(ValueError, match="segments: got None"):
        ops.linear(x, weight, residual=stream, gate=ops.zeros(1, 4, "float32"))
    with pytest.raises(ValueError, match="activation: got silu, want none together with residual"):
        ops.linear(x, weight, residual=stream, activation="silu")
    with pytest.raises(ValueError, match="activation"):
        ops.linear(x, weight, activation="swiglu")
    owners = Segments.of([3], owners=[3])
    with pytest.raises(ValueError, match="owner 3"):
        ops.linear(x, weight, residual=stream, gate=ops.zeros(1, 4, "float32"), segments=owners)
    with pytest.raises(ValueError, match="even number for swiglu"):
        ops.pack_linear([np.ones((5, 8), np.float32)], swiglu=True)
    np.testing.assert_array_equal(ops.numpy(stream), 0)


@pytest.mark.parametrize("depth", [32, 64, 352, 384, 2080])
@pytest.mark.parametrize("way", ["none", "gelu_tanh", "float32", "residual", "gated"])
def test_whole_blocks_of_rows_and_columns(pair, rng, depth, way):
    """Large enough for every path of a blocked kernel, next to rows that it must not touch.

    Kernels over tiles finish a block of 32 x 32 a few vectors at a time between the products of the next; what is left
    of it at the end once ran past its last row.
    """
    rows, width, samples = 96, 100, 3
    x = pair.round(rng.standard_normal((rows, depth)))
    stream = rng.standard_normal((rows + 2, width)).astype(np.float32)
    w, b = weights(pair, rng, width, depth)
    gates = rng.standard_normal((samples, width)).astype(np.float32)
    owners = Segments.of([31, 33, 32])

    def run(ops, start, stop):
        """Rows start..stop, and what stands around them afterwards."""
        packed, source = ops.pack_linear([w], [b]), ops.array(x[start:stop])
        if way in ("residual", "gated"):
            target = ops.array(stream, "float32")
            part = Segments.of([1] * (stop - start), owners.row_owners()[start:stop].tolist(), samples)
            gate = ops.array(gates, "float32") if way == "gated" else None
            ops.linear(source, packed, residual=ops.rows(target, start, stop), gate=gate, segments=part)
        else:
            target = ops.array(stream, "float32" if way == "float32" else "compute")
            activation = way if way == "gelu_tanh" else "none"
            ops.linear(source, packed, activation=activation, out=ops.rows(target, start, stop))
        got = ops.numpy(target)
        return got[start:stop], np.concatenate([got[:start], got[stop:]])

    got, around = run(pair.cpu, 0, rows)
    pair.close(got, run(pair.reference, 0, rows)[0])
    np.testing.assert_array_equal(around, pair.round(stream[rows:]) if way in ("none", "gelu_tanh") else stream[rows:])
    for start, stop in [(0, 1), (31, 34), (95, 96), (32, 96)]:
        np.testing.assert_array_equal(run(pair.cpu, start, stop)[0], got[start:stop])
