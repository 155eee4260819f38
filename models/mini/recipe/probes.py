"""What the evaluation looks at beside its main rows: guidance, few steps, the adapter's weight, the line between two
styles, the default style, and quality against samples seen. Every function returns rows of figures.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from .captions import style_clause
from .config import EvaluateConfig, Run
from .default_style import DEFAULT_STYLE, weight_of
from .judge import accuracy, score
from .judge_network import HEADS, Judge
from .painter import Painter, Stylist, references
from .sample import Sampler
from .sets import STYLES
from .transformer import snapshots

Row = dict[str, Any]
WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
BETWEEN = (0.0, 0.25, 0.5, 0.75, 1.0)


def judged(
    painter: Painter,
    judge: Judge,
    entry: np.ndarray,
    pictures: np.ndarray,
    asked: tuple[str, ...] = HEADS,
    **change: np.ndarray,
) -> Row:
    """Measure the accuracy of the heads that were `asked` for on pictures of plan entries.

    `change` are labels that differ from the entries'.
    """
    labels = {h: painter.batches.labels[h][entry] for h in HEADS} | change
    figures = accuracy(score(judge, pictures, painter.device), labels)
    kept = {k: v for k, v in figures.items() if k.removesuffix("5").removesuffix("_natural") in asked}
    return {"pictures": len(pictures), **kept}


def guidance_rows(painter: Painter, judge: Judge, entry: np.ndarray, config: EvaluateConfig, seed: int) -> list[Row]:
    """Draw full captions, and names alone (`name_concept`), under each guidance of the configuration.

    What the others are then drawn with is the best's. Names are what people type, and captions forgive a low guidance
    that names do not.
    """
    out = []
    for guidance in config.guidances:
        sampler = Sampler(config.steps, guidance)
        row = judged(painter, judge, entry, painter.paint(entry, sampler=sampler, seed=seed))
        names = painter.paint(entry, say=(), sampler=sampler, seed=seed + 1)
        named = judged(painter, judge, entry, names, asked=("concept",))
        out.append({"guidance": guidance, **row, "name_concept": named["concept"]})
    return out


def best_guidance(rows: list[Row]) -> float:
    """Choose guidance by the concepts of captions and of names alone and by the captions' style, together."""
    return float(max(rows, key=lambda r: r["concept"] + r["name_concept"] + r["style"])["guidance"])


def few_step_rows(painter: Painter, judge: Judge, entry: np.ndarray, config: EvaluateConfig, seed: int) -> list[Row]:
    """Draw full captions in few steps, for several shifts of the sigmas, and in as many as usual for comparison."""
    usual = painter.sampler
    samplers = [replace(usual, steps=n, shift=s) for n in config.few_steps for s in config.shifts]
    samplers += [replace(usual, steps=n, solver="heun", shift=s) for n in config.few_heun for s in config.shifts]
    out = []
    for sampler in (*samplers, usual):
        x = painter.paint(entry, sampler=sampler, seed=seed)
        how = {"steps": sampler.steps, "solver": sampler.solver, "shift": sampler.shift}
        how["evaluations"] = sampler.evaluations()
        out.append({**how, **judged(painter, judge, entry, x)})
    return out


def draft_choice(rows: list[Row], keep: float = 0.95) -> Row:
    """Choose the sampler with the fewest evaluations that keeps `keep` of the usual one's concepts and styles."""
    usual = rows[-1]
    good = [r for r in rows if all(r[h] >= keep * usual[h] for h in ("concept", "style"))]
    best = min(good, key=lambda r: (r["evaluations"], -r["concept"] - r["style"]))
    return {k: best[k] for k in ("steps", "solver", "shift")}


