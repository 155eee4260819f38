"""Read single files of FLUX.2 as diffusers' `Flux2Transformer2DModel`: the originals, and its own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

from ..tensor_file import TensorFile
from ..weights.flux2 import ARCHITECTURE, Flux2Config
from .blocks import ATTENTION, Layout
from .heads import heads_of, unknown_axes, want_head
from .lone import LoneDenoiser
from .renamed import DENOISER, FileComponent, count_of, prefix_with, shape_of

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
    **ATTENTION,
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
LAYOUT: Final = Layout(TOP, DOUBLE, SINGLE, {})


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of FLUX.2's arrays in a file; None: the file has no such model."""
    return prefix_with(file, DENOISER, {MARK}, {OWN_MARK})


def transformer(file: TensorFile, prefix: str) -> FileComponent:
    """Return the transformer in a file.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of FLUX.2.
    """
    kind = ("diffusers", ARCHITECTURE)
    own = f"{prefix}{OWN_MARK}" in file.tensors
    exact, norm = _config(file, prefix, own)
    head, usual = exact["attention_head_dim"], {"axes_dims_rope": list(AXES)}
    if own:
        unknown = unknown_axes(file, norm, head, HEAD)
        return LoneDenoiser(
            "transformer", kind, file, prefix, exact, usual, Flux2Config.read, same=_same, unknown=unknown
        )
    want_head(file, norm, head, HEAD, "as all of FLUX.2 have it")
    pieces = dict(LAYOUT.pieces(file.tensors, prefix))
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
    head, heads = heads_of(file, norm, width, "FLUX.2")
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
        "num_attention_heads": heads,
        "joint_attention_dim": columns("context_embedder"),
        "timestep_guidance_channels": columns("time_guidance_embed.timestep_embedder.linear_1"),
        "mlp_ratio": ratio,
        "guidance_embeds": guidance in file.tensors,
    }, norm
