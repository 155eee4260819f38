"""Connections never take the file descriptors that the server itself needs."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from salon.frontends.http import connections
from salon.frontends.zmq import descriptors

from ..wire.plain_client import Refused
from .conftest import Connect, Serve


@pytest.mark.parametrize(
    ("soft", "sessions"), [(1024, 440), (100, 16), (10**6, 20_000), (resource.RLIM_INFINITY, 20_000)]
)
def test_some_are_left_for_all_else(monkeypatch: pytest.MonkeyPatch, soft: int, sessions: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert descriptors.max_sessions() == sessions
    assert descriptors.HTTP >= connections.MOST


def test_who_comes_then_is_refused(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "MAX_SESSIONS", 2)
    monkeypatch.setattr(descriptors, "FEWEST", 1)
    server = serve()
    connect(server), connect(server)
    with pytest.raises(Refused, match="2 already") as info:
        connect(server)
    assert info.value.code == "busy"


def test_a_server_takes_what_it_may_have() -> None:
    code = """
import resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
from salon.frontends.zmq import main
from salon.frontends.zmq.options import ServeOptions
def stop(options):
    raise SystemExit(resource.getrlimit(resource.RLIMIT_NOFILE)[0] != hard)
main.ServiceContext = stop
import tempfile, pathlib
with tempfile.TemporaryDirectory() as folder:
    main.serve(ServeOptions(data=pathlib.Path(folder)))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0
