"""Stage `plan`: which pictures there are. Every drawing in its looks, the held-out pairs, the aspect of each picture.

    python -m salon.models.mini.recipe.plan --work DIR

Writes `entries.npy` int32 [N, 6] (drawing, palette, background, finish, bucket, split) and `plan.json` with the tables
that those numbers index. Split: 0 training, 1 held-out pair, 2 pair hidden from the judge only.
"""

from collections import Counter

import numpy as np

from .config import DataConfig, Run, parser, run_of
from .looks import (
    BACKGROUNDS,
    FINISHES,
    MIN_CONTRAST,
    PALETTES,
    PLAIN,
    VERSION,
    Look,
    is_distinct,
    is_visible,
    thumbnail,
)
from .progress import track
from .raster import stage as raster_stage
from .sets import BY_NAME, STYLES
from .split import held_pairs
from .store import Done, Stage, open_stage

PALETTE_WEIGHTS = {"natural": 0.46}  # the rest is shared evenly
BACKGROUND_WEIGHTS = {"white": 0.10}
FINISH_WEIGHTS = {"none": 0.82}
TRAIN, HELD, JUDGE_HELD = 0, 1, 2


def stage(run: Run) -> Stage:
    data = run.recipe.data
    config = {
        "seed": data.seed,
        "looks": [data.looks, data.aspect_looks, data.large_looks],
        "held_pairs": data.held_pairs,
        "judge_held": run.recipe.judge.held_pairs,
        "buckets": buckets(data),
        "palettes": PALETTES,
        "backgrounds": BACKGROUNDS,
        "finishes": FINISHES,
        "contrast": MIN_CONTRAST,
        "drawn_by": VERSION,
        "styles": STYLES,
        "weights": [PALETTE_WEIGHTS, BACKGROUND_WEIGHTS, FINISH_WEIGHTS],
    }
    return Stage(run.work, "plan", config, {"raster": raster_stage(run).key})


def buckets(data: DataConfig) -> list[tuple[int, int]]:
    """Return (height, width) of the picture sizes: square first, other aspects of about its area, last twice the
    side."""
    s = data.size
    aspects = [(112, 144), (144, 112), (96, 176), (176, 96)] if s == 128 else [(s // 2, s), (s, s // 2)]
    return [(s, s), *aspects, (2 * s, 2 * s)]


def bucket_of(number: int, data: DataConfig, shapes: int, rng: np.random.Generator) -> int:
    """Return the bucket of a drawing's look by its number: the square ones, then other aspects, then the large ones."""
    if number <= data.looks:
        return 0
    return int(rng.integers(1, shapes - 1)) if number <= data.looks + data.aspect_looks else shapes - 1


def weights(names: dict[str, object], fixed: dict[str, float]) -> np.ndarray:
    rest = (1 - sum(fixed.values())) / (len(names) - len(fixed))
    return np.array([fixed.get(n, rest) for n in names])


def plain_look(layer: np.ndarray, ink: bool) -> Look:
    """Choose the plainest look in which a drawing is visible: natural colours on white, else on the first that
    works."""
    for name in ("white", "sky blue", "teal", "cream", "navy", *BACKGROUNDS):
        if is_visible(layer, look := Look("natural", name), ink=ink):
            return look
    return Look("natural", "white", "sticker")


def choose_looks(layer: np.ndarray, ink: bool, number: int, rng: np.random.Generator) -> list[Look]:
    """Choose the plain look first, then `number` others that differ, in each of which the object is visible."""
    out = [PLAIN if is_visible(layer, PLAIN, ink=ink) else plain_look(layer, ink)]
    p, b, f = (
        weights(n, w)  # type: ignore[arg-type]
        for n, w in (
            (PALETTES, PALETTE_WEIGHTS),
            (BACKGROUNDS, BACKGROUND_WEIGHTS),
            (FINISHES, FINISH_WEIGHTS),
        )
    )
    for _ in range(40 * number):
        if len(out) > number:
            break
        look = Look(
            list(PALETTES)[rng.choice(len(p), p=p)],
            list(BACKGROUNDS)[rng.choice(len(b), p=b)],
            list(FINISHES)[rng.choice(len(f), p=f)],
        )
        if look not in out and is_distinct(look, ink=ink) and is_visible(layer, look, ink=ink):
            out.append(look)
    return out


def run_stage(run: Run) -> Done:
    s = stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    data, source = run.recipe.data, open_stage(run.work, "raster", key=raster_stage(run).key)
    rgba, icons = source.array("rgba.npy"), source.json("icons.json")
    drawings = [i for i, r in enumerate(icons) if r["concept"]]
    pairs = [(icons[i]["concept"], icons[i]["set"]) for i in drawings]
    held = frozenset(held_pairs(pairs, data.held_pairs, data.seed))
    judge_held = frozenset(held_pairs(pairs, run.recipe.judge.held_pairs, data.seed + 1, taken=held))
    names = {k: list(t) for k, t in (("palette", PALETTES), ("background", BACKGROUNDS), ("finish", FINISHES))}
    shapes = buckets(data)
    rows = []
    for i in track(drawings, "plan", len(drawings)):
        ink = BY_NAME[icons[i]["set"]].ink
        # a generator of its own for each drawing: adding a drawing leaves the others' looks as they were
        rng = np.random.default_rng([data.seed, *icons[i]["set"].encode(), *icons[i]["concept"].encode()])
        looks = choose_looks(thumbnail(rgba[i]), ink, data.looks + data.aspect_looks + data.large_looks, rng)
        pair = (icons[i]["concept"], icons[i]["set"])
        split = HELD if pair in held else JUDGE_HELD if pair in judge_held else TRAIN
        for n, look in enumerate(looks):
            bucket = bucket_of(n, data, len(shapes), rng)
            at = [names["palette"].index(look.palette), names["background"].index(look.background)]
            rows.append([i, *at, names["finish"].index(look.finish), bucket, split])
    concepts = sorted({c for c, _ in pairs})
    s.write_array("entries.npy", np.array(rows, np.int32))
    s.write_json("plan.json", {
        "concepts": concepts, "styles": list(STYLES),
        "palettes": names["palette"], "backgrounds": names["background"], "finishes": names["finish"],
        "buckets": shapes, "held": sorted(held), "judge_held": sorted(judge_held),
    })  # fmt: skip
    s.finish(entries=len(rows), drawings=len(drawings), concepts=len(concepts), held=len(held),
             judge_held=len(judge_held), sets=Counter(x for _, x in pairs))  # fmt: skip
    return open_stage(run.work, s.name)


if __name__ == "__main__":
    run_stage(run_of(parser(__doc__.split("\n")[0]).parse_args()))
