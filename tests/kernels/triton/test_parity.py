"""Every op of the triton table against the reference: odd shapes, empty segments, strided views."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.kernels.ops import GuidanceTerms
from salon.kernels.segments import Segments

from ..test_attention import TERMS, make, make_terms
from ..test_attention import check as check_attention
from ..test_elementwise import (  # noqa: F401  (they run here on the triton table)
    test_bfloat16_bits_are_kept_exactly,
    test_rounding_is_to_nearest_even,
    test_segments_of_a_backend_are_segments,
)
from ..test_low_rank import (  # noqa: F401
    check_terms_of_rows,
    test_wrong_terms_are_refused,
)

Float32 = NDArray[np.float32]


def view(ops: Any, values: Float32, dtype: str = "compute") -> Any:
    """The values as a view into a wider array that is full of NaN."""
    room = np.pad(values, ((1, 1), (3, 5)), constant_values=np.nan)
    return ops.columns(ops.rows(ops.array(room, dtype), 1, len(values) + 1), 3, 3 + values.shape[1])


def normal(rng: np.random.Generator, *shape: int) -> Float32:
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("activation", ["gelu_tanh", "quick_gelu", "silu", "swiglu", "geglu"])
@pytest.mark.parametrize(("rows", "width", "depth"), [(1, 1, 1), (19, 34, 65)])
def test_linear(pair, rng, rows, width, depth, activation):
    x, width = pair.round(normal(rng, rows, depth)), width * (2 if "glu" in activation else 1)
    w, b = pair.round(normal(rng, width, depth) / np.sqrt(depth)), normal(rng, width)
    got, want = (
        ops.numpy(
            ops.linear(
                view(ops, x),
                ops.pack_linear([w[:1], w[1:]] if width > 1 else [w], [b[:1], b[1:]] if width > 1 else [b],
                                swiglu="glu" in activation),
                activation=activation,
                dtype="float32",
            )
        )
        for ops in pair.both
    )  # fmt: skip
    pair.close(got, want)


def test_low_rank_terms(pair):
    if pair.cpu.compute == "float32":
        pytest.skip("the products that terms are made of are tested in both dtypes")
    check_terms_of_rows(pair, 14, 21, "swiglu")


@pytest.mark.parametrize("gated", [False, True])
def test_linear_into_a_residual_and_into_a_view(pair, rng, gated):
    segments = Segments.of([0, 5, 1, 0, 13], owners=[3, 2, 0, 1, 1])
    x, w = pair.round(normal(rng, 19, 50)), pair.round(normal(rng, 37, 50) / 7)
    stream, gates = normal(rng, 19, 37), normal(rng, 4, 3 * 37)
    results = []
    for ops in pair.both:
        residual, packed = ops.array(stream, "float32"), ops.pack_linear([w])
        gate = ops.columns(ops.array(gates, "float32"), 37, 74) if gated else None
        told = ops.linear(ops.array(x), packed, residual=residual, gate=gate, segments=segments if gated else None)
        wide = ops.zeros(21, 60)
        ops.linear(ops.array(x), packed, out=ops.columns(ops.rows(wide, 1, 20), 10, 47))
        results.append((ops.numpy(told), ops.numpy(residual), ops.numpy(wide)))
    for got, want in zip(*results, strict=True):
        pair.close(got, want)
    np.testing.assert_array_equal(results[0][0], results[0][1])


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_norm_and_modulate(pair, rng, kind):
    segments = Segments.of([0, 2, 0, 5], owners=[2, 1, 0, 0])
    for width in (1, 17, 45):
        x, cond = normal(rng, 7, width) * 5 + 3, normal(rng, 3, 2 * width)
        w, b = normal(rng, 2, 1, width)
        results = []
        for ops in pair.both:
            c = ops.array(cond, "float32")
            shift, scale = ops.columns(c, 0, width), ops.columns(c, width, 2 * width)
            given, weight, bias = view(ops, x, "float32"), ops.array(w, "float32"), ops.array(b, "float32")
            held = ops.array(pair.round(x))
            results.append(
                [
                    ops.numpy(ops.modulate(given, shift, scale, segments, kind=kind)),
                    ops.numpy(ops.norm(given, weight, bias, kind=kind)),
                    ops.numpy(ops.norm(held, weight, kind=kind, dtype="float32")),
                ]
            )
        for got, want in zip(*results, strict=True):
            assert np.isfinite(got).all()
            np.testing.assert_allclose(got, want, rtol=pair.rtol, atol=5e-3 if width == 1 else 3 * pair.atol)


@pytest.mark.parametrize(("norm", "rope", "plain"), [(1, 1, 1), (1, 0, 1), (0, 1, 0), (0, 0, 0)])
def test_qk_norm_rope(pair, rng, norm, rope, plain):
    for heads, e in ((3, 6), (2, 40)):
        qkv, turn = pair.round(normal(rng, 5, 3 * heads * e)), rng.uniform(-50, 50, (5, e // 2))
        weights = normal(rng, 2, 1, e)
        results = []
        for ops in pair.both:
            given = view(ops, qkv)
            q_weight, k_weight = (ops.array(w, "float32") if norm else None for w in weights)
            cos, sin = (view(ops, f(turn).astype(np.float32), "float32") if rope else None for f in (np.cos, np.sin))
            plain_q = ops.zeros(5, heads * e) if plain else None
            ops.qk_norm_rope(given, heads, q_weight, k_weight, cos, sin, plain_q=plain_q)
            results.append([ops.numpy(given)] + ([ops.numpy(plain_q)] if plain else []))
        for got, want in zip(*results, strict=True):
            pair.close(got, want, 4)
        np.testing.assert_array_equal(results[0][0][:, 2 * heads * e :], qkv[:, 2 * heads * e :])


@pytest.mark.parametrize("width", [1, 20])
@pytest.mark.parametrize(
    ("lengths", "owners", "keys"),
    [([5, 0, 18, 0], [2, 0, 1, 1], None), ([5, 17, 4], [0, 1, 3], ([3, 0, 33, 2], [1, 0, 1, 0]))],
)
def test_attention(pair, rng, width, lengths, owners, keys):
    """Text and image of a sample apart, samples without keys, and one beyond the last that has some."""
    theirs = None if keys is None else Segments.of(*keys)
    case = make(pair, rng, 2, width, Segments.of(lengths, owners), theirs)
    check_attention(pair, case)
    if keys is not None:
        assert (case.run(pair.cpu)[0][22:] == 0).all()


@pytest.mark.parametrize(("causal", "biased"), [(True, False), (False, True), (True, True)])
def test_attention_of_text_encoders(pair, rng, causal, biased):
    """Causal, with biases by distance, keys shared by heads, a scale of its own: places run on over segments."""
    segments = Segments.of([5, 0, 18, 3], [0, 1, 1, 0])
    q, bias = pair.round(normal(rng, 26, 12)), normal(rng, 4, 7)
    k, v = (pair.round(normal(rng, 26, 6)) for _ in range(2))
    got, want = (
        ops.numpy(
            ops.attention(
                *(ops.array(part) for part in (q, k, v)),
                segments,
                4,
                kv_heads=2,
                scale=0.7,
                causal=causal,
                bias=ops.array(bias, "float32") if biased else None,
            )
        )
        for ops in pair.both
    )
    pair.close(got, want)


def test_what_other_families_need(pair, rng):
    """Gates, fewer heads of keys, a modulation without a shift and with a weight, zeros on all sides."""
    segments, grids = Segments.of([2, 0, 3], [0, 1, 1]), np.array([(3, 5), (2, 2)], np.int32)
    qkv, weight, turn, x, gate = (normal(rng, *shape) for shape in ((5, 48), (1, 6), (5, 3), (5, 9), (2, 9)))
    kernel, pixels, w = (pair.round(normal(rng, *shape)) for shape in ((3, 2, 3, 3), (19, 2), (1, 9)))
    x, qkv = pair.round(x), pair.round(qkv)
    results = []
    for ops in pair.both:
        heads, total = ops.array(qkv), ops.array(x, "float32")
        norm, angles, gates = (ops.array(part, "float32") for part in (weight, turn, gate))
        ops.qk_norm_rope(heads, 4, norm, norm, angles, angles, kv_heads=2)
        ops.add(total, ops.array(x), segments, ops.vectors(np.array([2], np.int32))[0], gates)
        given = ops.array(x, "float32")
        results.append(
            [
                ops.numpy(heads),
                ops.numpy(total),
                ops.numpy(ops.gated(ops.array(x), given, "sigmoid")),
                ops.numpy(ops.gated(given, given, "tanh", out=ops.array(x))),
                ops.numpy(ops.cast(given, activation="tanh")),
                ops.numpy(ops.modulate(given, None, gates, segments, kind="rms", weight=ops.array(w, "float32"))),
                ops.numpy(ops.downsample(ops.array(pixels), ops.pack_conv(kernel, None), grids, symmetric=True)),
            ]
        )
    for got, want in zip(*results, strict=True):
        pair.close(got, want, 4)


@pytest.mark.parametrize("name", ["several", "only empty"])
@pytest.mark.parametrize(("own_queries", "apart"), [(False, False), (True, True)])
def test_adapter_terms(pair, rng, name, own_queries, apart):
    case = make(pair, rng, 2, 9, Segments.of([3, 17, 2], [0, 0, 1]))
    terms = make_terms(pair, rng, TERMS[name], 18, queries_rows=22 if own_queries else 0, apart=apart)
    check_attention(pair, replace(case, terms=terms), 2)


def test_rows(pair, rng):
    """cast, concat, split, add, finite, embed and the sinusoid."""
    segments = Segments.of([2, 0, 3, 4])
    x, y = normal(rng, 9, 21), normal(rng, 9, 21)
    indices = [np.array(v, np.int32) for v in ([0, 6, 3, 3], [1, 1, 0, 1])]
    times = np.array([0, 0.5, 999.5], np.float32)
    results = []
    for ops in pair.both:
        held, total = view(ops, pair.round(x)), ops.array(x, "float32")
        ops.add(total, ops.array(pair.round(y)))
        ops.add(total, view(ops, y, "float32"), segments, *ops.vectors(np.array([3, 0, 1], np.int32)))
        tables = [ops.array(x[:7], "float32"), ops.array(pair.round(y[:2]))]
        results.append(
            [
                ops.numpy(ops.cast(held, "float32")),
                ops.numpy(ops.cast(ops.array(50 * x, "float32"), "float32", activation="silu")),
                ops.numpy(ops.concat([held, ops.empty(0, 21), *ops.split(held, [4, 0, 5])])),
                ops.numpy(total),
                ops.numpy(ops.embed(ops.vectors(*indices), tables)),
                ops.numpy(ops.timestep_embedding(*ops.vectors(times), 34)),
            ]
        )
        bad = x.copy()
        bad[[3, 8], [20, 0]] = np.inf, np.nan
        np.testing.assert_array_equal(ops.numpy(ops.finite(view(ops, bad, "float32"), segments))[:, 0], [1, 1, 0, 0])
        assert ops.numpy(ops.finite(held, segments)).all()
    for got, want in zip(*results, strict=True):
        pair.close(got, want, 3)


def test_solver_step_and_blend(pair, rng):
    segments, ints = Segments.of([3, 0, 34, 2]), np.int32
    velocity, x, base, previous = (normal(rng, n, 19) for n in (80, 39, 39, 39))
    previous[3:37] = np.nan  # not read: b is zero there
    shares = rng.choice(np.array([0, 0.25, 1], np.float32), (39, 1))
    results = []
    for ops in pair.both:
        guidance = GuidanceTerms(
            *ops.vectors(
                np.array([40, 0, 3, 77], ints),
                np.array([0, 1, 1, 4, 4], ints),
                np.array([7, 0, 46, 3], ints),
                np.array([2, -0.5, 1, 0.25], np.float32),
            )
        )
        a, b = ops.vectors(np.array([0.5, 1, -2, 0], np.float32), np.array([1, 2, 0, -1], np.float32))
        one, two, keep = (ops.array(x, "float32"), view(ops, x, "float32"), ops.zeros(39, 19, "float32"))
        v, before = view(ops, velocity, "float32"), ops.array(previous, "float32")
        ops.solver_step(one, v, segments, guidance, a, b, ops.array(base, "float32"), before, keep)
        ops.solver_step(two, v, segments, guidance, a, ops.vectors(np.zeros(4, np.float32))[0])
        mixed = ops.array(x, "float32")
        ops.blend(mixed, ops.array(base, "float32"), two, ops.array(shares, "float32"), segments, a, b)
        results.append([ops.numpy(part) for part in (one, two, keep, mixed)])
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    still = shares[:, 0] == 1
    np.testing.assert_array_equal(results[0][3][still], x[still])


GRIDS = np.array([(5, 3), (1, 4), (9, 4)], np.int32)


@pytest.mark.parametrize(("inputs", "outputs", "side"), [(3, 5, 3), (17, 33, 1)])
def test_convolutions(pair, rng, inputs, outputs, side):
    pixels = int(GRIDS.prod(axis=1).sum())
    even = np.maximum(GRIDS, 2)
    x, other = pair.round(normal(rng, pixels, inputs)), pair.round(normal(rng, int(even.prod(axis=1).sum()), inputs))
    residual, bias = pair.round(normal(rng, pixels, outputs)), normal(rng, outputs)
    weight = pair.round(normal(rng, outputs, inputs * side * side) / np.sqrt(inputs * side * side))
    results = []
    for ops in pair.both:
        packed, given = ops.pack_conv(weight.reshape(outputs, inputs, side, side), bias), view(ops, x)
        found = [
            ops.conv2d(given, packed, GRIDS, residual=view(ops, residual), dtype="float32"),
            ops.conv2d(given, packed, GRIDS, wrap=True),
        ]
        if side == 3:
            found.append(ops.upsample(given, packed, GRIDS))
            found.append(ops.upsample(given, packed, GRIDS, wrap=True))
            found.append(ops.downsample(view(ops, other), packed, even))
        results.append([ops.numpy(part) for part in found])
    for got, want in zip(*results, strict=True):
        pair.close(got, want, 2)


@pytest.mark.parametrize(("channels", "groups", "silu"), [(33, 11, True), (8, 1, False)])
def test_group_norm_silu(pair, rng, channels, groups, silu):
    """One image has several tiles; a large mean does not cancel."""
    grids = np.array([(1, 1), (43, 50), (3, 5)], np.int32)
    x = pair.round(normal(rng, 2166, channels) * 3 + (300 if pair.cpu.compute == "float32" else 2))
    w, b = normal(rng, 2, 1, channels)
    got, want = (
        ops.numpy(
            ops.group_norm_silu(
                view(ops, x), ops.array(w, "float32"), ops.array(b, "float32"), grids, groups, silu=silu
            )
        )
        for ops in pair.both
    )
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, rtol=pair.rtol, atol=max(pair.atol, 2e-4))


def test_nothing_at_all(pair):
    ops, none = pair.cpu, np.empty((0, 2), np.int32)
    packed = ops.pack_conv(np.ones((4, 2, 3, 3), np.float32), None)
    for op in (ops.conv2d, ops.upsample, ops.downsample):
        assert op(ops.empty(0, 2), packed, none).shape == (0, 4)
    weight, empty = ops.array(np.ones((1, 2), np.float32), "float32"), ops.segments([0, 0])
    assert ops.group_norm_silu(ops.empty(0, 2), weight, weight, none, 1).shape == (0, 2)
    assert ops.linear(ops.empty(0, 2), ops.pack_linear([np.ones((4, 2), np.float32)])).shape == (0, 4)
    assert ops.attention(*(ops.empty(0, 8) for _ in range(3)), empty, 2).shape == (0, 8)
    assert ops.numpy(ops.finite(ops.empty(0, 3), empty)).tolist() == [[1], [1]]
    assert ops.numpy(ops.cast(ops.empty(5, 0))).shape == (5, 0)
