"""The op table in bfloat16 on a CPU without it: the reference backend, rounded where `Ops` says "compute".

Products read numbers that bfloat16 holds and sum them in float32. Results of "compute" are rounded to nearest, ties to
even, and so are the weights of attention before they meet the values, as the AMX kernels round them. Sums are taken in
numpy's order. Adapters and low-rank terms are not rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from ..kernels.bfloat16 import widen
from ..kernels.ops import Dtype, DtypeName
from ..kernels.reference import ReferenceConv, ReferenceLinear, ReferenceOps, attention, dense
from .peers.base import F32

# Ops whose result is of the compute dtype; others are of the dtype that they are asked for, or of float32.
COMPUTE: Final = (
    "attention", "downsample", "gated", "group_norm_silu", "modulate", "timestep_embedding", "upsample",
)  # fmt: skip
ASKED: Final = ("array", "cast", "conv2d", "empty", "linear", "norm", "zeros")
FLOAT32: Final = ("add", "blend", "embed", "finite", "solver_step")


class Half(np.ndarray[Any, np.dtype[np.float32]]):
    """An array float32 of numbers that bfloat16 holds: one of the compute dtype, and so are views of it."""


def rounded(values: NDArray[Any]) -> F32:
    """Return numbers as bfloat16 holds them, in float32. NaN stays NaN."""
    plain = np.array(values, np.float32, order="C")
    bits = plain.view(np.uint32)
    held = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(plain), plain, held.view(np.float32)).astype(np.float32)


class Bfloat16Ops(ReferenceOps):
    """The op table. `Ops` documents every method."""

    @property
    def name(self) -> str:
        return "reference (rounded)"

    @property
    def compute(self) -> Dtype:
        return "bfloat16"

    def concat(self, parts: Sequence[F32]) -> F32:
        joined = super().concat([_plain(part) for part in parts])
        return joined.view(Half) if isinstance(parts[0], Half) else joined

    def numpy(self, x: F32) -> F32:
        return super().numpy(_plain(x))

    def pack_linear(self, weights: Any, *args: Any, **options: Any) -> ReferenceLinear:
        return super().pack_linear([rounded(widen(each, "weight")) for each in weights], *args, **options)

    def pack_conv(self, weight: NDArray[Any], bias: NDArray[Any] | None) -> ReferenceConv:
        return super().pack_conv(rounded(widen(weight, "weight")), bias)

    def qk_norm_rope(self, qkv: F32, *args: Any, plain_q: F32 | None = None, **options: Any) -> None:
        given = [_plain(each) for each in args]
        super().qk_norm_rope(_plain(qkv), *given, plain_q=None if plain_q is None else _plain(plain_q), **options)
        for written in (qkv, *(() if plain_q is None else (plain_q,))):
            _plain(written)[:] = rounded(written)


def _plain(value: Any) -> Any:
    """Return a view without the mark of the compute dtype, also of arrays in lists."""
    if isinstance(value, Half):
        return value.view(np.ndarray)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) and len(value) else value


def _of_dtype(op: str, own: Callable[..., Any]) -> Callable[..., Any]:
    """Return an op of the reference whose result is rounded where it is of the compute dtype."""

    def call(self: Bfloat16Ops, *args: Any, dtype: DtypeName = "compute", **options: Any) -> Any:
        if op in ("array", "cast", "empty", "zeros") and args and isinstance(args[-1], str):
            args, dtype = args[:-1], args[-1]
        out, residual = options.get("out"), options.get("residual") if op == "linear" else None
        half = op in COMPUTE or (op in ASKED and dtype == "compute" and residual is None)
        if out is not None:
            half = isinstance(out, Half)
        if op in ASKED:
            options["dtype"] = dtype
        with (
            patch.object(attention, "_softmax_attention", _softmax_attention),
            patch.object(dense, "_product", _product),
        ):
            made = own(self, *map(_plain, args), **{name: _plain(value) for name, value in options.items()})
        if not half or op == "empty":
            return made if not half else made.view(Half)
        if out is not None:
            _plain(out)[:] = rounded(made)
            return out
        return rounded(made).view(Half)

    return call


for _name in (*COMPUTE, *ASKED, *FLOAT32):
    setattr(Bfloat16Ops, _name, _of_dtype(_name, getattr(ReferenceOps, _name)))


def _product(x: F32, weight: F32) -> F32:
    """Return x weight^T of all rows at once: here nothing depends on a row having the same bits in any company."""
    return x @ weight.T


def _softmax_attention(
    q: F32, k: F32, v: F32, heads: int, scale: float | None = None, kv_heads: int | None = None, added: Any = None
) -> F32:
    """Return what the reference's function of this name does, with weights that bfloat16 holds."""
    out = np.zeros(q.shape, np.float32)
    if not len(q) or not len(k):
        return out
    wide = q.shape[1] // heads
    factor = np.float32(1 / np.sqrt(wide) if scale is None else scale)
    for head in range(heads):
        own, shared = head, head // (heads // (kv_heads or heads))
        mine, theirs = slice(own * wide, (own + 1) * wide), slice(shared * wide, (shared + 1) * wide)
        scores = q[:, mine] @ k[:, theirs].T * factor
        if added is not None:
            scores = scores + added[head % len(added)]
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[:, mine] = rounded(weights) @ v[:, theirs] / weights.sum(axis=1, keepdims=True)
    return out
