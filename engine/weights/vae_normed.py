"""Read the config and pack the weights of diffusers' `AutoencoderKLFlux2`: `AutoencoderKL` whose latents are normed.

Each column of a token of 2 x 2 latents has a mean and a variance, which the file keeps as those of a batch norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ...kernels.bfloat16 import widen
from ...kernels.ops import Ops
from ..checkpoint import Component
from ..config import Config
from ..errors import MalformedFile
from .vae import HARMLESS, AutoencoderConfig, AutoencoderWeights, pack_autoencoder

ARCHITECTURE: Final = "AutoencoderKLFlux2"
SIDE: Final = 2  # latents along a side of a token
_HARMLESS: Final = {**HARMLESS, "batch_norm_momentum": "of training alone"}

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class NormedConfig(AutoencoderConfig):
    """The sizes of such an autoencoder, under the names of its config.json."""

    decoder_block_out_channels: tuple[int, ...]
    batch_norm_eps: float

    @classmethod
    def read(cls, config: Config) -> Self:
        """Read config.json, with diffusers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture([ARCHITECTURE])
        sizes = cls.sizes_of(config, (128, 256, 512, 512), 2, 32) | {"scaling_factor": 1.0, "shift_factor": 0.0}
        for key, value in (("scaling_factor", 1.0), ("shift_factor", 0.0)):
            config.only(key, (value,), value)
        widths, groups = sizes["block_out_channels"], sizes["norm_num_groups"]
        decoder = config.integers("decoder_block_out_channels", widths)
        if len(decoder) != len(widths) or any(n % groups for n in decoder):
            expected = f"{len(widths)} multiples of norm_num_groups {groups}"
            config.refuse("decoder_block_out_channels", expected, list(decoder))
        if config.integers("patch_size", (SIDE, SIDE)) != (SIDE, SIDE):
            config.refuse("patch_size", f"[{SIDE}, {SIDE}] (no other is implemented)", config.values["patch_size"])
        eps = config.number("batch_norm_eps", 1e-4, 0.0, 1.0)
        result = cls(**sizes, decoder_block_out_channels=decoder, batch_norm_eps=eps)
        config.finish(_HARMLESS)
        return result

    @property
    def decoder_widths(self) -> tuple[int, ...]:
        """See `AutoencoderConfig`."""
        return self.decoder_block_out_channels


@dataclass(frozen=True, eq=False)
class NormedAutoencoder:
    """A packed autoencoder.

    Attributes:
        packed: its networks.
        mean, deviation: float32 [4 C], of each column of a token; a token is (column - mean) / deviation.
    """

    packed: AutoencoderWeights
    mean: Float32
    deviation: Float32


def load_normed(ops: Ops[Any, Any], component: Component) -> NormedAutoencoder:
    """Pack an autoencoder folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = NormedConfig.read(component.config)
    weights = component.weights()
    columns = SIDE * SIDE * config.latent_channels
    mean, variance = (widen(weights.take(key, columns), key) for key in ("bn.running_mean", "bn.running_var"))
    if not np.isfinite(mean).all() or not np.isfinite(variance).all() or variance.min() + config.batch_norm_eps <= 0:
        expected = "finite numbers, above 0 together with batch_norm_eps"
        raise MalformedFile("wrong statistics", path=weights.path, key="bn.running_var", expected=expected)
    weights.ignore("bn.num_batches_tracked")
    packed = pack_autoencoder(ops, weights, config)
    weights.finish()
    return NormedAutoencoder(packed, mean, np.sqrt(variance + np.float32(config.batch_norm_eps)))
