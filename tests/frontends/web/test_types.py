"""The types of the page's modules, as their comments state them, by TypeScript. CI brings it: `.ci/run`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / ".ci" / "web"
TSC = next(FOLDER.glob("node_modules/@typescript/typescript-*/lib/tsc"), None)


@pytest.mark.skipif(TSC is None, reason="TypeScript is not there: `cd .ci/web && npm ci`")
def test_types() -> None:
    done = subprocess.run([str(TSC), "-p", str(FOLDER)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
