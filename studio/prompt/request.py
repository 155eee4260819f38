"""What a request says, and what holds where it says nothing, become the fields of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .parameters import checked, parameters
from .parameters.style import STYLIZE

if TYPE_CHECKING:
    from ...engine.styles.choice import StyleInfo

OWN_STYLE = ("stylize", "raw", "style_references")


def fields_of(given: Mapping[str, Any], styles: StyleInfo | None) -> dict[str, Any]:
    """Return the fields for `make_spec` of a request's parameters, with what a request implies where nobody says.

    The default style is drawn in at its usual strength unless the request names a strength or a style of its own, or
    the model has none. Requests from before there were styles do not come here, and stay as they were.

    Args:
        given: by name; those that are None count as not given.
        styles: what the model knows of styles; None: nothing.

    Raises:
        ParameterError: an unknown name or a value out of range.
    """
    values = checked(given)
    for name, parameter in parameters().items():
        if parameter.implies is not None:
            values.setdefault(name, parameter.implies)
    if styles is not None and styles.stylize and not values.keys() & set(OWN_STYLE):
        values["stylize"] = STYLIZE
    return values
