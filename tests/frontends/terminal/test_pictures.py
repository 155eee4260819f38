"""Pictures as a terminal gets them, read back by a small terminal of the test's own."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.ansi import AnsiDecoder
from rich.color import ColorSystem

from salon.frontends.terminal.graphics import Graphics, Window
from salon.frontends.terminal.pictures import CHUNK, GAP, Canvas, place_for

RED, GREEN, BLUE, GREY = (200, 20, 30), (10, 180, 40), (20, 40, 220), (128, 128, 128)


def png(*colours: tuple[int, int, int], side: int = 64) -> bytes:
    """A picture of bands of colours, one above the other."""
    rows = [colours[y * len(colours) // side] for y in range(side)]
    pixels = np.array([[row] * side for row in rows], np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Fixed(Canvas):
    """A canvas of one size."""

    def __init__(self, graphics: Graphics, columns: int = 60, lines: int = 20, **options: Any) -> None:
        super().__init__(1, graphics, **options)
        self.fixed = Window(columns, lines, (10, 20))

    def window(self) -> Window:
        return self.fixed


def triplet(colour: Any) -> Any:
    return None if colour is None or colour.triplet is None else tuple(colour.triplet)


def colours_of(text: str) -> list[list[tuple[Any, Any]]]:
    """(colour above, colour below) of every character; None: as the terminal is."""
    found = []
    for line in AnsiDecoder().decode(text.rstrip("\n")):
        cells: list[tuple[Any, Any]] = []
        for at, character in enumerate(line.plain):
            style = next((span.style for span in line.spans if span.start <= at < span.end), None)
            front, back = (triplet(getattr(style, name, None)) for name in ("color", "bgcolor"))
            cells.append((front, back) if character == "▀" else (back, front) if character == "▄" else (back, back))
        found.append(cells)
    return found


def alike(cell: tuple[Any, Any], colour: tuple[int, int, int]) -> bool:
    """Whether both halves are of a colour, but for rounding."""
    return all(abs(a - b) <= 2 for half in cell for a, b in zip(half, colour, strict=True))


def test_half_blocks() -> None:
    drawn = Fixed(Graphics.BLOCKS, colours=ColorSystem.TRUECOLOR).row([png(RED, BLUE), png(GREEN)], 20)
    assert drawn is not None
    text, place = drawn
    assert (place.count, place.columns, place.rows) == (2, 28, 14)
    cells = colours_of(text)
    assert len(cells) == place.rows
    right = place.columns + GAP
    for y, row in enumerate(cells):
        assert alike(row[0], RED if y < 7 else BLUE)
        assert row[place.columns : right] == [(None, None)] * GAP
        assert alike(row[right], GREEN)
        assert alike(row[right + place.columns - 1], GREEN)


def test_256_colours() -> None:
    drawn = Fixed(Graphics.BLOCKS, colours=ColorSystem.EIGHT_BIT).row([png(RED)], 20)
    assert drawn is not None
    assert set(re.findall(r"\x1b\[(.*?)m", drawn[0])) == {"0", "38;5;160;48;5;160"}


def test_shades() -> None:
    drawn = Fixed(Graphics.SHADES).row([png((255, 255, 255), (0, 0, 0)), png(GREY)], 20)
    assert drawn is not None
    text, place = drawn
    lines = text.splitlines()
    assert len(lines) == place.rows
    assert lines[0] == "@" * place.columns + "  " + "+" * place.columns
    assert lines[-1] == " " * (place.columns + GAP) + "+" * place.columns
    assert text.isascii()
    assert "\x1b" not in text


def kitty_picture(text: str) -> tuple[dict[str, str], Image.Image]:
    parts = re.findall(r"\x1b_G(.*?);(.*?)\x1b\\", text, re.S)
    head = dict(pair.split("=") for pair in parts[0][0].split(","))
    more = [dict(pair.split("=") for pair in keys.split(","))["m"] for keys, _ in parts]
    assert more == ["1"] * (len(parts) - 1) + ["0"]
    assert max(len(data) for _, data in parts) <= CHUNK
    return head, Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in parts))))


def test_kitty() -> None:
    noise = np.random.default_rng(7).integers(0, 255, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    drawn = Fixed(Graphics.KITTY).row([file.getvalue(), png(GREEN)], 20)
    assert drawn is not None
    text, place = drawn
    head, image = kitty_picture(text)
    assert {key: head[key] for key in "afqCcr"} == {
        "a": "T", "f": "100", "q": "2", "C": "1", "c": str(place.width), "r": str(place.rows),
    }  # fmt: skip
    assert np.array_equal(np.asarray(image)[:64, :64, :3], noise), "no pixel more than it has is sent"
    assert image.getpixel((image.width - 1, 0)) == (*GREEN, 255)
    assert image.getpixel((66, 5))[3] == 0  # type: ignore[index]  # between them


def test_iterm2() -> None:
    drawn = Fixed(Graphics.ITERM2).row([png(RED)], 20)
    assert drawn is not None
    text, place = drawn
    match = re.search(r"\x1b\]1337;File=(.*?):(.*?)\x07", text)
    assert match is not None
    data = base64.b64decode(match[2])
    about = dict(pair.split("=") for pair in match[1].split(";"))
    assert about == {
        "inline": "1", "size": str(len(data)), "width": str(place.width), "height": str(place.rows),
        "preserveAspectRatio": "0",
    }  # fmt: skip
    assert Image.open(io.BytesIO(data)).getpixel((0, 0)) == (*RED, 255)


def sixel_pixels(text: str) -> Any:
    """Draw a sixel sequence: uint8 [height, width, 4]."""
    match = re.search(r'\x1bP0;1;0q"1;1;(\d+);(\d+)(.*?)\x1b\\', text, re.S)
    assert match is not None
    pixels = np.zeros((int(match[2]), int(match[1]), 4), np.uint8)
    palette: dict[int, tuple[int, ...]] = {}
    x = y = colour = 0
    for part in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([?-~])|(\$)|(-)", match[3]):
        if part[1]:
            palette[int(part[1])] = tuple(round(int(part[i]) * 2.55) for i in (2, 3, 4))
        elif part[5]:
            colour = int(part[5])
        elif part[9] or part[10]:
            x, y = 0, y + 6 * bool(part[10])
        else:
            count, bits = int(part[6] or 1), ord(part[7] or part[8]) - 63
            for bit in range(6):
                if bits >> bit & 1:
                    pixels[y + bit, x : x + count] = (*palette[colour], 255)
            x += count
    return pixels


def test_sixel() -> None:
    drawn = Fixed(Graphics.SIXEL).row([png(RED, BLUE), png(GREEN)], 20)
    assert drawn is not None
    text, place = drawn
    pixels = sixel_pixels(text)
    assert pixels.shape == (place.rows * 20, place.width * 10, 4)
    assert np.abs(pixels[5, 5, :3].astype(int) - RED).max() <= 3
    assert np.abs(pixels[-5, 5, :3].astype(int) - BLUE).max() <= 3
    assert np.abs(pixels[5, -5, :3].astype(int) - GREEN).max() <= 3
    assert not pixels[:, place.columns * 10 : (place.columns + GAP) * 10].any(), "nothing is drawn between them"
    assert pixels[:, : place.columns * 10, 3].all()


@pytest.mark.parametrize("graphics", [Graphics.KITTY, Graphics.ITERM2, Graphics.SIXEL])
def test_the_cursor_ends_below(graphics: Graphics) -> None:
    drawn = Fixed(graphics).row([png(RED)], 20)
    assert drawn is not None
    text, place = drawn
    assert text.startswith("\n" * place.rows + f"\x1b[{place.rows}A\x1b7")
    assert text.endswith(f"\x1b8\r\x1b[{place.rows}B")


@pytest.mark.parametrize(
    ("columns", "lines", "expected"),
    [
        (100, 40, (48, 24)),
        (200, 10, (20, 10)),  # as high as there are lines
        (24, 40, (10, 5)),
        (11, 40, (4, 2)),
        (10, 40, None),
        (80, 1, None),
    ],
)
def test_places(columns: int, lines: int, expected: tuple[int, int] | None) -> None:
    place = place_for(2, 1.0, Window(columns, 60, (10, 20)), lines)
    assert (None if place is None else (place.columns, place.rows)) == expected
    assert place is None or place.width < columns


def test_wide_and_high_pictures_side_by_side() -> None:
    wide, high = Image.new("RGB", (80, 20), RED), Image.new("RGB", (20, 80), BLUE)
    files = []
    for image in (wide, high):
        file = io.BytesIO()
        image.save(file, "PNG")
        files.append(file.getvalue())
    drawn = Fixed(Graphics.BLOCKS, colours=ColorSystem.TRUECOLOR).row(files, 20)
    assert drawn is not None
    cells = colours_of(drawn[0])
    assert alike(cells[0][0], RED)
    assert cells[0][drawn[1].columns + GAP] == (None, None), "the high one stands in the middle of its place"
