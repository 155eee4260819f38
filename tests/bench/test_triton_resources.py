"""What counts as a kernel that got worse."""

from __future__ import annotations

from typing import Any

from salon.bench.triton_resources import faults, key

ROW: dict[str, Any] = {"kernel": "norm", "arch": 90, "build": "BLOCK=64", "registers": 40, "shared_kib": 16.0}


def test_spills_twice_the_registers_and_too_much_shared_memory_are_faults() -> None:
    row = ROW | {"spilled_bytes": 0}
    assert key(row) == "norm sm_90 BLOCK=64"
    assert faults([row], {}) == faults([row], {key(row): 21}) == []
    assert faults([row | {"spilled_bytes": 8}], {}) == ["norm sm_90 BLOCK=64 spills 8 bytes"]
    assert faults([row], {key(row): 20}) == ["norm sm_90 BLOCK=64 takes 40 registers, before 20"]
    assert faults([row], {"norm sm_80 BLOCK=64": 20}) == []  # of another architecture
    assert "needs 120 KiB of shared memory, want 99" in faults([row | {"arch": 120, "shared_kib": 120}], {})[0]
