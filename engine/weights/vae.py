"""Read the config and pack the weights of diffusers' `AutoencoderKL`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Ops
from ..checkpoint import Component, Weights
from ..config import Config
from ..errors import UnknownArchitecture
from .reader import Norm, Reader

ARCHITECTURE: Final = "AutoencoderKL"
HARMLESS: Final = {
    "sample_size": "the side of the training pictures, which only diffusers' tiling looks at",
    "force_upcast": "a guard against overflow in float16, in which Salon computes nothing",
}
Sizes = dict[str, Any]  # fields of a config
# Names of attention layers, and their names in checkpoints of diffusers before 0.18.
_OLD_NAMES: Final = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@dataclass(frozen=True)
class AutoencoderConfig:
    """The sizes of an autoencoder, under the names of its config.json."""

    in_channels: int
    out_channels: int
    latent_channels: int
    block_out_channels: tuple[int, ...]  # finest level first; each further level halves the sides
    layers_per_block: int
    norm_num_groups: int
    scaling_factor: float  # a diffusion model's latents are (z - shift_factor) * scaling_factor
    shift_factor: float
    use_quant_conv: bool
    use_post_quant_conv: bool
    mid_block_add_attention: bool

    @classmethod
    def read(cls, config: Config) -> Self:
        """Read config.json, with diffusers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture([ARCHITECTURE])
        result = cls(**cls.sizes_of(config))
        config.finish(HARMLESS)
        return result

    @classmethod
    def sizes_of(cls, config: Config, channels: tuple[int, ...] = (64,), depth: int = 1, latent: int = 4) -> Sizes:
        """Return the fields that a config says, with the defaults of a class of diffusers for what it leaves out.

        Args:
            channels, depth, latent: defaults of block_out_channels, layers_per_block and latent_channels.
        """
        config.only("act_fn", ("silu",), "silu")
        channels = config.integers("block_out_channels", channels)
        groups = config.integer("norm_num_groups", 32)
        for key, kind in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
            kinds = config.raw(key)
            if (kinds or [kind]) != [kind] * len(channels):
                config.refuse(key, f"{len(channels)} times {kind}", kinds, UnknownArchitecture)
        for key in ("latents_mean", "latents_std"):
            config.unset(key)
        if any(n % groups for n in channels):
            config.refuse("norm_num_groups", f"a divisor of {list(channels)}", groups)
        return {
            "in_channels": config.integer("in_channels", 3),
            "out_channels": config.integer("out_channels", 3),
            "latent_channels": config.integer("latent_channels", latent),
            "block_out_channels": channels,
            "layers_per_block": config.integer("layers_per_block", depth),
            "norm_num_groups": groups,
            "scaling_factor": config.number("scaling_factor", 0.18215, 1e-6, 1e6),
            "shift_factor": config.number("shift_factor", 0.0),
            "use_quant_conv": config.boolean("use_quant_conv", True),
            "use_post_quant_conv": config.boolean("use_post_quant_conv", True),
            "mid_block_add_attention": config.boolean("mid_block_add_attention", True),
        }

    @property
    def decoder_widths(self) -> tuple[int, ...]:
        """Channels of the decoder's levels, the finest first."""
        return self.block_out_channels

    @property
    def factor(self) -> int:
        """Pixels along the side of one latent."""
        return 1 << (len(self.block_out_channels) - 1)


@dataclass(frozen=True, eq=False)
class Resnet:
    norm1: Norm
    conv1: Any  # 3x3 [O, I]
    norm2: Norm
    conv2: Any  # 3x3 [O, O]
    shortcut: Any | None  # 1x1 [O, I] where I != O


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention head as wide as the level, over all pixels of an image."""

    width: int  # C
    norm: Norm
    qkv: Any  # linear [3 C, C]
    out: Any  # 1x1 convolution [C, C], which adds the residual in one pass


@dataclass(frozen=True, eq=False)
class Level:
    """The resnets of one resolution, then the convolution that changes it (None at the last level)."""

    resnets: tuple[Resnet, ...]
    resample: Any | None


@dataclass(frozen=True, eq=False)
class Half:
    """Encoder or decoder, with its 1x1 convolution on the side of the latents."""

    conv_in: Any
    middle: tuple[Resnet, Attention | None, Resnet]
    levels: tuple[Level, ...]
    norm_out: Norm
    conv_out: Any
    quant: Any | None


@dataclass(frozen=True, eq=False)
class AutoencoderWeights:
    """A packed autoencoder.

    The encoder is checked at load, and packed at its first use: text-to-image never uses it.
    """

    config: AutoencoderConfig
    decoder: Half
    pack_encoder: Callable[[], Half]

    @cached_property
    def encoder(self) -> Half:
        """The packed encoder."""
        return self.pack_encoder()


def load_autoencoder(ops: Ops[Any, Any], component: Component) -> AutoencoderWeights:
    """Pack an autoencoder folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = AutoencoderConfig.read(component.config)
    weights = component.weights()
    packed = pack_autoencoder(ops, weights, config)
    weights.finish()
    return packed


