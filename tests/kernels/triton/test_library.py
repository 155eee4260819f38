"""Attention that is left to torch's kernel, where a table of measurements says so: parity, bits, graphs, names."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from salon.kernels.segments import Segments
from salon.kernels.triton.graphs import LayoutParts
from salon.kernels.triton.library import TABLE, Choices

from ..test_attention import Case, make, make_terms, rows_of
from .conftest import make_pair

HEADS, HEAD = 2, 8
LISTS: list[Any] = [[], [([0, 1, 2, 3], 0.5)], [([4, 5], 1.0), ([6], 0.2)], [(list(range(9)), -0.3)], []]


@pytest.fixture(scope="module")
def pair() -> Any:
    chosen: Any = make_pair("float32")
    chosen.cpu.choices = Choices(frozenset({HEAD}))
    return chosen


def batch(pair: Any, rng: Any, apart: bool = False) -> Case:
    """Three samples in five segments that lie among one another, and terms on three of them."""
    case = make(pair, rng, HEADS, HEAD, Segments.of([3, 10, 1, 19, 0], [0, 1, 2, 0, 1], 4))
    return replace(case, terms=make_terms(pair, rng, LISTS, HEADS * HEAD, queries_rows=33, apart=apart))


@pytest.mark.parametrize("apart", [False, True])
def test_it_is_attention_with_its_terms(pair, rng, apart):
    case = batch(pair, rng, apart)
    for got, want in zip(case.run(pair.cpu), case.run(pair.reference), strict=True):
        assert (got is None) == (want is None)
        if want is not None:
            pair.close(got, want)


def test_a_sample_has_the_bits_that_it_has_alone(pair, rng):
    case: Any = batch(pair, rng)
    full = case.run(pair.cpu)[0]
    for sample in range(3):
        mine, picked = rows_of(case.segments, sample), np.flatnonzero(case.segments.owners == sample)
        terms = replace(case.terms, lists=[case.terms.lists[j] for j in picked], queries=case.terms.queries[mine])
        segments = Segments.of(case.segments.lengths()[picked].tolist(), [0] * len(picked))
        alone = Case(case.q[mine], case.k[mine], case.v[mine], HEADS, segments, None, terms)
        np.testing.assert_array_equal(alone.run(pair.cpu)[0], full[mine])


def test_a_graphs_layout_takes_the_order_of_another(pair, rng):
    ops: Any = pair.cpu
    q = ops.array(rng.standard_normal((9, HEADS * HEAD)).astype(np.float32))
    first, second = ops.segments([4, 1, 4], [0, 1, 0]), ops.segments([2, 2, 5], [1, 0, 1])
    parts = LayoutParts(ops)
    mine = parts.clone(first)
    ops.attention(q, q, q, mine, HEADS)
    places = [table.data_ptr() for table in ops.tables(mine).buffers()]
    parts.copy(mine, second)
    got, want = (ops.numpy(ops.attention(q, q, q, each, HEADS)) for each in (mine, second))
    np.testing.assert_array_equal(got, want)
    assert [table.data_ptr() for table in ops.tables(mine).buffers()] == places


def test_the_table_is_read_and_nothing_is_chosen_unmeasured(pair, monkeypatch):
    assert tomllib.loads(TABLE.read_text()) == {}
    assert str(Choices.of("sm_90")) == ""
    monkeypatch.setattr("salon.kernels.triton.library._table", lambda: {"sm_90": {"attention": [128, 64]}})
    assert str(Choices.of("sm_90")) == "+attention64+attention128"
    assert Choices.of("sm_80") == Choices()
    assert pair.cpu.name == f"triton/interpreter+attention{HEAD}"
