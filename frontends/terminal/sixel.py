"""Draw a picture by sixel graphics: six lines of pixels in each band, one colour after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

COLOURS: Final = 128
NOTHING: Final = 255  # in place of a colour: a transparent pixel
BLANK: Final = "?"
SAMPLE: Final = 256  # pixels of the longer side of the picture by which colours are chosen
BAND: Final = 6  # pixels of a band, one above the other


def sixel(picture: Image) -> str:
    """Return an RGBA picture as a sixel sequence, in up to 128 colours of its own.

    Transparent pixels are not drawn. Its height is best a multiple of 6.
    """
    import numpy as np

    alpha = np.asarray(picture.getchannel("A")) >= 128
    plain = picture.convert("RGB")
    few = plain.copy()
    few.thumbnail((SAMPLE, SAMPLE))
    indexed = plain.quantize(palette=few.quantize(COLOURS), dither=0)  # type: ignore[arg-type]  # of a list of names
    indexes = np.asarray(indexed)
    palette = indexed.getpalette() or []
    height, width = indexes.shape
    parts = [f'\x1bP0;1;0q"1;1;{width};{height}']
    for colour in np.unique(indexes[alpha]).tolist():
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * colour : 3 * colour + 3])
        parts.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, height, BAND):
        colours, places = np.unique(
            np.where(alpha[top : top + BAND], indexes[top : top + BAND], NOTHING), return_inverse=True
        )
        places = places.reshape(-1, width)
        bits = np.zeros((len(colours), width), np.uint8)
        for line in range(len(places)):
            bits[places[line], np.arange(width)] |= 1 << line
        lines = [f"#{c}{packed}" for c, packed in zip(colours.tolist(), _packed(bits), strict=True) if c != NOTHING]
        parts.append("$".join(lines) + "-")
    return "".join(parts) + "\x1b\\"


def _packed(bits: NDArray[Any]) -> list[str]:
    """Write the columns of each colour of a band, uint8 [colours, width]; what repeats is counted, and blanks at the
    end are left out."""
    import numpy as np

    colours, width = bits.shape
    changes = np.ones((colours, width), bool)
    changes[:, 1:] = bits[:, 1:] != bits[:, :-1]
    starts = np.flatnonzero(changes)
    runs = zip(
        (starts // width).tolist(),
        bits.reshape(-1)[starts].tolist(),
        np.diff(starts, append=colours * width).tolist(),
        strict=True,
    )
    text: list[list[str]] = [[] for _ in range(colours)]
    for colour, value, count in runs:
        text[colour].append(f"!{count}{chr(63 + value)}" if count > 3 else chr(63 + value) * count)
    return ["".join(one[:-1] if one[-1].endswith(BLANK) else one) for one in text]
