"""Define the errors of a request's parameters."""

from __future__ import annotations

from ..errors import SalonError


class ParameterError(SalonError):
    """A parameter that does not exist, or a value that it does not take."""
