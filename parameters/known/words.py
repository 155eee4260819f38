"""How exactly the words of a prompt are to be taken."""

from __future__ import annotations

from ..kinds import Switch
from . import Parameter

PARAMETERS = (
    Parameter(
        "strict", ("--strict",), Switch(), "refuse a prompt of which anything would be left out or replaced", "",
        "write it alone, or drop it",
    ),
)  # fmt: skip
