"""Parameters of style: the styles to draw in, and how strongly."""

from __future__ import annotations

from ...bounds import MAX_REFERENCES, MAX_STYLE
from ..kinds import Number, Switch
from ..references import References
from . import Parameter

PARAMETERS = (
    Parameter(
        "stylize", ("--s", "--stylize"), Number(0, MAX_STYLE), "strength of the model's default style",
        "100; 0 with --sref", "0 is none, 100 is usual",
    ),
    Parameter("raw", ("--raw",), Switch(), "without the model's default style", ""),
    Parameter(
        "style_references", ("--sref",), References(),
        f"styles of up to {MAX_REFERENCES} pictures, numbers or `random`, as STYLE::WEIGHT",
        "none", "name a picture or a number",
    ),
    Parameter(
        "style_weight", ("--sw",), Number(0, MAX_STYLE), "strength of the style references", "100",
        "0 is none, 100 is usual",
    ),
)  # fmt: skip
STYLIZE = 100.0  # strength of the default style in a request that states no style
