"""Read the pictures that requests refer to: a file becomes pixels of a size that the model reads.

A picture's name is the SHA-256 of its file, not its name on disk, so that what a recipe names can be found again with
`sha256sum`. Files come from strangers: nothing is unpacked before its header has been looked at.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..bounds import MAX_ASPECT, MAX_REFERENCE_BYTES
from ..engine.spec import size_for_aspect
from ..errors import complaint
from ..system import explain
from .errors import ReferenceRefused

UInt8 = NDArray[np.uint8]

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_PIXELS: Final = 64 * 2**20  # pixels of the largest picture that is unpacked


@dataclass(frozen=True, eq=False)
class ReferencePicture:
    """A picture that was read.

    Attributes:
        digest: SHA-256 (hex) of its file.
        image: an image of Pillow, upright, in RGB; what was transparent is white.
    """

    digest: str
    image: Any

    def pixels(self, area: int, unit: int) -> UInt8:
        """Return the picture uint8 [height, width, 3] in about `area` pixels, with sides that are multiples of `unit`.

        The proportions are as near to its own as such sides come, and never beyond 14:1.
        """
        from PIL import Image

        width, height = self.image.size
        ratio = min(max(width / height, 1 / MAX_ASPECT), MAX_ASPECT)
        size = size_for_aspect(ratio, 1.0, pixels=area, granularity=unit)
        return np.asarray(self.image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def digest_of(data: bytes) -> str:
    """Return the name of a picture's file: its SHA-256 (hex)."""
    return hashlib.sha256(data).hexdigest()


def read_file(path: str | os.PathLike[str], name: str = "style reference") -> bytes:
    """Return the bytes of a picture's file.

    Raise ReferenceRefused, which calls the file `name`, if it cannot be read, or is too large to be a picture.
    """
    what = f"{name} {str(path)!r}"
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_REFERENCE_BYTES + 1)
    except OSError as error:
        told = explain(error)
        raise ReferenceRefused(f"{what}: {told.got}; {told.remedy}") from error
    if len(data) > MAX_REFERENCE_BYTES:
        got, allowed = f"more than {MAX_REFERENCE_BYTES:,} bytes", f"up to {MAX_REFERENCE_BYTES:,}"
        raise ReferenceRefused(complaint(what, got, allowed, "save it smaller"))
    return data


def read_picture(data: bytes, name: str = "style reference") -> ReferencePicture:
    """Return the picture in a file's bytes.

    Raises:
        ReferenceRefused: it is no picture, is damaged, or has too many pixels; the message calls it `name`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    allowed = f"a picture ({', '.join(FORMATS)})"
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                got, most = f"{width:,} x {height:,} pixels", f"up to {MAX_PIXELS:,} in all"
                raise ReferenceRefused(complaint(name, got, most, "save it smaller"))
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16") or upright.mode == "I":  # 16 bits a pixel, which `convert` would clip
                upright = Image.fromarray((np.asarray(upright).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
            if "transparency" in upright.info or "A" in upright.getbands() or upright.mode == "P":
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
                upright = Image.alpha_composite(white, upright)
            return ReferencePicture(digest_of(data), upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        got = "no picture" if isinstance(error, UnidentifiedImageError) else f"a damaged picture ({error})"
        raise ReferenceRefused(complaint(name, got, allowed, "give another file")) from error
