"""From packed latents to pixels, and from pixels to latents."""

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


def encode(ops: Ops[Any, Any], model: Model, pixels: UInt8) -> Float32:
    """Return the latents of a picture uint8 [height, width, 3], as the model sees them: float32 [h, w, C], shifted and
    scaled, the mean of what the autoencoder makes of it.

    Raises:
        ValueError: sides that are no multiples of the autoencoder's factor.
        NumericalError: NaN or infinity in the latents.
    """
    config = model.autoencoder_config
    height, width, colours = pixels.shape
    rows = ops.array(pixels.reshape(-1, colours).astype(np.float32) / np.float32(127.5) - np.float32(1.0))
    moments = ops.numpy(vae.encode(ops, model.autoencoder, rows, np.array([[height, width]], np.int32)))
    mean = moments[:, : config.latent_channels].reshape(height // config.factor, width // config.factor, -1)
    if not np.isfinite(mean).all():
        raise NumericalError("encoding: NaN or infinity in the latents of a picture; check the autoencoder's weights")
    latents: Float32 = (mean - np.float32(config.shift_factor)) * np.float32(config.scaling_factor)
    return latents
