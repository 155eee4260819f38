"""Log lines with fields, as text or JSON. No prompt is ever logged."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Final

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


def set_up_logging(*, json: bool, level: int = logging.INFO) -> None:
    """Salon's log lines go to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if json else TextLines())
    root = logging.getLogger("salon")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False


def _word(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(sign.isspace() or sign in '"=' for sign in text) else text
