"""Draw a picture by sixel graphics: six lines of pixels in each band, one colour after another."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS: Final = 255
BAND: Final = 6  # pixels of a band, one above the other


def sixel(picture: Image) -> str:
    """Return an RGBA picture as a sixel sequence, in up to 255 colours of its own.

    Transparent pixels are not drawn. Its height is best a multiple of 6.
    """
    import numpy as np

    alpha = np.asarray(picture.getchannel("A")) >= 128
    indexed = picture.convert("RGB").quantize(COLOURS)
    indexes = np.asarray(indexed)
    palette = indexed.getpalette() or []
    height, width = indexes.shape
    parts = [f'\x1bP0;1;0q"1;1;{width};{height}']
    for colour in np.unique(indexes[alpha]).tolist():
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * colour : 3 * colour + 3])
        parts.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, height, BAND):
        band, drawn = indexes[top : top + BAND], alpha[top : top + BAND]
        weights = (1 << np.arange(len(band)))[:, None]
        lines = []
        for colour in np.unique(band[drawn]).tolist():
            bits = (((band == colour) & drawn) * weights).sum(axis=0)
            lines.append(f"#{colour}{_packed(bits.tolist())}")
        parts.append("$".join(lines) + "-")
    return "".join(parts) + "\x1b\\"


def _packed(bits: list[int]) -> str:
    """Write the columns of one colour of a band; what repeats is counted, and blanks at the end are left out."""
    text = []
    for value, run in groupby(bits):
        count = sum(1 for _ in run)
        character = chr(63 + value)
        text.append(f"!{count}{character}" if count > 3 else character * count)
    if text and text[-1].endswith("?"):
        text.pop()
    return "".join(text)
