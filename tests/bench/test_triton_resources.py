"""What counts as a kernel that got worse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from salon.bench import triton_resources
from salon.bench.report import problems
from salon.bench.triton_resources import ARCHES, faults, key, known

ROW: dict[str, Any] = {"kernel": "norm", "arch": 90, "build": "BLOCK=64", "registers": 40, "shared_kib": 16.0}
COMMITTED = Path(__file__).parents[2] / "bench" / "results"  # of the checkout: an installed package has none


@pytest.fixture(autouse=True)
def committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_resources, "RESULTS", COMMITTED)


def test_spills_twice_the_registers_and_too_much_shared_memory_are_faults() -> None:
    row = ROW | {"spilled_bytes": 0}
    assert key(row) == "norm sm_90 BLOCK=64"
    assert faults([row], {}) == faults([row], {key(row): 21}) == []
    assert faults([row | {"spilled_bytes": 8}], {}) == ["norm sm_90 BLOCK=64 spills 8 bytes"]
    assert faults([row], {key(row): 20}) == ["norm sm_90 BLOCK=64 takes 40 registers, before 20"]
    assert faults([row], {"norm sm_80 BLOCK=64": 20}) == []  # of another architecture
    assert "needs 120 KiB of shared memory, want 99" in faults([row | {"arch": 120, "shared_kib": 120}], {})[0]


def test_the_committed_result_is_whole_and_without_faults() -> None:
    """It is what a later run is compared with: kernels of every kind, for every architecture."""
    found = json.loads((COMMITTED / "triton_resources.json").read_text())
    assert problems(found) == []
    assert not found["quick"]
    rows = found["rows"]
    assert faults(rows, known()) == []
    assert len(known()) == len(rows), "no two builds are called the same"
    kernels = {arch: {row["kernel"] for row in rows if row["arch"] == arch} for arch in ARCHES}
    assert kernels[80] < kernels[90] == kernels[100] == kernels[120]
    assert kernels[90] - kernels[80] == {"to_float8"}
    assert len(kernels[90]) >= 17


def test_a_kernel_that_got_worse_than_the_committed_one_is_a_fault() -> None:
    before = known()
    row = max(json.loads((COMMITTED / "triton_resources.json").read_text())["rows"], key=lambda row: -row["registers"])
    assert faults([row | {"registers": 2 * max(16, row["registers"])}], before)
    assert faults([row | {"spilled_bytes": 4}], before)
