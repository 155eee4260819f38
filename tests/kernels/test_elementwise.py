"""cast, add, concat, views, embed, timestep_embedding, solver_step and blend, on every instruction set."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.kernels.cpu import CpuOps
from salon.kernels.ops import GuidanceTerms
from salon.kernels.segments import Segments


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (17, 16), (2, 40000), (0, 4), (5, 0)])
def test_cast_round_trip(pair, rng, shape):
    x = rng.standard_normal(shape).astype(np.float32)
    exact = pair.cpu.numpy(pair.cpu.array(x, "float32"))
    np.testing.assert_array_equal(exact, x)
    held = pair.cpu.array(x)
    np.testing.assert_array_equal(pair.cpu.numpy(pair.cpu.cast(held, "float32")), pair.cpu.numpy(held))
    if x.size:
        pair.close(pair.cpu.numpy(held), x)


def test_bfloat16_bits_are_kept_exactly(pair):
    """All of them: also the smallest numbers, and NaN with its payload."""
    bits = np.arange(2**16, dtype=np.uint16).reshape(256, 256)[:, :251]
    ops = pair.cpu
    want = np.ascontiguousarray(bits).astype(np.uint32) << 16
    if ops.compute == "bfloat16":
        held = ops.array(bits)
        for same in (held, ops.cast(held), ops.concat([ops.rows(held, 0, 100), ops.rows(held, 100, 256)])):
            np.testing.assert_array_equal(ops.numpy(same).view(np.uint32), want)
    else:
        held = ops.array(want.view(np.float32))
        for same in (held, ops.cast(held), ops.concat([held])):
            np.testing.assert_array_equal(ops.numpy(same).view(np.uint32), want)


def test_rounding_is_to_nearest_even(pair):
    """Halfway cases, NaN, infinities and the largest finite number."""
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001], np.uint32)
    got = pair.cpu.numpy(pair.cpu.array(bits.view(np.float32)[None]))[0]
    if pair.cpu.compute == "float32":
        np.testing.assert_array_equal(got, bits.view(np.float32))
        return
    want = np.array([0x3F800000, 0x3F820000, 0x3F810000, 0x7F800000, 0x7F800000, 0xFF800000], np.uint32)
    np.testing.assert_array_equal(got.view(np.uint32)[:6], want)
    assert np.isnan(got[6])


def test_silu(pair):
    x = np.linspace(-100, 100, 4001, dtype=np.float32)[None]
    ops = pair.cpu
    got = ops.numpy(ops.cast(ops.array(x, "float32"), "float32", activation="silu"))
    want = pair.reference.numpy(pair.reference.cast(x, "float32", activation="silu"))
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, rtol=3e-6, atol=1e-30)


def test_add_touches_only_what_it_is_told(pair, rng):
    x, y = rng.standard_normal((2, 10, 7)).astype(np.float32)
    y = pair.round(y)
    segments = Segments.of([2, 0, 5, 3])
    ops = pair.cpu
    stream = ops.array(x, "float32")
    ops.add(stream, ops.array(y), segments, np.array([3, 0], np.int32))
    want = x.copy()
    want[:2] += y[:2]
    want[7:] += y[7:]
    np.testing.assert_array_equal(ops.numpy(stream), want)
    ops.add(stream, ops.array(y))
    np.testing.assert_array_equal(ops.numpy(stream), want + y)
    with pytest.raises(ValueError, match="only"):
        ops.add(stream, ops.array(y), segments, np.array([4], np.int32))
    with pytest.raises(ValueError, match="only"):
        ops.add(stream, ops.array(y), segments, np.array([1, 1], np.int32))


@pytest.mark.parametrize(
    ("offsets", "words"), [([0, 6, 4, 10], "falling offsets at segment 1"), ([1, 5, 9, 10], "first offset 1")]
)
def test_add_refuses_wrong_offsets(offsets: list[int], words: str) -> None:
    """house 4.17: the binding looked at the last offset only, and a range of rows from 6 to 4 went to the kernel."""
    ops = CpuOps(threads=1)
    segments = Segments.of([3, 3, 4])
    segments.offsets[:] = offsets  # `Segments` refuses them, but its arrays can be written
    with pytest.raises(ValueError, match=words):
        ops.add(ops.zeros(10, 7, "float32"), ops.zeros(10, 7), segments, np.array([2], np.int32))


@pytest.mark.parametrize("lengths", [[], [0], [1], [3, 0, 17, 1], [0, 0, 2, 31, 0], [16] * 5])
@pytest.mark.parametrize("width", [1, 7, 64])
def test_finite_of_each_segment(pair, rng, lengths, width):
    """Every kind of number that is none, in every segment and at its edges; its neighbours do not hear of it."""
    rows, wrong = sum(lengths), [np.nan, np.inf, -np.inf]
    x = rng.standard_normal((rows, width)).astype(np.float32)
    edges = {0, rows - 1, *np.cumsum(lengths).tolist()} & {*range(rows)}
    for at in [None, *edges]:
        spoiled = x.copy()
        if at is not None:
            spoiled[at, width // 2] = wrong[at % 3]
        want = (
            [float(np.isfinite(part).all()) for part in np.split(spoiled, np.cumsum(lengths)[:-1])] if lengths else []
        )
        for ops in pair.both:
            for dtype in ("float32", "compute"):
                got = ops.numpy(ops.finite(ops.array(spoiled, dtype), ops.segments(lengths)))
                assert got.shape == (len(lengths), 1)
                assert got[:, 0].tolist() == want


def test_finite_refuses_other_rows(pair):
    for ops in pair.both:
        with pytest.raises(ValueError, match="finite: segments: got 3 rows, want 4 rows"):
            ops.finite(ops.zeros(4, 2), ops.segments([3]))


def test_segments_of_a_backend_are_segments(pair):
    for ops in pair.both:
        bound, plain = ops.segments([3, 0, 2], [1, 0, 1], 4), Segments.of([3, 0, 2], [1, 0, 1], 4)
        assert (bound.num_rows, bound.num_samples, bound.max_rows, len(bound)) == (5, 4, 3, 3)
        for name in ("offsets", "owners"):
            np.testing.assert_array_equal(getattr(bound, name), getattr(plain, name))
        np.testing.assert_array_equal(bound.row_owners(), [1, 1, 1, 1, 1])
        assert ops.segments([2, 2]).owners.tolist() == [0, 1]
        assert ops.segments([3, 0, 2], [1, 0, 1], 4) is bound, "bound once"
        with pytest.raises(ValueError, match="read-only"):
            bound.offsets[1] = 2
        with pytest.raises(ValueError, match="owners"):
            ops.segments([2, 2], [0, 2], 2)


def test_vectors_keep_what_they_were_made_of(pair):
    numbers, places = np.array([0.25, 0.5], np.float32), np.arange(6, dtype=np.int32)[::2]
    for ops in pair.both:
        steps, rows = ops.vectors(numbers, places)
        numbers[0] = 7
        np.testing.assert_array_equal(steps, [0.25, 0.5])
        np.testing.assert_array_equal(rows, [0, 2, 4])
        assert ops.numpy(ops.timestep_embedding(steps, 4)).shape == (2, 4)
        with pytest.raises(ValueError, match="read-only"):
            steps[0] = 1
        numbers[0] = 0.25
        assert ops.vectors() == []
        for bad in (numbers.astype(np.float64), places[None], [1, 2]):
            with pytest.raises(ValueError, match=r"vectors: values: got .*, want \[n\] int32 or float32"):
                ops.vectors(bad)


def test_views_and_concat(pair, rng):
    x = pair.round(rng.standard_normal((9, 12)))
    ops = pair.cpu
    a = ops.array(x)
    np.testing.assert_array_equal(ops.numpy(ops.columns(ops.rows(a, 2, 7), 3, 5)), x[2:7, 3:5])
    parts = ops.split(a, [4, 0, 5])
    np.testing.assert_array_equal(ops.numpy(ops.concat([parts[2], parts[0]])), np.concatenate([x[4:], x[:4]]))
    with pytest.raises(ValueError, match="sizes"):
        ops.split(a, [4, 4])
    with pytest.raises(ValueError, match="within 0..9"):
        ops.rows(a, 5, 10)
    with pytest.raises(ValueError, match="concat"):
        ops.concat([a, ops.zeros(1, 3)])


def test_a_view_keeps_its_memory_alive(pair, rng):
    ops = pair.cpu
    x = pair.round(rng.standard_normal((4, 1000)))
    view = ops.rows(ops.array(x), 1, 3)
    for _ in range(20):
        ops.zeros(4, 1000)
    np.testing.assert_array_equal(ops.numpy(view), x[1:3])


def test_embed(pair, rng):
    tables = [pair.round(rng.standard_normal((n, 21))) for n in (30, 5)]
    indices = [rng.integers(0, n, 13).astype(np.int32) for n in (30, 5)]
    ops = pair.cpu
    got = ops.numpy(ops.embed(indices, [ops.array(tables[0]), ops.array(tables[1], "float32")]))
    np.testing.assert_array_equal(got, tables[0][indices[0]] + tables[1][indices[1]])
    with pytest.raises(ValueError, match="indices: got 5, want 0 to 4"):
        ops.embed([np.array([5], np.int32)], [ops.array(tables[1])])


@pytest.mark.parametrize("width", [2, 16, 256])
def test_timestep_embedding(pair, width):
    # float32 angles of up to 1000 radians: one unit in the last place is 6e-5
    t = np.array([0, 0.5, 1, 499.5, 1000], np.float32)
    pair.close(*(ops.numpy(ops.timestep_embedding(t, width)) for ops in pair.both), scale=5)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_solver_step(data):
    from salon.kernels.cpu import CpuOps, isa_levels
    from salon.kernels.reference import ReferenceOps

    lengths = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=5))
    width = data.draw(st.sampled_from([1, 4, 16, 19, 33]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    segments, count = Segments.of(lengths), len(lengths)
    rows = segments.num_rows
    velocity = rng.standard_normal((5 * rows + 3, width)).astype(np.float32)
    origins = (segments.offsets[:-1] + 1).astype(np.int32)
    counts = rng.integers(0, 5, count)
    terms = np.concatenate([origins[j] + rows * rng.permutation(5)[:n] for j, n in enumerate(counts)]).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    guidance = GuidanceTerms(origins, offsets, terms, rng.standard_normal(len(terms)).astype(np.float32))
    a, b = rng.standard_normal((2, count)).astype(np.float32)
    b[rng.random(count) < 0.5] = 0
    latents, base, previous = rng.standard_normal((3, rows, width)).astype(np.float32)
    with_base = bool(rng.random() < 0.5)
    outcomes = []
    tables: list[Any] = [*(CpuOps(isa, None, 2) for isa in isa_levels()), ReferenceOps()]
    for ops in tables:
        x, keep = ops.array(latents, "float32"), ops.zeros(rows, width, "float32")
        ops.solver_step(
            x,
            ops.array(velocity, "float32"),
            segments,
            guidance,
            a,
            b,
            base=ops.array(base, "float32") if with_base else None,
            previous=ops.array(previous, "float32"),
            keep=keep,
        )
        outcomes.append((ops.numpy(x), ops.numpy(keep)))
    for got in outcomes[:-1]:
        for g, want in zip(got, outcomes[-1], strict=True):
            assert np.isfinite(g).all()
            np.testing.assert_allclose(g, want, rtol=1e-5, atol=1e-5)


def vectors(*values: list[int] | list[float]) -> list[Any]:
    """Origins, offsets and rows in int32, then weights in float32."""
    return [np.array(v, kind) for v, kind in zip(values, (*[np.int32] * 3, np.float32), strict=True)]


@pytest.mark.parametrize("width", [1, 16, 19, 33])
def test_one_term_is_guidance_to_the_bit(pair, rng, width):
    """One multiply-add a number, fused where the instruction set has it: pictures of a single prompt rest on it."""
    ops = pair.cpu
    velocity = rng.standard_normal((12, width)).astype(np.float32)
    weights = [1.5, 0.0, 7.0]
    guidance = GuidanceTerms(*vectors([6, 8, 9], [0, 1, 2, 3], [0, 2, 3], weights))
    x, keep = ops.zeros(6, width, "float32"), ops.zeros(6, width, "float32")
    a, b = np.ones(3, np.float32), np.zeros(3, np.float32)
    ops.solver_step(x, ops.array(velocity, "float32"), Segments.of([2, 1, 3]), guidance, a, b, keep=keep)
    v, u = velocity[:6], velocity[6:]
    w = np.repeat(np.array(weights, np.float32), [2, 1, 3])[:, None]
    fused = (w.astype(np.float64) * (v - u) + u).astype(np.float32)  # the product of two float32 is exact in float64
    got = ops.numpy(keep)
    np.testing.assert_array_equal(got, w * (v - u) + u if ops.isa == "portable" else fused)
    np.testing.assert_array_equal(got[2], u[2])  # weight 0


def test_terms_are_summed_in_their_order_whatever_the_company(pair, rng):
    """An image's bits are those that it has alone, and terms of weight 0 or none at all change nothing."""
    ops = pair.cpu
    velocity = rng.standard_normal((40, 19)).astype(np.float32)
    v = ops.array(velocity, "float32")

    def moved(lengths: list[int], *terms: Any) -> Any:
        x, n = ops.zeros(sum(lengths), 19, "float32"), len(lengths)
        one = np.ones(n, np.float32)
        ops.solver_step(x, v, Segments.of(lengths), GuidanceTerms(*vectors(*terms)), one, 0 * one)
        return ops.numpy(x)

    alone = moved([5], [30], [0, 3], [0, 10, 20], [2.0, -0.7, 0.3])
    mixed = moved([3, 5, 4], [3, 30, 7], [0, 1, 4, 4], [8, 0, 10, 20], [9.0, 2.0, -0.7, 0.3])
    np.testing.assert_array_equal(mixed[3:8], alone)
    np.testing.assert_array_equal(mixed[8:], velocity[7:11])  # no terms
    np.testing.assert_array_equal(moved([5], [30], [0, 4], [0, 10, 12, 20], [2.0, -0.7, 0.0, 0.3]), alone)
    assert (alone != moved([5], [30], [0, 3], [0, 10, 20], [2.0, -0.7, 0.4])).any()


