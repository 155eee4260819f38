"""The KL autoencoder of FLUX.2: tokens of 2 x 2 latents, each column brought to mean 0 and deviation 1."""

from __future__ import annotations

from typing import Any

from ...kernels.ops import Ops
from ..checkpoint import Component
from ..pipeline import Classes
from ..weights.vae_normed import ARCHITECTURE, Float32, NormedAutoencoder, NormedConfig, load_normed
from .packed_kl import PackedKl, columns_of

HELP = "diffusers' AutoencoderKLFlux2, 2 x 2 latents a token, each column normed"
CLASSES: Classes = ("diffusers", (ARCHITECTURE,))


class NormedKl(PackedKl):
    """A `LatentCodec`.

    Args:
        weights: the packed autoencoder, with the statistics of its latents.
    """

    def __init__(self, weights: NormedAutoencoder) -> None:
        super().__init__(weights.packed)
        self.mean, self.deviation = weights.mean, weights.deviation

    @property
    def scale(self) -> tuple[Float32, Float32]:
        """See `PackedKl`."""
        return self.deviation, self.mean

    def unscaled(self, tokens: Float32) -> Float32:
        """See `PackedKl`."""
        return tokens * self.deviation + self.mean

    def scaled(self, tokens: Float32) -> Float32:
        """See `PackedKl`."""
        return (tokens - self.mean) / self.deviation


def token_channels(component: Component) -> int:
    """See `Codec`."""
    return columns_of(component, NormedConfig.read(component.config))


def load(ops: Ops[Any, Any], component: Component) -> NormedKl:
    """See `Codec`."""
    return NormedKl(load_normed(ops, component))
