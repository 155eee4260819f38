"""attention and its adapter terms against the reference, on every instruction set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.kernels.cpu import CpuOps
from salon.kernels.ops import AdapterTerms
from salon.kernels.segments import Segments

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Terms:
    """`AdapterTerms` in numpy: lists[j] holds (rows, weight) of each term of query segment j."""

    lists: list[list[tuple[list[int], float]]]
    keys: Float32
    values: Float32
    queries: Float32 | None = None
    apart: bool = False  # a separate output

    def on(self, ops: Any, rows: int, width: int) -> AdapterTerms:
        flat = [(j, r, w) for j, terms in enumerate(self.lists) for r, w in terms]
        flat.sort(key=lambda term: -term[0])  # the order of segments is free; within a segment it is that of the sum
        return AdapterTerms(
            keys=ops.array(self.keys),
            values=ops.array(self.values),
            segments=np.array([j for j, _, _ in flat], np.int32),
            offsets=np.cumsum([0] + [len(r) for _, r, _ in flat]).astype(np.int32),
            rows=np.array([i for _, r, _ in flat for i in r], np.int32),
            weights=np.array([w for _, _, w in flat], np.float32),
            queries=None if self.queries is None else ops.array(self.queries),
            out=ops.array(np.full((rows, width), 7.0, np.float32)) if self.apart else None,
        )


@dataclass(frozen=True)
class Case:
    q: Float32
    k: Float32
    v: Float32
    heads: int
    segments: Segments
    kv_segments: Segments | None = None
    terms: Terms | None = None

    def run(self, ops: Any) -> tuple[Float32, Float32 | None]:
        """The result and the terms' own output, with q, k and v as column views of wider arrays."""
        width = self.q.shape[1]
        wide = ops.array(np.concatenate([self.q, np.full((len(self.q), 3), np.nan, np.float32)], axis=1))
        kv = ops.array(np.concatenate([np.full((len(self.k), 5), np.nan, np.float32), self.k, self.v], axis=1))
        adapters = None if self.terms is None else self.terms.on(ops, *self.q.shape)
        got = ops.attention(
            ops.columns(wide, 0, width),
            ops.columns(kv, 5, 5 + width),
            ops.columns(kv, 5 + width, 5 + 2 * width),
            self.segments,
            self.heads,
            kv_segments=self.kv_segments,
            adapters=adapters,
        )
        return ops.numpy(got), None if adapters is None or adapters.out is None else ops.numpy(adapters.out)


def make(pair, rng, heads, width, segments, kv_segments=None, *, spread=1.0) -> Case:
    rows, keys = segments.num_rows, (kv_segments or segments).num_rows
    sizes = ((rows, spread), (keys, 1), (keys, 1))
    q, k, v = (pair.round(rng.standard_normal((n, heads * width)) * s) for n, s in sizes)
    return Case(q, k, v, heads, segments, kv_segments)


def make_terms(pair, rng, lists, width, *, queries_rows=0, apart=False) -> Terms:
    count = 1 + max((i for terms in lists for rows, _ in terms for i in rows), default=0)
    keys, values = (pair.round(rng.standard_normal((count, width))) for _ in range(2))
    queries = pair.round(rng.standard_normal((queries_rows, width))) if queries_rows else None
    return Terms(lists, keys, values, queries, apart)


def check(pair, case, scale=1.0):
    got, want = case.run(pair.cpu), case.run(pair.reference)
    pair.close(got[0], want[0], scale)
    assert (got[1] is None) == (want[1] is None)
    if got[1] is not None:
        pair.close(got[1], want[1], scale)


LAYOUTS = [
    ([1], [0], 1),
    ([5, 0, 33, 0], [2, 0, 1, 1], 3),
    ([16, 0, 7, 64, 1], [0, 1, 1, 0, 2], 3),  # text and image rows of a sample apart
    ([12, 300], [0, 1], 2),  # more than one block of keys and of rows
]


@pytest.mark.parametrize(("lengths", "owners", "samples"), LAYOUTS)
@pytest.mark.parametrize("width", [1, 8, 31, 40, 64, 80, 128])
def test_self_attention(pair, rng, width, lengths, owners, samples):
    check(pair, make(pair, rng, 3, width, Segments.of(lengths, owners, samples)))


@pytest.mark.parametrize("keys", [1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 512, 545])
@pytest.mark.parametrize("rows", [1, 9])
def test_numbers_of_keys(pair, rng, rows, keys):
    check(pair, make(pair, rng, 1, 16, Segments.of([rows]), Segments.of([keys])))


@pytest.mark.parametrize("rows", [*range(1, 36), 95, 96, 97, 193])
def test_numbers_of_rows(pair, rng, rows):
    check(pair, make(pair, rng, 2, 24, Segments.of([rows]), Segments.of([11])))


def test_wide_head(pair, rng):
    check(pair, make(pair, rng, 1, 512, Segments.of([130, 20])))


