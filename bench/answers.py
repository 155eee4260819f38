"""The child's side of `fleet.Child`: commands on stdin, answers on stdout, one JSON object a line."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path


def described(error: Exception) -> str:
    """Return what failed, and where, in one line: type, the whole message, and the innermost line of code."""
    message = " | ".join(line.strip() for line in str(error).splitlines() if line.strip())
    places = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(places[-1].filename).name}:{places[-1].lineno})" if places else ""
    return f"{type(error).__name__}{': ' if message else ''}{message}{place}"


def serve(worker: object) -> None:
    """Answer `{"do": METHOD, ...}` by what that method of `worker` returns, until stdin ends.

    What a library prints goes to stderr, since stdout carries answers only.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # a candidate may fail in any way; the failure becomes its row
            traceback.print_exc()
            answer = {"error": described(error)}
        print(json.dumps(answer), file=answers)
