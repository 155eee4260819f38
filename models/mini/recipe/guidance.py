"""Which guidance serves what people type: names alone and whole captions, drawn by the engine, named by the kept judge.

`python -m salon.models.mini.recipe.guidance [--quick] [--threads N] [--pictures N]`

Names of the model's vocabulary with the default style off and on, and captions (a thing in a drawing style, a palette,
on a background), each with the same seeds under every guidance. What the judge (`bench/judge`) names right is counted;
its share of real drawings, on its card, is what there is to reach. Needs the `train` extra and a checkout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....bench.adapters import BRANCH, Shipped
from ....bench.report import Goal
from ....bench.runner import Bench, positive, run
from ....engine.engine import Engine
from ....engine.spec import AdapterUse, GenerationSpec
from .captions import caption, with_article
from .default_style import DEFAULT_STYLE, weight_of
from .judge_file import KEPT, KeptJudge
from .looks import BACKGROUNDS, PALETTES, Look
from .sets import STYLES

GUIDANCES = (2.0, 3.0, 4.0, 5.0, 6.0)
TOGETHER = 16  # generations of a step
NAMES, STYLED, CAPTIONS = "names", "names, default style", "captions"
HEADS = {NAMES: ("concept",), STYLED: ("concept",), CAPTIONS: ("concept", "style", "palette", "background")}
COLUMNS = [["asked", "guidance", "pictures", "concept", "style", "palette", "background"]]
STYLIZE = 100.0  # `--s` of the default style


@dataclass(frozen=True)
class Wish:
    """A prompt, and the class that each head should see in its picture."""

    prompt: str
    seed: int
    wanted: dict[str, str]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--judge", type=Path, default=KEPT, help="its folder (bench/judge of this checkout)")
    parser.add_argument("--pictures", type=positive, help="of each kind under each guidance (default: 128)")


def wishes(engine: Engine, number: int, seed: int = 7) -> dict[str, list[Wish]]:
    """Return what is asked for, by kind: the same things in each."""
    draw = np.random.default_rng(seed)
    concepts = [concept["name"] for concept in engine.model.vocabulary["concepts"]]
    chosen = [concepts[k] for k in draw.permutation(len(concepts))[:number]]
    seeds = [int(k) for k in draw.integers(2**32, size=number)]
    bare = [Wish(with_article(thing), k, {"concept": thing}) for thing, k in zip(chosen, seeds, strict=True)]
    whole = []
    for thing, k in zip(chosen, seeds, strict=True):
        style, palette, background = (str(draw.choice(list(each))) for each in (STYLES, PALETTES, BACKGROUNDS))
        text = caption(with_article(thing), style, Look(palette, background, "none")).text()
        wanted = {"concept": thing, "style": style, "palette": palette, "background": background}
        whole.append(Wish(text, k, wanted))
    return {NAMES: bare, STYLED: bare, CAPTIONS: whole}


def default_style(engine: Engine) -> tuple[AdapterUse, ...]:
    """Load the checkpoint's default style at its usual weight."""
    row = STYLES.index(DEFAULT_STYLE)
    name = Shipped.of(engine).register(engine, row + 1)[row]
    return (AdapterUse(name, weight_of(STYLIZE), f"{BRANCH}-null"),)


def paint(engine: Engine, asked: Sequence[Wish], **fields: Any) -> np.ndarray[Any, Any]:
    """Draw pictures [N, H, W, 3] in 0..1, stepped together."""
    specs = [GenerationSpec(prompt=wish.prompt, seed=wish.seed, **fields) for wish in asked]
    generations = [engine.open(spec) for spec in specs]
    try:
        while running := [g for g in generations if g.state.name == "RUNNING"]:
            for report in engine.step(running):
                if report.error is not None:
                    raise report.error
        return np.concatenate([engine.finish(g) for g in generations]).astype(np.float32) / 255
    finally:
        for generation in generations:
            engine.close(generation)


def body(bench: Bench) -> None:
    judge = KeptJudge.read(bench.options.judge)
    engine = Engine.load(backend="cpu", threads=bench.threads)
    own = float(engine.model.defaults["guidance_scale"])
    asked = wishes(engine, bench.options.pictures or bench.pick(2, 8, 128))
    style = default_style(engine)
    guidances = bench.pick((own,), (2.0, own), GUIDANCES)
    steps = {"steps": 2} if bench.tiny else {}
    bench.use("torch")
    bench.note(f"judge: SHA-256 {judge.digest}, trained on {judge.card['samples']} pictures; default guidance {own:g}")
    bench.report.details["judge"] = {"sha256": judge.digest, "accuracy": judge.card["accuracy"]}
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    with bench.progress("guidance", len(asked) * len(guidances)) as advance:
        for kind, each in asked.items():
            for guidance in guidances:
                fields = {"guidance_scale": guidance, "adapters": style if kind == STYLED else (), **steps}
                parts = [each[k : k + TOGETHER] for k in range(0, len(each), TOGETHER)]
                seen = [found for part in parts for found in judge.names(paint(engine, part, **fields))]
                right = {
                    head: float(np.mean([s[head] == w.wanted[head] for s, w in zip(seen, each, strict=True)]))
                    for head in HEADS[kind]
                }
                rows[kind, guidance] = bench.row(asked=kind, guidance=guidance, pictures=len(each), **right)
                advance(f"{kind}, {guidance:g}")
    bench.columns = COLUMNS
    goals(bench, rows, own)


def goals(bench: Bench, rows: dict[tuple[str, float], dict[str, Any]], own: float) -> None:
    """State goals of names first; captions must not suffer."""
    for kind, head, share in ((NAMES, "concept", 0.97), (STYLED, "concept", 0.97), (CAPTIONS, "concept", 0.97)):
        best = max(row[head] for (k, _), row in rows.items() if k == kind)
        value = rows[kind, own][head] / best if best else None
        bench.goal(Goal.at_least(f"{kind}: {head} under the default guidance, share of the best", share, value))


main = partial(run, "guidance", (__doc__ or "").splitlines()[0], body, arguments=arguments, tied_to="digest",
               prog="python -m salon.models.mini.recipe.guidance")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
