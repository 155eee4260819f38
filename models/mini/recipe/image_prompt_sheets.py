"""A sheet of image prompts to look at, each drawn by `salon imagine` as a user types it.

    python -m salon.models.mini.recipe.image_prompt_sheets --out FOLDER [--threads N]

`sheet.webp`: above, pictures before the words of a prompt with `--iw` 0 to 3, one and two of them; below, blends of two
and three pictures, without words, with `--iw` 0.5 to 3.
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

WEIGHTS = ("0", "0.5", "1", "1.5", "2", "2.5", "3")
BLENDED = ("0.5", "1", "2", "3")
CAT, APPLE = "a cat, flat cartoon, on a teal background", "a red apple, 3d render"
HOUSE, ROCKET = "a house, woodcut", "a rocket, neon colours"
WITH_WORDS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((CAT,), "a dog"),
    ((APPLE,), "a pear"),
    ((HOUSE,), "a castle"),
    ((CAT, ROCKET), "a dog"),
)
WITHOUT: tuple[tuple[str, ...], ...] = ((CAT, APPLE), (CAT, ROCKET), (APPLE, HOUSE), (CAT, HOUSE, ROCKET))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheet; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m salon.models.mini.recipe.image_prompt_sheets", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    bar = Progress("image prompts", len(WITH_WORDS) + len(WITHOUT))
    with tempfile.TemporaryDirectory() as name:
        painter = Painter(Path(name), options.threads)
        sources = {prompt: painter.draw(prompt, "--raw", seed=7) for prompt in (CAT, APPLE, HOUSE, ROCKET)}
        prompted, blended = list[list[Path | None]](), list[list[Path | None]]()
        for prompts, words in WITH_WORDS:
            pictures = [sources[prompt] for prompt in prompts]
            prompt = " ".join([*map(str, pictures), words])
            drawn = [painter.draw(prompt, "--iw", weight) for weight in WEIGHTS]
            prompted.append([*pictures, *[None] * (2 - len(pictures)), *drawn])
            bar.step(1)
        for prompts in WITHOUT:
            pictures = [sources[prompt] for prompt in prompts]
            prompt = " ".join(map(str, pictures))
            drawn = [painter.draw(prompt, "--blend", "--iw", weight) for weight in BLENDED]
            blended.append([*pictures, *[None] * (3 - len(pictures)), *drawn])
            bar.step(1)
        above = sheet(prompted, ("pictures", "", *(f"--iw {each}" for each in WEIGHTS)), [w for _, w in WITH_WORDS], 60)
        below = sheet(
            blended, ("pictures", "", "", *(f"--iw {each}" for each in BLENDED)), ["blend"] * len(WITHOUT), 60
        )
        out = Image.new("RGB", (above.width, above.height + below.height + 8), "white")
        out.paste(above, (0, 0))
        out.paste(below, (0, above.height + 8))
        out.save(options.out / "sheet.webp", "WEBP", quality=88)
    return 0


if __name__ == "__main__":
    sys.exit(main())
