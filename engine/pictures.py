"""From packed latents to pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.ops import Ops
from .errors import NumericalError
from .loading import Model
from .models import vae

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


def unpack(latents: Float32) -> Float32:
    """Packed tokens [n, h, w, 4 C] to the autoencoder's pixels [n, 2h, 2w, C]; a token is (C, 2, 2), as FLUX packs."""
    n, height, width, packed = latents.shape
    grid = latents.reshape(n, height, width, packed // 4, 2, 2)
    return np.ascontiguousarray(grid.transpose(0, 1, 4, 2, 5, 3)).reshape(n, 2 * height, 2 * width, packed // 4)


def to_pixels(image: Float32) -> UInt8:
    """-1..1 to 0..255, clipped and rounded to nearest."""
    levels: Float32 = np.rint((np.clip(image, -1.0, 1.0) + 1.0) * 127.5)
    return levels.astype(np.uint8)


def decode(ops: Ops[Any, Any], model: Model, latents: Float32, together: int) -> UInt8:
    """The pictures of packed latents [n, h, w, 4 C], `together` at a time: uint8 [n, height, width, 3].

    Raises:
        NumericalError: NaN or infinity in a picture.
    """
    config = model.autoencoder_config
    z = unpack(latents) / np.float32(config.scaling_factor) + np.float32(config.shift_factor)
    n, height, width, channels = z.shape
    factor = model.architecture.granularity // 2
    parts: list[UInt8] = []
    for start in range(0, n, together):
        part = z[start : start + together]
        grids = np.array([(height, width)] * len(part), np.int32)
        rows = ops.array(part.reshape(-1, channels))
        image = ops.numpy(vae.decode(ops, model.autoencoder, rows, grids))
        if not np.isfinite(image).all():
            raise NumericalError("decoding: NaN or infinity in a picture; check the autoencoder's weights")
        parts.append(to_pixels(image).reshape(len(part), factor * height, factor * width, 3))
    return np.concatenate(parts)
