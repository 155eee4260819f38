"""Read UNets in the layout of latent diffusion, as the original files of Stable Diffusion 1.5 and SDXL have them, as
diffusers' `UNet2DConditionModel`.

Alone, or within a file that has text encoders and autoencoder too, behind a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import UnknownArchitecture
from ..tensor_file import TensorFile
from ..weights.unet import ADDED, ARCHITECTURE
from .renamed import DENOISER, FileComponent, Piece, count_of, prefix_with, shape_of

MARK: Final = "input_blocks.0.0.weight"
LABELS: Final = "label_emb.0.0.weight"  # of SDXL alone
TIME_CHANNELS: Final = 256  # of each of SDXL's sizes
HEAD: Final = 64  # columns of a head of SDXL
HEADS: Final = 8  # of Stable Diffusion 1.5, at every width
V_PREDICTION, ZERO_SNR = "v_pred", "ztsnr"  # arrays by which single files say how they were trained

_TOP: Final = {
    "input_blocks.0.0": "conv_in",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_RESNET: Final = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_BLOCK: Final = re.compile(r"(input|output)_blocks\.(\d{1,4})\.(\d)\.(.+)")
_MIDDLE: Final = re.compile(r"middle_block\.([012])\.(.+)")


@dataclass(frozen=True)
class _Shape:
    """How a file's blocks are numbered."""

    levels: int
    deep: int  # resnets of a level on the way down


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of a UNet's arrays in a file; None: the file has none."""
    return prefix_with(file, DENOISER[::-1], {MARK})


def is_xl(file: TensorFile, prefix: str) -> bool:
    """Return whether a file's UNet is told sizes, as SDXL's is."""
    return f"{prefix}{LABELS}" in file.tensors


def projects_by_convolution(file: TensorFile, prefix: str) -> bool:
    """Return whether a UNet's transformers begin with a convolution, as those of Stable Diffusion 1 do and not of 2."""
    info = file.tensors.get(f"{prefix}middle_block.1.proj_in.weight")
    return info is not None and len(info.shape) == 4


def unet(file: TensorFile, prefix: str) -> FileComponent:
    """Return the UNet in a file.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of such a UNet.
    """
    shape = _shape(file, prefix)
    pieces = {name: Piece(key) for name, key in _names(file, prefix, shape)}
    return FileComponent("unet", ("diffusers", ARCHITECTURE), file, pieces, _config(file, prefix, shape))


def _shape(file: TensorFile, prefix: str) -> _Shape:
    count = count_of(file, f"{prefix}input_blocks.")
    halves = [i for i in range(count) if f"{prefix}input_blocks.{i}.0.op.weight" in file.tensors]
    deep = halves[0] - 1 if halves else count - 1
    if deep < 1 or count % (deep + 1) or halves != list(range(deep + 1, count, deep + 1)):
        key = f"{prefix}input_blocks.{halves[0] if halves else 0}.0.op.weight"
        expected, found = "as many layers at every resolution", f"{count} blocks, halved at {halves}"
        raise UnknownArchitecture("numbering", path=file.path, key=key, expected=expected, found=found)
    return _Shape(len(halves) + 1, deep)


