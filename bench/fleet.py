"""The parent's side of the processes that are measured: start, ask with a deadline, end."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from ..system import python_command
from .peers.base import Peer

STDERR_LINES = 4  # of a process that ended, in its error


class CandidateFailed(Exception):
    """A candidate's process answered with an error, ended, or took longer than it may."""


def last_lines(text: str, count: int = STDERR_LINES) -> str:
    """Return the last lines that have any text, in one, with " | " between them."""
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-count:])


class Child:
    """A process that answers commands, a JSON object a line. A context manager.

    Args:
        module: of this package, without its name; run with `arguments`.
        log: file for what it prints to standard error; its folder is made.
    """

    def __init__(self, module: str, arguments: Sequence[str], log: Path) -> None:
        self.module, self.arguments, self.log = module, arguments, log
        self.python = sys.executable
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.buffer = b""
        self._logged = 0  # bytes in the log before this process

    def environment(self) -> dict[str, str]:
        """Return the environment of the process."""
        return dict(os.environ)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start a fresh process (ending the one before)."""
        self.stop()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        log = open(self.log, "ab")  # noqa: SIM115  # handed to the process, closed below
        self._logged = log.tell()
        self.buffer = b""
        self.started_at = time.monotonic()
        with log:
            self.process = subprocess.Popen(
                python_command(f"{__package__}.{self.module}", *self.arguments, python=self.python),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment(),
            )

    def ask(self, do: str, *, timeout: float, **arguments: Any) -> dict[str, Any]:
        """Send one command and wait for its answer.

        After `timeout` seconds, end the process and raise CandidateFailed.
        """
        if self.process is None:
            self.start()
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            self.stop()
            raise CandidateFailed(f"its process ended before {do!r}{self._last_words()}") from error
        answer: dict[str, Any] = json.loads(self._line(do, timeout))
        if "error" in answer:
            raise CandidateFailed(str(answer["error"]))
        return answer

    def _line(self, do: str, timeout: float) -> bytes:
        assert self.process is not None
        assert self.process.stdout is not None
        end = time.monotonic() + timeout
        pipe = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], min(left, 3600.0))[0]:
                self.stop()
                raise CandidateFailed(f"no answer to {do!r} within {timeout:.0f} s{self._last_words()}")
            chunk = os.read(pipe, 65536)
            if not chunk:
                code = self.process.wait()
                self.stop()
                raise CandidateFailed(f"its process ended with code {code} during {do!r}{self._last_words()}")
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def _last_words(self) -> str:
        """Return what the process last printed to standard error, to stand behind an error."""
        with suppress(OSError), open(self.log, "rb") as log:
            log.seek(self._logged)
            if said := last_lines(log.read().decode(errors="replace")):
                return f"; its last lines: {said}"
        return ""

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is None:
            return
        process, self.process = self.process, None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        if process.poll() is None:
            try:
                process.wait(timeout=1.0)  # it leaves by itself when its stdin ends, unless it is busy
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Candidate(Child):
    """One candidate's process.

    Args:
        spec: see `worker.peer_class`.
        python: of the environment whose Salon is the candidate; "": this one.
    """

    def __init__(
        self, spec: str, peer: type[Peer], model: Path, cache: Path, job: Path, threads: int, python: str = ""
    ) -> None:
        super().__init__("worker", [spec, str(model), str(cache), str(job), str(threads)], cache / "log.txt")
        self.spec, self.peer, self.threads = spec, peer, threads
        self.cache = cache
        self.foreign = bool(python)
        self.python = python or self.python

    def environment(self) -> dict[str, str]:
        """Return an environment with one thread count for every library that reads it, and no tuning from this
        process."""
        dropped = ("OPENBLAS_", "TORCHINDUCTOR_", *(("PYTHONPATH", "VIRTUAL_ENV") if self.foreign else ()))
        kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        threads = str(self.threads)
        return {
            **kept,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "SALON_THREADS": threads,
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "TORCHINDUCTOR_CACHE_DIR": str(self.cache / "inductor"),
            **self.peer.environment,
        }
