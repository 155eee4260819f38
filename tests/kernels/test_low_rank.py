"""Low-rank terms of linear, against the reference, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salon.kernels.ops import LowRankPart, LowRankTerm
from salon.kernels.reference import ReferenceOps
from salon.kernels.segments import Segments

from .conftest import Pair

Float32 = np.ndarray[Any, np.dtype[np.float32]]
TERMS = ((0, 5, 0, 0.5), (3, 9, 1, -2.0), (9, 9, 0, 1.0), (11, 20, 0, 1.5), (11, 20, 1, 0.25), (20, 21, 0, 0.0))


def numbers(rng: np.random.Generator, *shape: int) -> Float32:
    made: Float32 = (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
    return made


def parts_of(rng: np.random.Generator, width: int, depth: int) -> list[list[LowRankPart]]:
    """Factors of the whole width, and of three ranges that share columns and leave some out."""
    ranges = [(0, width // 3), (width // 4, width // 2), (width - 2, width)]
    many = [
        LowRankPart(numbers(rng, rank, depth), numbers(rng, b - a, rank), a) for rank, (a, b) in enumerate(ranges, 2)
    ]
    return [[LowRankPart(numbers(rng, 5, depth), numbers(rng, width, 5))], many]


def merged(w: Float32, parts: list[LowRankPart], weight: float) -> Float32:
    made = w.astype(np.float64)
    for part in parts:
        made[part.start : part.start + len(part.up)] += weight * (part.up.astype(np.float64) @ part.down)
    return made.astype(np.float32)


@pytest.mark.parametrize(("width", "depth"), [(7, 3), (33, 65), (96, 40), (70, 2100)])
@pytest.mark.parametrize("activation", ["none", "gelu_tanh", "swiglu"])
def test_terms_of_rows_are_as_if_merged(pair: Pair, width: int, depth: int, activation: Any) -> None:
    check_terms_of_rows(pair, width, depth, activation)


def check_terms_of_rows(pair: Pair, width: int, depth: int, activation: Any) -> None:
    rng, glu = np.random.default_rng(width), activation == "swiglu"
    width += width % 2
    w, b = pair.round(numbers(rng, width, depth)), numbers(rng, width)
    x = pair.round(rng.standard_normal((23, depth)))
    parts = [
        [LowRankPart(pair.round(p.down), pair.round(p.up), p.start) for p in each]
        for each in parts_of(rng, width, depth)
    ]
    made = {}
    for ops in pair.both:
        packed = [ops.pack_low_rank(each, width, swiglu=glu) for each in parts]
        weight = ops.pack_linear([w], [b], swiglu=glu)
        terms = [LowRankTerm(start, stop, packed[which], share) for start, stop, which, share in TERMS]
        plain = ops.numpy(ops.linear(ops.array(x), weight, activation=activation, dtype="float32"))
        y = ops.numpy(ops.linear(ops.array(x), weight, activation=activation, dtype="float32", low_rank=terms))
        assert np.array_equal(y[20:], plain[20:])  # no bit of others changes
        assert np.array_equal(y[9:11], plain[9:11])
        assert not np.array_equal(y[:9], plain[:9])
        alone = [LowRankTerm(0, 2, packed[1], -2.0)]
        only = ops.numpy(ops.linear(ops.array(x[5:7]), weight, activation=activation, dtype="float32", low_rank=alone))
        assert np.array_equal(only, y[5:7])  # nor any by company
        made[ops] = y
    pair.close(made[pair.cpu], made[pair.reference], 10)
    exact, both = ReferenceOps(), merged(merged(w, parts[0], 1.5), parts[1], 0.25)
    whole = exact.linear(x[12:14], exact.pack_linear([both], [b], swiglu=glu), activation=activation)
    np.testing.assert_allclose(made[pair.reference][12:14], whole, atol=2e-4)


def test_terms_add_to_a_gated_residual(pair: Pair) -> None:
    rng = np.random.default_rng(3)
    w, x = pair.round(numbers(rng, 40, 24)), pair.round(rng.standard_normal((9, 24)))
    part = LowRankPart(pair.round(numbers(rng, 3, 24)), pair.round(numbers(rng, 40, 3)))
    gate, start = rng.standard_normal((2, 40)).astype(np.float32), rng.standard_normal((9, 40)).astype(np.float32)
    segments, made = Segments.of([4, 5]), {}
    for ops in pair.both:
        residual = ops.array(start, "float32")
        terms = [LowRankTerm(2, 6, ops.pack_low_rank([part], 40), 0.7)]
        ops.linear(ops.array(x), ops.pack_linear([w]), gate=ops.array(gate, "float32"), residual=residual,
                   segments=segments, low_rank=terms)  # fmt: skip
        made[ops] = ops.numpy(residual)
    pair.close(made[pair.cpu], made[pair.reference], 10)
    want = start[2:6] + np.repeat(gate, [4, 5], axis=0)[2:6] * (x[2:6] @ merged(w, [part], 0.7).T)
    np.testing.assert_allclose(made[pair.reference][2:6], want, atol=1e-4)


def test_wrong_terms_are_refused(pair: Pair) -> None:
    for ops in pair.both:
        weight, x = ops.pack_linear([np.zeros((8, 4), np.float32)]), ops.zeros(3, 4)
        part = LowRankPart(np.zeros((2, 4), np.float32), np.zeros((8, 2), np.float32))
        fits = ops.pack_low_rank([part], 8)
        other = ops.pack_low_rank([part], 9)
        for term in (
            LowRankTerm(0, 4, fits), LowRankTerm(2, 1, fits), LowRankTerm(-1, 1, fits), LowRankTerm(0, 1, other),
            LowRankTerm(0, 1, fits, float("nan")), LowRankTerm(0, 1, None),
        ):  # fmt: skip
            with pytest.raises(ValueError, match="linear: low_rank"):
                ops.linear(x, weight, low_rank=[term])
        for parts, width in (([], 8), ([part], 7), ([LowRankPart(part.down, part.up, 1)], 8),
                             ([LowRankPart(part.down, part.up.T)], 8)):  # fmt: skip
            with pytest.raises(ValueError, match="pack_low_rank: parts"):
                ops.pack_low_rank(parts, width)
