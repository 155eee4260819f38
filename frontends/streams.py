"""Make the three standard streams safe before anything else uses them.

A shell can close each of them (`2>&-`), point them to a full disk, or say that they take ASCII only. Salon must not
lose pictures for that, nor write into a file that got the number of a closed stream.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import Any, Final

STDOUT: Final = "standard output"  # the `filename` of errors of that stream
_ERRORS: Final = "salon.streams"


def prepare() -> None:
    """Put /dev/null in place of closed streams, and let no character and no lost note end the command.

    On standard output, a path that is not UTF-8 is written byte for byte, and other characters that its encoding lacks
    as escapes; an error has `STDOUT` as its file name. Standard error takes every character, and drops what cannot be
    written there. Streams that are not the process's own (those of tests) stay as they are.
    """
    _fill()
    codecs.register_error(_ERRORS, _escape)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  # open for as long as the process
    sys.stdout = _renewed(sys.stdout, 1, _Output)
    sys.stderr = _renewed(sys.stderr, 2, _Notes)


def silence() -> None:
    """Discard what is still to be written to standard output: writing failed, and would fail again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def is_output(error: OSError) -> bool:
    """Return whether writing to standard output failed."""
    return bool(error.filename == STDOUT)


class _Output(io.TextIOWrapper):
    """Standard output, whose errors carry its name."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            error.filename = STDOUT
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            error.filename = STDOUT
            raise


class _Notes(io.TextIOWrapper):
    """Standard error, for notes that may get lost."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _fill() -> None:
    """Open /dev/null on closed descriptors among 0 to 2, so that no file gets their numbers."""
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(null, True)
    os.close(null)


def _renewed(stream: Any, file: int, kind: type[io.TextIOWrapper]) -> Any:
    encoding = "utf-8"
    if stream is not None:
        try:
            if type(stream) is not io.TextIOWrapper or stream.fileno() != file:
                return stream
        except (OSError, ValueError):
            return stream
        encoding = stream.encoding
        stream.flush()
    with suppress(OSError):
        os.set_blocking(file, True)  # the parent process may have set it otherwise, and half a line would be lost
    lines = kind is _Notes or os.isatty(file) or bool(os.environ.get("PYTHONUNBUFFERED"))
    return kind(open(file, "wb", closefd=False), encoding, _ERRORS, line_buffering=lines)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode what the encoding lacks: bytes that Python has hidden in a text, or else escapes, like \\u732b."""
    if isinstance(error, UnicodeEncodeError):
        hidden = error.object[error.start]
        if "\udc80" <= hidden <= "\udcff":
            return bytes([ord(hidden) - 0xDC00]), error.start + 1
        one = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
        return codecs.backslashreplace_errors(one)
    raise error
