"""What a request says, and what holds where it says nothing, become the fields of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .known import checked, parameters
from .known.style import STYLIZE

OWN_STYLE = ("stylize", "raw", "style_references")


def fields_of(given: Mapping[str, Any], default_style: bool) -> dict[str, Any]:
    """Return the fields for `make_spec` of a request's parameters, with what a request implies where nobody says.

    The default style is drawn in at its usual strength unless the request names a strength or a style of its own, or
    the model has none. Requests from before there were styles do not come here, and stay as they were.

    Args:
        given: by name; those that are None count as not given.
        default_style: the model has a style of its own.

    Raises:
        ParameterError: an unknown name or a value out of range.
    """
    values = checked(given)
    for name, parameter in parameters().items():
        if parameter.implies is not None:
            values.setdefault(name, parameter.implies)
    if default_style and not values.keys() & set(OWN_STYLE):
        values["stylize"] = STYLIZE
    return values
