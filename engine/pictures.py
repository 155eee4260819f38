"""Turn tokens of latents into pixels, and pixels into tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.ops import Ops
from .codecs import LatentCodec
from .copies import fetch
from .errors import NumericalError

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


def to_pixels(image: Float32) -> UInt8:
    """Map -1..1 to 0..255, clipped and rounded to nearest."""
    levels: Float32 = np.rint((np.clip(image, -1.0, 1.0) + 1.0) * 127.5)
    return levels.astype(np.uint8)


def decode(
    ops: Ops[Any, Any],
    codec: LatentCodec,
    latents: Any,
    images: int,
    grid: tuple[int, int],
    together: int,
    *,
    wrap: bool = False,
) -> UInt8:
    """Decode images of one size, `together` at a time, to pictures uint8 [images, height, width, 3].

    Args:
        latents: backend array float32 [images * rows, C].
        grid: (height, width) of each image in tokens; rows = height * width.
        wrap: every side of a picture goes on at the opposite one.

    Raises:
        NumericalError: a picture has NaN or infinity.
    """
    rows = grid[0] * grid[1]
    height, width = (codec.granularity * side for side in grid)
    parts: list[UInt8] = []
    pending: list[Callable[[], list[Float32 | None]]] = []  # one: a device computes while the host rounds

    def take() -> None:
        (image,) = pending.pop()()
        assert image is not None, "no picture"
        if not np.isfinite(image).all():
            raise NumericalError("decoding: NaN or infinity in a picture; check the autoencoder's weights")
        parts.append(to_pixels(image).reshape(-1, height, width, 3))

    for start in range(0, images, together):
        count = min(together, images - start)
        part = ops.rows(latents, start * rows, (start + count) * rows)
        made = codec.decode(ops, part, np.array([grid] * count, np.int32), wrap=wrap)
        if pending:
            take()
        pending.append(fetch(ops, (made,)))
    take()
    return np.concatenate(parts)


def encode(ops: Ops[Any, Any], codec: LatentCodec, pixels: UInt8 | Float32) -> Float32:
    """Return the tokens float32 [T, C] of a picture of 0..255 [height, width, 3], as the model sees clean ones.

    Raises:
        ValueError: a side is no multiple of the codec's granularity.
        NumericalError: the tokens have NaN or infinity.
    """
    grid = np.array([[side // codec.granularity for side in pixels.shape[:2]]], np.int32)
    rows = ops.array(pixels.reshape(-1, 3).astype(np.float32) / np.float32(127.5) - np.float32(1.0))
    tokens: Float32 = ops.numpy(codec.encode(ops, rows, grid))
    if not np.isfinite(tokens).all():
        raise NumericalError("encoding: NaN or infinity in the latents of a picture; check the autoencoder's weights")
    return tokens
