"""Make requests to servers that are older than this client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...errors import complaint
from ..wire.messages import Failure, Submit
from .errors import RequestFailed, failed

NOTHING: Final = {"stylize": 0.0, "raw": True}  # values that ask for what such a server does anyway


def as_before(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as the fields that `Submit` had before there were parameters.

    Raises:
        Unsupported: `Submit` has no such field.
    """
    fields = {}
    for name, value in parameters.items():
        if name in Submit.__struct_fields__:
            fields[name] = value
        elif NOTHING.get(name) != value:
            raise unsupported(name)
    return fields


def unsupported(what: str) -> RequestFailed:
    """Return the error for a request that the server is too old for."""
    text = complaint(
        "server", what, "what it knows (it is older than this client)", "leave it out, or update the server"
    )
    return failed(Failure(code="unsupported", kind="Unsupported", text=text))
