"""The parameter of LoRAs: files that change the model for a request."""

from __future__ import annotations

from ...bounds import MAX_LORAS
from ..loras import Loras
from . import Parameter

PARAMETERS = (
    Parameter(
        "loras", ("--lora",), Loras(), f"up to {MAX_LORAS} LoRAs, as FILE:WEIGHT, with a server also NAME:WEIGHT",
        "none", "name a file, or one that the server has",
    ),
)  # fmt: skip