def _config(file: TensorFile, prefix: str, shape: _Shape) -> dict[str, Any]:
    """Return what diffusers' config.json would say."""
    widths, layers, down, up = [], [], [], []
    for level in range(shape.levels):
        at = f"{prefix}input_blocks.{1 + level * (shape.deep + 1)}"
        widths.append(shape_of(file, f"{at}.0.in_layers.2.weight", 4)[0])
        down.append(f"{at}.1.norm.weight" in file.tensors)
        other = f"{prefix}output_blocks.{(shape.levels - 1 - level) * (shape.deep + 1)}"
        up.append(f"{other}.1.norm.weight" in file.tensors)
        last = level == shape.levels - 1
        home = f"{prefix}middle_block" if last else at if down[-1] else other
        layers.append(max(1, count_of(file, f"{home}.1.transformer_blocks.")))
    xl = is_xl(file, prefix)
    if xl and any(width % HEAD for width in widths):
        expected = f"multiples of {HEAD}, the columns of a head"
        key = f"{prefix}{MARK}"
        raise UnknownArchitecture("widths", path=file.path, key=key, expected=expected, found=str(widths))
    found: dict[str, Any] = {
        "_class_name": ARCHITECTURE,
        "in_channels": shape_of(file, f"{prefix}{MARK}", 4)[1],
        "out_channels": shape_of(file, f"{prefix}out.2.weight", 4)[0],
        "block_out_channels": widths,
        "layers_per_block": shape.deep,
        "down_block_types": ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in down],
        "up_block_types": ["CrossAttnUpBlock2D" if each else "UpBlock2D" for each in reversed(up)],
        "transformer_layers_per_block": layers,
        "attention_head_dim": [width // HEAD for width in widths] if xl else HEADS,
        "cross_attention_dim": shape_of(file, f"{prefix}middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2)[1],
        "use_linear_projection": not projects_by_convolution(file, prefix),
    }
    if xl:
        found |= {
            "addition_embed_type": ADDED,
            "addition_time_embed_dim": TIME_CHANNELS,
            "projection_class_embeddings_input_dim": shape_of(file, f"{prefix}{LABELS}", 2)[1],
        }
    return found


def _names(file: TensorFile, prefix: str, shape: _Shape) -> Iterator[tuple[str, str]]:
    """Yield diffusers' name and the file's of every array behind the prefix. An unknown one keeps its name, and so is
    told as a weight that the architecture does not have."""
    alone = not prefix  # then every array of the file is the UNet's
    for key in file.tensors:
        if (not alone and not key.startswith(prefix)) or key in (V_PREDICTION, ZERO_SNR):
            continue
        name, _, part = key[len(prefix) :].rpartition(".")
        if name in _TOP:
            yield f"{_TOP[name]}.{part}", key
        elif (match := _MIDDLE.fullmatch(name)) is not None:
            place = int(match[1])
            at = "attentions.0" if place == 1 else f"resnets.{place // 2}"
            yield f"mid_block.{at}.{_RESNET.get(match[2], match[2])}.{part}", key
        elif (match := _BLOCK.fullmatch(name)) is not None:
            yield f"{_block(match[1] == 'input', int(match[2]), match[3], match[4], shape)}.{part}", key
        else:
            yield key, key


def original_name(name: str, deep: int, up_attends: Sequence[bool]) -> str:
    """Return the original name of a layer of diffusers.

    Args:
        deep: resnets of a level on the way down.
        up_attends: of each level on the way up, coarsest first, whether it attends.
    """
    for old, new in _TOP.items():
        if new == name:
            return old
    half, _, rest = name.partition(".")
    if half == "mid_block":
        kind, number, part = rest.split(".", 2)
        return f"middle_block.1.{part}" if kind == "attentions" else f"middle_block.{2 * int(number)}.{_layer(part)}"
    level, kind, number, part = rest.split(".", 3)
    down, first = half == "down_blocks", int(level) * (deep + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + deep + 1}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{first + deep}.{2 if up_attends[int(level)] else 1}.conv"
    at = f"input_blocks.{first + 1 + int(number)}" if down else f"output_blocks.{first + int(number)}"
    return f"{at}.1.{part}" if kind == "attentions" else f"{at}.0.{_layer(part)}"


def _layer(part: str) -> str:
    """Return the original name of a resnet's layer."""
    return next(old for old, new in _RESNET.items() if new == part)


def _block(down: bool, number: int, place: str, name: str, shape: _Shape) -> str:
    """Return diffusers' name of a layer of a numbered block."""
    level, layer = divmod(number - 1 if down else number, shape.deep + 1)
    at = f"{'down' if down else 'up'}_blocks.{level}"
    if name == "op":
        return f"{at}.downsamplers.0.conv"
    if name == "conv" and not down:
        return f"{at}.upsamplers.0.conv"
    if place == "0":
        return f"{at}.resnets.{layer}.{_RESNET.get(name, name)}"
    return f"{at}.attentions.{layer}.{name}"
