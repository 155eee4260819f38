"""Hold what all kernels share: dtypes, products and activations.

Triton's interpreter has no bfloat16 and no float8 of its own: numpy holds the bits as uint16 and uint8. Its `tl.dot`
then multiplies the bits as if they were whole numbers, and its rounding to bfloat16 loses carries. So under the
interpreter `widen`, `narrow` and `dot` work on the bits, and products are of float32. They are summed one after another
there, because `tl.dot` is numpy's matmul, whose BLAS rounds a row by its place in the tile. On a device these are plain
conversions and `tl.dot`.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton import knobs

INTERPRETED = tl.constexpr(bool(knobs.runtime.interpret))


def part(function):
    """Return a function that kernels call, for Triton to compile into them.

    The interpreter calls it as it is: a function of Triton's own would prepare the language anew at every call.
    """
    return function if knobs.runtime.interpret else triton.jit(function)


@part
def widen(x):
    """Return x in float32."""
    if INTERPRETED:
        if x.dtype == tl.bfloat16:
            return (x.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)
        if x.dtype == tl.float8e4nv:
            bits = x.to(tl.uint8, bitcast=True).to(tl.uint32)
            spread = ((bits & 0x80) << 24) | ((bits & 0x7F) << 20)  # a float32 whose exponent is 120 too small
            return spread.to(tl.float32, bitcast=True) * 1.329227995784916e36
    return x.to(tl.float32)


@part
def narrow(x, DTYPE: tl.constexpr):
    """Return float32 x in another dtype, rounded to nearest even. What float8 cannot hold becomes its largest, 448."""
    if INTERPRETED:
        if DTYPE == tl.bfloat16:
            bits = x.to(tl.uint32, bitcast=True)
            even = bits + 0x7FFF + ((bits >> 16) & 1)
            rounded = tl.where(x == x, even, tl.full(x.shape, 0x7FC00000, tl.uint32))
            return (rounded >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True)
        if DTYPE == tl.float8e4nv:
            bits = (tl.abs(x) * 7.52316384526264e-37).to(tl.uint32, bitcast=True)
            rounded = tl.minimum((bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20, 0x7E)
            rounded = tl.where(x == x, rounded, tl.full(x.shape, 0x7F, tl.uint32))
            sign = (x.to(tl.uint32, bitcast=True) >> 24) & 0x80
            return (rounded | sign).to(tl.uint8).to(tl.float8e4nv, bitcast=True)
    return x.to(DTYPE)


@part
def dot(a, b, total):
    """Return total + a b, summed in float32. Products of float32 are whole ones, not TF32."""
    if INTERPRETED:
        return total + tl.sum(widen(a)[:, :, None] * widen(b)[None, :, :], 1)
    return tl.dot(a, b, total, input_precision="ieee")


@part
def activate(x, NAME: tl.constexpr):
    """Apply an activation of the op table to float32."""
    if NAME == "silu":
        x = x / (1.0 + tl.exp(-x))
    elif NAME == "quick_gelu":
        x = x / (1.0 + tl.exp(-1.702 * x))
    elif NAME == "sigmoid":
        x = 1.0 / (1.0 + tl.exp(-x))
    elif NAME == "tanh":
        x = 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)
    elif NAME == "gelu":
        x = x * 0.5 * (1.0 + tl.erf(x * 0.7071067811865476))
    elif NAME == "gelu_tanh":
        inner = 0.7978845608028654 * (x + 0.044715 * x * x * x)
        tanh = 1.0 - 2.0 / (tl.exp(2.0 * inner) + 1.0)
        x = x * 0.5 * (1.0 + tanh)
    return x
