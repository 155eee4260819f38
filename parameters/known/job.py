"""How a job is done: in which lane, seen by whom, how often."""

from __future__ import annotations

from ...bounds import LANES, MAX_REPEAT
from ..kinds import OneOf, Switch, Whole
from . import Parameter, Spelling

DRAFT = "draft"  # the lane of a request for a draft that names no other; the flag is `effort.draft`

PARAMETERS = (
    Parameter(
        "lane", ("--lane",), OneOf(lambda: LANES), "lane, on a server", "fast", "choose one of these",
        spellings=tuple(Spelling(f"--{lane}", lane) for lane in LANES if lane != DRAFT), of_job=True,
    ),
    Parameter(
        "private", ("--private", "--stealth"), Switch(), "shown to nobody else, on a server", "", "write it alone",
        spellings=(Spelling("--public", False),), of_job=True,
    ),
    Parameter(
        "repeat", ("--repeat", "--r"), Whole(1, MAX_REPEAT), "jobs of the same prompt", "1",
        "submit it again for more", conflicts=("seed",), of_job=True,
    ),
)  # fmt: skip
