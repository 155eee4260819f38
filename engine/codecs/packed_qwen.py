"""The autoencoder of Qwen-Image behind tokens of 2 x 2 latents, which Krea 2 has too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Ops
from ...kernels.segments import Int32
from ..checkpoint import Component
from ..doubling import doubled
from ..models import qwen_vae
from ..pipeline import Classes
from ..weights.qwen_vae import ARCHITECTURE
from .packed_kl import SIDE, pack, unpack

Float32 = NDArray[np.float32]

HELP = "diffusers' AutoencoderKLQwenImage, 2 x 2 latents a token"
CLASSES: Classes = ("diffusers", (ARCHITECTURE,))
_VALUES: Final = ("latents_mean", "latents_std")  # numbers of the config that change no amount of work


class PackedQwen:
    """A `LatentCodec`.

    Args:
        weights: the packed autoencoder.
    """

    def __init__(self, weights: qwen_vae.QwenVaeWeights) -> None:
        self.weights = weights
        self.config = weights.config
        self._mean = np.array(self.config.latents_mean, np.float32)
        self._std = np.array(self.config.latents_std, np.float32)

    @property
    def granularity(self) -> int:
        """See `LatentCodec`."""
        return SIDE * self.config.factor

    @property
    def channels(self) -> int:
        """See `LatentCodec`."""
        return self.config.z_dim

    @property
    def sizes(self) -> Mapping[str, Any]:
        """See `LatentCodec`."""
        return {key: value for key, value in asdict(self.config).items() if key not in _VALUES}

    def pixel_bytes(self, itemsize: int) -> int:
        """See `LatentCodec`.

        The finest level dominates: the upsampled input, which has half of the next level's width, and five arrays of
        its own width.
        """
        widths = self.config.widths
        coarser = widths[1] // 2 if len(widths) > 1 else widths[0]
        return itemsize * (coarser + 5 * max(widths[0], coarser)) + 3 * 4 * 2

    def decode(self, ops: Ops[Any, Any], latents: Any, grids: Int32, *, wrap: bool = False) -> Any:
        """See `LatentCodec`."""
        cuts = np.cumsum(grids.prod(axis=1, dtype=np.int64))[:-1]
        images = zip(np.split(ops.numpy(latents), cuts), grids.tolist(), strict=True)
        z = np.concatenate([unpack(tokens, height, width) for tokens, (height, width) in images])
        return qwen_vae.decode(
            ops, self.weights, ops.array(z * self._std + self._mean), grids * np.int32(SIDE), wrap=wrap
        )

    def encode(self, ops: Ops[Any, Any], pixels: Any, grids: Int32) -> Any:
        """See `LatentCodec`."""
        sides = grids * np.int32(SIDE)
        moments = ops.numpy(qwen_vae.encode(ops, self.weights, pixels, sides * np.int32(self.config.factor)))
        z = (moments[:, : self.config.z_dim] - self._mean) / self._std
        cuts = np.cumsum(sides.prod(axis=1, dtype=np.int64))[:-1]
        images = zip(np.split(z, cuts), grids.tolist(), strict=True)
        return ops.array(np.concatenate([pack(part, height, width) for part, (height, width) in images]), "float32")

    def recorded(self, ops: Any, latents: Any, grids: Any) -> Any:
        """See `LatentCodec`."""
        z = ops.scaled(ops.unpacked(latents, grids, SIDE), self._std, self._mean)
        return qwen_vae.decode(ops, self.weights, z, grids * np.int32(SIDE))

    def latents(self, tokens: Float32, grid: tuple[int, int]) -> Float32:
        """See `LatentCodec`."""
        height, width = grid
        return unpack(tokens, height, width).reshape(SIDE * height, SIDE * width, -1)

    def enlarged(self, tokens: Float32, grid: tuple[int, int]) -> Float32:
        """See `LatentCodec`."""
        twice = doubled(self.latents(tokens, grid))
        return pack(twice.reshape(-1, twice.shape[2]), 2 * grid[0], 2 * grid[1])


def token_channels(component: Component) -> int:
    """See `Codec`."""
    config = qwen_vae.QwenVaeConfig.read(component.config)
    if config.input_channels != 3:
        component.config.refuse("input_channels", "3, red, green and blue", config.input_channels)
    return SIDE * SIDE * config.z_dim


def load(ops: Ops[Any, Any], component: Component) -> PackedQwen:
    """See `Codec`."""
    return PackedQwen(qwen_vae.load_qwen_vae(ops, component))
