"""Strip a picture's file of all but its pixels: no place, camera, time, author, comment or preview stays in it.

The container is taken apart and put together again without what no decoder needs for pixels, so that these stay the
very same, and nothing is compressed anew. Two things are written anew where there were any: which side is up, as the
only tag of an EXIF block, and the recipe of a picture that Salon made.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from ..bounds import MAX_REFERENCE_BYTES
from ..errors import complaint
from ..recipe_text import CHUNK, FORMATS, MAX_TEXT, text_in, xmp_of
from .errors import ReferenceRefused
from .references import read_picture

ORIENTATION: Final = 0x0112  # the number of this tag of EXIF
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_TURNED: Final = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")  # where a PNG says which side is up
_JPEG_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in coded data, where FF 00 and restarts are data
_JFIF: Final = b"JFIF\0"
_SOI, _EOI, _SOS, _COM, _APP0, _APP14, _APP15 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0, 0xEE, 0xEF
_SEGMENT: Final = 65_533  # bytes of a segment's content
_WEBP_PIXELS: Final = (b"VP8 ", b"VP8L", b"ALPH")
_WEBP_FRAME: Final = 16  # bytes of an ANMF before its chunks
_WEBP_EXIF, _WEBP_XMP, _WEBP_ICC = 0x08, 0x04, 0x20  # flags of VP8X


class _Kept(NamedTuple):
    """What is written anew: an EXIF block that says which side is up, and the text of a recipe; empty: none."""

    exif: bytes
    recipe: str


def stripped(data: bytes) -> bytes:
    """Return a picture's file with the same pixels, and nothing beside them but the recipe of one that Salon made.

    A file that cannot be taken apart is drawn anew: as a PNG, or where that would have more than `MAX_REFERENCE_BYTES`
    as a JPEG of high quality, whose pixels are a little others.

    Args:
        data: a file that `references.read_picture` reads.

    Raises:
        ReferenceRefused: it is no picture, or is drawn anew and larger than `MAX_REFERENCE_BYTES` in either form.
    """
    strip = next((each for start, each in _STRIPS if data.startswith(start)), None)
    try:
        if strip is None:
            raise ValueError("a BMP, which may have a profile or anything else behind its pixels")
        return strip(data, _kept_of(data))
    except (struct.error, IndexError, ValueError):  # decoders forgive more than is written down
        return _anew(read_picture(data, "picture").image, MAX_REFERENCE_BYTES)


class _Full(Exception):
    """A file becomes larger than it may."""


class _Bounded(io.BytesIO):
    """A file in memory of at most `most` bytes: a few megabytes of JPEG may be 200 of PNG."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self.most:
            raise _Full
        return super().write(data)


def _anew(image: Any, most: int) -> bytes:
    """Return the file of an image of Pillow in RGB, in the first form that has at most so many bytes."""
    for form, options in (("PNG", {}), ("JPEG", {"quality": 95, "subsampling": 0})):
        buffer = _Bounded(most)
        try:
            image.save(buffer, form, **options)
        except _Full:
            continue
        return buffer.getvalue()
    got = f"a damaged file of {image.width:,} x {image.height:,} pixels, more than {most:,} bytes when it is mended"
    raise ReferenceRefused(complaint("picture", got, f"up to {most:,}", "save it anew, or smaller"))


