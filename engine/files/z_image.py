"""Read the original files of Z-Image (`z_image_turbo_bf16.safetensors`) as diffusers' `ZImageTransformer2DModel`.

Files that keep diffusers' names are read too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors import UnknownArchitecture
from ..tensor_file import TensorFile, TensorInfo
from ..weights.z_image import ARCHITECTURE, SIDE, ZImageConfig
from .heads import unknown_axes, want_head
from .lone import LoneDenoiser
from .renamed import DENOISER, FileComponent, Piece, count_of, prefix_with, shape_of, thirds

MARK: Final = "layers.0.adaLN_modulation.0.weight"
OWN_MARK: Final = "all_x_embedder.2-1.weight"  # in diffusers' layout
AXES: Final = (32, 48, 48)  # columns of a head for each axis of the rotation, in all of Z-Image
UNREAD: Final = ("norm_final.weight",)  # of the model that Z-Image was made from; nothing computes with it

_STARTS: Final = {"x_embedder.": "all_x_embedder.2-1.", "final_layer.": "all_final_layer.2-1."}
_ENDS: Final = {
    ".attention.out": ".attention.to_out.0",
    ".attention.q_norm": ".attention.norm_q",
    ".attention.k_norm": ".attention.norm_k",
}
_FUSED: Final = ".attention.qkv"


def prefix_of(file: TensorFile) -> str | None:
    """Return what stands before the names of Z-Image's arrays in a file; None: the file has no such model."""
    return prefix_with(file, DENOISER, {MARK})


def transformer(file: TensorFile, prefix: str, *, nameless: bool = True) -> FileComponent:
    """Return the transformer in a file.

    Args:
        nameless: whether the file's name leaves open which of the models it is.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of Z-Image.
    """
    kind, pieces = ("diffusers", ARCHITECTURE), dict(_pieces(file.tensors, prefix))
    exact, norm = _config(file, prefix, pieces)
    usual, head = {"axes_dims": list(AXES)}, exact["dim"] // exact["n_heads"]
    if f"{prefix}{OWN_MARK}" in file.tensors:
        unknown = unknown_axes(file, norm, head, sum(AXES), "axes_dims")
        return LoneDenoiser(
            "transformer", kind, file, prefix, exact, usual, ZImageConfig.read, unknown=unknown, nameless=nameless,
            pieces=pieces,
        )  # fmt: skip
    want_head(file, norm, head, sum(AXES), "as all of Z-Image have it")
    return FileComponent("transformer", kind, file, pieces, {"_class_name": ARCHITECTURE, **usual, **exact})


def original_name(name: str) -> str:
    """Return the original name of a layer of diffusers."""
    for old, new in _STARTS.items():
        if f"{name}.".startswith(new):
            return f"{old}{name[len(new) :]}".rstrip(".")
    return next((name.removesuffix(new) + old for old, new in _ENDS.items() if name.endswith(new)), name)


def _config(file: TensorFile, prefix: str, pieces: Mapping[str, Piece]) -> tuple[dict[str, Any], str]:
    """Return what the shapes say of diffusers' config.json, and the name of a norm as wide as a head."""

    def key(name: str) -> str:
        return pieces[name].key if name in pieces else f"{prefix}{name}"

    width, text = shape_of(file, key("cap_embedder.1.weight"), 2)
    channels = shape_of(file, key("all_final_layer.2-1.linear.weight"), 2)[0]
    norm = key("layers.0.attention.norm_q.weight")
    (head,) = shape_of(file, norm, 1)
    if width % head or channels % SIDE**2:
        raise UnknownArchitecture(
            "head width", path=file.path, key=norm, expected=f"a divisor of {width}, and {SIDE} x {SIDE} latents each",
            found=f"{head}, and tokens of {channels}", remedy="the file is no transformer of Z-Image: take another",
        )  # fmt: skip
    return {
        "in_channels": channels // SIDE**2,
        "dim": width,
        "n_layers": count_of(file, f"{prefix}layers."),
        "n_refiner_layers": count_of(file, f"{prefix}noise_refiner."),
        "n_heads": width // head,
        "cap_feat_dim": text,
    }, norm


def _pieces(tensors: Mapping[str, TensorInfo], prefix: str) -> Iterator[tuple[str, Piece]]:
    """Yield diffusers' name and place of every array behind the prefix. An unknown one keeps its name, and so is told
    as a weight that the architecture does not have."""
    for key, info in tensors.items():
        if (prefix and not key.startswith(prefix)) or key[len(prefix) :] in UNREAD:
            continue
        name, _, part = key[len(prefix) :].rpartition(".")
        if name.endswith(_FUSED):
            rows = info.shape[0] if info.shape else 0
            at = name.removesuffix(_FUSED)
            for x, ranges in zip("qkv", thirds(rows), strict=True):
                yield f"{at}.attention.to_{x}.{part}", Piece(key, ranges)
            continue
        for start, new in _STARTS.items():
            if name.startswith(start) or f"{name}." == start:
                name = f"{new}{name[len(start) :]}".rstrip(".")
        for end, new in _ENDS.items():
            if name.endswith(end):
                name = name.removesuffix(end) + new
        yield (f"{name}.{part}" if name else part), Piece(key)
