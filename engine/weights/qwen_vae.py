"""Read the config and pack the weights of diffusers' `AutoencoderKLQwenImage`, as far as one picture needs them.

The autoencoder is one of video, whose convolutions see a frame and those before it. Before the first frame is nothing,
so of each kernel over time the last part alone meets a picture, and layers that change the number of frames meet none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Ops
from ..checkpoint import Component, Weights
from ..config import Config
from .reader import Reader

ARCHITECTURE: Final = "AutoencoderKLQwenImage"
HARMLESS: Final = {"dropout": "of training alone"}
# Statistics of the latents of Qwen-Image's own autoencoder, which diffusers has as defaults.
LATENTS_MEAN: Final = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
LATENTS_STD: Final = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)


@dataclass(frozen=True)
class QwenVaeConfig:
    """The sizes of an autoencoder, under the names of its config.json."""

    base_dim: int
    z_dim: int
    dim_mult: tuple[int, ...]  # finest level first; each further level halves the sides
    num_res_blocks: int
    temperal_downsample: tuple[bool, ...]  # levels behind which frames are halved, too
    input_channels: int
    latents_mean: tuple[float, ...]  # a diffusion model's latents are (z - mean) / std
    latents_std: tuple[float, ...]

    @classmethod
    def read(cls, config: Config) -> QwenVaeConfig:
        """Read config.json, with diffusers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture([ARCHITECTURE])
        config.unset("attn_scales")
        channels = config.integer("z_dim", 16)
        mult = config.integers("dim_mult", (1, 2, 4, 4))
        frames = config.raw("temperal_downsample")
        frames = [False, True, True] if frames is None else frames
        if not isinstance(frames, list | tuple) or not all(type(each) is bool for each in frames):
            config.refuse("temperal_downsample", "a list of true and false", frames)
        if len(frames) != len(mult) - 1:
            config.refuse("temperal_downsample", f"{len(mult) - 1}, one less than in dim_mult", frames)
        result = cls(
            base_dim=config.integer("base_dim", 96),
            z_dim=channels,
            dim_mult=mult,
            num_res_blocks=config.integer("num_res_blocks", 2),
            temperal_downsample=tuple(frames),
            input_channels=config.integer("input_channels", 3),
            latents_mean=_statistics(config, "latents_mean", LATENTS_MEAN, channels),
            latents_std=_statistics(config, "latents_std", LATENTS_STD, channels),
        )
        if any(value <= 0 for value in result.latents_std):
            config.refuse("latents_std", "numbers above 0", list(result.latents_std))
        if any(width % 2 for width in result.widths[1:]):
            config.refuse("dim_mult", "even widths, which are halved on the way up", list(result.widths))
        config.finish(HARMLESS)
        return result

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first."""
        return tuple(self.base_dim * factor for factor in self.dim_mult)

    @property
    def factor(self) -> int:
        """Pixels along the side of one latent."""
        return 1 << (len(self.dim_mult) - 1)


def _statistics(config: Config, key: str, default: tuple[float, ...], channels: int) -> tuple[float, ...]:
    values = config.raw(key)
    values = default if values is None else values
    whole = isinstance(values, list | tuple) and all(type(v) in (int, float) and -1e30 <= v <= 1e30 for v in values)
    if not whole or len(values) != channels:
        config.refuse(key, f"{channels} numbers, one for each channel of z_dim", values)
    return tuple(float(value) for value in values)


@dataclass(frozen=True, eq=False)
class Resnet:
    norm1: Any  # [1, I] float32
    conv1: Any  # 3x3 [O, I]
    norm2: Any  # [1, O] float32
    conv2: Any  # 3x3 [O, O]
    shortcut: Any | None  # 1x1 [O, I] where I != O


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention head as wide as the level, over all pixels of an image."""

    width: int  # C
    norm: Any  # [1, C] float32
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
    middle: tuple[Resnet, Attention, Resnet]
    levels: tuple[Level, ...]
    norm_out: Any
    conv_out: Any
    quant: Any


@dataclass(frozen=True, eq=False)
class QwenVaeWeights:
    """A packed autoencoder.

    The encoder is checked at load, and packed at its first use: text-to-image never uses it.
    """

    config: QwenVaeConfig
    decoder: Half
    pack_encoder: Callable[[], Half]

    @cached_property
    def encoder(self) -> Half:
        """The packed encoder."""
        return self.pack_encoder()


