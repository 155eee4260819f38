"""Sheets of what each knob does, every picture drawn by `salon imagine` as a user types it.

    python -m salon.models.mini.recipe.knob_sheets --out FOLDER [--threads N] [--only NAME]

`chaos.webp`: two grids at rising `--chaos`. `weird.webp`, `exp.webp`, `stop.webp`: four things at rising values.
`quality.webp`: drafts, and `--q` 1, 2 and 4. `tile.webp`: pictures beside themselves, without and with `--tile`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from .progress import Progress
from .style_sheets import THINGS, Painter, sheet

CHAOS = ("0", "25", "50", "100")
WEIRD = ("0", "250", "500", "1000", "2000", "3000")
EXPERIMENTAL = ("0", "25", "50", "75", "100")
STOP = ("10", "25", "40", "60", "80", "100")
QUALITY: tuple[tuple[str, ...], ...] = (("--draft",), ("--q", "1"), ("--q", "2"), ("--q", "4"))
PATTERNS = ("a red apple", "a fish, on an ocean gradient background", "a rocket, pixel mosaic, on a yellow background",
            "a sunflower, woodcut, on a green background")  # fmt: skip


def levels(flag: str, values: Sequence[str]) -> Callable[[Painter, Progress], Image.Image]:
    """Return what draws each thing at every value of a flag."""

    def draw(painter: Painter, bar: Progress) -> Image.Image:
        rows = []
        for thing in THINGS:
            rows.append([painter.draw(thing, flag, value) for value in values])
            bar.step(1)
        return sheet(rows, [f"{flag} {value}" for value in values], [""] * len(THINGS), 2)

    return draw


def chaos(painter: Painter, bar: Progress) -> Image.Image:
    """Draw two grids at every value of `--chaos`, one a row."""
    rows = []
    for value in CHAOS:
        grids = [painter.grid(thing, "--chaos", value) for thing in THINGS[:2]]
        rows.append([picture for grid in grids for picture in grid])
        bar.step(1)
    titles = [thing if picture == 0 else "" for thing in THINGS[:2] for picture in range(4)]
    return sheet(rows, titles, [f"--chaos {value}" for value in CHAOS], 80)


def quality(painter: Painter, bar: Progress) -> Image.Image:
    """Draw each thing as a draft, and at every quality."""
    rows = []
    for thing in THINGS:
        rows.append([painter.draw(thing, *words) for words in QUALITY])
        bar.step(1)
    return sheet(rows, [" ".join(words) for words in QUALITY], [""] * len(THINGS), 2)


def tile(painter: Painter, bar: Progress) -> Image.Image:
    """Draw each pattern two by two, without and with `--tile`."""
    rows: list[list[Path | None]] = []
    for words in ((), ("--tile",)):
        row: list[Path | None] = []
        for pattern in PATTERNS:
            path = painter.draw(pattern, *words)
            with Image.open(path) as image:
                image.load()
                two = Image.new("RGB", (2 * image.width, 2 * image.height))
                for x in (0, image.width):
                    for y in (0, image.height):
                        two.paste(image, (x, y))
            two.save(path)
            row.append(path)
        rows.append(row)
        bar.step(1)
    return sheet(rows, [""] * len(PATTERNS), ["without", "--tile"], 50)


SHEETS = {
    "chaos": (chaos, len(CHAOS)),
    "weird": (levels("--weird", WEIRD), len(THINGS)),
    "exp": (levels("--exp", EXPERIMENTAL), len(THINGS)),
    "quality": (quality, len(THINGS)),
    "stop": (levels("--stop", STOP), len(THINGS)),
    "tile": (tile, 2),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheets; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m salon.models.mini.recipe.knob_sheets", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", choices=tuple(SHEETS))
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, (make, count) in SHEETS.items():
            if options.only in (None, name):
                image = make(Painter(Path(tempfile.mkdtemp(dir=folder)), options.threads), Progress(name, count))
                image.save(options.out / f"{name}.webp", "WEBP", quality=88)
    return 0


if __name__ == "__main__":
    sys.exit(main())
