"""Make rotary tables: FLUX's three axes (0, row, column) with text at the origin, and any positions on any axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.elementary import cos_sin, exp, log

Float32 = NDArray[np.float32]

THETA: Final = 10000.0


@lru_cache(maxsize=64)
def grid_tables(height: int, width: int, axes: tuple[int, ...], first: int = 0) -> tuple[Float32, Float32]:
    """Return cos and sin, float32 [height * width, sum(axes) / 2], of one image's tokens in row-major order.

    Axis i has axes[i] columns, that is axes[i] / 2 frequencies THETA^(-2j / axes[i]) (RoFormer, 2104.09864, eq. 15).
    Its position is `first` for every token, the token's row, and its column, for i = 0, 1, 2. The tables are computed
    in float64 and rounded once, so the bits are the same on every machine.
    """
    rows, columns = np.divmod(np.arange(height * width), width)
    angles = [
        np.outer(position, exp(log(THETA) * (-np.arange(0, dim, 2) / dim)))
        for position, dim in zip((np.full_like(rows, first), rows, columns), axes, strict=True)
    ]
    joined = np.concatenate(angles, axis=1)
    cos, sin = cos_sin(joined)
    return cos.astype(np.float32), sin.astype(np.float32)


@lru_cache(maxsize=2)  # the batch that is running and the one before
def batch_tables(
    axes: tuple[int, ...], text_rows: int, grids: tuple[tuple[int, int, int], ...]
) -> tuple[Float32, Float32]:
    """Return cos and sin of a whole batch, float32 [text_rows + image rows, sum(axes) / 2].

    The text rows, which are not rotated, come first, then the rows of every image.

    Args:
        axes: columns of each axis, as `grid_tables` takes them.
        grids: height and width of each image in tokens, and its position on the first axis.
    """
    half = sum(axes) // 2
    tables = [grid_tables(height, width, axes, first) for height, width, first in grids]
    cos = [np.ones((text_rows, half), np.float32), *(table[0] for table in tables)]
    sin = [np.zeros((text_rows, half), np.float32), *(table[1] for table in tables)]
    return np.concatenate(cos), np.concatenate(sin)


def id_tables(
    ids: NDArray[Any], axes: tuple[int, ...], theta: float = THETA, *, rounded: bool = False
) -> tuple[Float32, Float32]:
    """Return cos and sin, float32 [T, sum(axes) / 2], of tokens anywhere on any number of axes.

    Args:
        ids: [T, N], the position of each token on each axis; it may be negative or a fraction.
        axes: columns of each of the N axes, even numbers.
        theta: axis i has the frequencies theta^(-2j / axes[i]).
        rounded: frequencies and angles are rounded to float32, as some models had them when they were trained.

    Raises:
        ValueError: ids and axes do not fit each other.
    """
    if ids.ndim != 2 or ids.shape[1] != len(axes) or any(dim % 2 for dim in axes):
        raise ValueError(f"ids, axes: got {list(ids.shape)} for {list(axes)}, want [T, {len(axes)}] for even axes")
    kind = np.float32 if rounded else np.float64
    angles = [
        np.outer(ids[:, axis].astype(kind), exp(log(theta) * (-np.arange(0, dim, 2) / dim)).astype(kind))
        for axis, dim in enumerate(axes)
    ]
    cos, sin = cos_sin(np.concatenate(angles, axis=1).astype(np.float64))
    return cos.astype(np.float32), sin.astype(np.float32)


def place_tables(places: NDArray[Any], sections: Sequence[int], width: int, theta: float) -> tuple[Float32, Float32]:
    """Return cos and sin, float32 [T, width / 2], of tokens with a place on each of some axes, as `line_tables` makes
    them of one. The first sections[0] frequencies turn by the place on axis 0, the next by that on axis 1, and so on
    (M-RoPE, 2409.12191 section 2.1).

    Args:
        places: [N, T], the place of each token on each axis.
        sections: N numbers, whose sum is width / 2.
    """
    axes = np.repeat(np.arange(len(sections)), sections)
    angles = places.T.astype(np.float32)[:, axes] * _frequencies(width, theta)
    cos, sin = cos_sin(angles.astype(np.float64))
    return cos.astype(np.float32), sin.astype(np.float32)


def _frequencies(width: int, theta: float) -> Float32:
    frequencies: Float32 = exp(log(theta) * (-np.arange(0, width, 2) / width)).astype(np.float32)
    return frequencies


@lru_cache(maxsize=8)
def _line(length: int, width: int, theta: float) -> tuple[Float32, Float32]:
    frequencies = _frequencies(width, theta)
    angles = np.outer(np.arange(length, dtype=np.float32), frequencies)  # in float32, as transformers has them
    cos, sin = cos_sin(angles.astype(np.float64))
    return cos.astype(np.float32), sin.astype(np.float32)


def line_tables(lengths: Sequence[int], width: int, theta: float) -> tuple[Float32, Float32]:
    """Return cos and sin, float32 [sum of lengths, width / 2], of texts whose tokens stand at 0, 1, 2, ...

    Frequencies and angles are rounded to float32, as language models had them when they were trained.
    """
    cos, sin = _line(max(lengths, default=0), width, theta)
    none = np.empty((0, width // 2), np.float32)
    return np.concatenate([none, *(cos[:n] for n in lengths)]), np.concatenate([none, *(sin[:n] for n in lengths)])
