"""Pictures as part of a prompt, for what they show: a prompt may name them, and is refused for what is missing.

A picture's style is what `--sref` takes of it, by the style adapter that the model ships. What it shows, a character or
an object, no adapter of the embedded model was trained to keep.
"""

from __future__ import annotations

from ..kinds import Number
from ..pictures import Picture
from . import Parameter

CONTENT = "an adapter for what a picture shows, not only for its style"
REMEDY = "drop it; --sref draws in the style of a picture"

PARAMETERS = (
    Parameter(
        "image_weight", ("--iw",), Number(0, 3), "how much pictures in a prompt count", "1", REMEDY, missing=CONTENT,
    ),
    Parameter(
        "omni_reference", ("--oref",), Picture(), "a character or object to draw", "none", REMEDY, missing=CONTENT,
    ),
    Parameter("omni_weight", ("--ow",), Number(0, 1000), "how much --oref counts", "100", REMEDY, missing=CONTENT),
    Parameter(
        "character_reference", ("--cref",), Picture(), "a character to draw", "none", REMEDY, missing=CONTENT,
    ),
    Parameter("character_weight", ("--cw",), Number(0, 100), "how much --cref counts", "100", REMEDY, missing=CONTENT),
)  # fmt: skip
