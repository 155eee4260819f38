"""Parameters of the picture itself: size, number, seed."""

from __future__ import annotations

from ...bounds import MAX_IMAGES, MAX_SEED, MAX_SIDE, RANDOM_SEEDS
from ..kinds import Aspect, Whole, Words
from . import Parameter

PARAMETERS = (
    Parameter(
        "aspect", ("--ar", "--aspect"), Aspect(), "aspect ratio", "the model's, mostly 1:1",
        "write it like 16:9", conflicts=("width", "height"),
    ),
    Parameter(
        "seed", ("--seed",), Whole(0, RANDOM_SEEDS - 1, most_data=MAX_SEED), "same seed, same pictures",
        "random, and printed", "choose one of these, or leave it out for a random one",
    ),
    Parameter(
        "images", ("--n",), Whole(1, MAX_IMAGES), "pictures", "4",
        "run it again with another seed for more", implies=4,
    ),
    Parameter(
        "negative_prompt", (), Words(), "what guidance leads away from, in place of the model's unconditional input",
        "the model's own", "write words",
    ),
    Parameter("width", (), Whole(1, MAX_SIDE), "pixels, in place of an aspect", "the model's"),
    Parameter("height", (), Whole(1, MAX_SIDE), "pixels, in place of an aspect", "the model's"),
)  # fmt: skip
