"""How much of a reference's style reaches pictures, and what it costs the thing, by the kept judge.

`python -m salon.models.mini.recipe.references [--quick] [--threads N] [--pictures N]`

A reference is a picture file of some thing in some style, palette and background; another thing is asked for by its
bare name with that file as style reference, as `--sref FILE` does, at several strengths. What the judge says of the
reference is what it should say of the picture. Beside it: nothing but the name, the style in words in place of a
reference (what there is to reach), and numbered styles, of which it is counted how often two pictures of one number
agree. Needs the `train` extra and a checkout.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ....bench.report import Goal
from ....bench.runner import Bench, positive, run
from ....engine.engine import Engine
from ....studio.references import read_picture
from .captions import caption, with_article
from .guidance import TOGETHER
from .judge_file import KEPT, KeptJudge
from .looks import BACKGROUNDS, PALETTES, Look
from .sets import STYLES

STRENGTHS = (0.0, 50.0, 100.0, 200.0, 400.0, 1000.0)
FACTORS = ("style", "palette", "background")
ALONE, WORDS, REFERENCE, BESIDE, NUMBER = (
    "the name alone", "the style in words", "by reference", "by reference, with --s 100", "by number",
)  # fmt: skip
COLUMNS = [["asked", "sw", "pictures", "concept", *FACTORS]]


@dataclass(frozen=True)
class Wish:
    """A thing, its seed, and the picture whose style it is to have: its caption and seed."""

    thing: str
    seed: int
    words: str
    reference: str
    reference_seed: int


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--judge", type=Path, default=KEPT, help="its folder (bench/judge of this checkout)")
    parser.add_argument("--pictures", type=positive, help="of each kind at each strength (default: 96)")


def wishes(engine: Engine, number: int, seed: int = 11) -> list[Wish]:
    """Return what is asked for."""
    draw = np.random.default_rng(seed)
    concepts = [concept["name"] for concept in engine.model.vocabulary["concepts"]]
    found = []
    for _ in range(number):
        thing, other = (concepts[k] for k in draw.permutation(len(concepts))[:2])
        style, palette, background = (str(draw.choice(list(each))) for each in (STYLES, PALETTES, BACKGROUNDS))
        look = Look(palette, background, "none")
        seeds = [int(k) for k in draw.integers(2**32, size=2)]
        words = caption(with_article(thing), style, look).text()
        found.append(Wish(thing, seeds[0], words, caption(with_article(other), style, look).text(), seeds[1]))
    return found


def paint(engine: Engine, asked: Sequence[dict[str, Any]]) -> list[Any]:
    """Draw prompts with their fields, stepped together: (picture uint8 [H, W, 3], its PNG file) of each."""
    made: list[Any] = []
    for start in range(0, len(asked), TOGETHER):
        generations = [engine.open(engine.make_spec(**fields)) for fields in asked[start : start + TOGETHER]]
        while running := [g for g in generations if g.state.name == "RUNNING"]:
            for report in engine.step(running):
                if report.error is not None:
                    raise report.error
        for generation in generations:
            pixels = engine.finish(generation)[0]
            made.append((pixels, png(pixels)))
            engine.close(generation)
    return made


def png(pixels: Any) -> bytes:
    """Return the file of a picture uint8 [H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def body(bench: Bench) -> None:
    judge = KeptJudge.read(bench.options.judge)
    engine = Engine.load(backend="cpu", threads=bench.threads)
    asked = wishes(engine, bench.options.pictures or bench.pick(2, 8, 96))
    short = {"steps": 2} if bench.tiny else {}
    strengths = bench.pick((100.0,), (0.0, 100.0), STRENGTHS)
    bench.use("torch")
    bench.note(f"judge: SHA-256 {judge.digest}, trained on {judge.card['samples']} pictures")
    bench.report.details["judge"] = {"sha256": judge.digest, "accuracy": judge.card["accuracy"]}
    area, unit = engine.model.defaults["width"] * engine.model.defaults["height"], engine.model.architecture.granularity
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    with bench.progress("references", 4 + 2 * len(strengths)) as advance:
        files = paint(engine, [{"prompt": w.reference, "seed": w.reference_seed, **short} for w in asked])
        wanted = judge.names(np.stack([pixels for pixels, _ in files]).astype(np.float32) / 255)
        digests = []
        for _, file in files:
            picture = read_picture(file)
            engine.add_style_picture(picture.digest, picture.pixels(area, unit))
            digests.append(picture.digest)
        advance("references")

        def judged(kind: str, strength: float, fields: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
            pictures = np.stack([pixels for pixels, _ in paint(engine, fields)]).astype(np.float32) / 255
            seen = judge.names(pictures)
            shares = {
                factor: float(np.mean([s[factor] == w[factor] for s, w in zip(seen, wanted, strict=True)]))
                for factor in FACTORS
            }
            concept = float(np.mean([s["concept"] == w.thing for s, w in zip(seen, asked, strict=True)]))
            rows[kind, strength] = bench.row(asked=kind, sw=strength, pictures=len(seen), concept=concept, **shares)
            advance(f"{kind}, {strength:g}")
            return seen

        bare = [{"prompt": with_article(w.thing), "seed": w.seed, **short} for w in asked]
        judged(ALONE, 0.0, bare)
        judged(WORDS, 0.0, [{"prompt": w.words, "seed": w.seed, **short} for w in asked])
        for strength in strengths:
            referred = [
                {**fields, "style_references": [digest], "style_weight": strength}
                for fields, digest in zip(bare, digests, strict=True)
            ]
            judged(REFERENCE, strength, referred)
            judged(BESIDE, strength, [{**fields, "stylize": 100.0} for fields in referred])
        numbered = [{**fields, "style_references": [number]} for number, fields in enumerate(bare)]
        again = [{**fields, "prompt": with_article(asked[k - 1].thing)} for k, fields in enumerate(numbered)]
        first, second = (
            judge.names(np.stack([pixels for pixels, _ in paint(engine, each)]).astype(np.float32) / 255)
            for each in (numbered, again)
        )
        agree = {
            factor: float(np.mean([a[factor] == b[factor] for a, b in zip(first, second, strict=True)]))
            for factor in FACTORS
        }
        concept = float(np.mean([s["concept"] == w.thing for s, w in zip(first, asked, strict=True)]))
        bench.row(asked=NUMBER, sw=100.0, pictures=len(first), concept=concept, **agree)
        advance(NUMBER)
    bench.columns = COLUMNS
    for factor in FACTORS:
        words, reached = rows[WORDS, 0.0][factor], rows[REFERENCE, 100.0][factor]
        bench.goal(Goal.at_least(f"{factor} by reference, share of the style in words", 0.65, _share(reached, words)))
    bare_share, kept = rows[ALONE, 0.0]["concept"], rows[REFERENCE, 100.0]["concept"]
    bench.goal(Goal.at_least("things kept under a reference, share of the name alone", 0.9, _share(kept, bare_share)))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


main = partial(run, "references", (__doc__ or "").splitlines()[0], body, arguments=arguments, tied_to="digest",
               prog="python -m salon.models.mini.recipe.references")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
