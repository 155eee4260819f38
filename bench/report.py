"""The result file of a benchmark: rows, goals (a missed one stays as missed), and what they were measured on: model,
commit, machine, instruction set, threads, versions, date. Written atomically."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from ..system import flush_file
from . import machine

TiedTo = Literal["shapes", "digest", "nothing"]
KEYS = (
    "bench", "date", "commit", "tied_to", "model", "quick", "machine", "isa", "threads", "versions", "rows", "goals",
    "notes",
)  # fmt: skip
MODEL_KEYS = ("name", "digest", "shapes")
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
    """Everything that `bench/results/NAME.json` holds. Made by `start`.

    Attributes:
        bench: name of the benchmark.
        date: ISO 8601, UTC.
        commit: of the checkout, see `machine.commit`.
        tied_to: what must be the same for the figures to hold: "shapes" of the model (its architecture: figures of
            speed), the whole "digest" (figures of quality), or "nothing" (no model is run).
        model: name, digest, digest of the architecture ("shapes"); {} with "nothing".
        quick: whether fewer samples were taken than for a result that is quoted.
        machine: see `machine.describe`.
        isa: the instruction set that Salon ran.
        threads: of every candidate.
        versions: of Python, Salon and the rivals.
        rows, goals, notes: what was found.
        details: what is neither row nor goal; left out of the file if empty.
    """

    bench: str
    date: str
    commit: str
    tied_to: TiedTo
    model: Mapping[str, str]
    quick: bool
    machine: Mapping[str, Any]
    isa: str
    threads: int
    versions: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        bench: str,
        *,
        tied_to: TiedTo,
        threads: int,
        model: Path | None,
        quick: bool = False,
        isa: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Report:
        """Make an empty report of this moment, checkout and machine. All benchmarks begin theirs in this one way.

        Args:
            model: folder of the checkpoint that is measured; None: no model, or one that is named later.
            isa: None: what Salon runs here (with SALON_ISA heeded).
            more: what else the machine has, like the name of a GPU.
        """
        from .facts import digests, running_isa  # the engine: only who measures has to load it

        return cls(
            bench=bench,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=machine.commit(),
            tied_to=tied_to,
            model={} if tied_to == "nothing" or model is None else digests(model.resolve()),
            quick=quick,
            machine={**machine.describe(), **(more or {})},
            isa=running_isa() if isa is None else isa,
            threads=threads,
        )

    def as_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "bench": self.bench,
            "date": self.date,
            "commit": self.commit,
            "tied_to": self.tied_to,
            "model": dict(self.model),
            "quick": self.quick,
            "machine": dict(self.machine),
            "isa": self.isa,
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
                flush_file(file.fileno(), temporary)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        return path


def _clean(value: Any) -> Any:
    """Return numbers rounded to five figures, however deep. What is not finite becomes None (JSON has no NaN)."""
    if isinstance(value, Mapping):
        return {key: _clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def problems(document: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a result document, in words; empty when it follows the schema."""
    found = [f"missing key {key!r}" for key in KEYS if key not in document]
    found += [f"unknown key {key!r}" for key in document if key not in (*KEYS, *OPTIONAL)]
    if document.get("tied_to", "shapes") not in get_args(TiedTo):
        found.append(f"tied_to is none of {', '.join(get_args(TiedTo))}")
    elif document.get("tied_to", "nothing") != "nothing":
        found += [f"model lacks {key!r}" for key in MODEL_KEYS if not document.get("model", {}).get(key)]
    found += [f"{key} is empty" for key in ("date", "commit", "isa") if not document.get(key, "-")]
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
