"""Hold packed low-rank factors, and say which rows of a call have which, for the triton backend.

Rows with terms are computed apart: the sums of the layer and of the terms by the kernel of `linear`, then what is left
of it, number by number. Rows without keep their one launch, and their bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from ..ops import Activation, LowRankTerm
from ..reference.dense import GLU


@dataclass(frozen=True, eq=False)
class TritonLowRankPart:
    """Packed factors, down [r, K] and up [n, r], and the output columns that they act on."""

    down: Any
    up: Any
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class TritonLowRank:
    """The factors of a linear of `shape` [N, K]."""

    parts: Sequence[TritonLowRankPart]
    shape: tuple[int, int]
    swiglu: bool


def runs_of(rows: int, terms: Sequence[LowRankTerm]) -> Iterator[tuple[int, int, list[LowRankTerm]]]:
    """Yield ranges of all rows, from the first on, each with the terms that act on it."""
    ends = sorted({0, rows, *(end for term in terms for end in (term.start, term.stop))})
    for start, stop in zip(ends[:-1], ends[1:], strict=True):
        yield start, stop, [term for term in terms if term.start <= start and stop <= term.stop]


def epilogue(sums: torch.Tensor, activation: Activation) -> torch.Tensor:
    """Return the activation of sums float32 [T, N], of packed pairs [T, N / 2]."""
    if activation in GLU:
        gate, value = sums.chunk(2, dim=1)
        return epilogue(gate, GLU[activation]) * value
    if activation == "none":
        return sums
    if activation == "silu":
        return functional.silu(sums)
    if activation == "quick_gelu":
        return sums * torch.sigmoid(1.702 * sums)
    return functional.gelu(sums, approximate="tanh" if activation == "gelu_tanh" else "none")
