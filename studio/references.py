"""Read the pictures that requests refer to: a file becomes pixels of the form that a job needs.

A picture's name is the SHA-256 of its file, not its name on disk, so that what a recipe names can be found again with
`sha256sum`. Files come from strangers: nothing is unpacked before its header has been looked at.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..bounds import MAX_ASPECT, MAX_REFERENCE_BYTES
from ..engine.errors import SpecError
from ..engine.info import ModelInfo
from ..engine.reference_rule import ReferenceRule
from ..engine.spec import GenerationSpec, size_for_aspect
from ..engine.start import PictureForm, PictureUse, forms_of
from ..errors import SalonError, complaint
from ..system import explain
from ..values import path_of, shown
from .errors import ReferenceRefused
from .flattening import flattened
from .resources import References

UInt8 = NDArray[np.uint8]

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
OMNI: Final = "omni_reference"  # the field of a request
MAX_PIXELS: Final = 64 * 2**20  # pixels of the largest picture that is unpacked
_MOVING: Final = ("GIF", "PNG", "WEBP")  # a JPEG of several pictures is a photograph with a preview beside it
_ORIENTATION: Final = 0x0112  # the number of this tag of EXIF


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

    def square(self, side: int, *, whole: bool = False) -> UInt8:
        """Return the middle of the picture uint8 [side, side, 3], as CLIP's image encoders are shown pictures: its
        shorter side is brought to `side` by bicubic interpolation, and what is left of the longer is cut off. With
        `whole` both sides are brought to it, as SigLIP's are shown them."""
        from PIL import Image

        if whole:
            return np.asarray(self.image.resize((side, side), Image.Resampling.BICUBIC))
        width, height = self.image.size
        short = min(width, height)
        size = int(side * width / short), int(side * height / short)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        seen = self.image.resize(size, Image.Resampling.BICUBIC)
        return np.asarray(seen.crop((left, top, left + side, top + side)))

    def fit(self, form: PictureForm, info: ModelInfo) -> UInt8:
        """Return the pixels of a form, uint8 [height, width, 3], of a mask [height, width].

        A style is as `pixels` says, or with an IP-Adapter as `square`. A start picture fills the size that is asked
        for: what is too wide or too high for its proportions is cut off on both sides, and one of that very size is
        taken as it is. With a place it is put there, and what is free around it repeats its edges. A reference that is
        seen whole is brought to its size in any proportions, and one that is hardly larger than its size loses its
        edges, without resizing.
        """
        if form.size is None and info.styles is not None and info.styles.side:
            return self.square(info.styles.side, whole=info.styles.whole)
        if form.size is None:
            return self.pixels(info.defaults["width"] * info.defaults["height"], info.architecture.granularity)
        image = self.image.convert("L") if form.use is PictureUse.MASK else self.image
        if form.place is not None:
            return _placed(image, form.size, form.place)
        if form.use is PictureUse.REFERENCE:
            return _looked_at(image, form, info.architecture.granularity)
        fitted = _resized(image, form.size, _covering(image.size, form.size))
        return flattened(fitted) if form.flat else fitted


def _looked_at(image: Any, form: PictureForm, unit: int) -> UInt8:
    """Return a picture as a model looks at it, with the resampling of the models' own pipelines."""
    from PIL import Image

    assert form.size is not None, "a reference has a size"
    if form.through is not None:  # the text encoder's own processor resizes what the pipeline shows it
        first = image.resize(form.through, Image.Resampling.LANCZOS)
        return np.asarray(first.resize(form.size, Image.Resampling.BICUBIC))
    beyond = image.size[0] - form.size[0], image.size[1] - form.size[1]
    if not form.whole and all(0 <= each < unit for each in beyond):
        left, top = beyond[0] // 2, beyond[1] // 2
        return np.asarray(image.crop((left, top, left + form.size[0], top + form.size[1])))
    box = None if form.whole else _covering(image.size, form.size)
    return np.asarray(image.resize(form.size, Image.Resampling.LANCZOS, box=box))


