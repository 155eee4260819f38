"""Draw a picture with characters: half blocks in colour, or shades without."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.color import ColorSystem

UPPER: Final = "\N{UPPER HALF BLOCK}"
LOWER: Final = "\N{LOWER HALF BLOCK}"
SHADES: Final = " .:-=+*#%@"  # from dark to light, on a dark background
RESET: Final = "\x1b[0m"
BOX: Final = 4  # Pillow's `Resampling.BOX`: the mean of what a character stands for, without ringing at edges
OPAQUE: Final = 128  # alpha from which a pixel is drawn


def blocks(picture: Image, columns: int, rows: int, colours: ColorSystem) -> list[str]:
    """Return a picture as lines of half blocks, two pixels a character.

    Args:
        picture: RGBA; transparent parts stay as the terminal is.
        columns, rows: size in characters.
        colours: the terminal's: 16, 256, or 24 bits.
    """
    import numpy as np

    pixels = np.asarray(picture.resize((columns, 2 * rows), BOX)).tolist()
    lines = []
    for row in range(rows):
        line, before = [], ""
        for column in range(columns):
            codes, character = _cell(pixels[2 * row][column], pixels[2 * row + 1][column], colours)
            line.append(f"\x1b[{codes}m{character}" if codes != before else character)
            before = codes
        lines.append("".join(line) + RESET)
    return lines


def _cell(upper: Sequence[int], lower: Sequence[int], colours: ColorSystem) -> tuple[str, str]:
    """Return the codes and the character of two pixels, one above the other."""
    if upper[3] < OPAQUE and lower[3] < OPAQUE:
        return "0", " "
    if upper[3] < OPAQUE:
        return f"0;{_codes(lower, colours)}", LOWER
    if lower[3] < OPAQUE:
        return f"0;{_codes(upper, colours)}", UPPER
    return f"{_codes(upper, colours)};{_codes(lower, colours, behind=True)}", UPPER


def _codes(pixel: Sequence[int], colours: ColorSystem, *, behind: bool = False) -> str:
    red, green, blue = pixel[:3]
    if colours.name == "TRUECOLOR":  # which has every colour: nothing is to be looked for
        return f"{48 if behind else 38};2;{red};{green};{blue}"
    return _nearest(red, green, blue, colours, behind)


@lru_cache(maxsize=1 << 16)
def _nearest(red: int, green: int, blue: int, colours: ColorSystem, behind: bool) -> str:
    """Return the codes of the colour of a terminal's that is nearest to one."""
    from rich.color import Color

    return ";".join(Color.from_rgb(red, green, blue).downgrade(colours).get_ansi_codes(foreground=not behind))


def shades(picture: Image, columns: int, rows: int) -> list[str]:
    """Return a picture as lines of ASCII characters, the lighter the denser. Transparent parts are blank."""
    import numpy as np

    small = picture.resize((columns, rows), BOX)
    grey, alpha = np.asarray(small.convert("L")).tolist(), np.asarray(small.getchannel("A")).tolist()
    most = len(SHADES) - 1
    return [
        "".join(
            SHADES[round(light * most / 255)] if opaque >= OPAQUE else " "
            for light, opaque in zip(grey[row], alpha[row], strict=True)
        ).rstrip()
        for row in range(rows)
    ]
