"""How much work a picture is."""

from __future__ import annotations

from ...bounds import PROGRESSIVE, QUALITIES, STOP
from ..kinds import Number, Switch, WholeOf
from . import Parameter

PARAMETERS = (
    Parameter(
        "quality", ("--quality", "--q"), WholeOf(QUALITIES), "times the steps", "1",
        "choose one of these",
    ),
    Parameter(
        "stop", ("--stop",), Number(*STOP, metavar="PERCENT"), "end part-way, after so much of the steps", "100",
        "100 is the whole way",
    ),
    Parameter(
        "progressive", ("--progressive",), Number(*PROGRESSIVE, metavar="PERCENT"),
        "so much of the steps at half the sides first", "0", "0 is none", conflicts=("image", "mask", "tile"),
    ),
    Parameter(
        "draft", ("--draft",), Switch(), "with the model's settings for drafts, in any lane", "",
        conflicts=("steps", "solver", "shift"),
    ),
)  # fmt: skip