def _kept_of(data: bytes) -> _Kept:
    """Return what is to be kept of what a file says. ValueError: it cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            unsaid = image.format == "PNG" and not any(each in data for each in _TURNED)  # to ask would unpack it
            turned = 1 if unsaid else image.getexif().get(ORIENTATION, 1)
            recipe = text_in(image) if image.format in FORMATS else None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("no picture") from error
    exif = Image.Exif()
    exif[ORIENTATION] = turned
    upright = not isinstance(turned, int) or not 2 <= turned <= 8
    return _Kept(b"" if upright else exif.tobytes(), recipe if recipe is not None and len(recipe) <= MAX_TEXT else "")


# ---- PNG -----------------------------------------------------------------------------------------------------------


def _png(data: bytes, kept: _Kept) -> bytes:
    parts, at = [_PNG], len(_PNG)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + size
        if end > len(data):
            raise ValueError("a chunk that is cut off")
        if kind in _PNG_KEPT:
            parts.append(data[at:end])
        if kind == b"IHDR":
            parts += [_chunk(b"eXIf", kept.exif.removeprefix(b"Exif\0\0"))] if kept.exif else []
            said = CHUNK.encode() + b"\0\0\0\0\0" + kept.recipe.encode()
            parts += [_chunk(b"iTXt", said)] if kept.recipe else []
        at = end
        if kind == b"IEND":
            return b"".join(parts)
    raise ValueError("no end")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


# ---- JPEG ----------------------------------------------------------------------------------------------------------


def _jpeg(data: bytes, kept: _Kept) -> bytes:
    head, rest = [b"\xff\xd8"], list[bytes]()
    for marker, content, coded in _segments(data):
        if marker == _APP0 and content.startswith(_JFIF):
            head.append(_segment(_APP0, content[:12] + b"\0\0"))  # without its preview
        elif marker == _APP14 and content.startswith(b"Adobe"):  # by which decoders know the colours
            head.append(_segment(_APP14, content[:12]))
        elif marker != _COM and not _APP0 <= marker <= _APP15:
            rest += [_segment(marker, content), coded]
    if kept.exif:
        head.append(_segment(_APP0 + 1, kept.exif))
    if kept.recipe:
        head.append(_segment(_APP0 + 1, b"http://ns.adobe.com/xap/1.0/\0" + xmp_of(kept.recipe)))
    return b"".join([*head, *rest, b"\xff\xd9"])


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the segments of a JPEG, up to its end: the marker, the content, and the coded data that follow."""
    at = 2
    while at < len(data):
        if data[at] != 0xFF:
            raise ValueError("no marker")
        marker = data[at + 1]
        if marker == 0xFF:  # it fills up
            at += 1
            continue
        if marker == _EOI:
            return
        if marker == _SOI or marker <= 0x01 or 0xD0 <= marker <= 0xD7:
            raise ValueError("a marker without a segment")
        (size,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + size
        if size < 2 or end > len(data):
            raise ValueError("a segment that is cut off")
        content, coded = data[at + 4 : end], b""
        if marker == _SOS:
            found = _JPEG_MARKER.search(data, end)
            coded = data[end : len(data) if found is None else found.start()]
            end += len(coded)
        yield marker, content, coded
        at = end


def _segment(marker: int, content: bytes) -> bytes:
    if len(content) > _SEGMENT:
        raise ValueError("more than a segment holds")
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


# ---- WebP ----------------------------------------------------------------------------------------------------------


def _webp(data: bytes, kept: _Kept) -> bytes:
    if data[8:12] != b"WEBP":
        raise ValueError("another RIFF")
    parts = list[bytes]()
    (size,) = struct.unpack_from("<I", data, 4)
    more = _beside(kept)
    flags = sum(flag for _, flag, _ in more)
    extended = False
    for kind, content in _chunks(data[: size + 8], 12):
        if kind == b"VP8X":
            extended = True
            first = (content[0] & ~(_WEBP_EXIF | _WEBP_XMP | _WEBP_ICC)) | flags
            parts.append(_riff(kind, bytes([first]) + content[1:10]))
        elif kind == b"ANIM":
            parts.append(_riff(kind, content[:6]))
        elif kind == b"ANMF":  # the frame of an animation of one: it has chunks of its own
            inside = [_riff(*each) for each in _chunks(content, _WEBP_FRAME) if each[0] in _WEBP_PIXELS]
            parts.append(_riff(kind, content[:_WEBP_FRAME] + b"".join(inside)))
        elif kind in _WEBP_PIXELS:
            parts.append(_riff(kind, content))
    if more and not extended:
        raise ValueError("metadata without their flags")
    parts += [_riff(kind, content) for kind, _, content in more]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunks(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the (kind, content) of the chunks of a RIFF from a place on."""
    while at + 8 <= len(data):
        kind, (size,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        content = data[at + 8 : at + 8 + size]
        if len(content) < size:
            raise ValueError("a chunk that is cut off")
        yield kind, content
        at += 8 + size + size % 2


def _beside(kept: _Kept) -> list[tuple[bytes, int, bytes]]:
    found = [(b"EXIF", _WEBP_EXIF, kept.exif.removeprefix(b"Exif\0\0"))] if kept.exif else []
    return [*found, *([(b"XMP ", _WEBP_XMP, xmp_of(kept.recipe))] if kept.recipe else [])]


def _riff(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


# ---- GIF -----------------------------------------------------------------------------------------------------------


def _gif(data: bytes, kept: _Kept) -> bytes:
    at = 13 + _colours(data[10])
    parts = [data[:at]]
    while data[at] != 0x3B:
        start = at
        if data[at] == 0x21:
            kind, at = data[at + 1], _blocks_end(data, at + 2)
            parts += [data[start:at]] if kind == 0xF9 else []  # what is transparent
        elif data[at] == 0x2C:
            at = _blocks_end(data, at + 11 + _colours(data[at + 9]))
            parts.append(data[start:at])
        else:
            raise ValueError("no block")
    return b"".join([*parts, b"\x3b"])


def _colours(flags: int) -> int:
    """Return the bytes of the table of colours that follows."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _blocks_end(data: bytes, at: int) -> int:
    while size := data[at]:
        at += 1 + size
    return at + 1


_STRIPS: Final[tuple[tuple[bytes, Callable[[bytes, _Kept], bytes]], ...]] = (
    (_PNG, _png),
    (b"\xff\xd8", _jpeg),
    (b"RIFF", _webp),
    (b"GIF8", _gif),
)