def _covering(of: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the middle (left, top, right, bottom) of a picture `of` (width, height) in the proportions of `size`."""
    scale = min(of[0] / size[0], of[1] / size[1])
    width, height = size[0] * scale, size[1] * scale
    left, top = (of[0] - width) / 2, (of[1] - height) / 2
    return left, top, left + width, top + height


def _resized(image: Any, size: tuple[int, int], box: tuple[float, float, float, float]) -> UInt8:
    """Return a part of a picture at a size; pixels that need no resizing stay what they are."""
    from PIL import Image

    if all(side == int(side) for side in box) and (box[2] - box[0], box[3] - box[1]) == size:
        return np.asarray(image.crop(tuple(map(int, box))))
    way = Image.Resampling.BILINEAR if image.mode == "L" else Image.Resampling.LANCZOS  # a mask shall not ring
    return np.asarray(image.resize(size, way, box=box, reducing_gap=3.0))


def _placed(image: Any, size: tuple[int, int], place: tuple[int, int, int, int]) -> UInt8:
    """Return a canvas with a picture at a place (left, top, width, height) of it; around it are its edges."""
    left, top, width, height = place
    right, bottom = min(size[0], left + width), min(size[1], top + height)
    x, y = max(0, left), max(0, top)
    wide, high = image.size[0] / width, image.size[1] / height  # pixels of the picture in one of the canvas
    box = ((x - left) * wide, (y - top) * high, (right - left) * wide, (bottom - top) * high)
    part = _resized(image, (right - x, bottom - y), box)
    rows = np.clip(np.arange(size[1]) - y, 0, len(part) - 1)
    columns = np.clip(np.arange(size[0]) - x, 0, part.shape[1] - 1)
    canvas: UInt8 = part[rows][:, columns]
    return canvas


def digest_of(data: bytes) -> str:
    """Return the name of a picture's file: its SHA-256 (hex)."""
    return hashlib.sha256(data).hexdigest()


def read_file(path: str | os.PathLike[str], name: str = "style reference") -> bytes:
    """Return the bytes of a picture's file.

    Raise ReferenceRefused, which calls the file `name`, if it cannot be read, or is too large to be a picture.
    """
    if (where := path_of(path)) is None:
        raise ReferenceRefused(complaint(name, shown(path), "the name of a file", "correct it"))
    what = f"{name} {where!r}"
    try:
        with open(where, "rb") as file:
            data = file.read(MAX_REFERENCE_BYTES + 1)
    except OSError as error:
        told = explain(error)
        raise ReferenceRefused(f"{what}: {told.got}; {told.remedy}") from error
    want_small(data, what)
    return data


def want_small(data: bytes, name: str) -> None:
    """Raise ReferenceRefused, which calls the file `name`, if it is larger than the file of a picture may be.

    It is asked of what is brought. What Salon has drawn may be larger.
    """
    if len(data) > MAX_REFERENCE_BYTES:
        got, allowed = f"more than {MAX_REFERENCE_BYTES:,} bytes", f"up to {MAX_REFERENCE_BYTES:,}"
        raise ReferenceRefused(complaint(name, got, allowed, "save it smaller"))


def bytes_of(picture: str | os.PathLike[str] | bytes) -> bytes:
    """Return the bytes of a picture that a program brings: its file, or they themselves. Raises as `read_file`."""
    if not isinstance(picture, bytes):
        return read_file(picture, "picture")
    want_small(picture, "picture")
    return picture


def read_picture(data: bytes, name: str = "style reference") -> ReferencePicture:
    """Return the picture in a file's bytes: its pixels alone, nothing of what else the file says.

    Raises:
        ReferenceRefused: it is no picture, is damaged, moves, or has too many pixels; the message calls it `name`.
    """
    from PIL import Image, ImageOps

    with _opened(data, name) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16") or upright.mode == "I":  # 16 bits a pixel, which `convert` would clip
            upright = Image.fromarray((np.asarray(upright).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        if "transparency" in upright.info or "A" in upright.getbands() or upright.mode == "P":
            upright = upright.convert("RGBA")
            white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
            upright = Image.alpha_composite(white, upright)
        plain = upright.convert("RGB")
        plain.info = {}
        return ReferencePicture(digest_of(data), plain)


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Any]:
    """Open a picture's file of which only the header has been read, so that nothing is unpacked that is too large.
    ReferenceRefused as `read_picture`, also for what goes wrong inside."""
    from PIL import Image, UnidentifiedImageError

    allowed = f"a picture ({', '.join(FORMATS)})"
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                got, most = f"{width:,} x {height:,} pixels", f"up to {MAX_PIXELS:,} in all"
                raise ReferenceRefused(complaint(name, got, most, "save it smaller"))
            if image.format in _MOVING and getattr(image, "is_animated", False):
                raise ReferenceRefused(complaint(name, "one that moves", "a single picture", "save the one you mean"))
            yield image
    except (SalonError, MemoryError):
        raise
    except Exception as error:  # a stranger's file makes Pillow raise nearly anything
        unknown = isinstance(error, UnidentifiedImageError)
        got = "no picture" if unknown else f"a damaged picture ({' '.join(str(error).split())[:200]})"
        raise ReferenceRefused(complaint(name, got, allowed, "give another file")) from error


def size_of(data: bytes, name: str = "picture") -> tuple[int, int]:
    """Return the (width, height) of the upright picture in a file's bytes, without unpacking it. ReferenceRefused as
    `read_picture`."""
    with _opened(data, name) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (height, width) if turned else (width, height)


def mask_of(data: bytes, name: str = "mask") -> bytes:
    """Return the file (PNG, grey) of a mask that is white where a picture is transparent, and black where it is not.

    Raises:
        ReferenceRefused: as `read_picture`; also for a picture that says nothing of transparency.
    """
    with _opened(data, name) as image:
        alpha = _alpha(image)
        if alpha is None:
            got, allowed = "a picture without transparency", "one that is transparent where pixels shall be new"
            raise ReferenceRefused(complaint(name, got, allowed, "save it as PNG with an alpha channel"))
        return _grey(alpha, inverted=True)


def light_mask_of(data: bytes, name: str = "mask", *, inverted: bool = False) -> bytes:
    """Return the file (PNG, grey) of a mask that is white where a picture is light, or where it is opaque if parts of
    it are not; `inverted`: the other way around. Raise ReferenceRefused as `read_picture`."""
    with _opened(data, name) as image:
        alpha = _alpha(image)
        if alpha is None or alpha.getextrema() == (255, 255):
            alpha = _upright(image).convert("RGB").convert("L")
        return _grey(alpha, inverted=inverted)


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _alpha(image: Any) -> Any:
    """Return how opaque an image is, as one of Pillow's in grey; None: it says nothing of that."""
    upright = _upright(image)
    if "transparency" not in upright.info and "A" not in upright.getbands():
        return None
    return upright.convert("RGBA").getchannel("A")


def _grey(image: Any, *, inverted: bool) -> bytes:
    from PIL import ImageOps

    buffer = io.BytesIO()
    (ImageOps.invert(image) if inverted else image).save(buffer, "PNG")
    return buffer.getvalue()


def pictures_of(
    spec: GenerationSpec, file_of: Callable[[str], bytes | None], kept: References, info: ModelInfo
) -> dict[PictureForm, UInt8]:
    """Return the pictures that a spec refers to, in the forms that it needs; those without a file are left out.

    Args:
        file_of: the file of a digest; None: it is not here.
        kept: where forms are looked up, and kept.

    Raises:
        ReferenceRefused: a file is no picture.
        SpecError: a mask of another size than what it is for.
    """
    found: dict[PictureForm, UInt8] = {}
    for form in forms_of(spec):
        if form.use is PictureUse.MASK and not _mask_fits(spec, form, file_of):
            continue
        pixels = kept.get(form)
        if pixels is None:
            # A code has no file, and that of a LoRA stays where it is.
            data = None if form.use in (PictureUse.TASTE, PictureUse.LORA) else file_of(form.digest)
            if data is None:
                continue
            pixels = read_picture(data, f"{form.label} {form.digest[:12]}").fit(form, info)
            kept.put(form, pixels)
        found[form] = pixels
    return found


def with_sizes(fields: Mapping[str, Any], file_of: Callable[[str], bytes | None]) -> dict[str, Any]:
    """Return a request's fields with the size of each omni reference beside it, of those whose file is here.

    Raise ReferenceRefused for a file that is no picture.
    """
    if not (given := fields.get(OMNI)):
        return dict(fields)
    sized = list[Any]()
    for each in (given,) if isinstance(given, str) else given:
        digest = each if isinstance(each, str) else each[0]
        data = file_of(digest)
        sized.append(each if data is None else (digest, *size_of(data, f"omni reference {digest[:12]}")))
    return {**fields, OMNI: tuple(sized)}


def aspect_of(
    fields: Mapping[str, Any], file_of: Callable[[str], bytes | None], rule: ReferenceRule | None
) -> tuple[int, int] | None:
    """Return the proportions of the picture that a request's fields start from, or else of the first or last that the
    model looks at (`ReferenceRule.last`), where they say none themselves."""
    image = fields.get("image")
    if image is None and fields.get(OMNI) and fields.get("omni_weight") != 0:
        at = -1 if rule is not None and rule.last else 0
        chosen = fields[OMNI] if isinstance(fields[OMNI], str) else fields[OMNI][at]
        image = chosen if isinstance(chosen, str) else chosen[0]
    if not isinstance(image, str) or any(fields.get(name) is not None for name in ("aspect", "width", "height")):
        return None
    data = file_of(image)
    return None if data is None else size_of(data, f"picture {image[:12]}")


def _mask_fits(spec: GenerationSpec, form: PictureForm, file_of: Callable[[str], bytes | None]) -> bool:
    """Return whether the mask and its picture are here. Raise SpecError if they are, and differ in size."""
    assert spec.start is not None, "a mask is a start picture's"
    mask, size = file_of(form.digest), (spec.width, spec.height)
    if mask is None:
        return False
    like = "the canvas"
    if spec.start.place is None:
        data, like = file_of(spec.start.picture), "the picture"
        if data is None:
            return False
        size = size_of(data, f"start picture {spec.start.picture[:12]}")
    own = size_of(mask, f"mask {form.digest[:12]}")
    if own != size:
        got, allowed = f"{own[0]} x {own[1]} pixels", f"{size[0]} x {size[1]}, like {like}"
        raise SpecError(complaint("mask", got, allowed, "give the mask the size of what it is for"))
    return True