REFUSED_TERMS = {
    "guidance.origins: got 1 for 4 rows": ([1], [0, 1], [0], [1.0]),
    "guidance.origins: got -1 for 4 rows": ([-1], [0, 1], [0], [1.0]),
    "guidance.origins: got length 2, want length 1": ([0, 0], [0, 1], [0], [1.0]),
    "guidance.rows: got 1 for 4 rows": ([0], [0, 2], [0, 1], [1.0, 1.0]),
    "guidance.rows: got -1 for 4 rows": ([0], [0, 1], [-1], [1.0]),
    "guidance.rows: got 2147483647 for 4 rows": ([0], [0, 1], [2**31 - 1], [1.0]),
    "guidance.offsets: got length 1, want length 2": ([0], [0], [], []),
    "guidance.offsets: got a range other than rows": ([0], [0, 1], [0, 0], [1.0, 1.0]),
    "guidance.offsets: got a range other than rows, ": ([0], [1, 1], [0], [1.0]),
    "guidance.weights: got length 2, want length 1": ([0], [0, 1], [0], [1.0, 1.0]),
}


@pytest.mark.parametrize("message", REFUSED_TERMS)
def test_solver_step_refuses_terms(pair, message):
    ops = pair.cpu
    x, v, one = ops.zeros(4, 3, "float32"), ops.zeros(4, 3, "float32"), np.ones(1, np.float32)
    with pytest.raises(ValueError, match=f"^solver_step: {re.escape(message)}"):
        ops.solver_step(x, v, Segments.of([4]), GuidanceTerms(*vectors(*REFUSED_TERMS[message])), one, 0 * one)
    assert not ops.numpy(x).any()


