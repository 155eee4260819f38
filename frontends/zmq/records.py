"""Log lines with fields, as text or JSON. No prompt is ever logged."""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from typing import Any, Final

from ...studio.threads import start_thread

MANY: Final = 1000  # lines that wait for a reader
FLUSH_S: Final = 1.0  # at the end

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def _when(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class TextLines(logging.Formatter):
    """`2026-01-02T03:04:05.678Z info salon.server accepted job=… lane=fast`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
        line = f"{_when(record)} {record.levelname.lower()} {record.name} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": _when(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line | _fields(record), default=str)


class Lines(logging.Handler):
    """Writes lines to a file descriptor from a thread of its own: whoever logs never waits for whoever reads.

    When more than `MANY` lines wait, further ones are dropped; how many is said as soon as there is room again.

    Args:
        file: open as long as this is.

    Attributes:
        dropped: lines, since the start.
    """

    def __init__(self, file: int) -> None:
        super().__init__()
        self.dropped = 0
        self._file = file
        self._told = 0  # of those that were dropped
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._writing = False
        start_thread(self._work, name="salon-log")

    def emit(self, record: logging.LogRecord) -> None:
        """Have it written soon, or drop it."""
        try:
            line = self.format(record).encode(errors="backslashreplace") + b"\n"
        except Exception:  # a message and arguments that do not agree: a bug, and no reason to stop
            with self._changed:
                self.dropped += 1
            return
        with self._changed:
            if len(self._waiting) >= MANY:
                self.dropped += 1
                return
            self._waiting.append(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all is written, `FLUSH_S` at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._writing, FLUSH_S)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                while not self._waiting:
                    self._changed.wait()  # ended by `emit`; the thread is a daemon, and ends with the process
                line = self._waiting.popleft()
                self._writing = True
                missed = self.dropped - self._told
                self._told += missed
            if missed:
                text = "log lines were dropped: nobody read them"
                made = logging.makeLogRecord({"name": "salon.server", "levelname": "WARNING", "msg": text})
                made.lines = missed
                line += self.format(made).encode() + b"\n"
            try:
                self._write(line)
            except OSError:  # nobody reads any more
                with self._changed:
                    self.dropped += 1

    def _write(self, line: bytes) -> None:
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._file, left) :]
            except BlockingIOError:  # whoever started us left it like that
                select.select([], [self._file], [])


def dropped_lines() -> int:
    """Log lines that nobody read and that were dropped, since the start."""
    return sum(handler.dropped for handler in logging.getLogger("salon").handlers if isinstance(handler, Lines))


def set_up_logging(*, json: bool, level: int = logging.INFO) -> None:
    """Send Salon's log lines to standard error, without ever waiting for its reader."""
    try:
        handler: logging.Handler = Lines(sys.stderr.fileno())
    except (OSError, ValueError):  # no file: that of a test, or of a program that catches it
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if json else TextLines())
    root = logging.getLogger("salon")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False


def _word(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(sign.isspace() or sign in '"=' for sign in text) else text
