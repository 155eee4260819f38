"""Read single files of Qwen-Image as diffusers' `QwenImageTransformer2DModel`.

Their arrays have diffusers' names, alone (`qwen_image_bf16.safetensors`), or within a file that has text encoder and
autoencoder too, behind a prefix. The config follows from the shapes.
"""

from __future__ import annotations

from typing import Any, Final

from ..errors import UnknownArchitecture
from ..tensor_file import TensorFile
from ..weights.qwen_image import ARCHITECTURE, PATCH
from .renamed import FileComponent, Piece, count_of, shape_of

PREFIXES: Final = ("", "model.diffusion_model.")
MARK: Final = "transformer_blocks.0.img_mod.1.weight"
OTHERS: Final = ("txt_in.text_norm.weight",)  # of files that have the mark too, and are of another family
HEAD: Final = 128  # the one head width of the originals, with these columns for each axis of the rotation
AXES: Final = (16, 56, 56)


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of Qwen-Image's arrays in a file; None: the file has no such model."""
    for prefix in PREFIXES:
        if f"{prefix}{MARK}" in file.tensors and not any(f"{prefix}{key}" in file.tensors for key in OTHERS):
            return prefix
    return None


def transformer(file: TensorFile, prefix: str) -> FileComponent:
    """Return the transformer in a file.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of Qwen-Image.
    """
    pieces = {key[len(prefix) :]: Piece(key) for key in file.tensors if key.startswith(prefix)}
    return FileComponent("transformer", ("diffusers", ARCHITECTURE), file, pieces, _config(file, prefix))


def _config(file: TensorFile, prefix: str) -> dict[str, Any]:
    """Return what diffusers' config.json would say."""
    width, channels = shape_of(file, f"{prefix}img_in.weight", 2)
    norm = f"{prefix}transformer_blocks.0.attn.norm_q.weight"
    (head,) = shape_of(file, norm, 1)
    if head != HEAD or width % head:
        raise UnknownArchitecture(
            "head width", path=file.path, key=norm, expected=f"{HEAD}, as Qwen-Image has it",
            found=f"{head} of {width}", remedy="use a folder in diffusers' layout, whose config.json says more",
        )  # fmt: skip
    return {
        "_class_name": ARCHITECTURE,
        "patch_size": PATCH,
        "in_channels": channels,
        "out_channels": shape_of(file, f"{prefix}proj_out.weight", 2)[0] // (PATCH * PATCH),
        "num_layers": count_of(file, f"{prefix}transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shape_of(file, f"{prefix}txt_in.weight", 2)[1],
        "axes_dims_rope": list(AXES),
    }
