"""Learn how users' tastes differ, from simulated users, and where the classes of styles lie in the style space.

    python -m salon.models.mini.recipe.taste_prior --work DIR --out models/mini

Simulated users with seeds and pictures of their own, which no benchmark has, answer random pairs. They are sorted by
what matters most to them. For each such type the covariance of utilities is the most likely one, by expectation
maximisation: every user's utilities and their uncertainty under the covariance so far, then the mean of their squares.
Beside these types stand plain ones: two that fit anybody, users who go by everything and those who hardly care, and one
of those who go by colours. Of palette filters (`bench/taste/users.py`) it learns nothing; they are there to see what
becomes of strangers. Where the classes lie and how vectors tell colours is learned from the same pictures: profiles
make their vectors of it. Needs the `train` extra and a checkout.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from ....bench.taste.sessions import AT_RANDOM, Learner, Shelf, answers
from ....bench.taste.users import CONSISTENT, CONTRADICTORY, FACTORS, crowd
from ....engine.styles.space import TASTE
from ....engine.taste.colours import colour_rows
from ....engine.taste.preference import Comparison, learn
from ....engine.taste.space import TasteSpace, class_rows, space_of, types_of
from .judge_file import KEPT, KeptJudge
from .knobs import Looker
from .papers import renew
from .progress import track
from .store import atomic
from .taste_set import picture_set

SEED, USERS_FROM = 2, 100_000  # of its pictures, and of its users: apart from those of `taste.py`
GROUPS, EACH = 50, 8  # pictures
CONSISTENTS, CONTRADICTORIES = 600, 100  # users
EVENTS = 150  # of each
ROUNDS = 12
PLAIN = 2  # of `types_of`: those that fit anybody; its last one goes by colours

Float64 = NDArray[np.float64]


def covariance(space: TasteSpace, told: Sequence[Sequence[Comparison]], start: Float64, rounds: int) -> Float64:
    """Return the likeliest covariance [K, K] of the utilities of users of one type, from their answers."""
    found = start
    for _ in range(rounds):
        total = np.zeros_like(found)
        for each in told:
            known = learn(space, each, covariances=found[None])
            total += known.covariance + np.outer(known.mean, known.mean)
        found = total / len(told)
    return found


def prior(
    space: TasteSpace, shelf: Shelf, consistent: int, contradictory: int, events: int, rounds: int
) -> NDArray[np.float32]:
    """Return covariances float32 [M, K, K] of types of users: one for each factor, one of contradictory users, the two
    plain ones, and that of colours."""
    plain = types_of(space)
    kinds = [CONSISTENT] * consistent + [CONTRADICTORY] * contradictory
    users = crowd(kinds, shelf.looks, shelf.pairs, USERS_FROM)
    unused: Learner = lambda told: learn(space, told)  # noqa: E731  random pairs ask no learner
    told = [[*answers(user, shelf, unused, AT_RANDOM, 3, events)] for user in track(users, "answers", len(users))]
    groups = [
        [each for user, each in zip(users, told, strict=True) if user.kind == CONSISTENT and user.main == factor]
        for factor in FACTORS
    ]
    groups.append([each for user, each in zip(users, told, strict=True) if user.kind == CONTRADICTORY])
    start = plain[:PLAIN].mean(0)
    start[space.directed :, space.directed :] = plain[1][space.directed :, space.directed :]  # they matter little
    filled = [group for group in groups if group]
    types = [covariance(space, group, start, rounds) for group in track(filled, "types", len(filled))]
    found: NDArray[np.float32] = np.stack([*types, *plain[:PLAIN], plain[-1]]).astype(np.float32)
    return found


def write(path: Path, arrays: Mapping[str, NDArray[np.float32]], made_of: str) -> None:
    """Write the file of tastes beside a checkpoint: see `engine.taste.space.space_of`."""
    plain = {key: np.ascontiguousarray(values) for key, values in arrays.items()}  # others are written in wrong order
    with atomic(path) as file:
        file.write(save(plain, metadata={"made_of": made_of}))


def main(argv: Sequence[str] | None = None) -> int:
    """Learn both, and write the file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m salon.models.mini.recipe.taste_prior")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps its pictures")
    parser.add_argument("--out", type=Path, required=True, help=f"folder of the checkpoint: {TASTE} is written there")
    parser.add_argument("--judge", type=Path, default=KEPT, help="its folder (bench/judge of this checkout)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="the least that runs every part once: a test")
    options = parser.parse_args(argv)
    judge = KeptJudge.read(options.judge)
    looker = Looker(options.threads, judge, 2 if options.tiny else None)
    model = looker.engine.model
    assert model.styles is not None, "the shipped model has styles"
    groups, each = (4, 4) if options.tiny else (GROUPS, EACH)
    pictures = picture_set(looker, options.work, groups, each, SEED)
    colours = colour_rows(pictures.vectors, pictures.pictures)
    styles = model.styles
    space = space_of(styles.vectors, styles.words, styles.heads, model.words, colours=colours)
    shelf = Shelf.of(space.coordinates(pictures.vectors), pictures.groups, pictures.looks)
    counts = (6, 2, 8, 2) if options.tiny else (CONSISTENTS, CONTRADICTORIES, EVENTS, ROUNDS)
    found = prior(space, shelf, *counts)
    made_of = f"{counts[0]} consistent and {counts[1]} contradictory simulated users, {counts[2]} answers each"
    classes = class_rows(pictures.vectors, shelf.coordinates[:, : space.directed])
    arrays = {"prior": found, "classes": classes, "colours": colours}
    write(options.out / TASTE, arrays, f"{made_of}; judge {judge.digest}")
    renew(options.out, TASTE)
    print(f"{options.out / TASTE}: covariances {list(found.shape)} of {made_of}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
