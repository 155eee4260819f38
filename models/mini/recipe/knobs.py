"""What each knob does to pictures, by the kept judge and the model's own style encoder.

`python -m salon.models.mini.recipe.knobs [--quick] [--threads N] [--only KNOB]`

The same things and seeds at rising values of a knob. `--chaos`: how far the pictures of a grid are from each other, in
style (the mean distance of their style vectors) and in shape (that of the judge's features). `--weird`: how far
pictures are from the mean of ordinary ones, likewise. `--s`: how far they are from those without the model's style.
`--exp`: the energy of their Laplacian. `--q`, `--draft`, `--stop`: what of the things is recognised. `--tile`: the step
across the edge against one between inner rows and columns. Beside each the share of things that the judge names. Needs
the `train` extra and a checkout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ....bench.report import Goal
from ....bench.runner import Bench, positive, run
from ....engine import pictures
from ....engine.engine import Engine
from .captions import with_article
from .guidance import TOGETHER
from .judge_file import KEPT, KeptJudge
from .knob_sheets import PATTERNS

Pictures = NDArray[np.uint8]  # [N, H, W, 3]
Features = NDArray[np.float64]  # [N, W]

THINGS = ("cat", "house", "rocket", "mushroom", "owl", "red apple", "teapot", "car", "fish", "guitar", "crown", "key",
          "sunflower", "whale", "ghost", "tree")  # fmt: skip
GRID = 4
CHAOS = (0.0, 25.0, 50.0, 75.0, 100.0)
WEIRD = (0.0, 250.0, 500.0, 1000.0, 2000.0, 3000.0)
STYLIZE = (0.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
EXPERIMENTAL = (0.0, 25.0, 50.0, 75.0, 100.0)
STOP = (10.0, 25.0, 50.0, 75.0, 100.0)
QUALITY = (1, 2, 4)
SEAM = 1.2  # ruling: at most so many times an inner step
COLUMNS = [["knob", "value", "pictures", "concept", "style", "shape", "laplacian", "seam"]]


class Looker:
    """Draws and looks: the engine, the judge, and what both see in pictures."""

    def __init__(self, threads: int, judge: KeptJudge, steps: int | None) -> None:
        self.engine = Engine.load(backend="cpu", threads=threads)
        self.judge = judge
        self.short: dict[str, Any] = {} if steps is None else {"steps": steps}

    def paint(self, asked: Sequence[dict[str, Any]]) -> Pictures:
        """Draw all images of all requests, one after another."""
        made: list[Any] = []
        for start in range(0, len(asked), TOGETHER):
            specs = [self.engine.make_spec(**self.short, **fields) for fields in asked[start : start + TOGETHER]]
            generations = [self.engine.open(spec) for spec in specs]
            while running := [g for g in generations if g.state.name == "RUNNING"]:
                for report in self.engine.step(running):
                    if report.error is not None:
                        raise report.error
            for generation in generations:
                made.extend(self.engine.finish(generation))
                self.engine.close(generation)
        return np.stack(made)

    def style(self, drawn: Pictures) -> Features:
        """Return style vectors, of unit mean square."""
        codec, styles = self.engine.model.denoiser.codec, self.engine.model.styles
        assert styles is not None, "the shipped model has styles"
        found = []
        for picture in drawn:
            grid = picture.shape[0] // codec.granularity, picture.shape[1] // codec.granularity
            tokens = pictures.encode(self.engine.ops, codec, picture)
            found.append(styles.encoder.vector(self.engine.ops, codec.latents(tokens, grid)))
        return np.stack(found).astype(np.float64)

    def shape(self, drawn: Pictures) -> Features:
        """Return the judge's features of things."""
        x = torch.from_numpy(drawn.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
        with torch.no_grad():
            return np.asarray(self.judge.network.things(x).float().amax((2, 3)).double().numpy())

    def concept(self, drawn: Pictures, things: Sequence[str]) -> float:
        """Return the share of pictures whose thing the judge names."""
        seen = self.judge.names(drawn.astype(np.float32) / 255)
        return float(np.mean([s["concept"] == thing for s, thing in zip(seen, things, strict=True)]))


def spread(features: Features, group: int) -> float:
    """Return the mean distance (root of the mean square) of two rows of one group."""
    each = []
    for start in range(0, len(features), group):
        part = features[start : start + group]
        each += [np.sqrt(((a - b) ** 2).mean()) for i, a in enumerate(part) for b in part[:i]]
    return float(np.mean(each))


def away(features: Features, usual: Features) -> float:
    """Return the mean distance of rows from the mean of the usual ones."""
    return float(np.sqrt(((features - usual.mean(0)) ** 2).mean(1)).mean())


def laplacian(drawn: Pictures) -> float:
    """Return the mean square of the Laplacian of pictures' grey values, 0..1, without their borders."""
    grey = drawn.astype(np.float64).mean(3) / 255
    inner = 4 * grey[:, 1:-1, 1:-1] - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1] - grey[:, 1:-1, :-2] - grey[:, 1:-1, 2:]
    return float((inner**2).mean())


def seam(drawn: Pictures) -> float:
    """Return the mean step from edge to opposite edge, across and down, over that between neighbours within."""
    x = drawn.astype(np.float64)
    edge = np.abs(x[:, :, 0] - x[:, :, -1]).mean() + np.abs(x[:, 0] - x[:, -1]).mean()
    within = np.abs(np.diff(x, axis=2)).mean() + np.abs(np.diff(x, axis=1)).mean()
    return float(edge / within)


