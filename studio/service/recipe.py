"""What made a picture, complete enough to make it again; `recipe_files` writes it into files and reads it.

Threads, batch and file names are not in it, because pixels do not depend on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.info import ModelIdentity, ModelInfo
from ...engine.spec import GenerationSpec
from ...errors import SalonError

FORMAT: Final = 1

UInt8 = NDArray[np.uint8]


class RecipeError(SalonError):
    """A file has no recipe, or one that cannot be read."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe of one picture, or of the grid of a generation.

    Attributes:
        format: version of this layout.
        salon: version of Salon.
        kind: "image" or "grid".
        image: index of the picture in its generation, from 0; None for a grid.
        spec: the request, every default filled in, with its seed.
        clauses: slot -> the words of the prompt that the model read there.
        warnings: what of the prompt and its terms was left out.
        model: the model.
        backend: name of the backend with the kind of its device: "cpu/avx512_bf16", "triton/sm_90", "reference", ...
        dtype: compute dtype.
        pixels: `pixel_hash` of the picture that the file shows.
    """

    format: int = FORMAT
    salon: str
    kind: Literal["image", "grid"]
    image: int | None
    spec: GenerationSpec
    clauses: Mapping[str, str]
    warnings: tuple[str, ...]
    model: ModelIdentity
    backend: str
    dtype: str
    pixels: str


class Reading(Protocol):
    """What a model reads of a prompt and its terms: an engine's generation, or a worker's report of it."""

    @property
    def clauses(self) -> Mapping[str, str]: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...


def recipe_of(
    info: ModelInfo, spec: GenerationSpec, reading: Reading, image: int | None, pixels: UInt8, version: str
) -> Recipe:
    """Return the recipe of a picture.

    Args:
        info: facts of the engine that made it.
        spec: the request.
        reading: what the model read of the prompt.
        image: index of the picture in its generation, from 0; None: the grid.
        pixels: uint8 [height, width, 3], the picture.
        version: version of Salon.
    """
    return Recipe(
        salon=version,
        kind="grid" if image is None else "image",
        image=image,
        spec=spec,
        clauses=dict(reading.clauses),
        warnings=tuple(reading.warnings),
        model=info.identity,
        backend=info.backend.name,
        dtype=info.backend.compute,
        pixels=pixel_hash(pixels),
    )


def pixel_hash(pixels: UInt8) -> str:
    """Return the sha256 (hex) of "HEIGHTxWIDTH:" and the bytes of uint8 [height, width, 3]."""
    height, width, _ = pixels.shape
    return hashlib.sha256(f"{height}x{width}:".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def plain(recipe: Recipe) -> Any:
    """Return a recipe as dicts and lists for JSON."""
    return msgspec.to_builtins(recipe)
