"""A script that ends amid work ends as it says: with its own exit code, its own traceback, and nothing else.

faults 1: `terminate called without an active exception`, exit code 134, in place of both. A daemon thread that came
back from a kernel while the interpreter ended was unwound through a destructor. Now a studio ends itself before that,
and a thread that asks a finalizing interpreter for its lock stops for good.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from salon.frontends.client.fake import FakeServer

from ..conftest import BACKEND

STUDIO = """
import sys, threading
from salon import Studio
running = threading.Event()
def make():
    studio = Studio({model!r}, process={process}, backend={backend!r})
    for _ in range(4):
        studio.imagine("cat", steps=200, images=4, on_progress=lambda *_: running.set())
    return studio
{hold}make()
assert running.wait(300)
{ending}
"""

ENGINE = """
import sys, threading
from salon import Engine
running = threading.Event()
engine = Engine.load({model!r}, backend={backend!r}, threads=2)
def work():
    while True:
        generation = engine.open(engine.make_spec("cat", steps=200, images=4))
        while not engine.step([generation])[0].done:
            running.set()
        engine.finish(generation)
        engine.close(generation)
threading.Thread(target=work, daemon=True).start()
assert running.wait(300)
{ending}
"""

CLIENT = """
import sys
from salon import Client
client = Client({address!r}, timeout_s=200)
job = client.imagine("a red apple")
{ending}
"""

# the script's last line: exit code, the last line of its traceback
ENDINGS = {
    "": (0, ""),
    "sys.exit(0)": (0, ""),
    "sys.exit(3)": (3, ""),
    "raise ValueError('mine')": (1, "ValueError: mine"),
}


def check(script: str, tmp_path: Path, ending: str) -> None:
    """Run it; it must end as its last line says."""
    code, last = ENDINGS[ending]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert (done.stderr.splitlines() or [""])[-1] == last
    assert done.stderr.startswith("Traceback") or not last


@pytest.mark.parametrize(
    ("hold", "ending"),
    [("studio = ", ""), ("studio = ", "sys.exit(3)"), ("", "sys.exit(0)"), ("", "raise ValueError('mine')")],
)
def test_a_studio_ends_with_the_script(tiny: Path, tmp_path: Path, hold: str, ending: str) -> None:
    """Also one that nobody holds any more: its threads work on."""
    words = {"model": str(tiny), "backend": BACKEND, "process": False, "hold": hold, "ending": ending}
    check(STUDIO.format(**words), tmp_path, ending)


def test_worker_processes_end_with_the_script(tiny: Path, tmp_path: Path) -> None:
    ending = "sys.exit(3)"
    words = {"model": str(tiny), "backend": BACKEND, "process": True, "hold": "studio = ", "ending": ending}
    check(STUDIO.format(**words), tmp_path, ending)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_engine_in_a_daemon_thread(tiny: Path, tmp_path: Path, ending: str) -> None:
    check(ENGINE.format(model=str(tiny), backend=BACKEND, ending=ending), tmp_path, ending)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_client(fake: FakeServer, tmp_path: Path, ending: str) -> None:
    check(CLIENT.format(address=fake.address, ending=ending), tmp_path, ending)