def body(bench: Bench) -> None:
    judge = KeptJudge.read(bench.options.judge)
    looker = Looker(bench.threads, judge, 2 if bench.tiny else None)
    bench.use("torch")
    bench.note(f"judge: SHA-256 {judge.digest}, trained on {judge.card['samples']} pictures")
    bench.report.details["judge"] = {"sha256": judge.digest, "accuracy": judge.card["accuracy"]}
    things = THINGS[: bench.options.pictures or bench.pick(1, 4, 16)]
    grid = bench.pick(2, GRID, GRID)
    knobs: dict[str, Callable[[], None]] = {}

    def ends(values: Sequence[Any]) -> Sequence[Any]:
        return bench.pick((values[0], values[-1]), (values[0], values[len(values) // 2], values[-1]), values)

    def asked(images: int, **fields: Any) -> list[dict[str, Any]]:
        common = {"stylize": 100.0, "images": images, **fields}
        return [{"prompt": with_article(thing), "seed": 4000 + 97 * k, **common} for k, thing in enumerate(things)]

    def row(knob: str, value: Any, drawn: Pictures, **more: float) -> dict[str, Any]:
        named = np.repeat(things, len(drawn) // len(things)).tolist()
        return bench.row(knob=knob, value=value, pictures=len(drawn), concept=looker.concept(drawn, named), **more)

    def grows(what: str, values: Sequence[float]) -> None:
        least = min((b / a for a, b in pairwise(values)), default=1.0)
        bench.goal(Goal.at_least(f"{what}: the least growth from one value to the next", 1.0, least))

    def chaos() -> None:
        found = []
        for value in ends(CHAOS):
            drawn = looker.paint(asked(grid, chaos=value))
            style, shape = spread(looker.style(drawn), grid), spread(looker.shape(drawn), grid)
            found.append(row("chaos", value, drawn, style=style, shape=shape))
        grows("spread of style within a grid", [each["style"] for each in found])

    def weird() -> None:
        usual = looker.paint(asked(grid, weird=0.0))
        style, shape = looker.style(usual), looker.shape(usual)
        found = []
        for value in ends(WEIRD):
            drawn = looker.paint(asked(grid, weird=value))
            more = {"style": away(looker.style(drawn), style), "shape": away(looker.shape(drawn), shape)}
            found.append(row("weird", value, drawn, **more))
        grows("distance from the usual", [each["style"] for each in found])

    def stylize() -> None:
        found = []
        plain = looker.style(looker.paint(asked(1, stylize=0.0)))
        for value in ends(STYLIZE):
            drawn = looker.paint(asked(1, stylize=value))
            apart = float(np.sqrt(((looker.style(drawn) - plain) ** 2).mean(1)).mean())
            found.append(row("s", value, drawn, style=apart))
        grows("distance from pictures without the model's style", [each["style"] for each in found[1:]])

    def experimental() -> None:
        found = []
        for value in ends(EXPERIMENTAL):
            drawn = looker.paint(asked(1, experimental=value))
            found.append(row("exp", value, drawn, laplacian=laplacian(drawn)))
        grows("energy of the Laplacian", [each["laplacian"] for each in found])

    def quality() -> None:
        row("draft", "", looker.paint(asked(grid, draft=True)))
        found = [
            row("q", value, looker.paint(asked(grid, quality=value)))["concept"]
            for value in bench.pick(QUALITY[:2], ends(QUALITY), QUALITY)
        ]
        bench.goal(Goal.at_least("things named at the highest quality, more than at 1", -0.03, found[-1] - found[0]))

    def stop() -> None:
        for value in ends(STOP):
            drawn = looker.paint(asked(1, stop=value))
            row("stop", value, drawn, laplacian=laplacian(drawn))

    def tile() -> None:
        found = {}
        for value in (False, True):
            wanted = [
                {"prompt": prompt, "seed": 8000 + 13 * k, "tile": value, "stylize": 100.0, "images": 2}
                for k, prompt in enumerate(PATTERNS[: bench.pick(1, 2, 4)])
            ]
            drawn = looker.paint(wanted)
            found[value] = seam(drawn)
            bench.row(knob="tile", value=value, pictures=len(drawn), seam=found[value])
        bench.goal(Goal.at_most("seam of --tile, in steps between inner rows and columns", SEAM, found[True]))

    for each in (chaos, weird, stylize, experimental, quality, stop, tile):
        knobs[each.__name__] = each
    chosen = bench.options.only or [*knobs]
    with bench.progress("knobs", len(chosen)) as advance:
        for name in chosen:
            knobs[name]()
            advance(name)
    bench.columns = COLUMNS


KNOBS = ("chaos", "weird", "stylize", "experimental", "quality", "stop", "tile")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--judge", type=Path, default=KEPT, help="its folder (bench/judge of this checkout)")
    parser.add_argument("--pictures", type=positive, help="how many things (default: 16)")
    parser.add_argument("--only", nargs="+", choices=KNOBS, help="these knobs alone")


main = partial(run, "knobs", (__doc__ or "").splitlines()[0], body, arguments=arguments, tied_to="digest",
               prog="python -m salon.models.mini.recipe.knobs")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
