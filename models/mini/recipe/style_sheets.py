"""Sheets of styles to look at, every picture drawn by `salon imagine` as a user types it.

    python -m salon.models.mini.recipe.style_sheets --out FOLDER [--threads N]

`references.webp`: twelve pictures, and four other things in the style of each (`--sref FILE`). `numbers.webp`: four
things in twelve numbered styles. `strength.webp`: `--s` and `--sw` from 0 to 1000.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ....frontends import cli
from .captions import caption
from .looks import BACKGROUNDS, PALETTES, Look
from .progress import Progress
from .sets import STYLES

THINGS = ("a cat", "a house", "a rocket", "a mushroom")
OTHERS = ("a guitar", "an owl", "a red apple", "a crown", "a fish", "a teapot", "a tree", "a car", "a ghost", "a key",
          "a sunflower", "a whale")  # fmt: skip
SWEPT = THINGS[::2]  # things that are drawn at every strength
STRENGTHS = (0, 25, 50, 100, 200, 400, 700, 1000)
NUMBERS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 4093)
SIDE, GAP = 96, 3


class Painter:
    """Draws with the command line, in a folder of its own; pictures that were drawn before are drawn once.

    Args:
        folder: for the pictures.
        threads: of each run.
    """

    def __init__(self, folder: Path, threads: int | None) -> None:
        self.folder = folder
        self._words = [] if threads is None else ["--threads", str(threads)]
        self._number = 0

    def draw(self, prompt: str, *words: str, seed: int = 3, images: int = 1) -> Path:
        """Return the file of a picture, or of the grid of several. RuntimeError: the command was refused."""
        self._number += 1
        path = self.folder / f"{self._number}.png"
        line = ["imagine", prompt, "--n", str(images), "--seed", str(seed), "--quiet", "-o", str(path), *words]
        if cli.main([*line, *self._words]):
            raise RuntimeError(f"refused: salon {' '.join(line)}")
        return path

    def grid(self, prompt: str, *words: str, seed: int = 3, images: int = 4) -> list[Path]:
        """Return the files of the single pictures of a grid. RuntimeError as `draw`."""
        whole = self.draw(prompt, *words, seed=seed, images=images)
        return [whole.with_name(f"{whole.stem}-{number}.png") for number in range(1, images + 1)]


def sheet(
    rows: Sequence[Sequence[Path | None]], titles: Sequence[str], labels: Sequence[str], left: int
) -> Image.Image:
    """Put pictures in rows, with titles above the columns and labels of a width before the rows."""
    width = left + len(rows[0]) * (SIDE + GAP)
    out = Image.new("RGB", (width, 16 + len(rows) * (SIDE + GAP)), "white")
    pen = ImageDraw.Draw(out)
    for column, title in enumerate(titles):
        pen.text((left + column * (SIDE + GAP) + 2, 2), title, fill="black")
    for row, (paths, label) in enumerate(zip(rows, labels, strict=True)):
        top = 16 + row * (SIDE + GAP)
        pen.text((2, top + SIDE // 2 - 6), label, fill="black")
        for column, path in enumerate(paths):
            if path is not None:
                with Image.open(path) as image:
                    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                out.paste(small, (left + column * (SIDE + GAP), top))
    return out


def beside(one: Image.Image, other: Image.Image) -> Image.Image:
    """Put two sheets side by side."""
    out = Image.new("RGB", (one.width + other.width + 12, max(one.height, other.height)), "white")
    out.paste(one, (0, 0))
    out.paste(other, (one.width + 12, 0))
    return out


def references(painter: Painter, bar: Progress) -> Image.Image:
    """Draw twelve references and four things in the style of each."""
    draw = np.random.default_rng(5)
    palettes, backgrounds = list(PALETTES), [name for name in BACKGROUNDS if name != "white"]
    rows = []
    for style, thing in zip(STYLES, OTHERS, strict=True):
        look = Look(str(draw.choice(palettes)), str(draw.choice(backgrounds)), "none")
        reference = painter.draw(caption(thing, style, look).text(), "--raw", seed=7)
        rows.append([reference, *(painter.draw(each, "--sref", str(reference)) for each in THINGS)])
        bar.step(1)
    titles, blank = ["--sref", *THINGS], [""] * 6
    return beside(sheet(rows[:6], titles, blank, 2), sheet(rows[6:], titles, blank, 2))


def numbers(painter: Painter, bar: Progress) -> Image.Image:
    """Draw four things in twelve numbered styles."""
    rows = []
    for number in NUMBERS:
        rows.append([painter.draw(each, "--sref", str(number)) for each in THINGS])
        bar.step(1)
    labels = [str(number) for number in NUMBERS]
    return beside(sheet(rows[:6], THINGS, labels[:6], 34), sheet(rows[6:], THINGS, labels[6:], 34))


def strength(painter: Painter, bar: Progress) -> Image.Image:
    """Draw strengths of the default style, of a picture and of a number."""
    reference = painter.draw("an owl, woodcut, ocean blues, on a cream background", "--raw", seed=7)
    own: tuple[str, ...] = ()
    sweeps = (("--s", own), ("--sw", ("--sref", str(reference))), ("--sw", ("--sref", "4093")))
    rows, labels = [], []
    for flag, words in sweeps:
        for thing in SWEPT:
            rows.append([painter.draw(thing, *words, flag, str(value)) for value in STRENGTHS])
            labels.append("--s" if flag == "--s" else f"--sw, {'a picture' if words[1] != '4093' else '4093'}")
            bar.step(1)
    return sheet(rows, [str(value) for value in STRENGTHS], labels, 100)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheets; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m salon.models.mini.recipe.style_sheets", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", choices=("references", "numbers", "strength"))
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    parts = {"references": (references, 12), "numbers": (numbers, 12), "strength": (strength, 3 * len(SWEPT))}
    with tempfile.TemporaryDirectory() as folder:
        for name, (make, count) in parts.items():
            if options.only in (None, name):
                image = make(Painter(Path(tempfile.mkdtemp(dir=folder)), options.threads), Progress(name, count))
                image.save(options.out / f"{name}.webp", "WEBP", quality=88)
    return 0


if __name__ == "__main__":
    sys.exit(main())
