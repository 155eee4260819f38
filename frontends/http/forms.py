"""Read forms with files (multipart/form-data) as they come, part by part, with bounds on everything."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from starlette.requests import Request

from ...bounds import MAX_REFERENCE_BYTES
from ...errors import complaint
from ...parameters.errors import ParameterError
from ...parameters.known import checked, parameters
from ...values import shown
from .bodies import MAX_PICTURES, PICTURES_S
from .errors import HttpRefused
from .reading import aside, parts_of

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a malformed form is refused, not logged

READ: Final = 1 << 20  # bytes of a form that are read at a time
MAX_PARTS: Final = 200
MAX_HEADERS: Final = 8  # of a part
MAX_HEADER: Final = 4096  # bytes of one
MAX_FIELD: Final = 1 << 17  # bytes of a field that is no file: a prompt of 12,000 characters has at most 48,000
_DATA: Final = ("n", "partial_images", "output_compression", "stream")  # fields that JSON has as numbers, yes or no


class Part(NamedTuple):
    """A part of a form.

    Attributes:
        name: of the field.
        file: name of the file; None: it is no file.
        data: its bytes.
    """

    name: str
    file: str | None
    data: bytes


class _Reader:
    """Takes a form's bytes as they come; `parts` are those that are whole."""

    def __init__(self, boundary: bytes) -> None:
        from python_multipart.multipart import MultipartParser

        self.parts: list[Part] = []
        self.whole = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._field, self._value = bytearray(), bytearray()
        self._name, self._data = "", bytearray()
        self._file: str | None = None
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin, "on_header_field": self._head, "on_header_value": self._say,
            "on_header_end": self._headed, "on_headers_finished": self._open, "on_part_data": self._add,
            "on_part_end": self._close, "on_end": self._end,
        }  # fmt: skip
        parser = MultipartParser(boundary, callbacks, max_header_count=MAX_HEADERS, max_header_size=MAX_HEADER)
        self.write = parser.write

    def _begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise _refused(f"more than {MAX_PARTS} parts", "fewer", "leave some out")
        self._headers, self._data = [], bytearray()
        self._name, self._file = "", None

    def _head(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _say(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _headed(self) -> None:
        self._headers.append((bytes(self._field).lower(), bytes(self._value)))
        self._field, self._value = bytearray(), bytearray()

    def _open(self) -> None:
        from python_multipart.multipart import parse_options_header

        said = dict(self._headers).get(b"content-disposition", b"")
        _, options = parse_options_header(said)
        if b"name" not in options:
            raise _refused("a part without a name", "one with `Content-Disposition: form-data; name=...`", "add it")
        self._name = options[b"name"].decode(errors="replace")
        self._file = options[b"filename"].decode(errors="replace") if b"filename" in options else None

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]
        most = MAX_FIELD if self._file is None else MAX_REFERENCE_BYTES
        if len(self._data) > most:
            field = self._name.removesuffix("[]")[:60]
            text = complaint(field, f"more than {most:,} bytes", f"up to {most:,}", "send less, or save it smaller")
            raise HttpRefused(text, status=413, param=field, code="too_large")

    def _close(self) -> None:
        self.parts.append(Part(self._name, self._file, bytes(self._data)))
        self._data = bytearray()

    def _end(self) -> None:
        self.whole = True


async def form_of(request: Request, take: Callable[[int], None]) -> list[Part]:
    """Return the parts of a form.

    Args:
        request: of which it is the body.
        take: of a `Room`.

    Raises:
        HttpRefused: it is no such form, is cut off, or is beyond a bound.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_options_header

    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
    try:
        if not boundary:
            raise _refused("a form without a boundary", "multipart/form-data; boundary=...", "leave it to your client")
        reader = _Reader(boundary)
        unread = bytearray()
        async for part in parts_of(request, MAX_PICTURES, PICTURES_S):
            take(len(part))
            unread += part
            if len(unread) >= READ:
                await aside(len(unread), reader.write, bytes(unread))
                unread.clear()
        await aside(len(unread), reader.write, bytes(unread))
    except FormParserError as error:
        got = f"no form ({' '.join(str(error).split())[:200]})"
        raise _refused(got, "one as RFC 7578 has it", "leave it to your client") from error
    if not reader.whole:
        raise _refused("a form that is cut off", "one up to its last boundary", "send it again")
    return reader.parts


def fields_of(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the fields of a form that are no files, in the types that JSON has for them.

    Raises:
        HttpRefused: one comes twice, without [] behind its name, or is no text.
    """
    texts = [part for part in parts if part.file is None]
    counts = Counter(part.name for part in texts)
    found: dict[str, Any] = {}
    for part in texts:
        name, many = part.name.removesuffix("[]"), part.name.endswith("[]")
        if counts[part.name] > 1 and not many or (name in found and not many):
            raise _wrong(name, "it twice", "it once", "drop one")
        try:
            text = part.data.decode()
        except UnicodeDecodeError:
            raise _wrong(name, "no text", "text in UTF-8", "correct it") from None
        if many:
            found.setdefault(name, []).append(_decoded(text))
        else:
            found[name] = _valued(name, text)
    return found


def _valued(name: str, text: str) -> Any:
    """Return the value that a field's text says: the text itself, or what it is as JSON where only that is allowed."""
    if name in _DATA:
        return _decoded(text)
    for value in (text, _decoded(text)) if name in parameters() else ():
        try:
            checked({name: value}, known=parameters())
        except ParameterError:
            continue
        return value
    return text


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _refused(got: str, allowed: str, remedy: str) -> HttpRefused:
    return HttpRefused(complaint("body", got, allowed, remedy))


def _wrong(field: str, got: str, allowed: str, remedy: str) -> HttpRefused:
    return HttpRefused(complaint(shown(field)[:60], got, allowed, remedy), param=field[:60])
