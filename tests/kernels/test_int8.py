"""Weights in int8: the bits of their definition, a row's bits its own, and only where the quality gate lets them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salon.kernels import backends
from salon.kernels.cpu import CpuOps, isa_levels
from salon.kernels.cpu_int8 import GATE, Int8Ops
from salon.kernels.ops import LowRankPart, LowRankTerm
from salon.kernels.reference.int8 import product, rounded
from salon.kernels.segments import Segments


@pytest.fixture(params=isa_levels())
def ops(request: pytest.FixtureRequest) -> Int8Ops:
    return Int8Ops(request.param, "float32", 2, least=1)


def numbers(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


def run(ops: CpuOps, x: Any, weight: Any, **options: Any) -> Any:
    return ops.numpy(ops.linear(ops.array(x), weight, **options))


@pytest.mark.parametrize(
    ("rows", "width", "depth"),
    [(1, 1, 1), (5, 33, 3), (6, 32, 512), (13, 70, 130), (31, 40, 513), (270, 64, 1030)],
)
def test_bits_are_those_of_the_definition(
    ops: Int8Ops, rng: np.random.Generator, rows: int, width: int, depth: int
) -> None:
    x, w = numbers(rng, rows, depth), numbers(rng, width, depth)
    x[::3] *= 1e4  # rows and groups of other sizes
    x[0, depth // 2 :] *= 1e-3
    packed = ops.pack_linear([w])
    assert packed.dtype == "int8"
    np.testing.assert_array_equal(run(ops, x, packed), product(x, w))


def test_what_is_rounded(ops: Int8Ops, rng: np.random.Generator) -> None:
    """Ties go to even; zeros, outliers, tiny and huge numbers have the scale of their own group."""
    given = [[127, 0.5, 1.5, -2.5, -127], [0] * 5, [1e-31] * 5, [np.nan, 1, 1, 1, 1]]
    whole, scale = rounded(np.array(given, np.float32))
    assert whole[:3].tolist() == [[127, 0, 2, -2, -127], [0] * 5, [0] * 5]
    assert scale[:3].tolist() == [1, 0, 0]
    assert np.isnan(scale[3])
    x, w = numbers(rng, 8, 700), numbers(rng, 40, 700)
    exact = x @ w.T
    x[1], x[2], x[3] = 0, x[2] * np.float32(1e-32), x[3] * np.float32(1e30)
    got = run(ops, x, ops.pack_linear([w]))
    np.testing.assert_array_equal(got, product(x, w))
    assert not got[1:3].any()
    np.testing.assert_allclose(got[3] / 1e30, exact[3], atol=1)
    alone, without = x[5:6].copy(), x[5:6].copy()
    alone[0, 200] = 10**6  # hides what stands beside it in its group, and nothing of the other groups
    without[0, :512] = 0
    w[:, 200] = 0
    packed = ops.pack_linear([w])
    np.testing.assert_array_equal(run(ops, alone, packed), run(ops, without, packed))
    bits = rng.integers(0x3F00, 0x4000, (33, 70)).astype(np.uint16)  # bfloat16, as files have it
    wide = (bits.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(run(ops, x[:, :70], ops.pack_linear([bits])), product(x[:, :70], wide))


@pytest.mark.skipif("avx512_bf16" not in isa_levels(), reason="needs AVX512-BF16")
def test_rows_of_bfloat16(rng: np.random.Generator) -> None:
    for isa in (each for each in isa_levels() if each.endswith("bf16")):
        ops = Int8Ops(isa, "bfloat16", 2, least=1)
        x, w = ops.array(numbers(rng, 15, 700)), numbers(rng, 40, 700)
        got = ops.numpy(ops.linear(x, ops.pack_linear([w]), dtype="float32"))
        np.testing.assert_array_equal(got, product(ops.numpy(x), w))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_numbers_stay_in_their_row(ops: Int8Ops, rng: np.random.Generator, bad: float) -> None:
    x, packed = numbers(rng, 20, 200), ops.pack_linear([numbers(rng, 50, 200)])
    clean = run(ops, x, packed)
    x[7, 150] = bad
    got = run(ops, x, packed)
    assert not np.isfinite(got[7]).any()
    np.testing.assert_array_equal(np.delete(got, 7, 0), np.delete(clean, 7, 0))


def test_rows_do_not_depend_on_company_or_threads(rng: np.random.Generator) -> None:
    x, w, b = numbers(rng, 600, 260), numbers(rng, 70, 260), numbers(rng, 70)
    whole = None
    for isa in isa_levels():
        for threads in (1, 2, 5):
            ops = Int8Ops(isa, "float32", threads, least=1)
            packed = ops.pack_linear([w], [b])
            got = run(ops, x, packed)
            whole = got if whole is None else whole
            np.testing.assert_array_equal(got, whole)
            for start, stop in [(0, 1), (599, 600), (3, 20), (17, 400)]:
                np.testing.assert_array_equal(run(ops, x[start:stop], packed), whole[start:stop])
    ops = Int8Ops(None, "float32", 1, least=1)
    many = np.repeat(numbers(rng, 3, 6000), 1000, 0)  # more rows than are rounded at a time
    got = run(ops, many, ops.pack_linear([numbers(rng, 2, 6000)]))
    np.testing.assert_array_equal(got, np.repeat(got[::1000], 1000, 0))


def test_every_way_out(ops: Int8Ops, rng: np.random.Generator) -> None:
    """Biases, activations, pairs of gate and value, gated residuals, low-rank terms: as with the weights unrounded."""
    exact = CpuOps(ops.isa, "float32", 2)
    x, w, b = numbers(rng, 21, 64), numbers(rng, 72, 64), numbers(rng, 72)
    whole, scale = rounded(w)
    near = whole * scale[:, None].astype(np.float64)  # so that rounding the rows is all that differs
    segments = Segments.of([10, 11])
    part = LowRankPart(numbers(rng, 4, 64), numbers(rng, 72, 4), 0)

    def all_of(table: CpuOps, weight: Any) -> list[Any]:
        packed = table.pack_linear([weight], [b])
        pairs = table.pack_linear([weight], [b], swiglu=True)
        factors = table.pack_low_rank([part], 72)
        gate = table.array(np.tile(b, (2, 1)), "float32")
        stream = table.array(np.tile(b, (21, 1)), "float32")
        table.linear(table.array(x), packed, residual=stream, gate=gate, segments=segments)
        return [
            run(table, x, packed, activation="gelu_tanh"),
            run(table, x, pairs, activation="swiglu"),
            run(table, x, packed, low_rank=[LowRankTerm(3, 9, factors, 0.5)]),
            table.numpy(stream),
        ]

    for got, want in zip(all_of(ops, near.astype(np.float32)), all_of(exact, near.astype(np.float32)), strict=True):
        off = np.sqrt(np.square(got - want).mean() / np.square(want).mean())
        assert 0 < off < 0.02
    assert ops.kept == ops.layers == 2


def test_the_gate_refuses_what_rounding_spoils(rng: np.random.Generator) -> None:
    ops = Int8Ops(None, "float32", 1)
    good = numbers(rng, 256, 300)
    broken, heavy = good.copy(), numbers(rng, 256, 3000) / 10
    broken[3, 3] = np.inf
    heavy[:, 0] = 5  # hides the others of its row
    kept = [ops.pack_linear([w]).dtype for w in (good, broken, good[:255], good[:, :255], heavy)]
    kept += [ops.pack_linear([good], exact=True).dtype, ops.pack_linear([good[:128], good[128:]]).dtype]
    assert kept == ["int8", "float32", "float32", "float32", "float32", "float32", "int8"]
    (said,) = (note for note in ops.notes if note.startswith("int8"))
    assert said.startswith("int8: 2 of 7 linear layers, whose weights are off by 0.")
    assert 0.005 < ops.worst < GATE


def test_weights_take_a_byte_each(rng: np.random.Generator) -> None:
    w = numbers(rng, 512, 512)
    small, large = Int8Ops(None, "float32", 1).pack_linear([w]), CpuOps(None, "float32", 1).pack_linear([w])
    assert (small.bytes, large.bytes) == (512 * 512 + 4 * 512, 4 * 512 * 512)


def test_what_takes_less_memory_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of weights in 8 bits bfloat16 does not take half."""
    small = "--backend cpu_int8, which keeps linear layers in 8 bits"
    for levels, more, kept in (
        (["avx2", "portable"], (), ()),
        (["avx512_bf16", "avx2"], ("--dtype bfloat16, which takes half",),
         ("--dtype bfloat16, which takes half of what is not in linear layers",)),
    ):  # fmt: skip
        monkeypatch.setattr(backends.backend("cpu"), "isa_levels", lambda levels=levels: levels)
        assert backends.lighter("cpu", "float32") == (*more, small)
        assert backends.lighter("cpu", "bfloat16") == (small,)
        assert backends.lighter("cpu_int8", "float32") == kept
    assert backends.lighter("cpu_int8", "bfloat16") == backends.lighter("reference", "float32") == ()


def test_the_backend_refuses_what_it_has_not() -> None:
    assert backends.create("cpu_int8", isa="portable").name == "cpu_int8/portable"
    assert backends.linear_bytes("cpu_int8") == 1
    assert backends.linear_bytes("cpu") is None
    with pytest.raises(ValueError, match="'cuda:0', allowed cpu"):
        backends.create("cpu_int8", device="cuda:0")
    with pytest.raises(ValueError, match="bf16 dot product"):
        backends.create("cpu_int8", isa="portable", dtype="bfloat16")
    ops = backends.create("cpu_int8", isa="portable")
    with pytest.raises(ValueError, match=r"x: got \[3, 7\]"):
        ops.linear(ops.zeros(3, 7), ops.pack_linear([np.ones((256, 256), np.float32)]))
    with pytest.raises(ValueError, match="weights: got"):
        ops.pack_linear([np.ones(3, np.float32)])
