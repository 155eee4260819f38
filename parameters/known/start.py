"""From which picture, and which part of it."""

from __future__ import annotations

from ...bounds import MAX_FEATHER
from ..kinds import Number, Whole
from ..references import Picture
from . import Parameter

PARAMETERS = (
    Parameter("image", ("--image",), Picture(), "a picture to start from", "none", "name a picture's file"),
    Parameter(
        "image_strength", ("--strength",), Number(0, 1), "how much of it is drawn anew, none to all",
        "0.75; 1 with --mask", "0 is the picture itself, 1 is drawn as without it",
    ),
    Parameter(
        "mask", ("--mask",), Picture(), "a picture of the same size, white where pixels shall be new",
        "everywhere", "name a picture's file",
    ),
    Parameter(
        "feather", ("--feather",), Whole(0, MAX_FEATHER), "pixels around the mask in which old and new ones mix",
        "8", "0 is a sharp edge",
    ),
)  # fmt: skip