def test_cross_attention_over_several_segments_and_none(pair, rng):
    queries = Segments.of([5, 33, 4, 2], [0, 1, 2, 1], 4)
    keys = Segments.of([3, 0, 300, 17], [1, 0, 1, 2], 4)  # sample 0 has no keys
    case = make(pair, rng, 2, 20, queries, keys)
    check(pair, case)
    assert (case.run(pair.cpu)[0][:5] == 0).all()


def test_no_rows_at_all(pair, rng):
    case = make(pair, rng, 2, 8, Segments.of([0, 0]), Segments.of([4, 0]))
    assert case.run(pair.cpu)[0].shape == (0, 16)


def test_large_scores(pair, rng):
    # The largest score stands in a later block of keys, far above the others.
    case = make(pair, rng, 1, 32, Segments.of([20]), Segments.of([600]), spread=30)
    k = case.k.copy()
    k[590] = 50 * np.sign(case.q[3])
    check(pair, replace(case, k=pair.round(k)), 2)


def test_equal_keys_give_the_mean(pair, rng):
    case = make(pair, rng, 1, 16, Segments.of([3]), Segments.of([400]))
    case = replace(case, k=np.repeat(case.k[:1], 400, axis=0))
    np.testing.assert_allclose(case.run(pair.cpu)[0], np.repeat(case.v.mean(0)[None], 3, 0), rtol=0, atol=pair.atol / 2)


# ---- adapter terms

TERMS = {
    "one of four": [[], [([0, 1, 2, 3], 0.8)], []],
    "several": [[([5], 1.0), ([2, 9, 4], -0.5)], [([0, 1, 2, 3], 0.8), (list(range(50)), 0.3)] * 2, []],
    "five and an empty one": [
        [],
        [(list(range(n, 2 * n)), 0.4) for n in (1, 2, 5, 16, 17)] + [([], 3.0)],
        [([7], 1.0)],
    ],
    "only empty": [[([], 1.0)], [], [([], 1.0), ([], 2.0)]],
    "eight of four": [[], [(list(range(4 * n, 4 * n + 4)), 0.2) for n in range(8)], []],
    "more than a block together": [[(list(range(n, n + 50)), 0.2) for n in range(7)], [], []],
    "more than a block alone": [
        [([3], 0.4), (list(range(300)), 0.7), ([], 1.0), ([4, 5], 0.5)],
        [],
        [(list(range(257)), 1.0)],
    ],
}


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(("own_queries", "apart"), [(False, False), (True, True), (True, False), (False, True)])
def test_adapter_terms(pair, rng, name, own_queries, apart):
    lists, heads, width = TERMS[name], 2, 24
    segments = Segments.of([3, 37, 18], [0, 0, 1])
    case = make(pair, rng, heads, width, segments)
    terms = make_terms(pair, rng, lists, heads * width, queries_rows=58 if own_queries else 0, apart=apart)
    check(pair, replace(case, terms=terms), 2)


@pytest.mark.parametrize("width", [1, 8, 40, 64, 80, 128])
def test_adapter_terms_at_head_widths(pair, rng, width):
    case = make(pair, rng, 2, width, Segments.of([16, 64, 33], [0, 0, 1]))
    terms = make_terms(pair, rng, [[], [([0, 3, 2, 1], 0.7)], [([4], 1.0), ([6, 5], -1.0)]], 2 * width)
    check(pair, replace(case, terms=terms), 2)


def test_adapter_terms_without_keys(pair, rng):
    case = make(pair, rng, 2, 16, Segments.of([5, 6]), Segments.of([0, 3]))
    check(pair, replace(case, terms=make_terms(pair, rng, [[([0, 1], 0.5)], []], 32)))


def test_segments_without_terms_keep_their_bits(pair, rng):
    case = make(pair, rng, 2, 40, Segments.of([16, 64, 30], [0, 0, 1]))
    for apart in (False, True):
        terms = make_terms(pair, rng, [[], [([0, 1, 2], 0.5)], []], 80, apart=apart)
        plain, got = case.run(pair.cpu)[0], replace(case, terms=terms).run(pair.cpu)
        changed = slice(16, 80)
        assert np.array_equal(got[0][:16], plain[:16])
        assert np.array_equal(got[0][80:], plain[80:])
        assert np.array_equal(got[0][changed], plain[changed]) == apart
        if apart:
            assert got[1] is not None
            assert (got[1][:16] == 7).all()
            assert (got[1][80:] == 7).all()


# ---- promises


def test_out_is_written_and_nothing_beside_it(pair, rng):
    case = make(pair, rng, 2, 20, Segments.of([13, 30]))
    ops, rows, width = pair.cpu, 43, 40
    room = ops.array(np.full((rows + 2, width + 9), 5.0, np.float32))
    out = ops.columns(ops.rows(room, 1, rows + 1), 3, width + 3)
    got = ops.attention(ops.array(case.q), ops.array(case.k), ops.array(case.v), case.segments, 2, out=out)
    assert np.array_equal(ops.numpy(got), case.run(ops)[0])
    whole = ops.numpy(room)
    assert np.array_equal(whole[1:-1, 3 : width + 3], case.run(ops)[0])
    whole[1:-1, 3 : width + 3] = 5
    assert (whole == 5).all()


