"""Pictures as part of a prompt: how much they count, and what no adapter of the embedded model was trained to keep.

What a picture shows is where the drawing starts, and how it looks is a style (`engine/image_prompts.py`). Some models
were trained to look at pictures while they draw (`engine/references.py`); the embedded one was not, and a character or
an object in another place and pose would need an adapter of its own.
"""

from __future__ import annotations

from ...bounds import IMAGE_WEIGHT, MAX_IMAGE_PROMPTS, MAX_OMNI, MAX_STYLE
from ..kinds import Number, Switch
from ..references import OmniReferences, Picture, Pictures
from . import Parameter

CONTENT = "an adapter trained on characters and objects. A picture before the words draws from it, --sref in its style"

PARAMETERS = (
    Parameter(
        "image_prompts", (), Pictures(), f"up to {MAX_IMAGE_PROMPTS} pictures, which a prompt has before its words",
        "none", "bring the picture first", conflicts=("image",),
    ),
    Parameter(
        "image_weight", ("--iw",), Number(*IMAGE_WEIGHT), "how much the pictures before the words count", "1",
        "0 is none, 1 is usual",
    ),
    Parameter(
        "blend", ("--blend",), Switch(), "blend the pictures of a prompt that has no words", "", job_kinds=("imagine",)
    ),
    Parameter(
        "omni_reference", ("--oref",), OmniReferences(),
        f"up to {MAX_OMNI} pictures that the model looks at (FLUX.1 Kontext, FLUX.2, Qwen-Image-Edit)", "none",
        "name a picture's file", job_kinds=("imagine",),
    ),
    Parameter(
        "omni_weight", ("--ow",), Number(0, MAX_STYLE), "whether it looks at them: 100, or 0 for no", "100",
        "100 is usual", job_kinds=("imagine",),
    ),
    Parameter("character_reference", ("--cref",), Picture(), "a character to draw", "none", missing=CONTENT),
    Parameter("character_weight", ("--cw",), Number(0, 100), "how much it counts", "100", missing=CONTENT),
)  # fmt: skip
