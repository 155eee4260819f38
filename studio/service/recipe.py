"""What made a picture, complete enough to make it again, and the PNG files that carry it.

The recipe is JSON in an iTXt chunk named "salon". Threads, batch and file names are not in it, because pixels do not
depend on them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.info import ModelIdentity, ModelInfo
from ...engine.limits import Limits
from ...engine.spec import GenerationSpec
from ...errors import SalonError, complaint
from ...system import explain

CHUNK: Final = "salon"
FORMAT: Final = 1
MAX_PIXELS: Final = Limits().max_images * Limits().max_pixels  # of a picture that is read: the largest grid
MAX_TEXT: Final = 1 << 20  # characters of a recipe

UInt8 = NDArray[np.uint8]


class RecipeError(SalonError):
    """A file without a recipe, or with one that cannot be read."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What made one picture, or the grid of a generation.

    Attributes:
        format: of this layout.
        salon: version of Salon.
        kind: "image" or "grid".
        image: index of the picture in its generation, from 0; None for a grid.
        spec: the request, every default filled in; the seed is in it.
        clauses: slot -> the words of the prompt that the model read there.
        warnings: what of the prompt and its terms was left out.
        model: the model.
        backend: "cpu/avx512_bf16", "reference", ...
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
    """What a model reads of a prompt and its terms: an engine's generation, or what a studio's worker says of it."""

    @property
    def clauses(self) -> Mapping[str, str]: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...


def recipe_of(
    info: ModelInfo, spec: GenerationSpec, reading: Reading, image: int | None, pixels: UInt8, version: str
) -> Recipe:
    """Return the recipe of a picture.

    Args:
        info: of the engine that made it.
        spec: what was asked for.
        reading: what was read of the prompt.
        image: index of the picture in its generation, from 0; None: the grid.
        pixels: uint8 [height, width, 3], what is shown.
        version: of Salon.
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
    """sha256 (hex) over "HEIGHTxWIDTH:" and the bytes of uint8 [height, width, 3]."""
    height, width, _ = pixels.shape
    return hashlib.sha256(f"{height}x{width}:".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def plain(recipe: Recipe) -> Any:
    """As dicts and lists for JSON."""
    return msgspec.to_builtins(recipe)


def encode_png(pixels: UInt8, recipe: Recipe) -> bytes:
    """A PNG file of uint8 [height, width, 3] with its recipe inside."""
    from PIL import Image, PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(CHUNK, msgspec.json.encode(recipe).decode())
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def read_png(path: str | Path | IO[bytes]) -> tuple[UInt8, Recipe]:
    """The pixels, uint8 [height, width, 3], and the recipe of a picture that Salon made: a file, or what it holds.

    Nothing is unpacked that no picture of Salon's needs: a small file may claim to be a huge one.

    Raises:
        RecipeError: no such file, no PNG, more pixels or text than Salon makes, no recipe in it, or one of another
            format.
    """
    from PIL import Image, UnidentifiedImageError

    name = repr(str(path))
    try:
        with open(path, "rb") if isinstance(path, str | Path) else contextlib.nullcontext(path) as file:
            width, height = _size(file)
            if width * height > MAX_PIXELS:
                got, allowed = f"{width:,} x {height:,} pixels", f"up to {MAX_PIXELS:,} in all"
                raise RecipeError(complaint(name, got, allowed, "give a PNG that Salon made"))
            with Image.open(file, formats=["PNG"]) as image:
                if image.size != (width, height):
                    raise ValueError("two headers")
                pixels = np.asarray(image.convert("RGB"))
                text = image.info.get(CHUNK)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno:
            got, _, remedy = explain(error)
        else:
            got, remedy = "no PNG, or a damaged one", "give a PNG that Salon made"
        raise RecipeError(f"{name}: cannot be read ({got}); {remedy}") from error
    if isinstance(text, str) and len(text) > MAX_TEXT:
        got, allowed = f"a recipe of {len(text):,} characters", f"up to {MAX_TEXT:,}"
        raise RecipeError(complaint(name, got, allowed, "give a PNG that Salon made"))
    if not isinstance(text, str):
        raise RecipeError(complaint(name, "no recipe inside", "a PNG that Salon made", "give the original"))
    try:
        recipe = msgspec.json.decode(text.encode(), type=Recipe)
    except (msgspec.DecodeError, SalonError) as error:
        raise RecipeError(f"{name}: its recipe cannot be read ({error}); give the original") from error
    if recipe.format != FORMAT:
        remedy = "use the Salon that made it"
        raise RecipeError(complaint(name, f"a recipe of format {recipe.format}", f"format {FORMAT}", remedy))
    return pixels, recipe


def _size(file: IO[bytes]) -> tuple[int, int]:
    """(width, height) as the header of a PNG says, which is left unread. ValueError: it is none."""
    start = file.tell()
    head = file.read(24)
    file.seek(start)
    if len(head) < 24 or not head.startswith(b"\x89PNG\r\n\x1a\n") or head[12:16] != b"IHDR":
        raise ValueError("no header of a PNG")
    width, height = struct.unpack(">II", head[16:])
    return int(width), int(height)
