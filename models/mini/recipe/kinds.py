"""How near to a picture is what is made of it, by the kept judge and the model's own style encoder.

`python -m salon.models.mini.recipe.kinds [--quick] [--threads N]`

Pictures of some things, and of each what every way makes. `shape` and `style` are distances between a picture and what
was made of it (root mean square, of the judge's features of things, and of style vectors); `edges` is the correlation
of the sizes of their edges; `other_style` is the share in which the judge sees another style than there, `concept` that
whose thing it names. A subtle variation is to be nearer than a strong one, and that nearer than the same prompt with
another seed. `--strength` and `--iw`: how far pictures of another thing are from the one that they start from, or that
stands before their words (`pixels`, root mean square of values 0..1), which is to grow with the one and to fall with
the other. Needs the `train` extra and a checkout.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....bench.jobs.house import file_of, pixels
from ....bench.report import Goal
from ....bench.runner import Bench, positive, run
from ....parameters.job_request import Source
from ....studio.service.embedded import DurableStudio
from .captions import with_article
from .judge_file import KEPT, KeptJudge
from .knobs import THINGS, Features, Looker, Pictures

PATIENCE_S = 3600.0
COLUMNS = [
    ["job", "pictures", "shape", "style", "edges", "other_style", "concept"],
    ["flag", "value", "pictures", "pixels"],
]
STRENGTH = (0.0, 0.25, 0.5, 0.75, 1.0)
IMAGE_WEIGHT = (0.0, 1.0, 2.0, 3.0)
EDGES = 0.5  # ruling: the least correlation of a retexture's edges with its source's


def edges(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the sizes of the Sobel gradient of a picture's grey values, float64 [H - 2, W - 2]."""
    grey = picture.astype(np.float64).mean(2)
    across = grey[:, 2:] - grey[:, :-2]
    down = grey[2:] - grey[:-2]
    x = across[:-2] + 2 * across[1:-1] + across[2:]
    y = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    sizes: NDArray[np.float64] = np.hypot(x, y)
    return sizes


def correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the correlation of the edges of two pictures of one size."""
    return float(np.corrcoef(edges(a).ravel(), edges(b).ravel())[0, 1])


def distance(sources: Features, made: Features) -> float:
    """Return the mean distance of rows from their sources' rows, each of which has as many."""
    apart = made - np.repeat(sources, len(made) // len(sources), axis=0)
    return float(np.sqrt((apart**2).mean(1)).mean())


class Remaker:
    """Makes pictures of things, and more of them, with an embedded durable studio."""

    def __init__(self, folder: Path, looker: Looker, threads: int, things: tuple[str, ...]) -> None:
        self.looker, self.things = looker, things
        self.studio = DurableStudio(folder, threads=threads)
        self._draft = {draft: self._sources(draft) for draft in (False, True)}

    def sources(self, draft: bool = False) -> Pictures:
        """Return the picture of each thing."""
        return np.concatenate([self._pictures(id) for id in self._draft[draft]])

    def made(self, kind: str, *, draft: bool = False, prompt: str = "", **said: Any) -> Pictures:
        """Return what a kind of job makes of each thing's picture. `prompt`: "{}" in it stands for the thing's name."""
        jobs = []
        for number, (thing, id) in enumerate(zip(self.things, self._draft[draft], strict=True)):
            source = Source(job=id) if kind == "reroll" else Source(job=id, index=0)
            words = prompt.format(with_article(thing)) if prompt else ""
            fields = {**self.looker.short, "seed": 5000 + number, **said}
            jobs.append(self.studio.make(kind, words, sources=[source], **fields).id)
        return np.concatenate([self._pictures(id) for id in jobs])

    def drawn(self, said: Sequence[dict[str, Any]]) -> Pictures:
        """Return a picture of the next thing for each thing, with what is said of each."""
        jobs = []
        for number, fields in enumerate(said):
            other = with_article(THINGS[(number + 1) % len(THINGS)])
            common = {**self.looker.short, "images": 1, "seed": 6000 + number, "stylize": 0.0}
            jobs.append(self.studio.make("imagine", other, **common, **fields).id)
        return np.concatenate([self._pictures(id) for id in jobs])

    def _sources(self, draft: bool) -> list[str]:
        fields: dict[str, Any] = {"draft": True} if draft else dict(self.looker.short)
        found = []
        for number, thing in enumerate(self.things):
            job = self.studio.make("imagine", with_article(thing), images=1, seed=4000 + 97 * number, **fields)
            job.wait(PATIENCE_S)
            found.append(job.id)
        return found

    def _pictures(self, id: str) -> Pictures:
        files = self.studio.job(id).pictures(PATIENCE_S)
        return np.stack([pixels(file) for file in files])


def body(bench: Bench) -> None:
    judge = KeptJudge.read(bench.options.judge)
    looker = Looker(bench.threads, judge, 2 if bench.tiny else None)
    bench.use("torch")
    bench.note(f"judge: SHA-256 {judge.digest}, trained on {judge.card['samples']} pictures")
    bench.report.details["judge"] = {"sha256": judge.digest, "accuracy": judge.card["accuracy"]}
    things = THINGS[: bench.options.pictures or bench.pick(1, 4, 16)]
    with tempfile.TemporaryDirectory(prefix="salon-kinds-") as folder:
        remaker = Remaker(Path(folder) / "data", looker, bench.threads, things)
        try:
            measure(bench, remaker)
        finally:
            remaker.studio.close()
    bench.columns = COLUMNS


def measure(bench: Bench, remaker: Remaker) -> None:
    """Make everything, and compare it with what it was made of."""
    looker, things = remaker.looker, remaker.things
    images = bench.pick(1, 2, 4)
    plain = remaker.sources()
    bench.row(job="imagine", pictures=len(plain), concept=looker.concept(plain, things))
    found: dict[str, float] = {}
    kept: dict[str, float] = {}
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "vary, subtle": ("vary", {"images": images}),
        "vary, strong": ("vary", {"images": images, "strong": True}),
        "reroll": ("reroll", {"images": images}),
        "retexture": ("retexture", {"images": images, "prompt": "{}, 3d render, neon colours"}),
        "enhance": ("enhance", {"draft": True}),
    }
    seen = looker.judge.names(plain.astype(np.float32) / 255)
    with bench.progress("kinds", len(ways)) as advance:
        for name, (kind, said) in ways.items():
            made = remaker.made(kind, **said)
            each = len(made) // len(things)
            sources = plain if not said.get("draft") else remaker.sources(draft=True)
            pairs = list(zip(np.repeat(sources, each, axis=0), made, strict=True))
            styles = [look["style"] for look in looker.judge.names(made.astype(np.float32) / 255)]
            before = np.repeat([look["style"] for look in seen], each)
            found[name] = distance(looker.shape(sources), looker.shape(made))
            kept[name] = float(np.mean([correlation(a, b) for a, b in pairs]))
            bench.row(
                job=name,
                pictures=len(made),
                shape=found[name],
                style=distance(looker.style(sources), looker.style(made)),
                edges=kept[name],
                other_style=float(np.mean([a != b for a, b in zip(before, styles, strict=True)])),
                concept=looker.concept(made, np.repeat(things, each).tolist()),
            )
            advance(name)
    bench.goal(Goal.at_least("correlation of a retexture's edges with its picture's", EDGES, kept["retexture"]))
    sweep(bench, remaker, plain)
    near, far, other = found["vary, subtle"], found["vary, strong"], found["reroll"]
    bench.goal(Goal.at_most("distance of a subtle variation, in a strong one's", 0.999, near / far))
    bench.goal(Goal.at_most("distance of a strong variation, in a reroll's", 0.999, far / other))


def sweep(bench: Bench, remaker: Remaker, plain: Pictures) -> None:
    """Draw other things from the pictures, at rising strengths and weights."""
    digests = [remaker.studio.add_reference(file_of(picture)) for picture in plain]
    ways: dict[str, tuple[Sequence[float], Callable[[str, float], dict[str, Any]], bool]] = {
        "strength": (STRENGTH, lambda digest, value: {"image": digest, "image_strength": value}, True),
        "iw": (IMAGE_WEIGHT, lambda digest, value: {"image_prompts": [digest], "image_weight": value}, False),
    }
    for flag, (values, said, rises) in ways.items():
        found = []
        for value in bench.pick((values[0], values[-1]), values, values):
            made = remaker.drawn([said(digest, value) for digest in digests])
            apart = float(np.sqrt((((made.astype(np.float64) - plain) / 255) ** 2).mean((1, 2, 3))).mean())
            bench.row(flag=flag, value=value, pictures=len(made), pixels=apart)
            found.append(apart)
        pairs = list(pairwise(found if rises else found[::-1]))
        least = min(b / max(a, 1e-9) for a, b in pairs)
        what = "grows" if rises else "falls"
        bench.goal(Goal.at_least(f"--{flag}: distance from the picture {what}, least step", 1.0, least))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--judge", type=Path, default=KEPT, help="its folder (bench/judge of this checkout)")
    parser.add_argument("--pictures", type=positive, help="how many things (default: 16)")


main = partial(run, "kinds", (__doc__ or "").splitlines()[0], body, arguments=arguments, tied_to="digest",
               prog="python -m salon.models.mini.recipe.kinds")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
