"""Without workers a server ends, for somebody to start it again; what it has accepted goes on then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from salon.studio.messages import Lost

from ...studio.conftest import BACKEND
from .conftest import TINY, Connect, Serve

CODE = """
import pathlib, sys, threading
from salon.frontends.server import main
from salon.frontends.server.options import ServeOptions
from salon.studio.messages import Lost

class Fragile(main.House):
    def lose(self):
        core = self.studio.loop._core
        for name in core.fleet.slots:
            core.hear(name, Lost("the device is gone", False), ())

def opened(options):
    house = Fragile(options)
    main._say_where = lambda *_, **__: threading.Timer(0.2, house.lose).start()
    return house

model, backend, data = sys.argv[1:]
main.House = opened
options = ServeOptions(listen=("tcp://127.0.0.1:0",), data=pathlib.Path(data), model=model, backend=backend, threads=1,
                       process=False, metrics=None)
sys.exit(main.serve(options))
"""


def test_jobs_go_on_after_the_next_start(serve: Serve, connect: Connect) -> None:
    server = serve(paused=True, grace_s=30.0)
    client = connect(server)
    jobs = [client.submit(f"k{i}", "cat", seed=i, **TINY)["job"] for i in range(2)]
    core = server.house.studio.loop._core
    (name,) = core.fleet.slots
    core.hear(name, Lost("the device is gone", False), ())
    server._thread.join(10)  # it waits for nothing
    assert not server._thread.is_alive()
    assert server.server is not None
    assert server.server.broken
    again = serve()
    client = connect(again)
    for job in jobs:
        assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
    ended = [entry.job for entry in again.house.store.all_entries() if entry.kind in ("done", "void")]
    assert sorted(ended) == sorted(jobs)


def test_the_exit_code_says_so(tiny: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", CODE, str(tiny), BACKEND, str(tmp_path)]
    done = subprocess.run(words, timeout=60, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "no worker is left: ending, to be started again" in done.stderr
    assert "Traceback" not in done.stderr
