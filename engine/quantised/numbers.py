"""Numbers of 8 and 4 bits, as tables of their values, and the rounding of float32 to bfloat16.

Sources: OCP 8-bit floating point (e4m3: "fn", without infinities; e5m2), OCP microscaling formats (e8m0, e2m1).
"""

from __future__ import annotations

import math
import mmap
from contextlib import suppress
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Float32

Bits = NDArray[np.uint16]  # of bfloat16
CHUNK: Final = 1 << 16  # numbers that are decoded at once: what a core's cache holds
OWN: Final = 1 << 20  # bytes from which on a decoded array has a mapping of its own


def _table(values: NDArray[Any]) -> Float32:
    table = values.astype(np.float32)
    table.flags.writeable = False
    return table


def _floats(exponent_bits: int, mantissa_bits: int, bias: int) -> NDArray[np.float64]:
    """Return the value of every code of a small float, without special values."""
    codes = np.arange(1 << (1 + exponent_bits + mantissa_bits))
    mantissa = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    size = np.where(exponent == 0, mantissa * 2.0 ** (1 - bias), (1 + mantissa) * 2.0 ** (exponent - bias))
    return np.where(codes >> (exponent_bits + mantissa_bits), -size, size)


@cache
def e4m3() -> Float32:
    """Return the values of float8_e4m3fn, float32 [256]."""
    values = _floats(4, 3, 7)
    values[[0x7F, 0xFF]] = np.nan
    return _table(values)


@cache
def e5m2() -> Float32:
    """Return the values of float8_e5m2, float32 [256]."""
    values = _floats(5, 2, 15)
    values[[0x7C, 0xFC]] = np.inf, -np.inf
    values[[0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF]] = np.nan
    return _table(values)


@cache
def e8m0() -> Float32:
    """Return the values of float8_e8m0fnu, powers of two, float32 [256]."""
    values = 2.0 ** (np.arange(256.0) - 127)
    values[255] = np.nan
    return _table(values)


@cache
def int8() -> Float32:
    """Return the values of bytes that hold signed integers, float32 [256]."""
    return _table(np.arange(256, dtype=np.uint8).view(np.int8))


@cache
def e2m1_pairs() -> Float32:
    """Return the two values of every byte of float4_e2m1fn_x2 with the high half first, float32 [256, 2]."""
    values, codes = _floats(2, 1, 1), np.arange(256)
    return _table(np.stack([values[codes >> 4], values[codes & 15]], axis=1))


def empty(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an array whose numbers are to be written, and which is gone when they are packed.

    A large one has a mapping of its own, which goes back to the system with it. Of the C library's memory, which packed
    weights take part of, it would leave holes between these.

    Raises:
        MemoryError: the system has no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < OWN:
        return np.empty(shape, dtype)
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:  # which np.empty calls by its name
        raise MemoryError(f"{size:,} bytes of an array {list(shape)} of {np.dtype(dtype)}") from error
    with suppress(OSError):  # a system without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype).reshape(shape)


def narrow(values: Float32, out: Bits) -> None:
    """Write float32 values as bfloat16 bits, rounded to nearest, ties to even, as the backends round. NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += bits
    rounded += np.uint32(0x7FFF)
    rounded >>= np.uint32(16)
    out[...] = rounded
    lost = np.isnan(values)
    if lost.any():
        out[lost] = 0x7FC0


def narrowed(values: NDArray[Any]) -> Bits:
    """Return an array of any float dtype as bfloat16 bits, part by part: no copy of it in float32 is made."""
    out = empty(values.shape, np.uint16)
    flat, to = np.ascontiguousarray(values).reshape(-1), out.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        part = slice(start, start + CHUNK)
        with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond float32's range become infinite
            narrow(flat[part].astype(np.float32), to[part])
    return out
