"""Make small PNG files of one colour, without any library."""

from __future__ import annotations

import struct
import zlib
from typing import Final

COLOURS: Final = ((200, 30, 40), (30, 120, 200), (240, 190, 40), (40, 160, 90))


def make_png(red: int, green: int, blue: int, width: int = 8, height: int = 8) -> bytes:
    """Return a PNG file of one colour. Values are 0 to 255."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\0" + bytes((red, green, blue)) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURES: Final = tuple(make_png(*colour) for colour in COLOURS)