def batch(pair, rng, apart):
    """Three samples in five segments, terms on three of them."""
    segments = Segments.of([10, 20, 16, 130, 64], [0, 1, 2, 0, 1], 3)
    case = make(pair, rng, 2, 40, segments)
    lists = [[], [([0, 1, 2, 3], 0.5)], [([4, 5], 1.0), ([6], 0.2)], [(list(range(20)), -0.3)] * 2, []]
    return replace(case, terms=make_terms(pair, rng, lists, 80, queries_rows=240, apart=apart))


def rows_of(segments: Segments, sample: int) -> NDArray[np.intp]:
    return np.flatnonzero(segments.row_owners() == sample)


@pytest.mark.parametrize("apart", [False, True])
def test_bitwise_the_same_alone_and_on_any_number_of_threads(pair, rng, apart):
    case = batch(pair, rng, apart)
    full = case.run(pair.cpu)
    for threads in (1, 3, 16):
        again = case.run(CpuOps(pair.cpu.isa, pair.cpu.compute, threads))
        assert all(np.array_equal(a, b) for a, b in zip(full, again, strict=True) if a is not None)
    for sample in range(3):
        mine, picked = rows_of(case.segments, sample), np.flatnonzero(case.segments.owners == sample)
        terms = replace(case.terms, lists=[case.terms.lists[j] for j in picked], queries=case.terms.queries[mine])
        alone = Case(
            case.q[mine], case.k[mine], case.v[mine], 2,
            Segments.of(case.segments.lengths()[picked].tolist(), [0] * len(picked)), None, terms,
        )  # fmt: skip
        for a, b in zip(alone.run(pair.cpu), full, strict=True):
            assert (a is None) == (b is None)
            assert a is None or np.array_equal(a, b[mine])


@pytest.mark.parametrize("keys", [80, 600])
def test_a_row_does_not_depend_on_the_other_queries(pair, rng, keys):
    case = make(pair, rng, 1, 64, Segments.of([200]), Segments.of([keys]))
    full = case.run(pair.cpu)[0]
    for rows in ([0], [17], [199], list(range(96, 113)), list(range(3, 195))):
        some = replace(case, q=case.q[rows], segments=Segments.of([len(rows)]))
        assert np.array_equal(some.run(pair.cpu)[0], full[rows])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_values_stay_in_their_sample(pair, rng, bad):
    case = batch(pair, rng, False)
    clean = case.run(pair.cpu)[0]
    mine = rows_of(case.segments, 1)
    for name in ("k", "v"):
        values = getattr(case, name).copy()
        values[mine[5]] = bad
        got = replace(case, **{name: values}).run(pair.cpu)[0]
        assert not np.isfinite(got[mine]).any() or (name == "k" and not np.isfinite(got[mine]).all())
        if np.isnan(bad):
            assert np.isnan(got[mine]).all()
        others = np.setdiff1d(np.arange(len(got)), mine)
        assert np.array_equal(got[others], clean[others])


@pytest.mark.parametrize("row", [0, 33, 95, 96, 159])
def test_a_bad_query_stays_in_its_row(pair, rng, row):
    case = batch(pair, rng, False)
    clean = case.run(pair.cpu)[0]
    q = case.q.copy()
    q[row] = np.nan
    got = replace(case, q=q).run(pair.cpu)[0]
    assert np.isnan(got[row]).all()
    others = np.delete(np.arange(len(got)), row)
    assert np.array_equal(got[others], clean[others])


def test_a_bad_adapter_stays_in_its_segments(pair, rng):
    case = batch(pair, rng, False)
    clean = case.run(pair.cpu)[0]
    values = case.terms.values.copy()
    values[5] = np.nan  # used by segments 2 and 3
    got = replace(case, terms=replace(case.terms, values=values)).run(pair.cpu)[0]
    hit = np.r_[30:46, 46:176]
    assert np.isnan(got[hit]).all()
    others = np.setdiff1d(np.arange(len(got)), hit)
    assert np.array_equal(got[others], clean[others])


def test_wrong_arguments_name_themselves(pair):
    ops = pair.cpu
    q, short, one = ops.zeros(4, 16), ops.zeros(3, 16), Segments.of([4])
    with pytest.raises(ValueError, match="heads"):
        ops.attention(q, q, q, one, 3)
    with pytest.raises(ValueError, match="v"):
        ops.attention(q, q, short, one, 2)
    with pytest.raises(ValueError, match="segments"):
        ops.attention(q, q, q, Segments.of([5]), 2)
    with pytest.raises(ValueError, match="out"):
        ops.attention(q, q, q, one, 2, out=short)
    terms = Terms([[([0], 1.0)]], np.zeros((1, 16), np.float32), np.zeros((1, 16), np.float32)).on(ops, 4, 16)
    with pytest.raises(ValueError, match=r"adapters\.rows"):
        ops.attention(q, q, q, one, 2, adapters=replace(terms, rows=np.array([1], np.int32)))
    with pytest.raises(ValueError, match=r"adapters\.segments"):
        ops.attention(q, q, q, one, 2, adapters=replace(terms, segments=np.array([1], np.int32)))
