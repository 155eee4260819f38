"""The released client, unpacked, and processes that have it in place of the Salon of this checkout."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from salon.frontends.client.fake import FakeServer

from .make import ARCHIVE

PROGRAMS: Final = Path(__file__).parent / "programs"
TIMEOUT: Final = 240.0  # of a process
# Without `site` no path file and no import hook of an installation is read: what stands first is what is imported.
START: Final = """\
import runpy, sys
sys.path[:] = {path!r}
import salon
assert salon.__file__ == {there!r}, salon.__file__
sys.argv[:] = sys.argv[1:]
"""
PROGRAM: Final = START + "runpy.run_path(sys.argv[0], run_name='__main__')"
COMMAND: Final = START + "sys.argv.insert(0, 'salon')\nfrom salon.frontends.cli import main\nsys.exit(main())"

Start = Callable[..., "subprocess.Popen[str]"]
Result = subprocess.CompletedProcess[str]
Salon = Callable[..., Result]


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the released package `salon` and the page `docs/wire.md` of then."""
    folder = tmp_path_factory.mktemp("released")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def start(released: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a process that has the released client, in the test's own folder."""
    begun: list[subprocess.Popen[str]] = []

    def begin(code: str, *words: str, **more: str) -> subprocess.Popen[str]:
        path = [str(released), *(entry for entry in sys.path if entry)]
        code = code.format(path=path, there=str(released / "salon" / "__init__.py"))
        own = {"SALON_KEY": str(tmp_path / "home" / "key"), "SALON_SERVER": "", "TZ": "UTC"}
        begun.append(
            subprocess.Popen(
                [sys.executable, "-I", "-S", "-W", "error", "-c", code, *words],
                cwd=tmp_path,
                env={**os.environ, **own, **more},
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def run(start: Start) -> Salon:
    """Run one of `programs/` to its end, which has to be a good one."""

    def through(name: str, *words: str) -> Result:
        result = finish(start(PROGRAM, str(PROGRAMS / name), *words))
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        return result

    return through


@pytest.fixture
def salon(start: Start) -> Salon:
    """Run the released `salon WORDS`."""

    def through(*words: str, **more: str) -> Result:
        return finish(start(COMMAND, *words, **more))

    return through


def hear(process: subprocess.Popen[str]) -> str:
    """Wait for the next line that a process says, and return it."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], TIMEOUT)[0], "it says nothing"
    return process.stdout.readline()


def finish(process: subprocess.Popen[str]) -> Result:
    """Wait for a process and collect what it said."""
    out, err = process.communicate(timeout=TIMEOUT)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server of today, over a worker without a model."""
    with FakeServer() as server:
        yield server
