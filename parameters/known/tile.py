"""Patterns."""

from __future__ import annotations

from ..kinds import Switch
from . import Parameter

PARAMETERS = (
    Parameter(
        "tile", ("--tile",), Switch(), "a pattern: each side goes on at the opposite one", "",
        conflicts=("image", "mask"),
    ),
)  # fmt: skip
