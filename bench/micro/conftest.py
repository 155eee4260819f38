"""Ratios of micro-benchmarks to a calibration loop of the same run, beside the baseline of this CPU model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.bench import machine
from salon.engine.engine import Engine

BASELINES = Path(__file__).with_name("baselines")
CALIBRATION = "test_calibration"
FAR = 1.25  # a ratio that is so many times its baseline, or so many times less, is marked


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--redraw-baseline", action="store_true", help="keep these ratios as this CPU model's baseline")


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Load the shipped model on one thread, so that the measured time depends on as little as possible."""
    return Engine.load(threads=1)


def calibration() -> float:
    """Run a fixed mix of interpreter and array work, of whose time all others are multiples."""
    total, table = 0, {}
    for number in range(3000):
        table[number % 97] = number
        total += len(table)
    values = np.arange(20_000, dtype=np.float32)
    for _ in range(20):
        values = values * np.float32(0.5) + np.float32(1)
    return total + float(values.sum())


def baseline() -> Path:
    """Return the file of this CPU model."""
    return BASELINES / (re.sub(r"[^a-z0-9]+", "-", _model().lower()).strip("-") + ".json")


def _model() -> str:
    about = machine.describe()
    return f"{about['cpu']} {about['family']}"


def ratios(benchmarks: list[Any]) -> dict[str, float]:
    """Return the best time of each over the calibration's, by name."""
    best = {each.name: each.stats.min for each in benchmarks if each.stats.rounds}
    unit = best.pop(CALIBRATION, None)
    return {name: float(f"{value / unit:.4g}") for name, value in best.items()} if unit else {}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    found = ratios(session.benchmarks) if session is not None else {}
    if not found:
        return
    path = baseline()
    before: dict[str, Any] = {"ratios": {}, "commit": "none"}
    before |= json.loads(path.read_text()) if path.is_file() else {}
    terminalreporter.section(f"ratios to the calibration loop; baseline of {_model()}: {before['commit']}")
    for name, ratio in sorted(found.items()):
        kept = before["ratios"].get(name)
        change = "new" if kept is None else f"{ratio / kept:5.2f} x the baseline"
        mark = " <--" if kept is not None and not 1 / FAR < ratio / kept < FAR else ""
        terminalreporter.write_line(f"{name:55} {ratio:10.4g}   {change}{mark}")
    if config.getoption("--redraw-baseline"):
        document = {"cpu": _model(), "isa": machine.describe()["isa"], "commit": machine.commit(), "ratios": found}
        path.write_text(json.dumps(document, indent=1) + "\n")
        terminalreporter.write_line(f"kept: {path.name}")
