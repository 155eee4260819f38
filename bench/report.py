"""The result file of a benchmark: rows, goals (a missed one stays as missed), machine, versions; written atomically."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEYS = ("bench", "date", "quick", "machine", "threads", "versions", "rows", "goals", "notes")
OPTIONAL = ("details",)
GOAL_KEYS = ("goal", "target", "value", "met")


@dataclass(frozen=True)
class Goal:
    """A stated goal and what was measured. `value` None: it could not be measured, which counts as missed."""

    goal: str
    target: str
    value: float | None
    met: bool
    note: str = ""

    @classmethod
    def at_least(cls, goal: str, target: float, value: float | None, unit: str = "", note: str = "") -> Goal:
        met = value is not None and math.isfinite(value) and value >= target
        return cls(goal, f">= {target:g}{unit}", _clean(value), met, note)

    @classmethod
    def at_most(cls, goal: str, target: float, value: float | None, unit: str = "", note: str = "") -> Goal:
        met = value is not None and math.isfinite(value) and value <= target
        return cls(goal, f"<= {target:g}{unit}", _clean(value), met, note)

    def as_dict(self) -> dict[str, Any]:
        base: dict[str, Any] = {"goal": self.goal, "target": self.target, "value": self.value, "met": self.met}
        return {**base, "note": self.note} if self.note else base


@dataclass
class Report:
    """Everything that `bench/results/NAME.json` holds."""

    bench: str
    date: str  # ISO 8601, UTC
    quick: bool
    machine: Mapping[str, Any]
    threads: int
    versions: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)  # what is neither row nor goal; left out of the file if empty

    def as_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "bench": self.bench,
            "date": self.date,
            "quick": self.quick,
            "machine": dict(self.machine),
            "threads": self.threads,
            "versions": self.versions,
            "rows": _clean(self.rows),
            "goals": [goal.as_dict() for goal in self.goals],
            "notes": self.notes,
        }
        return document | ({"details": _clean(self.details)} if self.details else {})

    def write(self, folder: Path) -> Path:
        """Write `folder/NAME.json` whole or not at all, and return its path. OSError where it cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.bench}.json"
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{self.bench}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        return path


def _clean(value: Any) -> Any:
    """Numbers rounded to five figures, however deep; what is not finite becomes None (JSON has no NaN)."""
    if isinstance(value, Mapping):
        return {key: _clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def problems(document: Mapping[str, Any]) -> list[str]:
    """What is wrong with a result document, in words; empty when it follows the schema."""
    found = [f"missing key {key!r}" for key in KEYS if key not in document]
    found += [f"unknown key {key!r}" for key in document if key not in (*KEYS, *OPTIONAL)]
    for name in ("rows", "goals", "notes"):
        if not isinstance(document.get(name, []), list):
            found.append(f"{name} is not a list")
            return found
    for number, row in enumerate(document.get("rows", [])):
        if not isinstance(row, Mapping):
            found.append(f"row {number} is not an object")
    for number, goal in enumerate(document.get("goals", [])):
        missing = [key for key in GOAL_KEYS if key not in goal]
        found += [f"goal {number} lacks {key!r}" for key in missing]
        if not missing and not isinstance(goal["met"], bool):
            found.append(f"goal {number}: met is not true or false")
        if not missing and goal["value"] is None and goal["met"]:
            found.append(f"goal {number} is met without a value")
    if not isinstance(document.get("threads", 1), int) or document.get("threads", 1) < 1:
        found.append("threads is not a positive integer")
    return found
