"""What holds for all tests: how many processes run them, and how long an example may take.

The whole suite runs in three processes (pytest-xdist), file by file; a part of it runs in one, as pytest does by
itself, and so does everything with `-n 0`. A test that is marked `alone` times something that others would make longer:
meanwhile they wait. Whatever can wait for an event instead does.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Read when triton is imported: kernels run in Python, so that a machine without a GPU runs them too.
os.environ.setdefault("TRITON_INTERPRET", "1")

settings.register_profile("salon", deadline=None)  # machines are shared: that an example was slow says nothing
settings.load_profile("salon")

PROCESSES = 3  # on two cores: tests wait a third of their time


class Turns:
    """Whose turn it is among the processes of a run: that of several which share it, or of one alone.

    Args:
        folder: one that these processes have in common.
    """

    def __init__(self, folder: Path) -> None:
        self._gate, self._turn = (os.open(folder / name, os.O_RDWR | os.O_CREAT) for name in ("gate", "turn"))
        self._kept = False

    def take(self, alone: bool) -> None:
        """Wait for a turn, unless one was kept."""
        if self._kept:
            return
        fcntl.flock(self._gate, fcntl.LOCK_EX)  # or others would go on sharing while one waits to be alone
        fcntl.flock(self._turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    def leave(self, keep: bool) -> None:
        """End the turn, unless it is kept for the next test."""
        self._kept = keep
        if not keep:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """End all of it."""
        os.close(self._gate)
        os.close(self._turn)


TURNS = pytest.StashKey[Turns]()
FOLDER = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in several processes, unless the command line says how many."""
    option = config.option
    if hasattr(config, "workerinput"):
        return  # this is one of them
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not (option.keyword or option.markexpr)
    if whole and not option.usepdb and not option.collectonly and getattr(option, "numprocesses", 0) is None:
        option.numprocesses, option.dist = PROCESSES, "loadfile"
        option.loadscopereorder = False  # files with few tests take longest here: at the end, one process would be idle
        for threads in ("OMP_NUM_THREADS", "SALON_THREADS"):  # those of two processes would wait for each other's cores
            os.environ.setdefault(threads, "1")


def pytest_configure(config: pytest.Config) -> None:
    given: dict[str, Any] = getattr(config, "workerinput", {})
    if "turns" in given:
        config.stash[TURNS] = turns = Turns(Path(given["turns"]))
        config.add_cleanup(turns.close)
    elif getattr(config.option, "numprocesses", None):
        folder = tempfile.TemporaryDirectory(prefix="salon-tests-")
        config.stash[FOLDER] = folder.name
        config.add_cleanup(folder.cleanup)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process where it waits for its turns."""
    node.workerinput["turns"] = node.config.stash[FOLDER]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Run a test in its turn; tests that follow one another alone keep it."""
    turns = item.config.stash.get(TURNS, None)
    if turns is not None:
        turns.take(alone(item))
    try:
        return (yield)
    finally:
        if turns is not None:
            turns.leave(keep=nextitem is not None and alone(item) and alone(nextitem))


def alone(item: pytest.Item) -> bool:
    """Return whether a test has to have the machine for itself."""
    return item.get_closest_marker("alone") is not None


@pytest.fixture(scope="session")
def packed() -> dict[tuple[str, str], Any]:
    """The embedded model as this process has loaded it, by backend and dtype."""
    return {}


@pytest.fixture
def embedded_once(monkeypatch: pytest.MonkeyPatch, packed: dict[tuple[str, str], Any]) -> None:
    """Let engines of this process share the embedded model's weights, which nothing changes.

    To pack them takes longer than a small picture. Everything else of an engine is its own.
    """
    from salon.engine import engine
    from salon.engine.files.opening import ModelPath
    from salon.engine.loading import load_model

    def load(ops: Any, model: Any, limits: Any, **options: Any) -> Any:
        if ModelPath.of(model) != ModelPath.of(None):
            return load_model(ops, model, limits, **options)
        key = (ops.name, ops.compute)
        if key not in packed:
            packed[key] = load_model(ops, model, limits, **options)
        return packed[key]

    monkeypatch.setattr(engine, "load_model", load)