def pack_autoencoder(ops: Ops[Any, Any], weights: Weights, config: AutoencoderConfig) -> AutoencoderWeights:
    """Pack the arrays of an autoencoder. The caller looks at what is left over.

    Raises:
        CheckpointError: one is missing, or of another shape.
    """
    packing = _Reader(ops, weights, config)
    decoder = packing.decoder()
    _Reader(None, weights, config).encoder()
    return AutoencoderWeights(config, decoder, packing.encoder)


class _Reader(Reader):
    def __init__(self, ops: Ops[Any, Any] | None, weights: Weights, config: AutoencoderConfig) -> None:
        super().__init__(ops, weights)
        self.config = config

    def encoder(self) -> Half:
        c = self.config
        widths = c.block_out_channels
        quant = self.conv("quant_conv", 2 * c.latent_channels, 2 * c.latent_channels, 1) if c.use_quant_conv else None
        return self.half("encoder", widths, c.in_channels, 2 * c.latent_channels, c.layers_per_block, quant)

    def decoder(self) -> Half:
        c = self.config
        widths = c.decoder_widths[::-1]
        quant = self.conv("post_quant_conv", c.latent_channels, c.latent_channels, 1) if c.use_post_quant_conv else None
        return self.half("decoder", widths, c.latent_channels, c.out_channels, c.layers_per_block + 1, quant)

    def half(self, at: str, widths: Sequence[int], inputs: int, outputs: int, depth: int, quant: Any) -> Half:
        blocks, sampler = ("down_blocks", "downsamplers") if at == "encoder" else ("up_blocks", "upsamplers")
        levels, width = [], widths[0]
        for i, out in enumerate(widths):
            name = f"{at}.{blocks}.{i}"
            resnets = tuple(self.resnet(f"{name}.resnets.{j}", width if j == 0 else out, out) for j in range(depth))
            last = i == len(widths) - 1
            levels.append(Level(resnets, None if last else self.conv(f"{name}.{sampler}.0.conv", out, out, 3)))
            width = out
        deepest, middle = widths[-1] if at == "encoder" else widths[0], f"{at}.mid_block"
        attention = self.attention(f"{middle}.attentions.0", deepest) if self.config.mid_block_add_attention else None
        return Half(
            conv_in=self.conv(f"{at}.conv_in", widths[0], inputs, 3),
            middle=(
                self.resnet(f"{middle}.resnets.0", deepest, deepest),
                attention,
                self.resnet(f"{middle}.resnets.1", deepest, deepest),
            ),
            levels=tuple(levels),
            norm_out=self.norm(f"{at}.conv_norm_out", widths[-1]),
            conv_out=self.conv(f"{at}.conv_out", outputs, widths[-1], 3),
            quant=quant,
        )

    def resnet(self, at: str, inputs: int, outputs: int) -> Resnet:
        return Resnet(
            norm1=self.norm(f"{at}.norm1", inputs),
            conv1=self.conv(f"{at}.conv1", outputs, inputs, 3),
            norm2=self.norm(f"{at}.norm2", outputs),
            conv2=self.conv(f"{at}.conv2", outputs, outputs, 3),
            shortcut=self.conv(f"{at}.conv_shortcut", outputs, inputs, 1) if inputs != outputs else None,
        )

    def attention(self, at: str, width: int) -> Attention:
        old = f"{at}.query.weight" in self.weights
        names = {new: f"{at}.{before if old else new}" for new, before in _OLD_NAMES.items()}
        shape = (width, width, 1, 1) if old and len(self.weights.shape(f"{at}.query.weight")) == 4 else (width, width)
        weight = {new: self.weights.take(f"{name}.weight", *shape).reshape(width, width) for new, name in names.items()}
        bias = {new: self.weights.take(f"{name}.bias", width) for new, name in names.items()}
        inputs = ("to_q", "to_k", "to_v")
        return Attention(
            width=width,
            norm=self.norm(f"{at}.group_norm", width),
            qkv=None
            if self.ops is None
            else self.ops.pack_linear([weight[n] for n in inputs], [bias[n] for n in inputs], exact=True),
            out=self.pack_conv(weight["to_out.0"].reshape(width, width, 1, 1), bias["to_out.0"]),
        )

    def conv(self, at: str, outputs: int, inputs: int, side: int) -> Any:
        weight = self.weights.take(f"{at}.weight", outputs, inputs, side, side)
        return self.pack_conv(weight, self.weights.take(f"{at}.bias", outputs))

    def pack_conv(self, weight: NDArray[Any], bias: NDArray[Any]) -> Any:
        return None if self.ops is None else self.ops.pack_conv(np.ascontiguousarray(weight), bias)
