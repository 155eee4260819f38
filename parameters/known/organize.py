"""The parameter that stands for others, which the account keeps under a name."""

from __future__ import annotations

from ..presets import PresetName
from . import Parameter

PARAMETERS = (
    Parameter(
        "preset", ("--preset",), PresetName(), "the parameters that you keep under a name, on a server", "none",
        "name one as `salon preset list` does", of_job=True,
    ),
)  # fmt: skip