def test_solver_step_refuses(pair):
    ops = pair.cpu
    x, v, one = ops.zeros(4, 3, "float32"), ops.zeros(4, 3, "float32"), np.ones(1, np.float32)
    with pytest.raises(ValueError, match="previous"):
        ops.solver_step(x, v, Segments.of([4]), GuidanceTerms(*vectors([0], [0, 0], [], [])), one, one)
    falling = GuidanceTerms(*vectors([0, 2], [0, 2, 1], [0], [1.0]))
    with pytest.raises(ValueError, match="guidance.offsets: got a falling offset"):
        ops.solver_step(x, v, Segments.of([2, 2]), falling, one.repeat(2), one.repeat(2) * 0)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_blend(data):
    from salon.kernels.cpu import CpuOps, isa_levels
    from salon.kernels.reference import ReferenceOps

    lengths = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=5))
    width = data.draw(st.sampled_from([1, 4, 16, 19, 33]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    segments = Segments.of(lengths)
    x, y, z = rng.standard_normal((3, segments.num_rows, width)).astype(np.float32)
    a, b = rng.standard_normal((2, len(lengths))).astype(np.float32)
    weights = rng.choice(np.array([0, 0.25, 1], np.float32), (segments.num_rows, 1))
    want = x.copy()
    ReferenceOps().blend(want, y, z, weights, segments, a, b)
    for ops in (CpuOps(isa, None, 2) for isa in isa_levels()):
        tensor = ops.array(x, "float32")
        clean, noisy, shares = (ops.array(part, "float32") for part in (y, z, weights))
        ops.blend(tensor, clean, noisy, shares, segments, a, b)
        got = ops.numpy(tensor)
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        kept = weights[:, 0] == 1
        np.testing.assert_array_equal(got[kept], x[kept])


def test_blend_of_a_row_is_its_own(pair, rng):
    """Strided views, one segment beside others: each row the same bits, and nothing else written."""
    ops = pair.cpu
    x, y, z = rng.standard_normal((3, 7, 21)).astype(np.float32)
    weights = np.array([[0], [1], [0.5], [0], [0.3], [1], [0]], np.float32)
    a, b = np.array([0.25, 0.75, 1], np.float32), np.array([0.75, 0.25, 0], np.float32)
    whole = ops.array(x, "float32")
    view = ops.columns(whole, 2, 19)
    others = [ops.array(part, "float32") for part in (y[:, 2:19], z[:, 2:19], weights)]
    ops.blend(view, *others, Segments.of([3, 2, 2]), a, b)
    got = ops.numpy(whole)
    np.testing.assert_array_equal(got[:, [0, 1, 19, 20]], x[:, [0, 1, 19, 20]])
    np.testing.assert_array_equal(got[6, 2:19], y[6, 2:19])  # no noise is left
    alone = ops.array(x[3:5, 2:19], "float32")
    parts = [ops.array(part[3:5], "float32") for part in (y[:, 2:19], z[:, 2:19], weights)]
    ops.blend(alone, *parts, Segments.of([2]), a[1:2], b[1:2])
    np.testing.assert_array_equal(ops.numpy(alone), got[3:5, 2:19])


def test_blend_refuses(pair):
    for ops in pair.both:
        x, w = ops.zeros(4, 3, "float32"), ops.zeros(4, 1, "float32")
        one, f = Segments.of([4]), np.ones(1, np.float32)
        for changes, told in (
            ({"y": ops.zeros(3, 3, "float32")}, "blend: y: got"),
            ({"z": ops.zeros(4, 2, "float32")}, "blend: z: got"),
            ({"weights": x}, "blend: weights: got"),
            ({"segments": Segments.of([3])}, "segments"),
            ({"a": np.ones(2, np.float32)}, "blend: a: got"),
            ({"b": np.ones(0, np.float32)}, "blend: b: got"),
        ):
            values = {"y": x, "z": x, "weights": w, "segments": one, "a": f, "b": f} | changes
            with pytest.raises(ValueError, match=told):
                ops.blend(x, **values)
