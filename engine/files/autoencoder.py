"""Read autoencoders in the layout of latent diffusion (`ae.safetensors`) or diffusers' as `AutoencoderKL`.

One whose file has the statistics of a batch norm (`flux2-vae.safetensors`) is an `AutoencoderKLFlux2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..tensor_file import TensorFile, TensorInfo
from ..weights import vae_normed
from ..weights.vae import ARCHITECTURE
from .renamed import AUTOENCODER, FileComponent, Piece, count_of, prefix_with, shape_of

MARK: Final = "decoder.up.0.block.0.norm1.weight"
MARK_DIFFUSERS: Final = "decoder.up_blocks.0.resnets.0.norm1.weight"
KIND: Final = ("diffusers", ARCHITECTURE)
NORMED: Final = ("diffusers", vae_normed.ARCHITECTURE)
KINDS: Final = (KIND, NORMED)
MARK_NORMED: Final = "bn.running_mean"
GROUPS: Final = 32

_NAMES: Final = {
    "norm_out": "conv_norm_out",
    "nin_shortcut": "conv_shortcut",
    "downsample.conv": "downsamplers.0.conv",
    "upsample.conv": "upsamplers.0.conv",
}
_OUTSIDE: Final = {"encoder.quant_conv": "quant_conv", "decoder.post_quant_conv": "post_quant_conv"}  # of FLUX.2
_ATTENTION: Final = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_LEVEL: Final = re.compile(r"(encoder|decoder)\.(down|up)\.(\d+)\.(?:block\.(\d+)\.)?(.+)")
_MIDDLE: Final = re.compile(r"(encoder|decoder)\.mid\.(block_[12]|attn_1)\.(.+)")


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of an autoencoder's arrays in a file; None: the file has none."""
    return prefix_with(file, AUTOENCODER, {MARK}, {MARK_DIFFUSERS})


def autoencoder(file: TensorFile, prefix: str, values: Mapping[str, Any]) -> FileComponent:
    """Return the autoencoder in a file.

    Args:
        values: what its shapes do not say: the family's scaling_factor and shift_factor. One with statistics has none.

    Raises:
        MissingKey, WrongShape: the arrays are not those of an autoencoder.
    """
    own = f"{prefix}{MARK}" in file.tensors
    levels = count_of(file, f"{prefix}decoder.up." if own else f"{prefix}decoder.up_blocks.")
    found = {name: Piece(key, square=square) for name, key, square in _pieces(file.tensors, prefix, levels, own)}
    config = _config(file, prefix, levels, own, found)
    if f"{prefix}{MARK_NORMED}" in file.tensors:
        decoder = "decoder.up.{}.block.0.norm2.weight" if own else "decoder.up_blocks.{}.resnets.0.norm2.weight"
        order = range(levels) if own else range(levels)[::-1]
        config["_class_name"] = NORMED[1]
        config["decoder_block_out_channels"] = [shape_of(file, prefix + decoder.format(i), 1)[0] for i in order]
        return FileComponent("vae", NORMED, file, found, config)
    return FileComponent("vae", KIND, file, found, {**config, **values})


def _config(file: TensorFile, prefix: str, levels: int, own: bool, found: Mapping[str, Piece]) -> dict[str, Any]:
    """Return what diffusers' config.json would say. `found`: the arrays under diffusers' names."""
    block = "encoder.down.{}.block.0.norm2.weight" if own else "encoder.down_blocks.{}.resnets.0.norm2.weight"
    widths = [shape_of(file, prefix + block.format(i), 1)[0] for i in range(levels)]
    depth = count_of(file, f"{prefix}encoder.down.0.block." if own else f"{prefix}encoder.down_blocks.0.resnets.")
    middle = f"{prefix}decoder.mid.attn_1.norm.weight", f"{prefix}decoder.mid_block.attentions.0.group_norm.weight"
    return {
        "_class_name": ARCHITECTURE,
        "in_channels": shape_of(file, f"{prefix}encoder.conv_in.weight", 4)[1],
        "out_channels": shape_of(file, f"{prefix}decoder.conv_out.weight", 4)[0],
        "latent_channels": shape_of(file, f"{prefix}decoder.conv_in.weight", 4)[1],
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": depth,
        "norm_num_groups": GROUPS,
        "use_quant_conv": "quant_conv.weight" in found,
        "use_post_quant_conv": "post_quant_conv.weight" in found,
        "mid_block_add_attention": any(key in file.tensors for key in middle),
    }


def _pieces(tensors: Mapping[str, TensorInfo], prefix: str, levels: int, own: bool) -> Iterator[tuple[str, str, bool]]:
    """Yield diffusers' name of every array behind the prefix, the file's, and whether it is a 1 x 1 convolution to be
    read as a matrix."""
    for key in tensors:
        if prefix and not key.startswith(prefix):
            continue
        name, _, part = key[len(prefix) :].rpartition(".")
        if not own:
            yield f"{name}.{part}", key, ".attentions." in name
        elif name in _OUTSIDE:
            yield f"{_OUTSIDE[name]}.{part}", key, False
        elif (match := _LEVEL.fullmatch(name)) is not None:
            side, way, level, block, rest = match.groups()
            number = int(level) if way == "down" else levels - 1 - int(level)  # diffusers counts from the coarsest
            at = f"{side}.{way}_blocks.{number}." + (f"resnets.{block}." if block is not None else "")
            yield f"{at}{_NAMES.get(rest, rest)}.{part}", key, False
        elif (match := _MIDDLE.fullmatch(name)) is not None:
            side, which, rest = match.groups()
            if which == "attn_1":
                yield f"{side}.mid_block.attentions.0.{_ATTENTION.get(rest, rest)}.{part}", key, True
            else:
                at = f"{side}.mid_block.resnets.{int(which[-1]) - 1}"
                yield f"{at}.{_NAMES.get(rest, rest)}.{part}", key, False
        else:
            side, _, rest = name.partition(".")
            yield (f"{side}.{_NAMES[rest]}.{part}" if rest in _NAMES else f"{name}.{part}"), key, False
