"""What guidance follows beside the prompt, and what it leads away from."""

from __future__ import annotations

from ...bounds import TERM_WEIGHT
from ..kinds import Number, Words
from ..weights import WeightedTexts
from . import Parameter

PARAMETERS = (
    Parameter(
        "no", ("--no",), Words(metavar="THINGS"), "what to leave out, with commas between", "nothing",
        'write words, like "red, a hat"',
    ),
    Parameter(
        "terms", (), WeightedTexts(), "texts beside the prompt; a weight below 0 leads away", "none",
        'write pairs like ("a dog", 0.5)',
    ),
    Parameter("prompt_weight", (), Number(*TERM_WEIGHT), "the prompt's own weight beside `terms`", "1"),
)  # fmt: skip
