"""What only jobs that make something of a picture take."""

from __future__ import annotations

from ...bounds import MAX_PLACE
from ..kinds import Box, Number, OneOf, Switch
from . import Parameter

SIDES = ("left", "right", "up", "down")
ZOOM = (1.0, 2.0)

PARAMETERS = (
    Parameter("strong", ("--strong",), Switch(), "change more of the picture", "", job_kinds=("vary",)),
    Parameter("creative", ("--creative",), Switch(), "draw detail anew", "", job_kinds=("upscale",)),
    Parameter(
        "zoom", ("--zoom",), Number(*ZOOM), "how many times as much is shown around the picture", "2",
        "1 shows no more, 2 twice as much", job_kinds=("zoom",),
    ),
    Parameter(
        "place", ("--place",), Box(MAX_PLACE), "where the picture lies on the canvas, perhaps beyond it",
        "all of it, in the middle", "write it like 16,0,96,96", job_kinds=("edit",),
    ),
    Parameter(
        "side", ("--side",), OneOf(lambda: SIDES), "where the picture goes on", "right",
        "choose one of these", job_kinds=("pan",),
    ),
)  # fmt: skip
