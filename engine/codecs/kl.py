"""The KL autoencoder behind tokens of one latent each, as UNets read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Ops
from ...kernels.segments import Int32
from ..checkpoint import Component
from ..doubling import doubled
from ..models import vae
from .packed_kl import CLASSES as CLASSES
from .packed_kl import SIDE, PackedKl
from .packed_kl import token_channels as packed_channels

Float32 = NDArray[np.float32]

HELP = "diffusers' AutoencoderKL, one latent a token"


class Kl(PackedKl):
    """A `LatentCodec`, whose tokens are the latents themselves."""

    @property
    def granularity(self) -> int:
        """See `LatentCodec`."""
        return self.config.factor

    def decode(self, ops: Ops[Any, Any], latents: Any, grids: Int32, *, wrap: bool = False) -> Any:
        """See `LatentCodec`."""
        z = ops.numpy(latents) / np.float32(self.config.scaling_factor) + np.float32(self.config.shift_factor)
        return vae.decode(ops, self.weights, ops.array(z), grids, wrap=wrap)

    def encode(self, ops: Ops[Any, Any], pixels: Any, grids: Int32) -> Any:
        """See `LatentCodec`."""
        config = self.config
        moments = ops.numpy(vae.encode(ops, self.weights, pixels, grids * np.int32(config.factor)))
        means = moments[:, : config.latent_channels] - np.float32(config.shift_factor)
        return ops.array(means * np.float32(config.scaling_factor), "float32")

    def recorded(self, ops: Any, latents: Any, grids: Any) -> Any:
        """See `LatentCodec`."""
        factors, shifts = (numbers[: self.config.latent_channels] for numbers in self.scale)
        return vae.decode(ops, self.weights, ops.scaled(latents, factors, shifts), grids)

    def latents(self, tokens: Float32, grid: tuple[int, int]) -> Float32:
        """See `LatentCodec`."""
        return tokens.reshape(*grid, -1)

    def enlarged(self, tokens: Float32, grid: tuple[int, int]) -> Float32:
        """See `LatentCodec`."""
        return doubled(self.latents(tokens, grid)).reshape(-1, tokens.shape[1])


def token_channels(component: Component) -> int:
    """See `Codec`."""
    return packed_channels(component) // (SIDE * SIDE)


def load(ops: Ops[Any, Any], component: Component) -> Kl:
    """See `Codec`."""
    return Kl(vae.load_autoencoder(ops, component))
