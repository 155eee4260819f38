"""Pictures as part of a prompt, for what they show: known by name, and refused with what is missing for them.

A picture's style is what `--sref` takes of it, by the style adapter that the model ships. What it shows, a character or
an object, no adapter of the embedded model was trained to keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import complaint
from ...values import shown
from ..errors import ParameterError
from . import Parameter

CONTENT = "the model has no adapter for what a picture shows, only for its style"


@dataclass(frozen=True)
class Missing:
    """Values that no model here can serve; each is refused.

    Attributes:
        what: what is missing for them.
        metavar: see `Kind`.
    """

    what: str
    metavar: str = "X"
    many: bool = False
    short: str = "not yet"

    @property
    def allowed(self) -> str:
        """What is allowed: nothing yet, and why."""
        return f"nothing yet: {self.what}"

    def read(self, flag: str, text: str, remedy: str) -> Any:
        """Refuse text; see `Kind`."""
        return self.check(flag, text, remedy)

    def check(self, name: str, value: Any, remedy: str) -> Any:
        """Refuse a value; see `Kind`."""
        got = value if not isinstance(value, str) or len(value) <= 40 else value[:40] + "..."
        raise ParameterError(complaint(name, shown(got), self.allowed, remedy))

    def write(self, value: Any) -> str:
        """Return the value as text; see `Kind`."""
        return str(value)


PARAMETERS = (
    Parameter(
        "image_weight", ("--iw",), Missing(CONTENT), "how much a picture in the prompt counts", "1",
        "drop it; --sref draws in the style of a picture",
    ),
    Parameter(
        "omni_reference", ("--oref",), Missing(CONTENT, "IMG"), "a character or object to draw", "none",
        "drop it; --sref draws in the style of a picture",
    ),
    Parameter(
        "omni_weight", ("--ow",), Missing(CONTENT), "how much it counts", "100", "drop it, like --oref",
    ),
    Parameter(
        "character_reference", ("--cref",), Missing(CONTENT, "IMG"), "a character to draw", "none",
        "drop it; --sref draws in the style of a picture",
    ),
    Parameter(
        "character_weight", ("--cw",), Missing(CONTENT), "how much it counts", "100", "drop it, like --cref",
    ),
)  # fmt: skip
