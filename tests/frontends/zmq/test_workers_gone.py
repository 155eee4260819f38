"""Without workers a server ends, for somebody to start it again; what it has accepted goes on then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from salon.engine.errors import SpecError
from salon.studio.errors import WorkerLost
from salon.studio.scheduling.loop import Loop
from salon.studio.service import packing
from salon.studio.workers.messages import Lost

from ...studio.conftest import BACKEND
from .conftest import TINY, Connect, Serve

CODE = """
import pathlib, sys, threading
from salon.frontends.zmq import main
from salon.frontends.zmq.options import ServeOptions
from salon.studio.workers.messages import Lost

class Fragile(main.ServiceContext):
    def lose(self):
        core = self.studio.loop._core
        for name in core.pool.slots:
            core.hear(name, Lost("the device is gone", False), ())

def opened(options):
    context = Fragile(options)
    main._say_where = lambda *_, **__: threading.Timer(0.2, context.lose).start()
    return context

model, backend, data = sys.argv[1:]
main.ServiceContext = opened
options = ServeOptions(listen=("tcp://127.0.0.1:0",), data=pathlib.Path(data), model=model, backend=backend, threads=1,
                       process=False, metrics=None)
sys.exit(main.serve(options))
"""


def test_jobs_go_on_after_the_next_start(serve: Serve, connect: Connect) -> None:
    server = serve(paused=True, grace_s=600.0)
    client = connect(server)
    jobs = [client.submit(f"k{i}", "cat", seed=i, **TINY)["job"] for i in range(2)]
    core = server.context.studio.loop._core
    (name,) = core.pool.slots
    core.hear(name, Lost("the device is gone", False), ())
    assert server.ended(60)  # it waits for nothing
    assert server.server is not None
    assert server.server.broken
    again = serve()
    client = connect(again)
    for job in jobs:
        assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
    ended = [entry.job for entry in again.context.store.all_entries() if entry.kind in ("done", "void")]
    assert sorted(ended) == sorted(jobs)


def test_a_job_that_cannot_be_taken_back_gives_back_what_was_set_aside(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(paused=True)
    job = connect(server).submit("k", "cat", **TINY)["job"]
    server.stop()

    def refuse(row: object) -> None:
        raise SpecError("width: got 16, allowed 32; use another model")

    monkeypatch.setattr(packing, "spec_of", refuse)
    again = serve()
    (last, _) = [*connect(again).watch(job)][-1]
    assert (last["kind"], last["reason"]) == ("failed", "after a restart: width: got 16, allowed 32; use another model")
    assert again.context.ledger.open_jobs() == ()


def test_a_job_that_meets_a_studio_without_workers_waits_for_the_next_start(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(paused=True)
    job = connect(server).submit("k", "cat", **TINY)["job"]
    server.stop()

    def gone(*arguments: object, **options: object) -> None:
        raise WorkerLost("worker: got none, allowed one")

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "submit", gone)
        again = serve()
        assert [row.job for row in again.context.store.open_jobs()] == [job]
        assert again.context.ledger.open_jobs() == (job,)
        again.stop()
    assert [event["kind"] for event, _ in connect(serve()).watch(job)][-1] == "done"


def test_the_exit_code_says_so(tiny: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", CODE, str(tiny), BACKEND, str(tmp_path)]
    done = subprocess.run(words, timeout=300, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "no worker is left: ending, to be started again" in done.stderr
    assert "Traceback" not in done.stderr
