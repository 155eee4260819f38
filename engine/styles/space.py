"""Load what a checkpoint ships of styles: vectors, the encoder of pictures, the style adapter, the default style.

`salon.json` names the file of vectors (`style_vectors`) and the default style; the adapter lies beside it. A checkpoint
may have none of it: then it draws without styles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import complaint
from ...kernels.bfloat16 import widen
from ...kernels.ops import Ops
from ..checkpoint import file_named
from ..config import Config
from ..default_style import DefaultStyle, load_default_style
from ..denoiser import Denoiser
from ..digests import ADAPTER
from ..errors import MalformedFile, MissingFile, SpecError, WrongShape
from ..safetensors_file import SafetensorsFile
from ..taste.colours import COLOURS
from . import names
from .choice import StyleInfo
from .encoder import StyleEncoder, load_style_encoder
from .numbers import Basis

Float32 = NDArray[np.float32]

TASTE: Final = "taste.safetensors"  # how users differ, if the model says so; it draws nothing and has no digest


@dataclass(frozen=True, eq=False)
class StyleSpace:
    """The styles of a loaded model.

    Attributes:
        adapter: the style adapter (an `IpAdapter`): its branch, and the projection from vectors to tokens.
        encoder: makes vectors of pictures.
        vectors: float32 [n, W], the styles that the checkpoint names.
        words: the names of these n styles.
        null: float32 [W], the reference that stands for no style.
        default: the default style, or None.
        basis: makes vectors of numbers.
        heads: factor -> (weight [classes, W], bias [classes]), the classifiers of style vectors.
        tastes: what the checkpoint says of users (`taste.space`): "prior" float32 [M, K, K], how their utilities
            differ, "classes" [F + 2, W], where classes lie, and "colours" [C, W + 1]; any may be missing.
    """

    adapter: Any
    encoder: StyleEncoder
    vectors: Float32
    words: tuple[str, ...]
    null: Float32
    default: DefaultStyle | None
    basis: Basis
    heads: Mapping[str, tuple[Float32, Float32]]
    tastes: Mapping[str, Float32]

    @property
    def info(self) -> StyleInfo:
        """Plain facts of the styles."""
        return StyleInfo(
            tokens=self.adapter.projection.num_tokens,
            token_width=self.adapter.branch.token_width,
            words=self.words,
            default="" if self.default is None else self.default.words,
            stylize=() if self.default is None else self.default.points,
        )

    def vector(self, name: str) -> Float32:
        """Return the style vector float32 [W] for the name of an adapter.

        Raises:
            SpecError: the name is of no style, or of the style of a picture or a taste code that the engine has not
                been given.
        """
        if name == names.NONE:
            return self.null
        if name == names.DEFAULT and self.default is not None:
            return self.default.vector
        if (number := names.number_of(name)) is not None:
            return self.basis.vector(number)
        if (digest := names.picture_of(name)) is not None:
            remedy = "give the picture again (--sref, or Engine.add_style_picture)"
            raise SpecError(
                complaint("style reference", f"picture {digest[:12]}, which is not here", "one that is", remedy)
            )
        if (code := names.taste_of(name)) is not None:
            remedy = "give its vector first (Engine.add_taste), or ask the server that has it"
            raise SpecError(complaint("taste code", f"{code}, which is not here", "one that is", remedy))
        default = "" if self.default is None else f"{names.DEFAULT!r}, "
        allowed = f"{default}{names.NONE!r}, 'style:number:N', 'style:picture:SHA256' or 'style:taste:CODE'"
        raise SpecError(complaint("style", repr(name), allowed, "correct it"))

    def near(self, of: Float32) -> dict[str, float]:
        """Return style -> the cosine between its vector and a style vector float32 [W]."""
        vector = of.astype(np.float64)
        found = {}
        for word, row in zip(self.words, self.vectors.astype(np.float64), strict=True):
            lengths = np.sqrt((row * row).sum() * (vector * vector).sum())
            found[word] = float((row * vector).sum() / lengths)
        return found

    def tokens(self, ops: Ops[Any, Any], vector: Float32) -> Float32:
        """Return the adapter tokens float32 [n, token width] of a style vector float32 [W]."""
        tokens: Float32 = self.adapter.projection.tokens(ops, vector[None])
        return tokens


def vector_of(label: str, data: NDArray[np.uint8]) -> Float32:
    """Return the vector float32 [W] in its bytes uint8 [4 W]. SpecError, which calls them `label`: they are none."""
    if data.dtype != np.uint8 or data.ndim != 1 or not data.size or data.size % 4:
        allowed = "uint8 [4 W], the bytes of a float32 vector"
        raise SpecError(complaint(label, f"{data.dtype} {list(data.shape)}", allowed, "send those"))
    return np.frombuffer(np.ascontiguousarray(data), "<f4").astype(np.float32)


def load_styles(ops: Ops[Any, Any], folder: Path, salon: Config, denoiser: Denoiser) -> StyleSpace | None:
    """Load the styles of a checkpoint folder; None if it has no style adapter or names no vectors.

    Raises:
        CheckpointError: a file or tensor is missing, damaged or of another width than the others.
    """
    path = folder / ADAPTER
    entry = salon.values.get("style_vectors")
    if not path.is_file() or not entry:
        if salon.values.get("default_style"):
            remedy = "put them beside it, or take default_style out"
            raise MissingFile(
                "a default style without style vectors or adapter", path=salon.path, key="default_style",
                expected=f"style_vectors, and {ADAPTER} beside it", remedy=remedy,
            )  # fmt: skip
        return None
    file, tensor, words = _named(salon.path, entry)
    vectors, null = _floats(file, tensor, 2), _floats(file, "null", 1)
    if len(vectors) != len(words):
        found = f"{len(words)} names"
        raise MalformedFile(
            "style vectors", path=salon.path, key="style_vectors.rows", expected=f"{len(vectors)} names", found=found
        )
    encoder = load_style_encoder(ops, file)
    adapter = denoiser.adapter_file(ops, path)
    width = vectors.shape[1]
    for what, wide in (
        ("null", len(null)), ("encoder.out.2.weight", encoder.width), (ADAPTER, adapter.projection.embedding_width)
    ):  # fmt: skip
        if wide != width:
            raise WrongShape("style vectors", path=file.path, key=what, expected=f"width {width}", found=str(wide))
    channels = denoiser.codec.channels
    if encoder.channels != channels:
        expected, key = f"{channels} channels, those of the latents", "encoder.first.0.weight"
        raise WrongShape("style encoder", path=file.path, key=key, expected=expected, found=str(encoder.channels))
    default, heads = load_default_style(folder, salon.values), _heads(file, width)
    basis = Basis.of(vectors, {factor: weight for factor, (weight, _) in heads.items()})
    tastes = _tastes(folder / TASTE, sum(len(bias) for _, bias in heads.values()) or width, width)
    return StyleSpace(adapter, encoder, vectors, words, null, default, basis, heads, tastes)


def _named(path: Path, entry: Any) -> tuple[SafetensorsFile, str, tuple[str, ...]]:
    """Return the file, the tensor and the names of its rows that `style_vectors` of salon.json names."""
    try:
        file = SafetensorsFile(file_named(path, "style_vectors.file", entry["file"]))
        return file, str(entry["tensor"]), tuple(str(words) for words in entry["rows"])
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedFile(f"style vectors: {error!r}", path=path, key="style_vectors") from error


def _floats(file: SafetensorsFile, key: str, dimensions: int) -> Float32:
    values = widen(file.array(key), key)
    if values.ndim != dimensions or not values.size or not np.isfinite(values).all():
        expected = f"finite numbers in {dimensions} dimensions"
        raise MalformedFile("style vectors", path=file.path, key=key, expected=expected, found=str(list(values.shape)))
    return values


def _tastes(path: Path, classes: int, width: int) -> dict[str, Float32]:
    """Return what the file of tastes beside a checkpoint has; nothing: there is no such file."""
    found: dict[str, Float32] = {}
    if path.is_file():
        file = SafetensorsFile(path)
        axes = classes + (2 * len(COLOURS) if "colours" in file.tensors else 0)
        shapes = {"prior": (None, axes, axes), "classes": (classes + 2, width), "colours": (len(COLOURS), width + 1)}
        for key, shape in shapes.items():
            if key in file.tensors:
                found[key] = _floats(file, key, len(shape))
                if any(want not in (None, have) for want, have in zip(shape, found[key].shape, strict=True)):
                    expected = str([side if side is not None else "any" for side in shape]).replace("'", "")
                    got = str(list(found[key].shape))
                    raise WrongShape("tastes", path=file.path, key=key, expected=expected, found=got)
    return found


def _heads(file: SafetensorsFile, width: int) -> Mapping[str, tuple[Float32, Float32]]:
    """Return the classifiers (weight [classes, W], bias [classes]) of the file, by factor: directions in which a style
    differs."""
    found = {}
    for key in sorted(file.tensors):
        if key.startswith("heads.") and key.endswith(".weight"):
            weight = _floats(file, key, 2)
            if weight.shape[1] != width:
                expected, got = f"[any, {width}]", str(list(weight.shape))
                raise WrongShape("style vectors", path=file.path, key=key, expected=expected, found=got)
            name = key.removeprefix("heads.").removesuffix(".weight")
            bias = _floats(file, f"heads.{name}.bias", 1)
            if len(bias) != len(weight):
                expected, got = f"[{len(weight)}]", str(list(bias.shape))
                raise WrongShape("style vectors", path=file.path, key=key, expected=expected, found=got)
            found[name] = weight, bias
    return found
