"""Read a UNet's file in diffusers' own layout, of Stable Diffusion 1.5 and 2 and of SDXL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from ..tensor_file import TensorFile
from ..weights.unet import ADDED, ARCHITECTURE, UNetConfig
from .lone import LoneDenoiser, not_in_shapes
from .renamed import DENOISER, Piece, count_of, prefix_with, shape_of
from .unet import HEAD, HEADS, TIME_CHANNELS, V_PREDICTION, ZERO_SNR

MARKS: Final = ("conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight")
OTHERS: Final = ("controlnet_cond_embedding.conv_in.weight", "controlnet_down_blocks.0.weight")  # of ControlNets
LABELS: Final = "add_embedding.linear_1.weight"  # of SDXL alone
MIDDLE: Final = "mid_block.attentions.0"


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of a UNet's arrays in diffusers' layout; None: the file has none."""
    return prefix_with(file, DENOISER, MARKS, without=OTHERS)


def is_xl(file: TensorFile, prefix: str) -> bool:
    """Return whether a file's UNet is told sizes, as SDXL's is."""
    return f"{prefix}{LABELS}" in file.tensors


def unet(file: TensorFile, prefix: str) -> LoneDenoiser:
    """Return the UNet in a file.

    Raises:
        MissingKey, WrongShape: the arrays are not those of such a UNet.
    """
    exact = _config(file, prefix)
    usual, unknown = dict[str, Any](), None
    key = f"{prefix}{MIDDLE}.proj_in.weight"
    what, widths = "number of heads (attention_head_dim)", exact["block_out_channels"]
    if is_xl(file, prefix):
        usual = {"attention_head_dim": [width // HEAD for width in widths], "addition_time_embed_dim": TIME_CHANNELS}
        if any(width % HEAD for width in widths):
            unknown = not_in_shapes(file, key, what, f"widths {widths}, not all multiples of SDXL's {HEAD}", "unet")
    elif exact["use_linear_projection"]:  # their heads, and what they predict, differ from one to the other
        unknown = not_in_shapes(file, key, what, "a UNet like those of Stable Diffusion 2", "unet")
    else:
        usual = {"attention_head_dim": HEADS}
    marks = {V_PREDICTION, ZERO_SNR}
    return LoneDenoiser(
        "unet", ("diffusers", ARCHITECTURE), file, prefix, exact, usual, UNetConfig.read, same=_same, unknown=unknown,
        nameless=marks.isdisjoint(file.tensors),
        pieces={key[len(prefix) :]: Piece(key) for key in file.tensors if key.startswith(prefix) and key not in marks},
    )  # fmt: skip


def _same(one: UNetConfig, other: UNetConfig) -> bool:
    """Return whether two configs are of the same arrays. Of levels without transformers their depth says nothing."""
    if len(one.block_out_channels) != len(other.block_out_channels):
        return False
    attends = [a or b for a, b in zip(one.down_attends, reversed(one.up_attends), strict=True)]
    attends[-1] = True  # the middle
    layers = [each for each, there in zip(one.transformer_layers, attends, strict=True) if there]
    others = [each for each, there in zip(other.transformer_layers, attends, strict=True) if there]
    return layers == others and replace(one, transformer_layers=other.transformer_layers) == other


def _config(file: TensorFile, prefix: str) -> dict[str, Any]:
    """Return what the shapes say of diffusers' config.json."""
    levels = count_of(file, f"{prefix}down_blocks.")
    widths, layers, down, up = [], [], [], []
    for level in range(levels):
        at, other = f"{prefix}down_blocks.{level}", f"{prefix}up_blocks.{levels - 1 - level}"
        widths.append(shape_of(file, f"{at}.resnets.0.conv1.weight", 4)[0])
        down.append(f"{at}.attentions.0.norm.weight" in file.tensors)
        up.append(f"{other}.attentions.0.norm.weight" in file.tensors)
        last = level == levels - 1
        home = f"{prefix}{MIDDLE}" if last else f"{at if down[-1] else other}.attentions.0"
        layers.append(max(1, count_of(file, f"{home}.transformer_blocks.")))
    first = file.tensors.get(f"{prefix}{MIDDLE}.proj_in.weight")
    xl = is_xl(file, prefix)
    return {
        "in_channels": shape_of(file, f"{prefix}conv_in.weight", 4)[1],
        "out_channels": shape_of(file, f"{prefix}conv_out.weight", 4)[0],
        "block_out_channels": widths,
        "layers_per_block": count_of(file, f"{prefix}down_blocks.0.resnets."),
        "down_block_types": ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in down],
        "up_block_types": ["CrossAttnUpBlock2D" if each else "UpBlock2D" for each in reversed(up)],
        "transformer_layers_per_block": layers,
        "cross_attention_dim": shape_of(file, f"{prefix}{MIDDLE}.transformer_blocks.0.attn2.to_k.weight", 2)[1],
        "use_linear_projection": first is not None and len(first.shape) == 2,
        "addition_embed_type": ADDED if xl else None,
        "projection_class_embeddings_input_dim": shape_of(file, f"{prefix}{LABELS}", 2)[1] if xl else None,
    }
