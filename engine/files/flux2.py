"""Read single files of FLUX.2 as diffusers' `Flux2Transformer2DModel`: the originals, and its own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from ..errors import UnknownArchitecture
from ..tensor_file import TensorFile, TensorInfo
from ..weights.flux2 import ARCHITECTURE, Flux2Config
from .lone import LoneDenoiser, not_in_shapes
from .renamed import FileComponent, Piece, count_of, shape_of, thirds

PREFIXES: Final = ("", "model.diffusion_model.")
MARK: Final = "single_stream_modulation.lin.weight"
OWN_MARK: Final = "single_stream_modulation.linear.weight"  # in diffusers' layout
HEAD: Final = 128  # the one head width of the originals, with these columns for each axis of the rotation
AXES: Final = (32, 32, 32, 32)

TOP: Final = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
    "double_stream_modulation_img.lin": "double_stream_modulation_img.linear",
    "double_stream_modulation_txt.lin": "double_stream_modulation_txt.linear",
    "single_stream_modulation.lin": "single_stream_modulation.linear",
    "final_layer.linear": "proj_out",
}
DOUBLE: Final = {
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_mlp.0": "ff.linear_in",
    "img_mlp.2": "ff.linear_out",
    "txt_mlp.0": "ff_context.linear_in",
    "txt_mlp.2": "ff_context.linear_out",
}
SINGLE: Final = {
    "linear1": "attn.to_qkv_mlp_proj",
    "linear2": "attn.to_out",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
}
FUSED: Final = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_BLOCK: Final = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)")


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of FLUX.2's arrays in a file; None: the file has no such model."""
    known = (prefix for prefix in PREFIXES if {f"{prefix}{MARK}", f"{prefix}{OWN_MARK}"} & file.tensors.keys())
    return next(known, None)


def transformer(file: TensorFile, prefix: str) -> FileComponent:
    """Return the transformer in a file.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of FLUX.2.
    """
    kind = ("diffusers", ARCHITECTURE)
    own = f"{prefix}{OWN_MARK}" in file.tensors
    exact, norm = _config(file, prefix, own)
    head, usual = exact["attention_head_dim"], {"axes_dims_rope": list(AXES)}
    found = f"heads of {head} columns"
    if own:
        what = "columns of a head for each axis of the rotation (axes_dims_rope)"
        unknown = None if head == HEAD else not_in_shapes(file, norm, what, found, "transformer")
        return LoneDenoiser(
            "transformer", kind, file, prefix, exact, usual, Flux2Config.read, same=_same, unknown=unknown
        )
    if head != HEAD:
        raise UnknownArchitecture(
            "head width", path=file.path, key=norm, expected=f"{HEAD}, as all of FLUX.2 have it", found=found,
            remedy="use a folder in diffusers' layout, whose config.json says more",
        )  # fmt: skip
    pieces = dict(_pieces(file.tensors, prefix))
    return FileComponent("transformer", kind, file, pieces, {"_class_name": ARCHITECTURE, **usual, **exact})


def _same(one: Flux2Config, other: Flux2Config) -> bool:
    """Return whether two configs are of the same arrays, also where their ratios differ by less than a column."""
    return one.hidden == other.hidden and replace(one, mlp_ratio=other.mlp_ratio) == other


def _config(file: TensorFile, prefix: str, own: bool) -> tuple[dict[str, Any], str]:
    """Return what the shapes say of diffusers' config.json, and the name of a norm as wide as a head.

    Args:
        own: whether the file is in diffusers' layout.
    """
    names = {new: new if own else old for old, new in TOP.items()}

    def columns(name: str, at: str = "") -> int:
        return shape_of(file, f"{prefix}{at}{names.get(name, name)}.weight", 2)[1]

    width, channels = shape_of(file, f"{prefix}{names['x_embedder']}.weight", 2)
    double, single = ("transformer_", "single_transformer_") if own else ("double_", "single_")
    doubles, singles = (count_of(file, f"{prefix}{kind}blocks.") for kind in (double, single))
    inner, block = (SINGLE, f"{single}blocks.0.") if singles else (DOUBLE, f"{double}blocks.0.")
    found = {new: new if own else old for old, new in inner.items()}
    norm = f"{prefix}{block}{found['attn.norm_q']}.{'weight' if own else 'scale'}"
    (head,) = shape_of(file, norm, 1)
    if width % head:
        raise UnknownArchitecture(
            "head width", path=file.path, key=norm, expected=f"a divisor of {width}", found=str(head),
            remedy="the file is no transformer of FLUX.2: take another",
        )  # fmt: skip
    hidden = columns(found["attn.to_out"], block) - width if singles else columns(found["ff.linear_out"], block)
    ratio = hidden / width
    if int(width * ratio) != hidden:  # which the rounded quotient can miss by one
        ratio = math.nextafter(ratio, math.inf)
    guidance = f"{prefix}{names['time_guidance_embed.guidance_embedder.linear_1']}.weight"
    return {
        "in_channels": channels,
        "out_channels": shape_of(file, f"{prefix}{names['proj_out']}.weight", 2)[0],
        "num_layers": doubles,
        "num_single_layers": singles,
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": columns("context_embedder"),
        "timestep_guidance_channels": columns("time_guidance_embed.timestep_embedder.linear_1"),
        "mlp_ratio": ratio,
        "guidance_embeds": guidance in file.tensors,
    }, norm


def _pieces(tensors: Mapping[str, TensorInfo], prefix: str) -> Iterator[tuple[str, Piece]]:
    """Yield diffusers' name and place of every array behind the prefix. An unknown one keeps its name, and so is told
    as a weight that the architecture does not have."""
    for key, info in tensors.items():
        if prefix and not key.startswith(prefix):
            continue
        name, _, part = key[len(prefix) :].rpartition(".")
        part = "weight" if part == "scale" else part
        rows = info.shape[0] if info.shape else 0
        if name in TOP:
            yield f"{TOP[name]}.{part}", Piece(key)
        elif name == "final_layer.adaLN_modulation.1":  # shift, scale; diffusers has scale, shift
            yield f"norm_out.linear.{part}", Piece(key, ((rows // 2, rows), (0, rows // 2)))
        elif (match := _BLOCK.fullmatch(name)) is not None:
            yield from _block(match[1], match[2], match[3], part, key, rows)
        else:
            yield key, Piece(key)


def _block(kind: str, number: str, name: str, part: str, key: str, rows: int) -> Iterator[tuple[str, Piece]]:
    """Yield the arrays of a block that lie in one of the file's."""
    at = f"{'transformer' if kind == 'double' else 'single_transformer'}_blocks.{number}"
    names = DOUBLE if kind == "double" else SINGLE
    if name in names:
        yield f"{at}.{names[name]}.{part}", Piece(key)
    elif kind == "double" and name in FUSED:
        for to, ranges in zip(FUSED[name], thirds(rows), strict=True):
            yield f"{at}.{to}.{part}", Piece(key, ranges)
    else:
        yield key, Piece(key)
