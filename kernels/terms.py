"""Describe the weighted sums of ops: the adapter terms that attention adds, low-rank terms of linear layers, and the
terms of guidance.

A LoRA changes a weight W [N, K] by s B A with A [r, K] and B [N, r], r small (2106.09685). Here W stays as it is, and
the rows of whatever uses the LoRA get s (x A^T) B^T beside x W^T: rows of a batch may use different ones, or none
(Punica 2310.18547, S-LoRA 2311.03285).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from .vectors import Vector


@dataclass(frozen=True, eq=False)
class AdapterTerms:
    """The decoupled adapter terms of one attention call: sum over a of weight(a) * softmax(q K_a^T / sqrt(E)) V_a.

    An adapter's K and V rows lie anywhere in `keys`/`values` (the pages of an arena); a term names them by row index.
    One segment may carry any number of terms, each with its own softmax and weight; segments without terms pay nothing.

    Attributes:
        keys: backend array [R, D], compute dtype. Not normed, no rotary embedding (diffusers' `to_k_ip` output).
        values: backend array [R, D], compute dtype.
        segments: vector int32 [M], for each term the index of the query SEGMENT that it acts on (not of the sample).
        offsets: vector int32 [M+1], term m uses `rows[offsets[m]:offsets[m+1]]`; a term may be empty (it adds nothing).
        rows: vector int32 [sum], row indices into `keys` and `values`.
        weights: vector float32 [M].
        queries: backend array [T, D] or None. None: the terms use the attention's own q (the SD family, whose output
            joins before `to_out`). An array: the query of the terms (the Flux family: normed, before rotary embedding).
        out: backend array [T, D] compute dtype, or None. None: the terms are added into the attention's output.
            An array: the terms' sum is WRITTEN there, in the rows of segments that have a term; others stay untouched.
    """

    keys: Any
    values: Any
    segments: Vector
    offsets: Vector
    rows: Vector
    weights: Vector
    queries: Any = None
    out: Any = None


@dataclass(frozen=True, eq=False)
class GuidanceTerms:
    """Which velocity each image is moved by: v = o + sum over k of weight(k) * (v_k - o), the terms in their order.

    One term, o unconditional and v_1 conditional, is classifier-free guidance (2207.12598 eq. 6); several are the
    conjunction of composable diffusion (2206.01714), and a negative weight leads away from its term. An image without
    terms has v = o.

    Attributes:
        origins: vector int32 [N], the row of `velocity` where the o of an image starts.
        offsets: vector int32 [N+1], image j has the terms `offsets[j]` to `offsets[j+1]`.
        rows: vector int32 [M], the row of `velocity` where the v_k of a term starts.
        weights: vector float32 [M].
    """

    origins: Vector
    offsets: Vector
    rows: Vector
    weights: Vector


@dataclass(frozen=True, eq=False)
class LowRankPart:
    """The factors of one layer, of those that a linear was packed of, or of a range of its rows.

    Attributes:
        down: [r, K], any float dtype, or bfloat16 bits as uint16.
        up: [n, r], likewise.
        start: the output column of the packed linear that the first row of `up` is for.
    """

    down: NDArray[Any]
    up: NDArray[Any]
    start: int = 0


@dataclass(frozen=True, eq=False)
class LowRankTerm:
    """Rows `start` to `stop` of a call, the factors that act on them (the result of `pack_low_rank`), their weight."""

    start: int
    stop: int
    factors: Any
    weight: float = 1.0
