"""Draw pictures side by side in a terminal, in whichever way it shows them."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .blocks import blocks, shades
from .graphics import Graphics, Window, ask_terminal, detect, window_of
from .sixel import sixel

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.color import ColorSystem

GAP: Final = 2  # columns between two pictures
LEAST: Final = 4  # columns and lines that a picture needs
MOST: Final = 2048  # pixels of the longer side of what is sent
MOST_SIXEL: Final = 1200  # pixels of the width of a row of sixel graphics
CHUNK: Final = 4096  # characters of base64 in one kitty sequence


@dataclass(frozen=True)
class Place:
    """A row of pictures of one size. `columns` and `rows` are of each, in characters."""

    count: int
    columns: int
    rows: int

    @property
    def width(self) -> int:
        """Columns of the whole row."""
        return self.count * self.columns + (self.count - 1) * GAP


def place_for(count: int, aspect: float, window: Window, lines: int) -> Place | None:
    """Return the largest row of pictures that a window has room for; None: it has none.

    Args:
        count: pictures side by side.
        aspect: width to height of one.
        window: where they go.
        lines: lines of the window that they may take.
    """
    columns = (window.columns - 1 - (count - 1) * GAP) // count  # a full last column would break the line
    width, height = window.cell
    rows = min(lines, round(columns * width / aspect / height))
    columns = min(columns, round(rows * height * aspect / width))
    return Place(count, columns, rows) if columns >= LEAST and rows >= LEAST // 2 else None


class Canvas:
    """A terminal that pictures are drawn on.

    Args:
        target: its descriptor.
        graphics: how it shows pictures.
        cell: (width, height) of a character in pixels, if the terminal said so.
        colours: its colours, for half blocks.
    """

    def __init__(
        self,
        target: int,
        graphics: Graphics,
        cell: tuple[int, int] | None = None,
        colours: ColorSystem | None = None,
    ) -> None:
        self.graphics = graphics
        self._target, self._cell, self._colours = target, cell, colours

    @property
    def escapes(self) -> bool:
        """Whether the terminal knows escape sequences."""
        return os.environ.get("TERM", "") not in ("", "dumb", "unknown")

    def window(self) -> Window:
        """Return the size of the window now."""
        return window_of(self._target, self._cell)

    def row(self, files: Sequence[bytes], lines: int, least: int = 0) -> tuple[str, Place] | None:
        """Return a text that draws pictures side by side at the cursor, in column 0, and leaves the cursor in column 0
        of the line below; and where they are. None: the window has no room for them.

        Args:
            files: the pictures' files.
            lines: lines that they may take.
            least: places of the row, which may be more than there are pictures.

        Raises:
            OSError: a file is no picture.
        """
        images = [_opened(file) for file in files]
        window = self.window()
        aspect = max(image.width / image.height for image in images)
        room = window
        if self.graphics is Graphics.SIXEL:  # which no terminal enlarges, and larger ones take seconds
            room = replace(window, columns=min(window.columns, MOST_SIXEL // window.cell[0]))
        place = place_for(max(len(images), least), aspect, room, lines)
        if place is None:
            return None
        return self._drawn(images, place, window), place

    def _drawn(self, images: Sequence[Image], place: Place, window: Window) -> str:
        if self.graphics is Graphics.SHADES:
            whole = _composed(images, place, (2 * place.width, 4 * place.rows))
            return "".join(f"{line}\n" for line in shades(whole, place.width, place.rows))
        if self.graphics is Graphics.BLOCKS:
            from rich.color import ColorSystem

            whole = _composed(images, place, (2 * place.width, 4 * place.rows))  # a block is the mean of four pixels
            lines = blocks(whole, place.width, place.rows, self._colours or ColorSystem.EIGHT_BIT)
            return "".join(f"{line}\n" for line in lines)
        size = (place.width * window.cell[0], place.rows * window.cell[1])
        scale = min(1.0, MOST / max(size))
        if self.graphics is not Graphics.SIXEL:  # the others enlarge what they are sent by themselves
            scale = min(scale, max(image.width for image in images) * place.width / place.columns / size[0])
        whole = _composed(images, place, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
        room = "\n" * place.rows + f"\x1b[{place.rows}A"  # the window scrolls before, not while, it is drawn
        below = f"\r\x1b[{place.rows}B"
        return f"{room}\x1b7{_encoded(whole, place, self.graphics)}\x1b8{below}"


def canvas_of(how: str | None = None) -> Canvas:
    """Return the canvas of standard output, which is a terminal.

    Args:
        how: the name of a `Graphics`; None: the environment or the terminal says.
    """
    from rich.color import ColorSystem
    from rich.console import Console

    source, target = 0, sys.stdout.fileno()
    told: list[tuple[int, int] | None] = [None]

    def ask() -> object:
        answers = ask_terminal(source, target)
        told[0] = answers.cell
        return answers

    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    graphics = Graphics(how) if how else detect(os.environ, ask, unicode=encoding.startswith("utf"))  # type: ignore[arg-type]
    named = {"truecolor": ColorSystem.TRUECOLOR, "256": ColorSystem.EIGHT_BIT, "standard": ColorSystem.STANDARD}
    return Canvas(target, graphics, told[0], named.get(Console(file=sys.stdout).color_system or "256"))


def _opened(file: bytes) -> Image:
    from PIL import Image

    image = Image.open(io.BytesIO(file))
    return image.convert("RGBA")


def _composed(images: Sequence[Image], place: Place, size: tuple[int, int]) -> Image:
    """Return pictures side by side, each in the middle of its place, as one picture of that size in pixels."""
    from PIL import Image

    whole = Image.new("RGBA", size, (0, 0, 0, 0))
    for i, image in enumerate(images):
        left = round(size[0] * i * (place.columns + GAP) / place.width)
        room = (round(size[0] * place.columns / place.width), size[1])
        scale = min(room[0] / image.width, room[1] / image.height)
        fit = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        whole.paste(
            image.resize(fit, Image.Resampling.LANCZOS), (left + (room[0] - fit[0]) // 2, (room[1] - fit[1]) // 2)
        )
    return whole


def _encoded(whole: Image, place: Place, graphics: Graphics) -> str:
    """Return the sequence that draws a picture over so many characters, at the cursor."""
    if graphics is Graphics.SIXEL:
        return sixel(whole)
    file = io.BytesIO()
    whole.save(file, "PNG", compress_level=1)
    data = base64.b64encode(file.getvalue()).decode()
    if graphics is Graphics.ITERM2:
        about = f"inline=1;size={len(file.getvalue())};width={place.width};height={place.rows};preserveAspectRatio=0"
        return f"\x1b]1337;File={about}:{data}\x07"
    parts = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    head = f"a=T,f=100,q=2,C=1,c={place.width},r={place.rows},"
    return "".join(
        f"\x1b_G{head if not i else ''}m={int(i < len(parts) - 1)};{part}\x1b\\" for i, part in enumerate(parts)
    )
