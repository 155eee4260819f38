"""Parameters of style: the styles to draw in, and how strongly."""

from __future__ import annotations

from ...bounds import MAX_REFERENCES, MAX_STYLE, STYLE_VERSIONS
from ..kinds import Number, Switch, WholeOf
from ..references import References
from . import Parameter, Spelling

PARAMETERS = (
    Parameter(
        "stylize", ("--s", "--stylize"), Number(0, MAX_STYLE), "strength of the model's default style",
        "100; 0 with --sref", "0 is none, 100 is usual",
    ),
    Parameter(
        "raw", ("--raw",), Switch(), "without the model's default style", "",
        spellings=(Spelling("--style", True, "raw"),), conflicts=("stylize",),
    ),
    Parameter(
        "style_references", ("--sref",), References(),
        f"styles of up to {MAX_REFERENCES} pictures, numbers or `random`, as STYLE::WEIGHT",
        "none", "name a picture or a number",
    ),
    Parameter(
        "style_weight", ("--sw",), Number(0, MAX_STYLE), "strength of the style references", "100",
        "0 is none, 100 is usual",
    ),
    Parameter(
        "style_version", ("--sv",), WholeOf(STYLE_VERSIONS), "which reading of style references", "1",
        "there is one version: drop it",
    ),
)  # fmt: skip
STYLIZE = 100.0  # strength of the default style in a request that states no style
