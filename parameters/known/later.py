"""Names that stand for what is not made yet: a prompt may have them, and is refused for what is missing."""

from __future__ import annotations

from ..kinds import OneOf, Switch, Words
from ..references import Picture
from . import Parameter

VIDEO, VERSIONS = "video", "a choice of models"

PARAMETERS = (
    Parameter("video", ("--video",), Switch(), "clips in place of pictures", "", missing=VIDEO),
    Parameter("loop", ("--loop",), Switch(), "clips that end where they begin", "", missing=VIDEO),
    Parameter("end", ("--end",), Picture(), "the last frame of a clip", "none", "name one", missing=VIDEO),
    Parameter(
        "motion", ("--motion",), OneOf(lambda: ("low", "high")), "how much moves in a clip", "low",
        "choose one of these", missing=VIDEO,
    ),
    Parameter(
        "batch_size", ("--bs",), OneOf(lambda: ("1", "2", "4")), "clips", "4", "choose one of these", missing=VIDEO
    ),
    Parameter(
        "model_version", ("--v",), Words(64, "MODEL", to_end=False), "which model", "the server's", missing=VERSIONS
    ),
)  # fmt: skip
