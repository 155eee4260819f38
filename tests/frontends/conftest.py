"""`salon` as a user runs it: a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from salon.frontends import cli

Result = subprocess.CompletedProcess[str]
Salon = Callable[..., Result]
Made = tuple[Path, Result]
Main = Callable[..., tuple[int, str, str]]
COMMAND = (sys.executable, "-m", "salon.frontends.cli")


def start(words: Sequence[str], folder: Path, **options: Any) -> subprocess.Popen[str]:
    """Start `salon WORDS` in a folder."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
    return subprocess.Popen([*COMMAND, *words], cwd=folder, text=True, **pipes)


def finish(process: subprocess.Popen[str]) -> Result:
    """Wait for it and collect what it said."""
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def salon(tmp_path: Path) -> Salon:
    """Run `salon WORDS` in an empty folder."""

    def run(*words: str, **options: Any) -> Result:
        return finish(start(words, tmp_path, **options))

    return run


@pytest.fixture
def main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, embedded_once: None
) -> Main:
    """Run a command line in this process, in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.delenv("SALON_SERVER", raising=False)
    monkeypatch.setenv("SALON_KEY", str(tmp_path / "home" / "key"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def here(main: Main) -> Salon:
    """Run `salon WORDS` in this process, in an empty folder: what takes no process of its own takes a tenth as long."""

    def run(*words: str) -> Result:
        return subprocess.CompletedProcess(words, *main(*words))

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A folder with the outputs of one run, and what the run said."""
    folder = tmp_path_factory.mktemp("made")
    words = ["imagine", "a red apple,", "on teal", "--n", "2", "--steps", "2", "--seed", "7", "--ar", "2:1"]
    return folder, finish(start(words, folder))


@pytest.fixture(scope="session")
def faulty_calls(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """The environment of a process whose system calls fail as told: see `tests/faulty_calls.c`."""
    compiler = shutil.which("cc") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("faulty") / "faulty_calls.so"
    source = Path(__file__).parents[1] / "faulty_calls.c"
    command = [compiler, "-x", "c", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=300)

    def environment(faults: str) -> dict[str, str]:
        return {**os.environ, "LD_PRELOAD": str(library), "SALON_FAULTS": faults}

    return environment
