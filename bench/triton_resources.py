"""Compile every kernel of the triton backend for each kind of GPU, and keep what it needs: no GPU is needed for it.

Registers, shared memory and spills stand in `results/triton_resources.json`. A kernel that spills, or one that takes
twice the registers that it took, is a missed goal, and a test that fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..system import python_command
from .report import Goal
from .runner import RESULTS, Bench, run

ARCHES = (80, 90, 100, 120)
SHARED = {80: 163, 90: 227, 100: 227, 120: 99}  # KiB of shared memory that a program may have


def key(row: Mapping[str, Any]) -> str:
    """Return by what a row is known again in another run."""
    return f"{row['kernel']} sm_{row['arch']} {row['build']}"


def known() -> dict[str, int]:
    """Return the registers of every kernel in the committed result."""
    path = RESULTS / "triton_resources.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return {key(row): row["registers"] for row in rows}


def faults(rows: Sequence[Mapping[str, Any]], before: Mapping[str, int]) -> list[str]:
    """Return what is wrong with compiled kernels: spills, too much shared memory, twice the registers of before."""
    found = []
    for row in rows:
        if row["spilled_bytes"]:
            found.append(f"{key(row)} spills {row['spilled_bytes']} bytes")
        if row["shared_kib"] > SHARED[row["arch"]]:
            found.append(f"{key(row)} needs {row['shared_kib']} KiB of shared memory, want {SHARED[row['arch']]}")
        if row["registers"] >= 2 * max(before.get(key(row), 256), 16):
            found.append(f"{key(row)} takes {row['registers']} registers, before {before[key(row)]}")
    return found


def rows_of(arch: int, least: bool) -> list[dict[str, Any]]:
    """Compile what an architecture launches; a row for each kernel.

    A process of its own compiles, without TRITON_INTERPRET: this one may have imported triton with it.
    """
    command = python_command("salon.bench.triton_compile", str(arch), *(["least"] if least else []))
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"cannot compile for sm_{arch}: {done.stderr.strip()[-2000:]}")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def body(bench: Bench) -> None:
    bench.use("torch", "triton")
    arches = bench.pick((90,), (90,), ARCHES)
    with bench.progress("compile", len(arches)) as advance:
        for arch in arches:
            if bench.deadline.left() <= 0:
                break
            for row in rows_of(arch, least=bench.tiny):
                bench.row(**row)
            advance(f"sm_{arch}")
    wrong = faults(bench.report.rows, known())
    bench.goal(Goal.at_most("kernels that spill or take twice the registers", 0, len(wrong), note="; ".join(wrong)))
    bench.columns = [["kernel", "arch", "part", "registers", "shared_kib", "spilled_bytes"]]


main = partial(run, "triton_resources", __doc__ or "", body, tied_to="nothing")


if __name__ == "__main__":
    sys.exit(main())
