"""A sheet of pictures that start from pictures, to look at, each drawn by `salon imagine` as a user types it.

    python -m salon.models.mini.recipe.start_sheets --out FOLDER [--threads N]

`sheet.webp`: above, four pictures drawn anew with `--strength` 0 to 1; below, regions of three of them (`--mask`), the
mask beside its picture.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from .progress import Progress
from .style_sheets import Painter, sheet

STRENGTHS = ("0", "0.4", "0.6", "0.7", "0.8", "0.9", "1")
REDRAWN = (  # of what, into what
    ("a cat, flat cartoon, on a teal background", "a dog, flat cartoon, on a teal background"),
    ("a red apple, 3d render", "a green pear, 3d render"),
    ("a house, woodcut", "a castle, watercolour"),
    ("a rocket, neon colours", "a whale, doodle"),
)
Box = tuple[float, float, float, float]
REGIONS: tuple[tuple[str, Box, tuple[str, ...]], ...] = (  # of what, where (shares of the sides), into what
    (
        "a cat, flat cartoon, on a teal background",
        (0.0, 0.0, 1.0, 0.5),
        ("a cat with a crown", "an owl", "a cat, bold ink", "a pumpkin"),
    ),
    (
        "a red apple, 3d render",
        (0.45, 0.0, 1.0, 1.0),
        ("a green apple", "an orange", "a red apple, pixel art", "a cat"),
    ),
    ("a house, woodcut", (0.25, 0.25, 0.75, 0.75), ("a castle", "a tree", "a red apple", "a key")),
)
SIDE = 128


def mask(folder: Path, box: Box) -> Path:
    """Write a mask that is white in a box; return its file."""
    image, path = Image.new("L", (SIDE, SIDE)), folder / f"mask-{'-'.join(map(str, box))}.png"
    ImageDraw.Draw(image).rectangle([side * SIDE for side in box], fill=255)
    image.save(path)
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheet; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m salon.models.mini.recipe.start_sheets", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    bar = Progress("start", len(REDRAWN) + len(REGIONS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        painter = Painter(folder, options.threads)
        redrawn, regions = list[list[Path]](), list[list[Path]]()
        for before, after in REDRAWN:
            words = ("--raw", "--image", str(painter.draw(before, "--raw", seed=7)))
            redrawn.append([painter.draw(after, *words, "--strength", each) for each in STRENGTHS])
            bar.step(1)
        for before, box, prompts in REGIONS:
            source, where = painter.draw(before, "--raw", seed=7), mask(folder, box)
            masked = ("--raw", "--image", str(source), "--mask", str(where))
            regions.append([source, where, *(painter.draw(prompt, *masked) for prompt in prompts)])
            bar.step(1)
        above = sheet(redrawn, STRENGTHS, [after.split(",")[0] for _, after in REDRAWN], 80)
        below = sheet(regions, ("--image", "--mask", *[""] * 4), [""] * len(regions), 80)
        out = Image.new("RGB", (above.width, above.height + below.height + 8), "white")
        out.paste(above, (0, 0))
        out.paste(below, (0, above.height + 8))
        out.save(options.out / "sheet.webp", "WEBP", quality=88)
    return 0


if __name__ == "__main__":
    sys.exit(main())
