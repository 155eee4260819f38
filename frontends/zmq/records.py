"""Write log lines with fields, as text or JSON. No prompt is ever logged."""

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

MANY: Final = 1000  # lines that may wait for a reader
FLUSH_S: Final = 1.0  # how long the end waits for lines to be written

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def _when(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class TextLines(logging.Formatter):
    """The format `2026-01-02T03:04:05.678Z info salon.server accepted job=… lane=fast`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
        line = f"{_when(record)} {record.levelname.lower()} {record.name} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """The format of one JSON object a line."""

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
    """Writes lines to a file descriptor from a thread of its own, so that no other thread waits for the lines' reader.

    When more than `MANY` lines wait, further ones are dropped. A line tells their number as soon as lines can be
    written again.

    Args:
        file: the descriptor, which must stay open as long as this lives.

    Attributes:
        dropped: number of lines that were dropped since the start.
    """

    def __init__(self, file: int) -> None:
        super().__init__()
        self.dropped = 0
        self._file = file
        self._reported = 0  # how many of the dropped lines a line has reported
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._writing = False
        start_thread(self._work, name="salon-log")

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line to be written soon, or drop it."""
        try:
            line = self.format(record).encode(errors="backslashreplace") + b"\n"
        except Exception:  # `format` runs the `__str__` of any argument, and a line of a log must stop no server
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
        """Wait until all lines are written, `FLUSH_S` at most."""
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
                missed = self.dropped - self._reported
                self._reported += missed
            if missed:
                text = "log lines were dropped: nobody read them"
                made = logging.makeLogRecord({"name": "salon.server", "levelname": "WARNING", "msg": text})
                made.lines = missed
                line += self.format(made).encode() + b"\n"
            try:
                self._write(line)
            except OSError:  # the reader is gone
                with self._changed:
                    self.dropped += 1

    def _write(self, line: bytes) -> None:
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._file, left) :]
            except BlockingIOError:  # the program that started this one has set the descriptor so
                select.select([], [self._file], [])


def dropped_lines() -> int:
    """Return how many log lines were dropped since the start because no reader read them."""
    return sum(handler.dropped for handler in logging.getLogger("salon").handlers if isinstance(handler, Lines))


def set_up_logging(*, json: bool, level: int = logging.INFO) -> None:
    """Send Salon's log lines to standard error, without ever waiting for its reader."""
    try:
        handler: logging.Handler = Lines(sys.stderr.fileno())
    except (OSError, ValueError):  # a stream without a file, of a test or of a program that captures it
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if json else TextLines())
    root = logging.getLogger("salon")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False


def _word(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(sign.isspace() or sign in '"=' for sign in text) else text
