"""Say what the kept judge sees in pictures: `python -m salon.models.mini.recipe.judged PICTURE...`.

Its classes, accuracies and digest are in `bench/judge/judge.json`. Needs the `train` extra and a checkout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.table import Table

from ....errors import complaint
from ....system import explain
from .errors import CacheError
from .judge_file import KEPT, KeptJudge
from .judge_network import HEADS


def read(path: Path) -> np.ndarray:
    """Read a picture file as [H, W, 3] in 0..1. Raise OSError or UnidentifiedImageError if it is none."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255


def _refuse(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2


def main(argv: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Return the exit code: 2 if there is a picture that cannot be read, or no judge."""
    parser = argparse.ArgumentParser(
        prog="python -m salon.models.mini.recipe.judged", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="PNG, WebP or JPEG")
    parser.add_argument("--judge", type=Path, default=KEPT, help="its folder (bench/judge of this checkout)")
    options = parser.parse_args(argv)
    table = Table("picture", *HEADS)
    try:
        judge = KeptJudge.read(options.judge)
        for path in options.pictures:
            table.add_row(str(path), *judge.names(read(path)[None])[0].values())
    except (CacheError, UnidentifiedImageError) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(complaint(str(error.filename), *explain(error)))
    (console or Console()).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
