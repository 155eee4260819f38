"""Choose tile sizes by architecture, dtype and width.

They decide the order of sums, and so bits: they never depend on the number of rows, and nothing is tuned at run time.
`arch` is ten times the compute capability; 0 is the interpreter, where small tiles give small
cases several.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..ops import Dtype

TILE = 32  # rows of a program that computes number by number
COLUMNS = 256  # its columns, at most
LARGE_SHARED = (80, 90, 100, 103)  # with 160 KiB of shared memory a program and more; others have 99


@dataclass(frozen=True)
class LinearTiles:
    """Tiles of a product: rows, columns and depth of a block, warps of a program, loads under way."""

    m: int
    n: int
    k: int
    warps: int
    stages: int


@dataclass(frozen=True)
class AttentionTiles:
    """Tiles of attention: query rows, keys and adapter keys of a block, warps of a program, loads under way."""

    m: int
    n: int
    a: int
    warps: int
    stages: int


def power(n: int, least: int = 1) -> int:
    """Return the least power of two that is neither below `n` nor below `least`."""
    return max(least, 1 << max(n - 1, 0).bit_length())


def linear_tiles(
    arch: int,
    dtype: Dtype,
    width: int,
    depth: int,
    *,
    swiglu: bool = False,
    residual: bool = False,
    gated: bool = False,
    float8: bool = False,
) -> LinearTiles:
    """Return the tiles of a product with a weight [width, depth].

    With `float8` numbers have half the bytes, and a block is twice as deep. With `swiglu` a program holds two sums, and
    with `residual` a tile of that beside its sum, with `gated` one more: the tile is narrower, so that no register
    spills.
    """
    if arch == 0:
        return LinearTiles(16, power(min(width, 32), 16), power(min(depth, 32), 16), 4, 1)
    if float8:
        sizes = linear_tiles(arch, "bfloat16", width, depth, swiglu=swiglu, residual=residual, gated=gated)
        # Where gate and scales, or the addresses of such blocks, would spill, the tile is narrower.
        narrow = gated != (arch in LARGE_SHARED) and arch != 90
        return replace(sizes, k=2 * sizes.k, n=sizes.n // 2 if narrow else sizes.n)
    if dtype == "float32":
        return LinearTiles(64, 64, 32, 4, 2)
    if width <= 64:
        return LinearTiles(128, 64, 64, 4, 3)
    if gated and arch == 90:
        return LinearTiles(128, 64, 64, 8, 3)
    if arch in LARGE_SHARED:
        return LinearTiles(128, 64 if swiglu and arch < 90 else 128 if swiglu or residual else 256, 64, 8, 3)
    return LinearTiles(128, 64, 32, 8, 3) if swiglu else LinearTiles(128, 128, 32, 8, 4)


def attention_tiles(arch: int, dtype: Dtype, head: int, *, bias: bool = False) -> AttentionTiles:
    """Return the tiles of attention with heads `head` wide.

    With a bias a program holds one tile more, and has more warps for it.
    """
    block = power(head, 16)
    if arch == 0:
        return AttentionTiles(16, 16, 16, 4, 1)
    if dtype == "float32":
        return AttentionTiles(32 if block <= 128 else 16, 32 if block <= 128 else 16, 16, 4 if block <= 128 else 8, 1)
    if block <= 64 and bias and arch not in LARGE_SHARED:
        return AttentionTiles(128, 32, 16, 8, 2)
    if block <= 64:
        return AttentionTiles(128, 64, 16, 8 if bias else 4, 3)
    if block <= 128:
        return AttentionTiles(128, 64, 16, 8, 3) if arch in LARGE_SHARED else AttentionTiles(128, 32, 16, 8, 2)
    return AttentionTiles(64 if block <= 256 else 32, 32, 16, 8, 2 if arch in LARGE_SHARED and block <= 256 else 1)


def conv_tiles(arch: int, dtype: Dtype, inputs: int, outputs: int) -> LinearTiles:
    """Return the tiles of a convolution: pixels, outputs and inputs of a block."""
    if arch == 0:
        return LinearTiles(32, power(min(outputs, 32), 16), power(min(inputs, 32), 16), 4, 1)
    k = power(min(inputs, 32), 16)
    if dtype == "float32":
        return LinearTiles(64, 64 if outputs > 32 else 32, k, 4, 2)
    return LinearTiles(128, 128, k, 8, 3) if outputs > 64 else LinearTiles(128, power(outputs, 16), k, 4, 3)


def row_warps(block: int) -> int:
    """Return the warps of a program that holds `block` numbers at a time."""
    return 1 if block <= 256 else 4 if block <= 4096 else 8
