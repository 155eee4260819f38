"""Read single files of Krea 2 as diffusers' `Krea2Transformer2DModel`: the originals (Krea AI), and its own.

Alone, or within a file that has text encoder and autoencoder too, behind a prefix. The config follows from the shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..tensor_file import TensorFile
from ..weights.krea2 import ARCHITECTURE, Krea2Config
from .heads import heads_of, unknown_axes, want_head
from .lone import LoneDenoiser
from .renamed import DENOISER, FileComponent, Piece, count_of, prefix_with, shape_of

MARK: Final = "txtfusion.projector.weight"
OWN_MARK: Final = "text_fusion.projector.weight"  # in diffusers' layout
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
    return prefix_with(file, DENOISER, {MARK}, {OWN_MARK})


def transformer(file: TensorFile, prefix: str) -> FileComponent:
    """Return the transformer in a file.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of Krea 2.
    """
    kind = ("diffusers", ARCHITECTURE)
    own = f"{prefix}{OWN_MARK}" in file.tensors
    exact, norm = _config(file, prefix, own)
    head, usual = exact["attention_head_dim"], {"axes_dims_rope": list(AXES)}
    if own:
        unknown = unknown_axes(file, norm, head, HEAD)
        return LoneDenoiser("transformer", kind, file, prefix, exact, usual, Krea2Config.read, unknown=unknown)
    want_head(file, norm, head, HEAD, "as Krea 2 has it")
    pieces = dict(_pieces(file, prefix))
    return FileComponent("transformer", kind, file, pieces, {"_class_name": ARCHITECTURE, **usual, **exact})


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


def _config(file: TensorFile, prefix: str, own: bool) -> tuple[dict[str, Any], str]:
    """Return what the shapes say of diffusers' config.json, and the name of a norm as wide as a head.

    Args:
        own: whether the file is in diffusers' layout.
    """

    def key(name: str) -> str:
        return f"{prefix}{name if own else original_name(name)}"

    def block(at: str) -> tuple[int, int, int]:
        """Return of a block the head width, the number of heads of keys, and the hidden columns of its MLP."""
        (head,) = shape_of(file, key(f"{at}.attn.norm_q.weight"), 1)
        keys = shape_of(file, key(f"{at}.attn.to_k.weight"), 2)[0]
        return head, max(1, keys // head), shape_of(file, key(f"{at}.ff.gate.weight"), 2)[0]

    width, channels = shape_of(file, key("img_in.weight"), 2)
    text = shape_of(file, key("txt_in.linear_1.weight"), 2)[1]
    norm = key("transformer_blocks.0.attn.norm_q.weight")
    head, kv, inner = block("transformer_blocks.0")
    _, heads = heads_of(file, norm, width, "Krea 2")
    fusion = "text_fusion.layerwise_blocks", "text_fusion.refiner_blocks"
    text_head, text_kv, text_inner = block(f"{fusion[0]}.0")
    return {
        "in_channels": channels,
        "num_layers": count_of(file, key("transformer_blocks") + "."),
        "attention_head_dim": head,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": inner,
        "timestep_embed_dim": shape_of(file, key("time_embed.linear_1.weight"), 2)[1],
        "text_hidden_dim": text,
        "num_text_layers": shape_of(file, key(OWN_MARK), 2)[1],
        "text_num_attention_heads": max(1, text // text_head),
        "text_num_key_value_heads": text_kv,
        "text_intermediate_size": text_inner,
        "num_layerwise_text_blocks": count_of(file, key(fusion[0]) + "."),
        "num_refiner_text_blocks": count_of(file, key(fusion[1]) + "."),
    }, norm
