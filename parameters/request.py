"""Turn a request's parameters into the fields of a spec, with the values that apply if the request states none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .known import checked, parameters
from .known.style import STYLIZE

OWN_STYLE = ("stylize", "raw", "style_references", "profile")


def fields_of(given: Mapping[str, Any], default_style: bool) -> dict[str, Any]:
    """Return the fields for `make_spec` of a request's parameters, with the values that a request implies.

    The default style applies at its usual strength unless the request states a strength or a style of its own, or the
    model has none. Requests from before there were styles do not pass through here, and stay as they were.

    Args:
        given: values by name; None counts as not given.
        default_style: whether the model has a style of its own.

    Raises:
        ParameterError: a name is unknown, or a value is out of range.
    """
    values = checked(given)
    for name, parameter in parameters().items():
        if parameter.implies is not None:
            values.setdefault(name, parameter.implies)
    if default_style and not values.keys() & set(OWN_STYLE):
        values["stylize"] = STYLIZE
    return values
