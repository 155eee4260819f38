"""The parameter of taste: whose, in place of the model's own."""

from __future__ import annotations

from ..profiles import Profiles
from . import Parameter

PARAMETERS = (
    Parameter(
        "profile", ("--p", "--profile"), Profiles(),
        "in the taste of a profile: your own, or NAME, CODE, m and an id, @USER, as NAME::WEIGHT",
        "none", "name one as `salon profile list` does, or write --p alone",
    ),
)  # fmt: skip
