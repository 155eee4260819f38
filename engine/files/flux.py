"""Read single files of FLUX.1 as diffusers' `FluxTransformer2DModel`: the originals (Black Forest Labs), and its own.

Alone (`flux1-dev.safetensors`), or within a file that has text encoders and autoencoder too, behind a prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ..tensor_file import TensorFile, TensorInfo
from ..weights.flux import ARCHITECTURE, FluxConfig
from .blocks import ATTENTION, FUSED, NORM_OUT, Layout
from .heads import heads_of, unknown_axes, want_head
from .lone import LoneDenoiser
from .renamed import DENOISER, FileComponent, Ranges, count_of, prefix_with, shape_of, thirds

MARK: Final = "double_blocks.0.img_attn.norm.query_norm.scale"
# Files that have the mark too, and are of another family: a key of theirs -> what it is.
OTHERS: Final = ("single_stream_modulation.lin.weight", "distilled_guidance_layer.in_proj.bias")
# Names in diffusers' layout, by which files in it are told; those of others have some of these, and one of the last.
OWN_MARKS: Final = (
    "time_text_embed.text_embedder.linear_1.weight", "context_embedder.weight", "x_embedder.weight", "proj_out.weight",
)  # fmt: skip
OWN_OTHERS: Final = ("pos_embed.proj.weight", "controlnet_blocks.0.weight")  # Stable Diffusion 3, ControlNets
HEAD: Final = 128  # the one head width of the originals, with these columns for each axis of the rotation
AXES: Final = (16, 56, 56)

_TOP: Final = {
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "txt_in": "context_embedder",
    "img_in": "x_embedder",
    "final_layer.linear": "proj_out",
}
_DOUBLE: Final = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    **ATTENTION,
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
}
_SINGLE: Final = {
    "modulation.lin": "norm.linear",
    "linear2": "proj_out",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
}


def _attention_and_up(rows: int) -> Iterator[tuple[str, Ranges]]:
    """Yield what lies in a single block's first layer: q, k, v, and the MLP's four times as many rows."""
    one = rows // 7
    yield from zip(FUSED["img_attn.qkv"], thirds(3 * one), strict=True)
    yield "proj_mlp", ((3 * one, rows),)


LAYOUT: Final = Layout(_TOP, _DOUBLE, _SINGLE, {"linear1": _attention_and_up})


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of FLUX.1's arrays in a file; None: the file has no such model."""
    prefix = prefix_with(file, DENOISER, {MARK}, without=OTHERS)
    return prefix_with(file, DENOISER, OWN_MARKS, without=OWN_OTHERS) if prefix is None else prefix


def embeds_guidance(file: TensorFile, prefix: str) -> bool:
    """Return whether a file's transformer reads guidance, as [dev] does and [schnell] does not."""
    return _key_of(file, prefix)("time_text_embed.guidance_embedder.linear_1.weight") in file.tensors


def transformer(file: TensorFile, prefix: str) -> FileComponent:
    """Return the transformer in a file.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of FLUX.1.
    """
    kind, own = ("diffusers", ARCHITECTURE), _is_own(file, prefix)
    key, norm = _key_of(file, prefix), f"{prefix}{MARK}"
    if own:
        blocks = "transformer_blocks" if count_of(file, f"{prefix}transformer_blocks.") else "single_transformer_blocks"
        norm = f"{prefix}{blocks}.0.attn.norm_q.weight"
    exact, usual = _config(file, prefix, key, norm), {"axes_dims_rope": list(AXES)}
    head, heads = exact["attention_head_dim"], exact["num_attention_heads"]
    if own:
        unknown = unknown_axes(file, norm, head, HEAD)
        return LoneDenoiser("transformer", kind, file, prefix, exact, usual, FluxConfig.read, unknown=unknown)
    want_head(file, norm, head, HEAD, "as all of FLUX.1 have it", f"{head}, in {heads} heads")
    pieces = dict(LAYOUT.pieces(file.tensors, prefix))
    return FileComponent("transformer", kind, file, pieces, {"_class_name": ARCHITECTURE, **usual, **exact})


def _is_own(file: TensorFile, prefix: str) -> bool:
    """Return whether a file has a transformer in diffusers' layout behind a prefix."""
    return prefix_with(file, (prefix,), OWN_MARKS, without=OWN_OTHERS) is not None


def _key_of(file: TensorFile, prefix: str) -> Callable[[str], str]:
    """Return what says the file's name of an array outside of blocks, of diffusers' name."""
    if _is_own(file, prefix):
        return lambda name: f"{prefix}{name}"
    names = {new: old for old, new in _TOP.items()}
    return lambda name: f"{prefix}{names[name.removesuffix('.weight')]}.weight"


def _config(file: TensorFile, prefix: str, key: Callable[[str], str], norm: str) -> dict[str, Any]:
    """Return what the shapes say of diffusers' config.json.

    Args:
        key: the file's name of an array.
        norm: that of a norm as wide as a head.
    """
    width, channels = shape_of(file, key("x_embedder.weight"), 2)
    head, heads = heads_of(file, norm, width, "FLUX.1")
    own = _is_own(file, prefix)
    double, single = ("transformer_", "single_transformer_") if own else ("double_", "single_")
    return {
        "in_channels": channels,
        "out_channels": shape_of(file, key("proj_out.weight"), 2)[0],
        "num_layers": count_of(file, f"{prefix}{double}blocks."),
        "num_single_layers": count_of(file, f"{prefix}{single}blocks."),
        "attention_head_dim": head,
        "num_attention_heads": heads,
        "joint_attention_dim": shape_of(file, key("context_embedder.weight"), 2)[1],
        "pooled_projection_dim": shape_of(file, key("time_text_embed.text_embedder.linear_1.weight"), 2)[1],
        "guidance_embeds": embeds_guidance(file, prefix),
    }


def layers(double: int, single: int, rows: Mapping[str, int]) -> dict[str, list[tuple[str, Ranges]]]:
    """Return the original names of all linear layers -> diffusers' names of what lies in each, with its rows there.

    Args:
        double, single: numbers of blocks.
        rows: diffusers' names of all linear layers -> their rows.
    """
    own = [*_TOP, NORM_OUT]
    for i in range(double):
        own += [f"double_blocks.{i}.{name}" for name in (*_DOUBLE, *FUSED)]
    own += [f"single_blocks.{i}.{name}" for i in range(single) for name in (*_SINGLE, "linear1")]
    found: dict[str, list[tuple[str, Ranges]]] = {}
    for name in own:
        # A layer's rows are those of all that lie in it, which its pieces name; how many they are is asked first.
        inside = [piece for piece, _ in LAYOUT.pieces({f"{name}.weight": TensorInfo("F32", (7, 1), 0, 0)}, "")]
        inside = [piece.removesuffix(".weight") for piece in inside]
        if not all(piece in rows for piece in inside):
            continue  # a norm, or an embedding that the model does not have
        total = sum(rows[piece] for piece in inside)
        pieces = dict(LAYOUT.pieces({f"{name}.weight": TensorInfo("F32", (total, 1), 0, 0)}, ""))
        found[name] = [(piece, pieces[f"{piece}.weight"].rows or ((0, rows[piece]),)) for piece in inside]
    return found