def load_qwen_vae(ops: Ops[Any, Any], component: Component) -> QwenVaeWeights:
    """Pack an autoencoder folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = QwenVaeConfig.read(component.config)
    weights = component.weights()
    packing = _Reader(ops, weights, config)
    decoder = packing.decoder()
    _Reader(None, weights, config).encoder()
    weights.finish()
    return QwenVaeWeights(config, decoder, packing.encoder)


class _Reader(Reader):
    def __init__(self, ops: Ops[Any, Any] | None, weights: Weights, config: QwenVaeConfig) -> None:
        super().__init__(ops, weights)
        self.config = config

    def encoder(self) -> Half:
        """Read the encoder, whose layers diffusers numbers through."""
        c, levels, width, number = self.config, [], self.config.base_dim, 0
        for i, out in enumerate(c.widths):
            resnets = []
            for _ in range(c.num_res_blocks):
                resnets.append(self.resnet(f"encoder.down_blocks.{number}", width, out))
                width, number = out, number + 1
            resample = None
            if i < len(c.widths) - 1:
                at = f"encoder.down_blocks.{number}"
                resample = self.conv2d(f"{at}.resample.1", out, out)
                self.over_time(f"{at}.time_conv", out, out, c.temperal_downsample[i])
                number += 1
            levels.append(Level(tuple(resnets), resample))
        return self.half("encoder", levels, c.base_dim, c.input_channels, width, 2 * c.z_dim, "quant_conv")

    def decoder(self) -> Half:
        c, levels, width = self.config, [], self.config.widths[-1]
        frames = c.temperal_downsample[::-1]
        for i, out in enumerate(c.widths[::-1]):
            at, resnets = f"decoder.up_blocks.{i}", []
            for j in range(c.num_res_blocks + 1):
                resnets.append(self.resnet(f"{at}.resnets.{j}", width, out))
                width = out
            resample = None
            if i < len(c.widths) - 1:
                resample = self.conv2d(f"{at}.upsamplers.0.resample.1", out // 2, out)
                self.over_time(f"{at}.upsamplers.0.time_conv", 2 * out, out, frames[i])
                width = out // 2
            levels.append(Level(tuple(resnets), resample))
        return self.half("decoder", levels, c.widths[-1], c.z_dim, width, c.input_channels, "post_quant_conv")

    def half(
        self, at: str, levels: Sequence[Level], first: int, inputs: int, last: int, outputs: int, quant: str
    ) -> Half:
        deepest, latents = self.config.widths[-1], outputs if at == "encoder" else inputs
        return Half(
            conv_in=self.conv3d(f"{at}.conv_in", first, inputs, 3),
            middle=(
                self.resnet(f"{at}.mid_block.resnets.0", deepest, deepest),
                self.attention(f"{at}.mid_block.attentions.0", deepest),
                self.resnet(f"{at}.mid_block.resnets.1", deepest, deepest),
            ),
            levels=tuple(levels),
            norm_out=self.gamma(f"{at}.norm_out", last, 3),
            conv_out=self.conv3d(f"{at}.conv_out", outputs, last, 3),
            quant=self.conv3d(quant, latents, latents, 1),
        )

    def resnet(self, at: str, inputs: int, outputs: int) -> Resnet:
        return Resnet(
            norm1=self.gamma(f"{at}.norm1", inputs, 3),
            conv1=self.conv3d(f"{at}.conv1", outputs, inputs, 3),
            norm2=self.gamma(f"{at}.norm2", outputs, 3),
            conv2=self.conv3d(f"{at}.conv2", outputs, outputs, 3),
            shortcut=self.conv3d(f"{at}.conv_shortcut", outputs, inputs, 1) if inputs != outputs else None,
        )

    def attention(self, at: str, width: int) -> Attention:
        qkv = self.weights.take(f"{at}.to_qkv.weight", 3 * width, width, 1, 1).reshape(3 * width, width)
        bias = self.weights.take(f"{at}.to_qkv.bias", 3 * width)
        out = self.weights.take(f"{at}.proj.weight", width, width, 1, 1)
        return Attention(
            width=width,
            norm=self.gamma(f"{at}.norm", width, 2),
            qkv=None if self.ops is None else self.ops.pack_linear([qkv], [bias], exact=True),
            out=self.packed(out, self.weights.take(f"{at}.proj.bias", width)),
        )

    def gamma(self, at: str, width: int, axes: int) -> Any:
        """Read a norm's scale, which has `axes` more axes of length 1."""
        values = self.weights.take(f"{at}.gamma", width, *[1] * axes).reshape(width)
        return None if self.ops is None else self.ops.array(values, "float32")

    def conv3d(self, at: str, outputs: int, inputs: int, side: int) -> Any:
        """Read a causal convolution, of which a picture meets the last part over time."""
        weight = self.weights.take(f"{at}.weight", outputs, inputs, side, side, side)[:, :, -1]
        return self.packed(weight, self.weights.take(f"{at}.bias", outputs))

    def conv2d(self, at: str, outputs: int, inputs: int) -> Any:
        weight = self.weights.take(f"{at}.weight", outputs, inputs, 3, 3)
        return self.packed(weight, self.weights.take(f"{at}.bias", outputs))

    def over_time(self, at: str, outputs: int, inputs: int, there: bool) -> None:
        """Check a layer between frames, which a picture does not meet."""
        if there:
            self.weights.take(f"{at}.weight", outputs, inputs, 3, 1, 1)
            self.weights.take(f"{at}.bias", outputs)

    def packed(self, weight: NDArray[Any], bias: NDArray[Any]) -> Any:
        return None if self.ops is None else self.ops.pack_conv(np.ascontiguousarray(weight), bias)
