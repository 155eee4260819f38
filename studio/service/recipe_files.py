"""Picture files that carry their recipe: PNG, and JPEG and WebP, which people send each other.

A PNG has the recipe as JSON in an iTXt chunk named "salon", and beside it, as "parameters", the text that other tools
read (`infotext`). JPEG and WebP have that text as EXIF's UserComment, where those tools look for it, and the recipe in
an XMP packet. Files come from strangers: nothing is unpacked before its header has been looked at.
"""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np

from ...engine.limits import Limits
from ...errors import SalonError, complaint
from ...recipe_text import CHUNK, FORMATS, MAX_TEXT, text_in, xmp_of
from ...system import explain
from .infotext import KEY, infotext
from .recipe import FORMAT, Recipe, RecipeError, UInt8

MAX_PIXELS: Final = Limits().max_images * Limits().max_pixels  # of a picture that is read: the largest grid
MAX_SEGMENT: Final = 65_000  # bytes of EXIF or XMP in a JPEG, whose segments have 64 KiB

_QUALITY: Final[dict[str, dict[str, Any]]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95, "method": 4},
}
_EXIF_IFD: Final = 0x8769
_USER_COMMENT: Final = 0x9286
_UNICODE: Final = b"UNICODE\0"  # EXIF 2.3, table 9: how the comment is encoded; then UTF-16, as is usual, big-endian


def encode_png(pixels: UInt8, recipe: Recipe) -> bytes:
    """Return a PNG file of uint8 [height, width, 3] with its recipe inside."""
    from PIL import Image, PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(CHUNK, _text(recipe))
    chunks.add_text(KEY, infotext(recipe))
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def encode(pixels: UInt8, recipe: Recipe, format: str = "PNG", quality: int | None = None) -> bytes:
    """Return a file of uint8 [height, width, 3] with its recipe inside.

    Args:
        format: one of `FORMATS`. JPEG and WebP do not keep every pixel; the recipe's hash is that of the picture.
        quality: of these two, 1 to 100; None: 95.

    Raises:
        RecipeError: the recipe is too long for a JPEG.
    """
    from PIL import Image

    if format == "PNG":
        return encode_png(pixels, recipe)
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _UNICODE + infotext(recipe).encode("utf-16-be")
    xmp = xmp_of(_text(recipe))
    comment = exif.tobytes()
    if max(len(xmp), len(comment)) > MAX_SEGMENT:
        got, allowed = f"a recipe of {max(len(xmp), len(comment)):,} bytes", f"up to {MAX_SEGMENT:,} in a {format}"
        raise RecipeError(complaint("picture", got, allowed, "choose PNG"))
    buffer = io.BytesIO()
    options = _QUALITY[format] if quality is None else _QUALITY[format] | {"quality": quality}
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format, exif=comment, xmp=xmp, **options)
    return buffer.getvalue()


def transcode(png: bytes, format: str, quality: int | None = None) -> bytes:
    """Return a PNG file of Salon's in another format, with its recipe; see `encode`.

    Raises:
        RecipeError: as `read_picture_file`.
    """
    return png if format == "PNG" else encode(*read_picture_file(io.BytesIO(png)), format, quality)


def read_png(path: str | Path | IO[bytes]) -> tuple[UInt8, Recipe]:
    """Return the pixels, uint8 [height, width, 3], and the recipe of a PNG that Salon made: a file, or what it holds.

    Raises:
        RecipeError: as `read_picture_file`; also for another format.
    """
    return _read(path, ("PNG",))


def read_picture_file(path: str | Path | IO[bytes]) -> tuple[UInt8, Recipe]:
    """Return the pixels, uint8 [height, width, 3], and the recipe of a picture that Salon made, of any of `FORMATS`.

    Nothing is unpacked that no picture of Salon's needs: a small file may claim to be a huge one.

    Raises:
        RecipeError: no such file, no picture, more pixels or text than Salon makes, no recipe in it, or one of another
            format.
    """
    return _read(path, FORMATS)


def _read(path: str | Path | IO[bytes], formats: tuple[str, ...]) -> tuple[UInt8, Recipe]:
    from PIL import Image, UnidentifiedImageError

    name = repr(str(path)) if isinstance(path, str | Path) else "picture"
    what = "PNG" if formats == ("PNG",) else "picture"
    remedy = f"give a {what} that Salon made"
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "rb")) if isinstance(path, str | Path) else path
            said = _png_size(file)
            _check_size(name, said, remedy)
            image = stack.enter_context(Image.open(file, formats=formats))
            if said not in (None, image.size):
                raise ValueError("two headers")
            _check_size(name, image.size, remedy)
            pixels = np.asarray(image.convert("RGB"))
            text = text_in(image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno:
            got, _, remedy = explain(error)
        else:
            got = f"no {what}, or a damaged one"
        raise RecipeError(f"{name}: cannot be read ({got}); {remedy}") from error
    if text is not None and len(text) > MAX_TEXT:
        got, allowed = f"a recipe of more than {MAX_TEXT:,} characters", "a shorter one"
        raise RecipeError(complaint(name, got, allowed, remedy))
    if text is None:
        raise RecipeError(complaint(name, "no recipe inside", f"a {what} that Salon made", "give the original"))
    try:
        recipe = msgspec.json.decode(text.encode(), type=Recipe)
    except (msgspec.DecodeError, SalonError) as error:
        raise RecipeError(f"{name}: its recipe cannot be read ({error}); give the original") from error
    if recipe.format != FORMAT:
        got, allowed = f"a recipe of format {recipe.format}", f"format {FORMAT}"
        raise RecipeError(complaint(name, got, allowed, "use the Salon that made it"))
    return pixels, recipe


def _text(recipe: Recipe) -> str:
    return msgspec.json.encode(recipe).decode()


def _check_size(name: str, size: tuple[int, int] | None, remedy: str) -> None:
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        got, allowed = f"{size[0]:,} x {size[1]:,} pixels", f"up to {MAX_PIXELS:,} in all"
        raise RecipeError(complaint(name, got, allowed, remedy))


def _png_size(file: IO[bytes]) -> tuple[int, int] | None:
    """Return (width, height) as the header of a PNG says, which is left unread: Pillow warns of large ones where it
    should refuse. None: the file is no PNG."""
    start = file.tell()
    head = file.read(24)
    file.seek(start)
    if len(head) < 24 or not head.startswith(b"\x89PNG\r\n\x1a\n") or head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", head[16:])
    return int(width), int(height)
