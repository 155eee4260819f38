"""The KL autoencoder behind tokens of 2 x 2 latents, as FLUX packs them."""

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
from ..models import vae
from ..pipeline import Classes
from ..weights.vae import ARCHITECTURE

Float32 = NDArray[np.float32]

HELP = "diffusers' AutoencoderKL, 2 x 2 latents a token"
CLASSES: Classes = ("diffusers", (ARCHITECTURE,))
SIDE: Final = 2  # latents along a side of a token
_VALUES: Final = ("scaling_factor", "shift_factor")  # numbers of the config that change no amount of work


class PackedKl:
    """A `LatentCodec`.

    Args:
        weights: the packed autoencoder.
    """

    def __init__(self, weights: vae.AutoencoderWeights) -> None:
        self.weights = weights
        self.config = weights.config

    @property
    def granularity(self) -> int:
        """See `LatentCodec`."""
        return SIDE * self.config.factor

    @property
    def channels(self) -> int:
        """See `LatentCodec`."""
        return self.config.latent_channels

    @property
    def sizes(self) -> Mapping[str, Any]:
        """See `LatentCodec`."""
        return {key: value for key, value in asdict(self.config).items() if key not in _VALUES}

    def pixel_bytes(self, itemsize: int) -> int:
        """See `LatentCodec`.

        The finest level dominates: the upsampled input, which still has the next level's width, and four arrays of its
        own width.
        """
        widths = self.config.decoder_widths
        coarser = widths[1] if len(widths) > 1 else widths[0]
        return itemsize * (coarser + 4 * widths[0]) + 3 * 4 * 2

    def decode(self, ops: Ops[Any, Any], latents: Any, grids: Int32, *, wrap: bool = False) -> Any:
        """See `LatentCodec`."""
        cuts = np.cumsum(grids.prod(axis=1, dtype=np.int64))[:-1]
        images = zip(np.split(self.unscaled(ops.numpy(latents)), cuts), grids.tolist(), strict=True)
        z = np.concatenate([unpack(tokens, height, width) for tokens, (height, width) in images])
        return vae.decode(ops, self.weights, ops.array(z), grids * np.int32(SIDE), wrap=wrap)

    def encode(self, ops: Ops[Any, Any], pixels: Any, grids: Int32) -> Any:
        """See `LatentCodec`."""
        sides = grids * np.int32(SIDE)
        moments = ops.numpy(vae.encode(ops, self.weights, pixels, sides * np.int32(self.config.factor)))
        cuts = np.cumsum(sides.prod(axis=1, dtype=np.int64))[:-1]
        images = zip(np.split(moments[:, : self.config.latent_channels], cuts), grids.tolist(), strict=True)
        tokens = np.concatenate([pack(part, height, width) for part, (height, width) in images])
        return ops.array(self.scaled(tokens), "float32")

    def recorded(self, ops: Any, latents: Any, grids: Any) -> Any:
        """See `LatentCodec`."""
        z = ops.unpacked(ops.scaled(latents, *self.scale), grids, SIDE)
        return vae.decode(ops, self.weights, z, grids * np.int32(SIDE))

    @property
    def scale(self) -> tuple[Float32, Float32]:
        """Factors and shifts, float32 [C] each, that make the autoencoder's own latents of a model's tokens."""
        ones, config = np.ones(SIDE * SIDE * self.config.latent_channels, np.float32), self.config
        return ones / np.float32(config.scaling_factor), ones * np.float32(config.shift_factor)

    def unscaled(self, tokens: Float32) -> Float32:
        """Return tokens of the autoencoder's own latents, of those that a model denoises: float32 [T, C]."""
        return tokens / np.float32(self.config.scaling_factor) + np.float32(self.config.shift_factor)

    def scaled(self, tokens: Float32) -> Float32:
        """Return tokens as a model denoises them, of the autoencoder's own latents: float32 [T, C]."""
        return (tokens - np.float32(self.config.shift_factor)) * np.float32(self.config.scaling_factor)

    def latents(self, tokens: Float32, grid: tuple[int, int]) -> Float32:
        """See `LatentCodec`."""
        height, width = grid
        return unpack(tokens, height, width).reshape(SIDE * height, SIDE * width, -1)

    def enlarged(self, tokens: Float32, grid: tuple[int, int]) -> Float32:
        """See `LatentCodec`."""
        twice = doubled(self.latents(self.unscaled(tokens), grid))
        return self.scaled(pack(twice.reshape(-1, twice.shape[2]), 2 * grid[0], 2 * grid[1]))


def token_channels(component: Component) -> int:
    """See `Codec`."""
    return columns_of(component, vae.AutoencoderConfig.read(component.config))


def columns_of(component: Component, config: vae.AutoencoderConfig) -> int:
    """Return the columns of a token. Raise WrongConfig for an autoencoder that makes no colours."""
    if config.out_channels != 3:
        component.config.refuse("out_channels", "3, red, green and blue", config.out_channels)
    return SIDE * SIDE * config.latent_channels


def load(ops: Ops[Any, Any], component: Component) -> PackedKl:
    """See `Codec`."""
    return PackedKl(vae.load_autoencoder(ops, component))


def unpack(tokens: Float32, height: int, width: int) -> Float32:
    """Turn the tokens [height * width, 4 C] of one image into its latents [4 * height * width, C].

    Both are row-major; the columns of a token are (C, 2, 2).
    """
    channels = tokens.shape[1] // (SIDE * SIDE)
    grid = tokens.reshape(height, width, channels, SIDE, SIDE)
    return np.ascontiguousarray(grid.transpose(0, 3, 1, 4, 2)).reshape(-1, channels)


def pack(latents: Float32, height: int, width: int) -> Float32:
    """Turn the latents [4 * height * width, C] of one image into its tokens [height * width, 4 C].

    This undoes `unpack`.
    """
    channels = latents.shape[1]
    grid = latents.reshape(height, SIDE, width, SIDE, channels)
    return np.ascontiguousarray(grid.transpose(0, 2, 4, 1, 3)).reshape(height * width, -1)
