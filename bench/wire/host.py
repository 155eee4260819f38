"""The server that is measured: `salon serve` in a process of its own, on a free port of loopback."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

from ...system import python_command

START_S = 60.0
PLANS = Path(__file__).resolve().parents[2] / "scheduler" / "plans.toml"
ROOM = 100_000  # jobs that may wait: what is measured is how they are accepted, not when they would be refused


class HostFailed(Exception):
    """The server did not start."""


def rss_bytes(process: int) -> int:
    """Return the resident memory of a process now."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


class Host:
    """A server over the embedded model. A context manager.

    Args:
        folder: of its data, keys, plans and log; kept from one start to the next.
        threads: of its engine.
        curve: encrypted; every key gets an account.
        with_http: it answers HTTP, too.

    Attributes:
        address: as clients want it; the fragment is the server's key.
        http: where it answers HTTP; "": nowhere.
    """

    def __init__(self, folder: Path, threads: int, *, curve: bool = False, with_http: bool = False) -> None:
        self.folder, self.threads, self.curve, self.with_http = folder, threads, curve, with_http
        self.data = folder / "data"
        self.address = self.http = ""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Host:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> Host:
        """Start the server, and wait until it listens. Raise HostFailed if it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plans = self.folder / "plans.toml"
        plans.write_text(PLANS.read_text().replace("queued = 1_000\n", f"queued = {ROOM}\n"))
        flags = ["--listen", "tcp://127.0.0.1:0", "--data", str(self.data), "--plans", str(plans), "--metrics", "off"]
        flags += ["--threads", str(self.threads), "--grace", "0"]
        flags += ["--http", "127.0.0.1:0" if self.with_http else "off"]
        everybody = ["--curve", "--open", "--open-plan", "unlimited", "--open-accounts", str(ROOM), "--rate", "0"]
        flags += everybody if self.curve else ["--no-curve"]
        with open(self.folder / "log.txt", "ab") as log:
            self.process = subprocess.Popen(
                python_command(f"{__package__.split('.')[0]}.frontends.cli", "serve", *flags),
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "XDG_CONFIG_HOME": str(self.folder / "config")},
            )
        self.address = self._listening()
        return self

    def _listening(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        pipe, end, text = self.process.stdout.fileno(), time.monotonic() + START_S, ""
        http = None
        while (found := re.search(r"SALON_SERVER='([^']+)'", text)) is None or (self.with_http and http is None):
            ready = select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]
            part = os.read(pipe, 65536) if ready else b""
            if not part:
                self.stop()
                tail = (self.folder / "log.txt").read_text().strip().splitlines()[-1:]
                raise HostFailed(f"the server did not start within {START_S:g} s: {' '.join(tail)}")
            text += part.decode()
            http = re.search(r"http://127\.0\.0\.1:[0-9]+", text)
        self.http = "" if http is None else http[0]
        return found[1]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> None:
        """End it, if it runs."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.stdout is not None:
            process.stdout.close()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def remove(self) -> None:
        """Remove its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
