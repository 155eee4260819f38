"""How often `describe` names what is in a picture: held-out drawings, in looks of the plan.

`python -m salon.models.mini.recipe.describe [--work DIR] [--pictures N] [--quick] [--threads N]`

The pictures are of (thing, style) pairs that no part of the model was trained on (`split`). `--work` is a folder in
which the stages `fetch` and `raster` are done. Without one, and with `--tiny`, the model draws the pictures itself, and
the result says so; in a tiny run it chooses among few things, too. Found is a thing that one of the four prompts names.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....bench.report import Goal
from ....bench.runner import Bench, positive, run
from ....engine.engine import Engine
from ....engine.generation import State
from ....engine.inquiries import Text
from ....engine.start import forms_of
from ....engine.text.reader import PromptReader
from ....studio.inquiring import describing
from .captions import background_clause, caption, finish_clause, palette_clause, style_clause
from .config import PRESETS
from .looks import BACKGROUNDS, PALETTES, Look, compose, thumbnail
from .plan import choose_looks
from .sets import BY_NAME, STYLES
from .split import held_pairs
from .store import open_stage

SLOTS = ("style", "background", "palette", "finish")
COLUMNS = [["picture", "thing", "place", *SLOTS, "seconds"]]
FEW = 24  # things of a tiny run


@dataclass(frozen=True)
class Shown:
    """A picture uint8 [height, width, 3], its thing, and the clauses of its look by slot; "": none."""

    pixels: Any
    thing: str
    clauses: dict[str, str]


def clauses_of(drawing_set: str, look: Look) -> dict[str, str]:
    """Return the clauses of a look, by slot."""
    made = (style_clause(drawing_set), background_clause(look.background), palette_clause(look.palette))
    return dict(zip(SLOTS, (*made, finish_clause(look.finish)), strict=True))


def held_out(work: Path, number: int, seed: int = 7) -> Iterator[Shown]:
    """Compose held-out drawings, each once, in one of the looks that the plan draws for them."""
    source, data = open_stage(work, "raster"), PRESETS["full"]().data
    rgba, icons = source.array("rgba.npy"), source.json("icons.json")
    held = set(
        held_pairs([(row["concept"], row["set"]) for row in icons if row["concept"]], data.held_pairs, data.seed)
    )
    places = [at for at, row in enumerate(icons) if (row["concept"], row["set"]) in held]
    np.random.default_rng(seed).shuffle(places)
    for at in places[:number]:
        row, ink = icons[at], BY_NAME[icons[at]["set"]].ink
        look = choose_looks(thumbnail(rgba[at]), ink, 1, np.random.default_rng([seed, at]))[-1]
        pixels = (compose(rgba[at], look, ink=ink, height=data.size, width=data.size) * 255).round().astype(np.uint8)
        yield Shown(pixels, row["concept"], clauses_of(row["set"], look))


def drawn(engine: Engine, things: list[str], number: int, steps: int, seed: int = 7) -> Iterator[Shown]:
    """Have the model draw pictures of random captions."""
    draw = np.random.default_rng(seed)
    for _ in range(number):
        thing, style = str(draw.choice(things)), str(draw.choice(STYLES))
        look = Look(str(draw.choice(list(PALETTES))), str(draw.choice(list(BACKGROUNDS))))
        spec = engine.make_spec(caption(thing, style, look).text(), seed=int(draw.integers(2**32)), steps=steps)
        generation = engine.open(spec)
        while generation.state is State.RUNNING:
            engine.step([generation])
        yield Shown(engine.finish(generation)[0], thing, clauses_of(style, look))
        engine.close(generation)


def described(engine: Engine, pixels: Any) -> tuple[tuple[Text, ...], float]:
    """Describe a picture; return the prompts and the seconds that it took."""
    height, width = pixels.shape[:2]
    spec = describing(hashlib.sha256(pixels.tobytes()).hexdigest(), (width, height), engine.info)
    for form in forms_of(spec):
        engine.add_picture(form, pixels)
    started = time.perf_counter()
    generation = engine.open(spec)
    while generation.state is State.RUNNING:
        engine.inquire(generation)
    texts = generation.texts
    engine.close(generation)
    return texts, time.perf_counter() - started


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--work", type=Path, help="the recipe's folder, with its stages fetch and raster done")
    parser.add_argument("--pictures", type=positive, help="how many (default: 60)")


def body(bench: Bench) -> None:
    """Describe the pictures, and count what is found."""
    engine, work = Engine.load(backend="cpu", threads=bench.threads), bench.options.work
    number = bench.options.pictures or bench.pick(1, 1, 60)
    things = [str(concept["name"]) for concept in engine.model.vocabulary["concepts"]]
    real = work is not None and not bench.tiny
    if bench.tiny:
        things = things[:: len(things) // FEW][:FEW]
        engine.model.__dict__["words"] = {**engine.model.words, "subject": tuple(things)}
    bench.report.details["pictures"] = "held-out drawings" if real else "the model's own"
    if not real:
        bench.note("the model drew the pictures itself; held-out drawings need --work")
    pictures = held_out(work, number) if real else drawn(engine, things, number, bench.pick(4, 20, 20))
    seconds, first, among, right = [], 0, 0, dict.fromkeys(SLOTS, 0)
    with bench.progress("describe", number) as advance:
        for at, shown in enumerate(pictures):
            if bench.deadline.left() <= 0:
                break
            texts, took = described(engine, shown.pixels)
            parts = [text.text.split(", ") for text in texts]
            places = [place for place, each in enumerate(parts, 1) if each[0] == shown.thing]
            for slot, clause in shown.clauses.items():
                told = {*parts[0][1:]} & {*_clauses(engine, slot)}
                right[slot] += told == ({clause} if clause else set())
            first, among = first + (places[:1] == [1]), among + bool(places)
            seconds.append(took)
            bench.row(
                picture=at,
                thing=shown.thing,
                place=places[0] if places else 0,
                seconds=took,
                prompts=[text.text for text in texts],
                scores=[text.score for text in texts],
                **shown.clauses,
            )
            advance(shown.thing)
    count = max(1, len(seconds))
    bench.columns = COLUMNS
    shares = {"thing, first prompt": first / count, "thing, four prompts": among / count}
    shares |= {f"{slot}, first prompt": right[slot] / count for slot in SLOTS}
    bench.report.details |= {"shares": shares, "seconds": float(np.median(seconds)) if seconds else None}
    bench.goal(Goal.at_least("things named by one of four prompts", 0.6, among / count if seconds else None))


def _clauses(engine: Engine, slot: str) -> list[str]:
    """Return all clauses that prompts may have of a slot."""
    assert isinstance(engine.reader, PromptReader), "a model that does not read clauses"
    form = next(each.form for each in engine.reader.slots if each.name == slot)
    return [form.format(word) for word in engine.model.words[slot]]


main = partial(run, "describe", (__doc__ or "").splitlines()[0], body, arguments=arguments, tied_to="digest",
               prog="python -m salon.models.mini.recipe.describe")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
