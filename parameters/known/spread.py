"""How far from each other, and from the usual."""

from __future__ import annotations

from ...bounds import CHAOS, EXPERIMENTAL, WEIRD
from ..kinds import Number
from . import Parameter

PARAMETERS = (
    Parameter(
        "chaos", ("--chaos", "--c"), Number(*CHAOS), "how different the pictures of a grid are", "0",
        "0 is none, 100 is most",
    ),
    Parameter(
        "weird", ("--weird", "--w"), Number(*WEIRD), "how far from the usual", "0",
        "0 is none, 3000 is most",
    ),
    Parameter(
        "experimental", ("--exp",), Number(*EXPERIMENTAL), "more detail", "0",
        "0 is none, 100 is most",
    ),
)  # fmt: skip
