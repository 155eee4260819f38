"""The pool of threads and the memory below the ops, driven from C++ (ground.cpp) as no binding can."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("memory.cpp", "pool.cpp", "machine.cpp")

WHAT = {
    "sums": "every task is done once",
    "nested": "house 4.17: a task that called `parallel` waited for itself for ever, and nothing said so",
    "throws": "an exception of a task reaches the caller, and the pool works on",
    "forks": "house 4.7: a child forked while another thread held the memory's lock waited for it for ever",
    "refused": "house 4.5: a refused allocation left `most_in_use` at its size, and what is kept had no bound any more",
    "few_threads": "faults 8: threads that the system did not start ended the call; those that started compute",
}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    program = tmp_path_factory.mktemp("ground") / "ground"
    sources = [str(ROOT / "csrc" / name) for name in SOURCES if (ROOT / "csrc" / name).exists()]
    flags = ["-std=c++20", "-O1", "-pthread", f"-I{ROOT / 'csrc'}", "-o", str(program)]
    subprocess.run([compiler, *flags, str(Path(__file__).with_name("ground.cpp")), *sources], check=True, timeout=600)
    return program


@pytest.mark.parametrize("what", WHAT)
def test_ground(ground: Path, what: str) -> None:
    done = subprocess.run([ground, what], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
