"""Stage `raster`: every icon of the vocabulary, and the extra sets' icons, as RGBA pixels.

    python -m salon.models.mini.recipe.raster --work DIR

Writes `rgba.npy` [N, canvas, canvas, 4] uint8 (straight alpha) and `icons.json`, a list of {set, concept, key}, where
concept is "" for drawings that only the autoencoder sees.
"""

import io
import random
from multiprocessing import get_context
from typing import Any

import numpy as np
from PIL import Image

from .config import DataConfig, Run, parser, run_of
from .errors import PackageError
from .fetch import read_member
from .fetch import stage as fetch_stage
from .progress import track
from .sets import EXTRA_SETS, SETS, DrawingSet
from .store import Done, Stage, need_space, open_stage
from .vocabulary import FILE, MISDRAWN, find_icons, read_vocabulary

INK = "#111111"


def stage(run: Run) -> Stage:
    config = {
        "data": {k: getattr(run.recipe.data, k) for k in DATA_FIELDS},
        "vocabulary": FILE.read_text(),
        "misdrawn": sorted(MISDRAWN),
        "sets": [s.__dict__ for s in groups(run.recipe.data)],
    }
    return Stage(run.work, "raster", config, {"fetch": fetch_stage(run).key})


DATA_FIELDS = ("seed", "canvas", "glyph", "min_sets", "max_concepts", "extra_sets", "max_extra")


def groups(data: DataConfig) -> tuple[DrawingSet, ...]:
    return SETS + (EXTRA_SETS if data.extra_sets else ())


def svg(icons: dict[str, Any], key: str, side: int) -> str:
    """Write one icon as an SVG document of `side` pixels, the current colour set to ink."""
    icon = icons["icons"][key]
    width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{side}" height="{side}" viewBox="{box}" color="{INK}">'
        f"{icon['body'].replace('currentColor', INK)}</svg>"
    )


def rasterise(args: tuple[str, int, int]) -> np.ndarray | None:
    """Draw SVG text, glyph side, canvas side -> [canvas, canvas, 4] uint8, or None when nothing is drawn."""
    import resvg_py

    text, glyph, canvas = args
    try:
        data = bytes(resvg_py.svg_to_bytes(svg_string=text, width=glyph, height=glyph))
        image = Image.open(io.BytesIO(data)).convert("RGBA")
    except (ValueError, OSError, RuntimeError):
        return None
    if image.size != (glyph, glyph):
        image = image.resize((glyph, glyph), Image.Resampling.LANCZOS)
    out = np.zeros((canvas, canvas, 4), np.uint8)
    edge = (canvas - glyph) // 2
    out[edge : edge + glyph, edge : edge + glyph] = np.asarray(image)
    return out if out[..., 3].mean() >= 4 else None


def choose(data: DataConfig, icons: dict[str, Any]) -> list[dict[str, str]]:
    """Choose which icons to draw. `icons`: package -> its `icons.json`."""
    by_set = {s.name: [k for k, v in icons[s.package]["icons"].items() if not v.get("hidden")] for s in groups(data)}
    concepts = read_vocabulary()
    packages = {s.name: (s.package, s.suffix) for s in SETS}
    found = find_icons(concepts, {s.name: by_set[s.name] for s in SETS}, packages)
    have = {c.name: [s.name for s in SETS if (c.name, s.name) in found] for c in concepts}
    kept = [c for c in concepts if len(have[c.name]) >= data.min_sets]
    if data.max_concepts:
        kept = kept[:: max(1, len(kept) // data.max_concepts)][: data.max_concepts]
    rows = [{"set": s, "concept": c.name, "key": found[c.name, s]} for c in kept for s in have[c.name]]
    rng = random.Random(data.seed)
    used = {(r["set"], r["key"]) for r in rows}
    for group in groups(data):
        rest = sorted(k for k in by_set[group.name] if (group.name, k) not in used and k.endswith(group.suffix))
        rest = [k for k in rest if "skin-tone" not in k and not k.startswith("flag-")]
        number = min(len(rest), data.max_extra if not group.words else data.max_extra // 4)
        rows += [{"set": group.name, "concept": "", "key": k} for k in sorted(rng.sample(rest, number))]
    return rows


def run_stage(run: Run) -> Done:
    s = stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    data, source = run.recipe.data, open_stage(run.work, "fetch", key=fetch_stage(run).key)
    icons: dict[str, Any] = {}
    for group in groups(data):
        archive = source.folder / "packages" / f"iconify-json-{group.package}-{group.version}.tgz"
        icons.setdefault(group.package, read_member(archive, "icons.json"))
    rows = choose(data, icons)
    package = {g.name: g.package for g in groups(data)}
    need_space(s.folder, len(rows) * data.canvas**2 * 4)
    jobs = ((svg(icons[package[r["set"]]], r["key"], data.glyph), data.glyph, data.canvas) for r in rows)
    pictures = np.empty((len(rows), data.canvas, data.canvas, 4), np.uint8)
    kept: list[dict[str, str]] = []
    dropped: list[dict[str, str]] = []
    with get_context("spawn").Pool(run.threads) as pool:
        drawn = pool.imap(rasterise, jobs, chunksize=16)
        for row, picture in zip(rows, track(drawn, "raster", len(rows)), strict=True):
            if picture is None:
                dropped.append(row)
            else:
                pictures[len(kept)] = picture
                kept.append(row)
    if len(dropped) > len(rows) // 50:
        raise PackageError(f"{len(dropped)} of {len(rows)} icons cannot be drawn, for example {dropped[0]}")
    s.write_array("rgba.npy", pictures[: len(kept)])
    s.write_json("icons.json", kept)
    concepts = {r["concept"] for r in kept if r["concept"]}
    s.finish(icons=len(kept), concepts=len(concepts), drawn_concepts=sum(bool(r["concept"]) for r in kept),
             dropped=[f"{r['set']}:{r['key']}" for r in dropped])  # fmt: skip
    return open_stage(run.work, s.name)


if __name__ == "__main__":
    run_stage(run_of(parser(__doc__.split("\n")[0]).parse_args()))
