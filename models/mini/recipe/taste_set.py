"""The set of pictures by which tastes are measured: things in many looks, drawn by the shipped model with few steps.

Groups of one thing each, in words of all factors, in numbered styles, and in the model's own style. Of every picture
there is the style vector, by the model's own encoder, which a learner sees; and what the kept judge and its pixels say,
which simulated users go by. It is drawn once and kept in a folder, under a name that its settings and the digests of
model and judge make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....bench.facts import SHIPPED, digests
from ....bench.taste.users import FACTORS, TONES, Looks, measured
from .captions import caption, with_article
from .guidance import TOGETHER
from .judge_file import KeptJudge
from .knobs import Looker, Pictures
from .looks import BACKGROUNDS, FINISHES, PALETTES, Look
from .sets import STYLES
from .store import atomic

VERSION = 1  # raise it when other pictures are drawn: kept sets are then drawn anew
NUMBERS, PLAIN = 2, 1  # of each group: in numbered styles, and in the model's own style


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures with what is known of them.

    Attributes:
        pictures: uint8 [n, H, W, 3].
        vectors: float32 [n, W], style vectors.
        groups: int64 [n], a number for each thing.
        looks: what the judge and the pixels say.
        prompts: of each picture.
    """

    pictures: Pictures
    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]
    looks: Looks
    prompts: tuple[str, ...]


def asked(things: Sequence[str], each: int, seed: int) -> list[dict[str, Any]]:
    """Return the requests of a set: `each` pictures of every thing, all but a few in words."""
    draw = np.random.default_rng(seed)
    found: list[dict[str, Any]] = []
    for thing in things:
        name = with_article(thing)
        for number in range(each):
            common = {"seed": int(draw.integers(2**32)), "draft": True}
            style, palette, ground, finish = (
                str(draw.choice(list(names))) for names in (STYLES, PALETTES, BACKGROUNDS, FINISHES)
            )
            style_number = int(draw.integers(2**32))
            if number < each - NUMBERS - PLAIN:
                found.append({"prompt": caption(name, style, Look(palette, ground, finish)).text(), **common})
            elif number < each - PLAIN:
                found.append({"prompt": name, "style_references": [style_number], **common})
            else:
                found.append({"prompt": name, "stylize": 100.0, **common})
    return found


def seen(judge: KeptJudge, pictures: Pictures) -> Looks:
    """Return what the judge and the pixels say of pictures uint8 [n, H, W, 3]."""
    scores = judge.scores(pictures.astype(np.float32) / 255)
    shares = {}
    for factor in FACTORS:
        values = scores["background" if factor == "tone" else factor].astype(np.float64)
        values = np.exp(values - values.max(1, keepdims=True))
        values /= values.sum(1, keepdims=True)
        if factor == "tone":
            names = judge.card["classes"]["background"]
            values = np.stack([values[:, [names.index(each) for each in tone]].sum(1) for tone in TONES.values()], 1)
        shares[factor] = values
    return Looks(shares, measured(pictures))


def picture_set(
    looker: Looker, work: Path, groups: int, each: int, seed: int, advance: Callable[[str], None] = lambda _: None
) -> PictureSet:
    """Return a set of `groups` things with `each` pictures, drawn now or before.

    Args:
        work: folder in which it is kept.
        seed: of things, looks and noise.
        advance: told after every batch of pictures.
    """
    names = [concept["name"] for concept in looker.engine.model.vocabulary["concepts"]]
    order = np.random.default_rng([seed, 1]).permutation(len(names))[:groups]
    requests = asked([names[k] for k in order], each, seed)
    key = repr((VERSION, requests, looker.short, digests(SHIPPED)["digest"], looker.judge.digest))
    path = work / f"taste-set-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    prompts = tuple(str(request["prompt"]) for request in requests)
    numbers = np.repeat(np.arange(groups), each)
    if path.is_file():
        with np.load(path) as kept:
            shares = {factor: kept[factor] for factor in FACTORS}
            return PictureSet(kept["pictures"], kept["vectors"], numbers, Looks(shares, kept["pixels"]), prompts)
    drawn = []
    for start in range(0, len(requests), TOGETHER):
        drawn.append(looker.paint(requests[start : start + TOGETHER]))
        advance(f"{start + TOGETHER} of {len(requests)}")
    pictures = np.concatenate(drawn)
    vectors, looks = looker.style(pictures).astype(np.float32), seen(looker.judge, pictures)
    work.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        arrays: dict[str, Any] = {**looks.shares, "pictures": pictures, "vectors": vectors, "pixels": looks.pixels}
        np.savez_compressed(file, **arrays)
    return PictureSet(pictures, vectors, numbers, looks, prompts)
