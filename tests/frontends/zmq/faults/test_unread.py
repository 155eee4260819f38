"""Nobody reads the server's standard error (faults.md 22): after some jobs everything stood still, also SIGTERM."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ...wire.plain_client import PlainClient

SPEC: dict[str, Any] = {"width": 16, "height": 16, "steps": 1, "images": 1}
JOBS = 60  # four lines each, of a hundred bytes


@pytest.mark.parametrize("blocking", [True, False])
def test_the_log_is_not_read(words: list[str], tmp_path: Path, blocking: bool) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, blocking)
    flags = ["--listen", "tcp://127.0.0.1:0", "--data", str(tmp_path / "data"), "--metrics", "off", "--threads", "1"]
    flags += ["--http", "off"]
    server = subprocess.Popen(
        [sys.executable, "-m", "salon.frontends.cli", "serve", *flags, *words, "--grace", "1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=writer,
        text=True,
    )
    os.close(writer)
    try:
        assert server.stdout is not None
        found = re.search(r"SALON_SERVER='([^']+)'", server.stdout.readline())
        assert found is not None
        with PlainClient(found[1], timeout_s=120) as client:
            jobs = [client.submit(f"k{i}", "cat", seed=i, **SPEC)["job"] for i in range(JOBS)]
            for job in jobs:
                assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
        server.send_signal(signal.SIGTERM)
        assert server.wait(120) == 0
        with open(reader, closefd=False) as log:
            said = log.read()
        assert " accepted " in said
        assert len(said) <= 4096 + 1000
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()
        os.close(reader)
