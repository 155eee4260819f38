"""Pictures as part of a prompt, for what they show: known by name, and refused with what is missing for them.

A picture's style is what `--sref` takes of it, by the style adapter that the model ships. What it shows, a character or
an object, no adapter of the embedded model was trained to keep.
"""

from __future__ import annotations

from ...bounds import MAX_STYLE
from ..kinds import Number
from ..pictures import Picture
from . import Parameter

CONTENT = "an adapter for what a picture shows; --sref draws in its style, --image starts from it"

PARAMETERS = (
    Parameter(
        "image_weight", ("--iw",), Number(0, 3), "how much a picture in the prompt counts", "1", missing=CONTENT
    ),
    Parameter("omni_reference", ("--oref",), Picture(), "a character or object to draw", "none", missing=CONTENT),
    Parameter("omni_weight", ("--ow",), Number(0, MAX_STYLE), "how much it counts", "100", missing=CONTENT),
    Parameter("character_reference", ("--cref",), Picture(), "a character to draw", "none", missing=CONTENT),
    Parameter("character_weight", ("--cw",), Number(0, 100), "how much it counts", "100", missing=CONTENT),
)  # fmt: skip
