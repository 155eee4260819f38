"""Read single files of Qwen-Image as diffusers' `QwenImageTransformer2DModel`.

Their arrays have diffusers' names, alone (`qwen_image_bf16.safetensors`), or within a file that has text encoder and
autoencoder too, behind a prefix. The config follows from the shapes. Those of Qwen-Image-Edit differ in nothing but
weights, so their names tell them, as people have them: `qwen_image_edit_2509_fp8_e4m3fn.safetensors`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from ..tensor_file import TensorFile
from ..weights.qwen_image import ARCHITECTURE, PATCH, QwenImageConfig
from .heads import heads_of, unknown_axes
from .lone import LoneDenoiser, says_nothing
from .renamed import DENOISER, Piece, count_of, prefix_with, shape_of

MARK: Final = "transformer_blocks.0.img_mod.1.weight"
OTHERS: Final = ("txt_in.text_norm.weight",)  # of files that have the mark too, and are of another family
HEAD: Final = 128  # the one head width of the originals, with these columns for each axis of the rotation
AXES: Final = (16, 56, 56)
STILL: Final = "__index_timestep_zero__"  # an array without meaning: references are at timestep 0
STILL_VERSION: Final = "2511"  # which is such a model, in a file that lacks the array
_EDIT: Final = re.compile(r"(?:^|[^a-z])edit(?:[^a-z]|$)")
_PLUS: Final = re.compile(r"(?:^|[^0-9])25[01][0-9](?:[^0-9]|$)|plus")  # the version by its month, or "plus"


def edits(path: Path) -> bool | None:
    """Return whether a file is Qwen-Image-Edit-Plus, which looks at several pictures, by its name; None: it draws from
    text alone."""
    name = path.stem.lower()
    return bool(_PLUS.search(name)) if _EDIT.search(name) else None


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of Qwen-Image's arrays in a file; None: the file has no such model."""
    return prefix_with(file, DENOISER, {MARK}, without=OTHERS)


def transformer(file: TensorFile, prefix: str) -> LoneDenoiser:
    """Return the transformer in a file.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of Qwen-Image.
    """
    pieces = {key[len(prefix) :]: Piece(key) for key in file.tensors if key.startswith(prefix)}
    pieces.pop(STILL, None)
    exact, norm = _config(file, prefix)
    head, usual, nameless = exact["attention_head_dim"], {"axes_dims_rope": list(AXES)}, says_nothing(file.path)
    still = f"{prefix}{STILL}" in file.tensors
    if still or not nameless:  # else the folder of the model says it
        exact["zero_cond_t"] = still or bool(edits(file.path)) and STILL_VERSION in file.path.stem
    return LoneDenoiser(
        "transformer", ("diffusers", ARCHITECTURE), file, prefix, exact, usual, QwenImageConfig.read, pieces=pieces,
        unknown=unknown_axes(file, norm, head, HEAD), nameless=nameless,
    )  # fmt: skip


def _config(file: TensorFile, prefix: str) -> tuple[dict[str, Any], str]:
    """Return what the shapes say of diffusers' config.json, and the name of a norm as wide as a head."""
    width, channels = shape_of(file, f"{prefix}img_in.weight", 2)
    norm = f"{prefix}transformer_blocks.0.attn.norm_q.weight"
    head, heads = heads_of(file, norm, width, "Qwen-Image")
    return {
        "patch_size": PATCH,
        "in_channels": channels,
        "out_channels": shape_of(file, f"{prefix}proj_out.weight", 2)[0] // (PATCH * PATCH),
        "num_layers": count_of(file, f"{prefix}transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": heads,
        "joint_attention_dim": shape_of(file, f"{prefix}txt_in.weight", 2)[1],
    }, norm
