"""A real server process, to be killed, stopped and started again in the same folder and on the same port."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from ...system import python_command

START_S: Final = 180.0  # bounds for a machine that many share: a tenth is plenty on one that is free
END_S: Final = 120.0
_ADDRESS: Final = re.compile(rb"SALON_SERVER='([^']+)'")


class ServerFailed(Exception):
    """The server did not start, or did not end, in time."""


class HeldPort:
    """A free TCP port of this machine: the system gives it to no other process, also while no server listens there.

    A server is started again on its port; in between, any program that asks for a free one could have got it.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # lets a server, which sets it too, listen
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Let the port go."""
        self._socket.close()


class ServerProcess:
    """`salon serve` in a folder. A context manager; nothing of it is left afterwards.

    Args:
        folder: for its data (`data`), configuration and log; made.
        options: further words of `salon serve`.
        grace_s: that running jobs get at SIGTERM.
        environment: added to that of this process.
        data: instead of `folder/data`.

    Attributes:
        address: as a client wants it, once it was started; it stays the same.
        temporary: its folder for temporary files, which is empty while no server runs.
    """

    def __init__(
        self,
        folder: Path,
        options: Sequence[str] = (),
        *,
        grace_s: float = 0.1,
        environment: dict[str, str] | None = None,
        data: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.options, self.data = folder, list(options), data or folder / "data"
        self.temporary = Path(tempfile.mkdtemp(prefix="salon-faults-"))  # short: the path of a socket is bounded
        self.grace_s, self.environment = grace_s, environment or {}
        self.address = ""
        self.starts = 0
        self._port = HeldPort()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exception: object) -> None:
        self.kill()
        for pid in self.strays():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self._port.close()

    @property
    def log(self) -> Path:
        """What it wrote to standard error, in all its lives."""
        return self.folder / "log.txt"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *more: str) -> Self:
        """Start the server, and wait until it listens. `more` are options of this start only.

        Raise ServerFailed if it does not listen in time.
        """
        assert not self.running
        words = ["--listen", f"tcp://127.0.0.1:{self._port.number}", "--data", str(self.data), "--metrics", "off"]
        words += ["--threads", "1", "--grace", f"{self.grace_s:g}", *self.options, *more]
        own = {"TMPDIR": str(self.temporary), "XDG_CONFIG_HOME": str(self.folder / "config"), "SALON_KEY": ""}
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                python_command(f"{__package__.split('.')[0]}.frontends.cli", "serve", *words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **own, **self.environment},
            )
        self.starts += 1
        self.address = self._read_address()
        return self

    def _read_address(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        end, said = time.monotonic() + START_S, b""
        while not (found := _ADDRESS.search(said)):
            ready = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))[0]
            part = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not part:
                self.kill()
                raise ServerFailed(f"no address within {START_S:g} s: {self.log.read_text(errors='replace')[-2000:]}")
            said += part
        return found[1].decode()

    def kill(self) -> None:
        """Kill the server (SIGKILL), if it runs, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(END_S)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def signal(self, number: int) -> None:
        """Send the server a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, timeout_s: float = END_S) -> int:
        """Wait until the server has ended, and return its exit code. Raise ServerFailed if it does not end in time."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ServerFailed(f"it did not end within {timeout_s:g} s") from error
        self.kill()
        return code

    def stop(self) -> int:
        """Stop the server (SIGTERM), wait, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.end()

    # ---- looking at it ---------------------------------------------------------------------------------------------

    def workers(self) -> list[int]:
        """Return the process ids of its workers."""
        return [pid for pid in self._ours() if _parent(pid) == self.pid]

    def strays(self) -> list[int]:
        """Return worker processes of a server that is gone."""
        parent = self._process.pid if self._process is not None else -1
        return [pid for pid in self._ours() if _parent(pid) != parent]

    def leftovers(self, timeout_s: float = END_S) -> list[str]:
        """Return what workers and temporary files are left after some time, with no server running.

        Empty, if all is well.
        """
        end = time.monotonic() + timeout_s
        while True:
            left = [f"process {pid}" for pid in self._ours()] + sorted(map(str, self.temporary.rglob("*")))
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.05)

    def rss(self) -> int:
        """Return the bytes of memory of the server's own process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ServerFailed("it has no memory")

    def _ours(self) -> list[int]:
        mark = f"ipc://{self.temporary}/".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if mark in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1
