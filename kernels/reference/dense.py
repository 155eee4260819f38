"""Define the row-wise ops for the reference backend: linear layers, norms, rotary embedding, lookups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..bfloat16 import widen
from ..low_rank import want_parts
from ..ops import Activation, DtypeName, Float32, LowRankPart, LowRankTerm, NormKind
from ..segments import Int32, Segments
from .checks import (
    describe,
    refuse,
    want_array,
    want_choice,
    want_dtype_name,
    want_eps,
    want_indices,
    want_low_rank,
    want_segments,
    want_vector,
)

Float64 = NDArray[np.float64]
_erf = np.vectorize(math.erf, otypes=[np.float64])

# The activations of packed pairs of gate and value -> the activation of the gate.
GLU: Final[Mapping[str, Activation]] = {"swiglu": "silu", "geglu": "gelu", "geglu_tanh": "gelu_tanh"}
GATES: Final = ("none", "silu", "sigmoid", "tanh")


@dataclass(frozen=True, eq=False)
class ReferenceLinear:
    """A linear layer: weight float32 [N, K], bias float32 [N]."""

    weight: Float32
    bias: Float32
    swiglu: bool


@dataclass(frozen=True, eq=False)
class ReferenceLowRank:
    """Factors of low-rank terms: of each part down [r, K], up [n, r] and the column that it begins at; float32."""

    parts: Sequence[tuple[Float32, Float32, int]]
    shape: tuple[int, int]  # [N, K] of the linear
    swiglu: bool


def activate(x: Float32, activation: Activation) -> Float32:
    """Return the activation, computed in float64 and rounded once.

    For those of `GLU` the first half of the columns is the gate.
    """
    v: Float64 = x.astype(np.float64)
    if activation == "none":
        return x
    if activation in GLU:
        gate, value = np.hsplit(v, 2)
        return (_activate(gate, GLU[activation]) * value).astype(np.float32)
    return _activate(v, activation).astype(np.float32)


def _product(x: Float32, weight: Float32) -> Float32:
    """Return x weight^T, each row by itself."""
    y: Float32 = np.matmul(np.ascontiguousarray(x)[:, None, :], weight.T)[:, 0]
    return y


def _activate(v: Float64, activation: Activation) -> Float64:
    if activation == "none":
        return v
    if activation == "gelu_tanh":
        v = v / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
    elif activation == "gelu":
        v = v / 2 * (1 + _erf(v / math.sqrt(2)))
    elif activation == "tanh":
        v = np.tanh(v)
    elif activation == "sigmoid":
        v = 1 / (1 + np.exp(-v))
    elif activation == "quick_gelu":
        v = v / (1 + np.exp(-1.702 * v))
    else:
        v = v / (1 + np.exp(-v))
    return v


def normalise(x: Float32, kind: NormKind, eps: float) -> Float64:
    """Return (x - mean) / sqrt(var + eps) or x / sqrt(mean(x^2) + eps) over the last axis, in float64."""
    v: Float64 = x.astype(np.float64)
    if kind == "layer":
        v = v - v.mean(axis=-1, keepdims=True)
    scale: Float64 = np.sqrt((v * v).mean(axis=-1, keepdims=True) + eps)
    return v / scale


class DenseOps:
    """Linear layers, norms, rotary embedding and lookups of `ReferenceOps`. `Ops` documents them."""

    def pack_linear(
        self,
        weights: Sequence[NDArray[Any]],
        biases: Sequence[NDArray[Any] | None] | None = None,
        *,
        swiglu: bool = False,
        exact: bool = False,
    ) -> ReferenceLinear:
        op = "pack_linear"
        given = [None] * len(weights) if biases is None else list(biases)
        if not weights:
            refuse(op, "weights", "none", "at least one [N, K]")
        if len(given) != len(weights):
            refuse(op, "biases", f"{len(given)} biases", f"{len(weights)}, one for each weight")
        for w, b in zip(weights, given, strict=True):
            if w.ndim != 2 or w.shape[1] != weights[0].shape[-1] or 0 in w.shape:
                refuse(op, "weights", describe(w), "[N, K], not empty, all of one K")
            if b is not None and b.shape != (w.shape[0],):
                refuse(op, "biases", describe(b), f"[{w.shape[0]}]")
        weight = np.concatenate([widen(w, "pack_linear: weights") for w in weights])
        bias = [
            np.zeros(len(w), np.float32) if b is None else widen(b, "pack_linear: biases")
            for w, b in zip(weights, given, strict=True)
        ]
        if swiglu and len(weight) % 2:
            refuse(op, "weights", f"{len(weight)} rows", "an even number for swiglu")
        return ReferenceLinear(weight, np.concatenate(bias), swiglu)

    def pack_low_rank(self, parts: Sequence[LowRankPart], width: int, *, swiglu: bool = False) -> ReferenceLowRank:
        depth, ups = want_parts(parts, width, swiglu)
        own = [
            (widen(p.down, "pack_low_rank: down"), widen(up, "pack_low_rank: up"), p.start)
            for p, up in zip(parts, ups, strict=True)
        ]
        return ReferenceLowRank(own, (width, depth), swiglu)

    @np.errstate(all="ignore")
    def linear(
        self,
        x: Float32,
        weight: ReferenceLinear,
        *,
        activation: Activation = "none",
        gate: Float32 | None = None,
        residual: Float32 | None = None,
        segments: Segments | None = None,
        out: Float32 | None = None,
        dtype: DtypeName = "compute",
        low_rank: Sequence[LowRankTerm] = (),
    ) -> Float32:
        op = "linear"
        want_choice(op, "activation", activation, ("none", "gelu_tanh", "gelu", "silu", "quick_gelu", *GLU))
        want_dtype_name(op, dtype)
        if not isinstance(weight, ReferenceLinear):
            refuse(op, "weight", type(weight).__name__, "the result of pack_linear")
        want_array(op, "x", x, width=weight.weight.shape[1])
        if weight.swiglu != (activation in GLU):
            refuse(op, "activation", activation, f"one of {', '.join(GLU)} exactly where the weight was packed for it")
        rows, width = len(x), len(weight.weight) // (2 if weight.swiglu else 1)
        if residual is not None:
            want_array(op, "residual", residual, rows, width)
            if activation != "none":
                refuse(op, "activation", activation, "none together with residual")
            if out is not None:
                refuse(op, "out", describe(out), "None together with residual")
        if gate is not None:
            if residual is None:
                refuse(op, "gate", describe(gate), "None without residual")
            if segments is None:
                refuse(op, "segments", None, "the segments that choose gate's rows")
            want_array(op, "gate", gate, width=width)
            want_segments(op, "segments", segments, rows, len(gate))
        if out is not None:
            want_array(op, "out", out, rows, width)

        for term in low_rank:
            want_low_rank(op, term, rows, weight.weight.shape, weight.swiglu, ReferenceLowRank)

        # Each row is a product of its own, of one shape for every T: BLAS blocks would round a row by its place.
        y = _product(x, weight.weight)
        for term in low_rank:
            if term.weight:
                for down, up, start in term.factors.parts:
                    hidden = np.float32(term.weight) * _product(x[term.start : term.stop], down)
                    y[term.start : term.stop, start : start + len(up)] += _product(hidden, up)
        y += weight.bias
        if residual is not None:
            if gate is not None and segments is not None:
                y = gate[segments.row_owners()] * y
            residual += y
            return residual
        y = activate(y, activation)
        if out is None:
            return y
        out[:] = y
        return out

    @np.errstate(all="ignore")
    def gated(
        self, gate: Float32, value: Float32, activation: Activation = "none", *, out: Float32 | None = None
    ) -> Float32:
        op = "gated"
        want_choice(op, "activation", activation, GATES)
        want_array(op, "gate", gate)
        want_array(op, "value", value, *gate.shape)
        if out is not None:
            want_array(op, "out", out, *gate.shape)
        y = activate(gate, activation) * value
        if out is None:
            return y
        out[:] = y
        return out

    @np.errstate(all="ignore")
    def modulate(
        self,
        x: Float32,
        shift: Float32 | None,
        scale: Float32,
        segments: Segments,
        *,
        kind: NormKind = "layer",
        eps: float = 1e-6,
        weight: Float32 | None = None,
    ) -> Float32:
        op = "modulate"
        want_choice(op, "kind", kind, ("layer", "rms"))
        want_array(op, "x", x)
        if shift is not None:
            want_array(op, "shift", shift, width=x.shape[1])
        want_array(op, "scale", scale, None if shift is None else len(shift), x.shape[1])
        want_segments(op, "segments", segments, len(x), len(scale))
        if weight is not None:
            want_array(op, "weight", weight, 1, x.shape[1])
        want_eps(op, eps)
        owners = segments.row_owners()
        y = normalise(x, kind, eps)
        if weight is not None:
            y = y * weight
        y = y * (1 + scale[owners].astype(np.float64))
        if shift is not None:
            y = y + shift[owners]
        return y.astype(np.float32)

    @np.errstate(all="ignore")
    def norm(
        self,
        x: Float32,
        weight: Float32,
        bias: Float32 | None = None,
        *,
        kind: NormKind = "layer",
        eps: float = 1e-5,
        dtype: DtypeName = "compute",
    ) -> Float32:
        op = "norm"
        want_choice(op, "kind", kind, ("layer", "rms"))
        want_dtype_name(op, dtype)
        want_array(op, "x", x)
        want_array(op, "weight", weight, 1, x.shape[1])
        want_eps(op, eps)
        y = normalise(x, kind, eps) * weight
        if bias is not None:
            want_array(op, "bias", bias, 1, x.shape[1])
            y = y + bias
        return y.astype(np.float32)

    @np.errstate(all="ignore")
    def qk_norm_rope(
        self,
        qkv: Float32,
        heads: int,
        q_weight: Float32 | None,
        k_weight: Float32 | None,
        cos: Float32 | None,
        sin: Float32 | None,
        *,
        eps: float = 1e-6,
        plain_q: Float32 | None = None,
        kv_heads: int | None = None,
    ) -> None:
        op = "qk_norm_rope"
        want_array(op, "qkv", qkv)
        groups = heads if kv_heads is None else kv_heads
        if heads < 1 or groups < 1 or heads % groups:
            refuse(op, "kv_heads", groups, f"a divisor of the {heads} heads")
        if qkv.shape[1] % (heads + 2 * groups):
            refuse(op, "qkv", f"{describe(qkv)} with {heads} heads", "[T, (heads + 2 * kv_heads) * E]")
        want_eps(op, eps)
        rows, e = len(qkv), qkv.shape[1] // (heads + 2 * groups)
        width = heads * e
        for name, w in (("q_weight", q_weight), ("k_weight", k_weight)):
            if w is not None:
                want_array(op, name, w, 1, e)
        if (cos is None) != (sin is None):
            refuse(op, "cos, sin", "one of them", "both or none")
        if cos is not None and sin is not None:
            if e % 2:
                refuse(op, "qkv", f"heads {e} wide", "an even head width for rotary embedding")
            want_array(op, "cos", cos, rows, e // 2)
            want_array(op, "sin", sin, rows, e // 2)
        if plain_q is not None:
            want_array(op, "plain_q", plain_q, rows, width)

        for start, count, weight in ((0, heads, q_weight), (width, groups, k_weight)):
            part = qkv[:, start : start + count * e]
            v = part.reshape(rows, count, e)
            if weight is not None:
                v = (normalise(v, "rms", eps) * weight).astype(np.float32)
            if start == 0 and plain_q is not None:
                plain_q[:] = v.reshape(rows, width)
            if cos is not None and sin is not None:
                c, s = cos[:, None, :].astype(np.float64), sin[:, None, :].astype(np.float64)
                even, odd = v[..., 0::2], v[..., 1::2]
                v = np.stack([even * c - odd * s, odd * c + even * s], axis=-1)
            part[:] = v.reshape(rows, count * e)

    def embed(self, indices: Sequence[Int32], tables: Sequence[Float32]) -> Float32:
        op = "embed"
        if not tables or len(indices) != len(tables):
            refuse(op, "indices", f"{len(indices)} for {len(tables)} tables", "one for each table, at least one")
        for index, table in zip(indices, tables, strict=True):
            want_array(op, "tables", table, width=tables[0].shape[1])
            want_indices(op, "indices", index, len(table))
            want_vector(op, "indices", index, np.int32, len(indices[0]))
        y = tables[0][indices[0]]
        for index, table in zip(indices[1:], tables[1:], strict=True):
            y = y + table[index]
        return y

    def timestep_embedding(self, timesteps: Float32, width: int, *, max_period: float = 10000.0) -> Float32:
        op = "timestep_embedding"
        want_vector(op, "timesteps", timesteps, np.float32)
        if width < 2 or width % 2:
            refuse(op, "width", width, "an even number of at least 2")
        if not (np.isfinite(max_period) and max_period > 0):
            refuse(op, "max_period", max_period, "a positive finite number")
        half = width // 2
        frequencies = np.float64(max_period) ** (-np.arange(half) / half)
        angles = (timesteps[:, None] * frequencies.astype(np.float32)).astype(np.float64)
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
