"""The wire's records as JSON: what a program may ask over ZeroMQ, a page may ask by the same name."""

from __future__ import annotations

from typing import Any, Final, cast, get_args

import msgspec

from ...errors import complaint
from ...values import shown
from ..wire import messages as m
from ..wire.checks import check
from ..zmq.answers import OF_A_CONNECTION
from .errors import HttpRefused

# tag -> its record. What a connection has to itself has other ways here, and files come as they are.
KINDS: Final[dict[str, type[m.Record]]] = {
    str(kind.__struct_config__.tag): kind
    for kind in get_args(m.Request)
    if kind not in OF_A_CONNECTION and kind is not m.Upload
}
INSTEAD: Final = {
    "hello": "GET /api/session", "ping": "GET /healthz", "watch": "GET /api/events", "unwatch": "GET /api/events",
    "fetch": "GET /api/pictures/JOB/INDEX", "credit": "GET /api/pictures/JOB/INDEX", "bye": "DELETE /api/session",
    "upload": "POST /api/references",
}  # fmt: skip


def request_of(tag: str, body: bytes) -> m.Request:
    """Return the request that a body's fields make, every field in its range.

    Args:
        tag: the record's `type` on the wire.
        body: a JSON object of its fields; bytes are base64. Empty: none.

    Raises:
        HttpRefused: there is no such record here, or the body is none of its kind.
        BadMessage: a field is out of range.
    """
    kind = KINDS.get(tag)
    if kind is None:
        if tag in INSTEAD:
            raise HttpRefused(complaint("path", f"/api/{tag}", INSTEAD[tag], "ask that way"), code="invalid")
        text = complaint("path", f"/api/{shown(tag)[1:41]}", "records of docs/wire.md", "use one of these")
        raise HttpRefused(text, status=404, code="unsupported")
    try:
        request = msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = "text that is not UTF-8" if isinstance(error, UnicodeDecodeError) else _line(str(error))
        text = complaint("body", why, f"a JSON object of the fields of {tag!r}", "correct it")
        raise HttpRefused(text, code="invalid") from error
    asked = cast(m.Request, request)  # each of KINDS is one of that union
    check(asked)
    return asked


def json_of(record: m.Record) -> bytes:
    """Return a record as JSON, with its `type` and every field, those with default values too; bytes are base64."""
    return msgspec.json.encode(_plain(record))


def _plain(value: Any) -> Any:
    """Return a value with its records as dicts: on the wire these leave out defaults, which a page does not know."""
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        fields = {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
        return fields if tag is None else {"type": tag, **fields}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value] if value and not isinstance(value[0], str | int) else value
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _line(text: str) -> str:
    """Return the beginning of an error's text, without line breaks, since it may repeat what came."""
    return text[:160].encode("unicode_escape").decode("ascii")
