"""The whole recipe at toy size, to show that every stage runs after the other.

    python -m salon.models.mini.recipe.smoke --work DIR

With `--drawn` the drawings are made up instead of fetched, so that it needs no network.
"""

import json
import tarfile
import time
from pathlib import Path

from . import (
    adapter,
    autoencoder,
    evaluate,
    export,
    fetch,
    judge,
    latents,
    plan,
    raster,
    sheets,
    style_encoder,
    text,
    transformer,
)
from .config import Run, parser, smoke
from .sets import EXTRA_SETS, SETS
from .vocabulary import read_vocabulary

SHAPES = (
    '<circle cx="8" cy="8" r="6" fill="{0}"/>',
    '<rect x="2" y="4" width="12" height="8" fill="{0}"/>',
    '<path d="M8 1 15 15 1 15z" fill="{0}"/>',
    '<ellipse cx="8" cy="8" rx="7" ry="3" fill="{0}"/>',
)
COLOURS = ("#d33", "#3a3", "#36c", "#e90", "#849", "#444")


def draw_packages(folder: Path) -> None:
    """Draw made-up packages with the real names and versions: a few concepts as coloured shapes."""
    names = [c.keys[0] for c in read_vocabulary()][:24]
    folder.mkdir(parents=True, exist_ok=True)
    for s in SETS + EXTRA_SETS:
        suffixes = {x.suffix for x in SETS if x.package == s.package} or {""}
        icons = {
            f"{name}{suffix}": {"body": SHAPES[i % 4].format("currentColor" if s.ink else COLOURS[(i // 4) % 6])}
            for i, name in enumerate(names)
            for suffix in suffixes
        }
        info = {"name": s.package, "author": {"name": "nobody"}, "license": {"spdx": "CC0-1.0"}}
        with tarfile.open(folder / f"iconify-json-{s.package}-{s.version}.tgz", "w:gz") as tar:
            for member, value in (("info.json", info), ("icons.json", {"width": 16, "height": 16, "icons": icons})):
                path = folder / f".{member}"
                path.write_text(json.dumps(value))
                tar.add(path, f"package/{member}")
                path.unlink()


def run_smoke(work: Path, *, threads: int = 2, drawn: bool = False, device: str = "cpu") -> dict[str, float]:
    """Run every stage; seconds of each by name."""
    run = Run(work, smoke(), threads, device)
    if drawn:
        draw_packages(work / "fetch" / "packages")
    seconds = {}
    drawing = (fetch, raster, plan, autoencoder, text, latents, transformer, style_encoder, adapter)
    for stage in (*drawing, judge, evaluate):
        start = time.monotonic()
        stage.run_stage(run)
        seconds[stage.__name__.rpartition(".")[2]] = time.monotonic() - start
    start = time.monotonic()
    sheets.run_sheets(run, sheets.Folder(work / "sheets"))
    export.export(run, work / "export", "smoke")
    return seconds | {"sheets and export": time.monotonic() - start}


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--drawn", action="store_true", help="made-up drawings, no network")
    args = options.parse_args()
    for name, value in run_smoke(args.work, threads=args.threads, drawn=args.drawn, device=args.device).items():
        print(f"{value:7.1f} s  {name}")
