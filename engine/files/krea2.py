"""Read the original files of Krea 2 (Krea AI) as diffusers' `Krea2Transformer2DModel`.

Alone, or within a file that has text encoder and autoencoder too, behind a prefix. The config follows from the shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..errors import UnknownArchitecture
from ..tensor_file import TensorFile
from ..weights.krea2 import ARCHITECTURE
from .renamed import FileComponent, Piece, count_of, shape_of

PREFIXES: Final = ("", "model.diffusion_model.")
MARK: Final = "txtfusion.projector.weight"
HEAD: Final = 128  # the one head width of the originals, with these columns for each axis of the rotation
AXES: Final = (32, 48, 48)

_STARTS: Final = {
    "first.": "img_in.",
    "tmlp.0.": "time_embed.linear_1.",
    "tmlp.2.": "time_embed.linear_2.",
    "tproj.1.": "time_mod_proj.",
    "txtmlp.0.scale": "txt_in.norm.weight",
    "txtmlp.1.": "txt_in.linear_1.",
    "txtmlp.3.": "txt_in.linear_2.",
    "txtfusion.": "text_fusion.",
    "blocks.": "transformer_blocks.",
    "last.linear.": "final_layer.linear.",
    "last.norm.scale": "final_layer.norm.weight",
    "last.modulation.lin": "final_layer.scale_shift_table",
}
_INSIDE: Final = {
    ".attn.wq.": ".attn.to_q.",
    ".attn.wk.": ".attn.to_k.",
    ".attn.wv.": ".attn.to_v.",
    ".attn.wo.": ".attn.to_out.0.",
    ".attn.gate.": ".attn.to_gate.",
    ".attn.qknorm.qnorm.scale": ".attn.norm_q.weight",
    ".attn.qknorm.knorm.scale": ".attn.norm_k.weight",
    ".mlp.": ".ff.",
    ".prenorm.scale": ".norm1.weight",
    ".postnorm.scale": ".norm2.weight",
    ".mod.lin": ".scale_shift_table",
}


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of Krea 2's arrays in a file; None: the file has no such model."""
    return next((prefix for prefix in PREFIXES if f"{prefix}{MARK}" in file.tensors), None)


def transformer(file: TensorFile, prefix: str) -> FileComponent:
    """Return the transformer in a file.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of Krea 2.
    """
    pieces = dict(_pieces(file, prefix))
    return FileComponent("transformer", ("diffusers", ARCHITECTURE), file, pieces, _config(file, prefix))


def _pieces(file: TensorFile, prefix: str) -> Iterator[tuple[str, Piece]]:
    """Yield diffusers' name and place of every array behind the prefix. An unknown one keeps its name, and so is told
    as a weight that the architecture does not have."""
    for key in file.tensors:
        if not key.startswith(prefix):
            continue
        name = key[len(prefix) :]
        start = next((start for start in _STARTS if name.startswith(start)), None)
        if start is not None:
            name = _STARTS[start] + name[len(start) :]
        for old, new in _INSIDE.items():
            name = name.replace(old, new)
        yield name, Piece(key)


def original_name(name: str) -> str:
    """Return the original name of a layer of diffusers."""
    name = f"{name}."
    for old, new in _STARTS.items():
        if name.startswith(new):
            name = old + name[len(new) :]
    for old, new in _INSIDE.items():
        name = name.replace(new, old)
    return name.rstrip(".")


def _config(file: TensorFile, prefix: str) -> dict[str, Any]:
    """Return what diffusers' config.json would say."""
    width, channels = shape_of(file, f"{prefix}first.weight", 2)
    text = shape_of(file, f"{prefix}txtmlp.1.weight", 2)[1]
    head, kv, inner = _block(file, f"{prefix}blocks.0.")
    if head != HEAD or width % head:
        raise UnknownArchitecture(
            "head width", path=file.path, key=f"{prefix}blocks.0.attn.qknorm.qnorm.scale",
            expected=f"{HEAD}, as Krea 2 has it", found=f"{head} of {width}",
            remedy="use a folder in diffusers' layout, whose config.json says more",
        )  # fmt: skip
    fusion = {name: f"{prefix}txtfusion.{name}_blocks." for name in ("layerwise", "refiner")}
    text_head, text_kv, text_inner = _block(file, f"{fusion['layerwise']}0.")
    return {
        "_class_name": ARCHITECTURE,
        "in_channels": channels,
        "num_layers": count_of(file, f"{prefix}blocks."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "num_key_value_heads": kv,
        "intermediate_size": inner,
        "timestep_embed_dim": shape_of(file, f"{prefix}tmlp.0.weight", 2)[1],
        "text_hidden_dim": text,
        "num_text_layers": shape_of(file, f"{prefix}{MARK}", 2)[1],
        "text_num_attention_heads": max(1, text // text_head),
        "text_num_key_value_heads": text_kv,
        "text_intermediate_size": text_inner,
        "num_layerwise_text_blocks": count_of(file, fusion["layerwise"]),
        "num_refiner_text_blocks": count_of(file, fusion["refiner"]),
        "axes_dims_rope": list(AXES),
    }


def _block(file: TensorFile, at: str) -> tuple[int, int, int]:
    """Return of a block the head width, the number of heads of keys, and the hidden columns of its MLP."""
    (head,) = shape_of(file, f"{at}attn.qknorm.qnorm.scale", 1)
    keys = shape_of(file, f"{at}attn.wk.weight", 2)[0]
    return head, max(1, keys // head), shape_of(file, f"{at}mlp.gate.weight", 2)[0]