def as_square(pictures: np.ndarray, side: int) -> np.ndarray:
    """Cut the middle square of pictures [N, H, W, 3], averaged or stretched to `side`, the size that the judge
    reads."""
    n, height, width, _ = pictures.shape
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    x = torch.from_numpy(pictures[:, top : top + edge, left : left + edge]).permute(0, 3, 1, 2)
    if edge % side == 0:
        x = F.avg_pool2d(x, edge // side)
    else:
        x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
    return x.permute(0, 2, 3, 1).numpy()


def longer(height: int, width: int, token: int = 16) -> tuple[int, int]:
    """Return a size that is a row of tokens longer on its longer side."""
    return (height + token, width) if height > width else (height, width + token)


def size_rows(painter: Painter, judge: Judge, entry: np.ndarray, seed: int) -> list[Row]:
    """Draw full captions in every size of the training, in the sizes between those (3:2 and 2:3) and enlarged.

    The enlarged ones come last: they are square, and judged by their middle square.
    """
    out, side = [], painter.batches.buckets[0].height
    sizes = [(b.height, b.width) for b in painter.batches.buckets]
    for height, width in (*sizes, *(longer(*size) for size in sizes[1:3])):
        x = painter.paint(entry, size=(height, width), seed=seed)
        row: Row = {"height": height, "width": width}
        out.append(row | judged(painter, judge, entry, as_square(x, side)))
    x = painter.enlarge(entry, painter.paint(entry, seed=seed), seed=seed)
    row = {"height": 2 * side, "width": 2 * side, "enlarged": True}
    return [*out, row | judged(painter, judge, entry, as_square(x, side))]


def weight_rows(painter: Painter, stylist: Stylist, judge: Judge, entry: np.ndarray, seed: int) -> list[Row]:
    """Draw a reference picture under weights from none to strong; `moved` is the RMS distance from no reference at
    all."""
    have, other = references(painter, entry, seed)
    entry, out = entry[have], []
    plain, vectors = painter.paint(entry, say=(), seed=seed), stylist.vectors(painter, other)
    for weight in WEIGHTS:
        x = painter.paint(entry, say=(), reference=stylist.reference(vectors, weight), seed=seed)
        moved = float(np.sqrt(((x - plain) ** 2).mean()))
        row: Row = {"weight": weight, "moved": moved, "same": bool(np.array_equal(x, plain))}
        out.append(row | judged(painter, judge, entry, x))
    return out


def between_rows(painter: Painter, stylist: Stylist, judge: Judge, entry: np.ndarray, seed: int) -> list[Row]:
    """Draw straight lines between the mean vectors of two drawing sets, and judge how likely either end's style is."""
    rng, number = np.random.default_rng(seed), len(stylist.styles)
    first = rng.integers(number, size=len(entry))
    second = (first + rng.integers(1, number, size=len(entry))) % number
    out = []
    for at in BETWEEN:
        vectors = stylist.styles[first] * (1 - at) + stylist.styles[second] * at
        x = painter.paint(entry, say=(), reference=stylist.reference(vectors), seed=seed)
        scores = score(judge, x, painter.device)
        p = np.exp(scores["style"] - scores["style"].max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        each = np.arange(len(entry))
        right = scores["concept"].argmax(1) == painter.batches.labels["concept"][entry]
        ends = {"first": float(p[each, first].mean()), "second": float(p[each, second].mean())}
        out.append({"at": at, "pictures": len(x), **ends, "concept": float(right.mean())})
    return out


def default_rows(painter: Painter, stylist: Stylist, judge: Judge, entry: np.ndarray, seed: int) -> list[Row]:
    """Draw bare names with the default style at `--s` 0, 100 and 1000; `style`: how many are then drawn in it."""
    number = STYLES.index(DEFAULT_STYLE)
    vector, out = stylist.styles[number][None], []
    for stylize in (0, 100, 1000):
        weight = weight_of(stylize)
        x = painter.paint(entry, say=(), reference=stylist.reference(vector, weight), seed=seed)
        row: Row = {"stylize": stylize, "weight": weight, "words": style_clause(DEFAULT_STYLE)}
        out.append(row | judged(painter, judge, entry, x, style=np.full(len(entry), number)))
    return out


def curve_rows(run: Run, painter: Painter, judge: Judge, entry: np.ndarray, seed: int) -> list[Row]:
    """Judge quality against samples seen, by the averaged weights that the transformer stage has set aside."""
    out = []
    for path in snapshots(run):
        state = {k: v.float().to(painter.device) for k, v in load_file(path).items()}
        with painter.weights_of(state):
            x = painter.paint(entry, seed=seed)
        out.append({"samples": int(path.stem), **judged(painter, judge, entry, x)})
    return out
