"""Read autoencoders of Qwen-Image in single files (`qwen_image_vae.safetensors`) as diffusers' classes.

They are in the layout of Wan, whose autoencoder of video they go on from, or in diffusers' own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..tensor_file import TensorFile, TensorInfo
from ..weights.qwen_vae import ARCHITECTURE, LATENTS_MEAN, LATENTS_STD
from .renamed import AUTOENCODER, FileComponent, Piece, prefix_with, shape_of

MARK: Final = "decoder.middle.0.residual.0.gamma"
MARK_DIFFUSERS: Final = "decoder.mid_block.resnets.0.norm1.gamma"
KIND: Final = ("diffusers", ARCHITECTURE)

_RESIDUAL: Final = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}
_TOP: Final = {
    "conv1": "quant_conv",
    "conv2": "post_quant_conv",
    "encoder.conv1": "encoder.conv_in",
    "decoder.conv1": "decoder.conv_in",
    "encoder.head.0": "encoder.norm_out",
    "decoder.head.0": "decoder.norm_out",
    "encoder.head.2": "encoder.conv_out",
    "decoder.head.2": "decoder.conv_out",
}
_MIDDLE: Final = re.compile(r"(encoder|decoder)\.middle\.([012])\.(.+)")
_LEVEL: Final = re.compile(r"(encoder\.downsamples|decoder\.upsamples)\.(\d+)\.(.+)")


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of an autoencoder's arrays in a file; None: the file has none."""
    return prefix_with(file, AUTOENCODER, {MARK}, {MARK_DIFFUSERS})


def autoencoder(file: TensorFile, prefix: str, values: Mapping[str, Any]) -> FileComponent:
    """Return the autoencoder in a file.

    Args:
        values: what its shapes do not say, in place of what Qwen-Image's own has.

    Raises:
        MissingKey, WrongShape: the arrays are not those of an autoencoder.
    """
    pieces = {name: Piece(key) for name, key in _names(file.tensors, prefix)}
    return FileComponent("vae", KIND, file, pieces, {**_config(file, prefix, pieces), **values})


def _config(file: TensorFile, prefix: str, pieces: Mapping[str, Piece]) -> dict[str, Any]:
    """Return what diffusers' config.json would say."""

    def shape(name: str, axes: int) -> tuple[int, ...]:
        return shape_of(file, pieces[name].key if name in pieces else f"{prefix}{name}", axes)

    base, colours = shape("encoder.conv_in.weight", 5)[:2]
    blocks = 1 + max((int(name.split(".")[2]) for name in pieces if name.startswith("encoder.down_blocks.")), default=0)
    resampled = [i for i in range(blocks) if f"encoder.down_blocks.{i}.resample.1.weight" in pieces]
    depth = resampled[0] if resampled else blocks
    ends = [*resampled, blocks]  # behind the last resnet of each level
    widths = [shape(f"encoder.down_blocks.{max(0, end - 1)}.conv2.weight", 5)[0] for end in ends]
    return {
        "_class_name": ARCHITECTURE,
        "base_dim": base,
        "z_dim": shape("decoder.conv_in.weight", 5)[1],
        "dim_mult": [max(1, width // base) for width in widths],
        "num_res_blocks": max(1, depth),
        "temperal_downsample": [f"encoder.down_blocks.{i}.time_conv.weight" in pieces for i in resampled],
        "input_channels": colours,
        "latents_mean": list(LATENTS_MEAN),
        "latents_std": list(LATENTS_STD),
    }


def _names(tensors: Mapping[str, TensorInfo], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield diffusers' name of every array behind the prefix, and the file's. An unknown one keeps its name, and so is
    told as a weight that the architecture does not have."""
    keys = [key for key in tensors if key.startswith(prefix)]
    numbers = [int(match[2]) for key in keys if (match := _LEVEL.match(key[len(prefix) :])) and ".resample." in key
               and match[1] == "decoder.upsamples"]  # fmt: skip
    period = min(numbers, default=len(keys)) + 1  # resnets of a level of the decoder, and what changes its size
    for key in keys:
        name, _, part = key[len(prefix) :].rpartition(".")
        if name in _TOP:
            yield f"{_TOP[name]}.{part}", key
        elif (match := _MIDDLE.fullmatch(name)) is not None:
            side, number, rest = match.groups()
            if number == "1":
                yield f"{side}.mid_block.attentions.0.{rest}.{part}", key
            else:
                yield f"{side}.mid_block.resnets.{int(number) // 2}.{_RESIDUAL.get(rest, rest)}.{part}", key
        elif (match := _LEVEL.fullmatch(name)) is not None:
            place, rest = int(match[2]), _RESIDUAL.get(match[3], match[3])
            level, layer = divmod(place, period)
            if match[1] == "encoder.downsamples":
                yield f"encoder.down_blocks.{place}.{rest}.{part}", key
            elif layer == period - 1:
                yield f"decoder.up_blocks.{level}.upsamplers.0.{rest}.{part}", key
            else:
                yield f"decoder.up_blocks.{level}.resnets.{layer}.{rest}.{part}", key
        else:
            yield key[len(prefix) :], key
