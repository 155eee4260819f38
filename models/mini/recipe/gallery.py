"""Draw the whole gallery anew: every parameter at rising values, and everything that can be made of a picture.

    python -m salon.models.mini.recipe.gallery [--out FOLDER] [--threads N]

FOLDER (docs/gallery) has a folder for each script that draws a part of it; some 40 minutes on two cores. What is seen
is judged in words in docs/gallery/README.md, by eye.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import guidance_sheets, image_prompt_sheets, kind_sheets, knob_sheets, start_sheets, style_sheets

OUT = Path(__file__).resolve().parents[3] / "docs" / "gallery"
PARTS: dict[str, Callable[[Sequence[str]], int]] = {
    "kinds": kind_sheets.main,
    "knobs": knob_sheets.main,
    "styles": style_sheets.main,
    "guidance": guidance_sheets.main,
    "start": start_sheets.main,
    "image-prompts": image_prompt_sheets.main,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write all sheets; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m salon.models.mini.recipe.gallery", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(argv)
    more = [] if options.threads is None else ["--threads", str(options.threads)]
    return max(draw(["--out", str(options.out / name), *more]) for name, draw in PARTS.items())


if __name__ == "__main__":
    sys.exit(main())
