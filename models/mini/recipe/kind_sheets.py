"""A sheet of what can be made of a picture, every one drawn by the command line as a user types it.

    python -m salon.models.mini.recipe.kind_sheets --out FOLDER [--threads N]

`sheet.webp`: a row for each way, its pictures on the left and up to four of what it makes on the right, one scale.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from ....frontends import cli
from .progress import Progress
from .start_sheets import mask

SIDE, GAP, LEFT = 96, 4, 190
SHOWN = 4  # pictures of a job
CAT = "a cat, flat cartoon, on a teal background"
APPLE = "a red apple, 3d render"
HALF = (0.0, 0.0, 1.0, 0.5)  # a mask: the upper half, in shares of the sides


@dataclass(frozen=True)
class Way:
    """One way to make something of pictures.

    Attributes:
        command: of `salon`.
        sources: prompts of the pictures that it starts from; "draft:" before one: as a draft.
        words: the rest of what is typed. MASK stands for the file of a mask.
    """

    command: str
    sources: tuple[str, ...]
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = [f'"{word}"' if " " in word else word for word in self.words]
        return " ".join([self.command, *("ABCDE"[: len(self.sources)]), *shown])


WAYS = (
    Way("vary", (CAT,)),
    Way("vary", (CAT,), ("--strong",)),
    Way("vary", (CAT,), ("a dog, flat cartoon", "--strong")),
    Way("region", (CAT,), ("a crown", "--mask", "MASK")),
    Way("zoom", (CAT,), ("--zoom", "1.5")),
    Way("zoom", (APPLE,), ("--zoom", "2")),
    Way("pan", (CAT,), ("--side", "right")),
    Way("pan", (APPLE,), ("--side", "up")),
    Way("edit", (CAT,), ("--place", "32,64,64,64")),
    Way("edit", (CAT,), ("--ar", "3:2")),
    Way("retexture", (CAT,), ("a cat, woodcut, sepia tones",)),
    Way("retexture", (APPLE,), ("an apple, storybook, ocean blues",)),
    Way("reroll", (CAT,)),
    Way("upscale", (CAT,)),
    Way("upscale", (CAT,), ("--creative",)),
    Way("enhance", (f"draft:{CAT}",)),
    Way("blend", (CAT, APPLE)),
)


class Maker:
    """Draws with the command line, in a folder of its own."""

    def __init__(self, folder: Path, threads: int | None) -> None:
        self.folder = folder
        self._words = ["--quiet"] if threads is None else ["--quiet", "--threads", str(threads)]
        self._number = 0
        self._sources: dict[str, Path] = {}
        self._mask = mask(folder, HALF)

    def source(self, prompt: str) -> Path:
        """Return the file of a picture of a prompt, drawn once."""
        if prompt not in self._sources:
            draft = prompt.startswith("draft:")
            words = [
                "imagine",
                prompt.removeprefix("draft:"),
                "--n",
                "1",
                "--seed",
                "7",
                *(["--draft"] if draft else []),
            ]
            self._sources[prompt] = self._run(words)[0]
        return self._sources[prompt]

    def make(self, way: Way) -> list[Path]:
        """Return the files of what a way makes."""
        words = [str(self._mask) if word == "MASK" else word for word in way.words]
        return self._run([way.command, *map(str, map(self.source, way.sources)), *words, "--seed", "3"])

    def _run(self, words: Sequence[str]) -> list[Path]:
        """Run a command; return the files of its single pictures. RuntimeError: it was refused."""
        self._number += 1
        path = self.folder / f"{self._number}.png"
        if cli.main([*words, "-o", str(path), *self._words]):
            raise RuntimeError(f"refused: salon {' '.join(words)}")
        singles = sorted(self.folder.glob(f"{self._number}-*.png"), key=lambda p: int(p.stem.partition("-")[2]))
        return singles or [path]


def row(label: str, sources: Sequence[Path], made: Sequence[Path]) -> Image.Image:
    """Put the pictures of a way side by side, behind its words; the smallest side of its sources has `SIDE` pixels."""
    images = [Image.open(path).convert("RGB") for path in (*sources, *made[:SHOWN])]
    scale = SIDE / min(images[0].size)
    small = [
        each.resize((round(each.width * scale), round(each.height * scale)), Image.Resampling.LANCZOS)
        for each in images
    ]
    gaps = [GAP] * len(small)
    gaps[len(sources) - 1] = 4 * GAP
    out = Image.new(
        "RGB", (LEFT + sum(each.width for each in small) + sum(gaps), max(each.height for each in small) + GAP), "white"
    )
    ImageDraw.Draw(out).text((2, SIDE // 2 - 6), label, fill="black")
    x = LEFT
    for each, gap in zip(small, gaps, strict=True):
        out.paste(each, (x, 0))
        x += each.width + gap
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheet; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m salon.models.mini.recipe.kind_sheets", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", nargs="+", metavar="KIND", help="these kinds alone")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    ways = [way for way in WAYS if options.only is None or way.command in options.only]
    bar, rows = Progress("kinds", len(ways)), []
    with tempfile.TemporaryDirectory() as folder:
        maker = Maker(Path(folder), options.threads)
        for way in ways:
            made = maker.make(way)
            rows.append(row(str(way), [maker.source(each) for each in way.sources], made))
            bar.step(1)
    out = Image.new("RGB", (max(each.width for each in rows), sum(each.height for each in rows)), "white")
    top = 0
    for each in rows:
        out.paste(each, (0, top))
        top += each.height
    out.save(options.out / "sheet.webp", "WEBP", quality=88)
    return 0


if __name__ == "__main__":
    sys.exit(main())
