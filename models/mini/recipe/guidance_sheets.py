"""Draw sheets of guidance to look at, every picture by `salon imagine` as a user types it.

    python -m salon.models.mini.recipe.guidance_sheets --out FOLDER [--threads N]

`weights.webp`: a cat beside a dog of weight -1 to 2; balloons as they are, with `--no red`, and with still less red.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .progress import Progress
from .style_sheets import Painter, sheet

BESIDE = (-1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0)
AWAY = ("", " --no red", ":: red::-0.9")  # behind the prompt
SEEDS = (1000, 1005)
MORE = (1001, 1003, 1005, 1008, 1009, 1010, 1011)


def beside(painter: Painter, bar: Progress) -> Image.Image:
    """Return a cat beside a dog. Beside a weight of -1 the cat has 1.01, since the sum must be above 0."""
    rows, labels = [], []
    for seed in SEEDS:
        own = ["1.01" if weight == -1 else "1" for weight in BESIDE]
        prompts = [f"a cat::{mine} a dog::{weight:g}" for mine, weight in zip(own, BESIDE, strict=True)]
        rows.append([painter.draw(prompt, "--raw", seed=seed) for prompt in prompts])
        labels.append("a cat:: a dog::W")
        bar.step(1)
    return sheet(rows, [f"{weight:g}" for weight in BESIDE], labels, 150)


def away(painter: Painter, bar: Progress) -> Image.Image:
    """Return balloons of some seeds, with less red from row to row."""
    rows, labels = [], []
    for words in AWAY:
        rows.append([painter.draw(f"a balloon{words}", "--raw", seed=seed) for seed in MORE])
        labels.append(f"a balloon{words}")
        bar.step(1)
    return sheet(rows, [f"seed {seed}" for seed in MORE], labels, 150)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheet; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m salon.models.mini.recipe.guidance_sheets", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        painter = Painter(Path(folder), options.threads)
        parts = [
            beside(painter, Progress("beside", len(SEEDS))),
            away(painter, Progress("away", len(AWAY))),
        ]
    whole = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    whole.save(options.out / "weights.webp", "WEBP", quality=88)
    return 0


if __name__ == "__main__":
    sys.exit(main())
