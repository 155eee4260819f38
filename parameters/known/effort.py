"""How much work a picture is."""

from __future__ import annotations

from ...bounds import QUALITIES, STOP
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
        "draft", ("--draft",), Switch(), "with the model's settings for drafts, in any lane", "",
        conflicts=("steps", "solver", "shift"),
    ),
)  # fmt: skip
