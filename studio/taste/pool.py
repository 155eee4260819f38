"""Plan the pictures that are there to be ranked: groups of one thing in several styles."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ...bounds import RANDOM_SEEDS
from .types import PairPicture

GROUP: Final = 6  # pictures of one thing, each in a style of its own
FIRST: Final = 4  # groups with which ranking begins
MOST: Final = 64  # groups that are kept
EVENTS_A_GROUP: Final = 6  # answers of one account for which one more group is drawn
STEPS: Final = 8  # at most, of a picture that is there to be ranked: its style shows, and it is there soon
# What is drawn by a model that has no list of what it draws.
PLAIN_THINGS: Final = ("house", "tree", "cat", "boat", "chair", "mountain", "flower", "car", "bird", "cup", "bridge")
_KEY: Final = re.compile(r"pool:([0-9]+):([0-9]+)")


class Order(NamedTuple):
    """A picture to be drawn: the key of its job, its words, the number of its style, its seed."""

    key: str
    prompt: str
    style: int
    seed: int


class PoolPicture(NamedTuple):
    """A picture that can be ranked, and the number of its group."""

    picture: PairPicture
    group: int


def orders(group: int, things: Sequence[str]) -> list[Order]:
    """Return the pictures of a group by its number, from 0. The same number and things give the same pictures."""
    draw = random.Random(f"salon taste {group}")
    thing = draw.choice(things)
    seed = draw.randrange(RANDOM_SEEDS)  # the same for all, so that they differ by their style alone
    return [Order(f"pool:{group}:{at}", thing, draw.randrange(RANDOM_SEEDS), seed) for at in range(GROUP)]


def group_of(key: str) -> int | None:
    """Return the number of the group of a job's picture, by the job's key; None: it is of none."""
    match = _KEY.fullmatch(key)
    return int(match[1]) if match else None


def wanted(answered: int) -> int:
    """Return how many groups there should be for an account that has answered so many pairs."""
    return min(MOST, FIRST + answered // EVENTS_A_GROUP)
