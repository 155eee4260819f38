"""The child's side of `fleet.Child`: commands on stdin, answers on stdout, one JSON object a line."""

from __future__ import annotations

import json
import os
import sys
import traceback


def serve(worker: object) -> None:
    """Answer `{"do": METHOD, ...}` by what that method of `worker` returns, until stdin ends. Whatever a library prints
    goes to stderr: stdout carries answers only."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # a candidate may fail in any way; the failure becomes its row
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"}
        print(json.dumps(answer), file=answers)
