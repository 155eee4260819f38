"""Load a random checkpoint of FLUX.1's shape: seconds and peak memory, cold and warm, beside diffusers.

`python -m salon.bench.loading [--quick] [--threads N]`

Salon packs every weight for its kernels, where diffusers leaves it as it is. So each also loads what its kernels would
compute with: bfloat16 where the CPU multiplies it, else float32. Cold means that no page of the file is in the system's
memory. The memory that `salon doctor` states is held against what the loading really took.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from ...engine.memory import loading_bytes, weight_bytes
from ...kernels import backends
from ...system import python_command
from ..report import Goal
from ..runner import Bench, run
from . import candidate, checkpoints
from .opened import transformer

SIZES: Final = (checkpoints.Size(1, 1, 2), checkpoints.Size(6, 2, 4), checkpoints.Size(12, 6, 14))  # 4 MB, .2 and 2 GB
SLACK: Final = 24e6  # bytes of stacks of threads, of the interpreter and of the allocator, which no model decides
COLUMNS: Final = [["candidate", "file_gb", "cold_s", "warm_s", "memory_gb", "stated_gb", "with_pages_gb"]]


def body(bench: Bench) -> None:
    bench.use("torch", "diffusers", "gguf")
    bench.columns = COLUMNS
    size, dtype = bench.pick(*SIZES), backends.create(threads=bench.threads).compute
    rounds = bench.pick(1, 1, 3)
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch:
        root = Path(scratch)
        with bench.progress("writing checkpoints", 4) as advance:
            writers: dict[str, Callable[[checkpoints.Size], Path]] = {
                "bfloat16, a folder": partial(checkpoints.folder, root / "folder"),
                "fp8 with scales": partial(checkpoints.fp8, root / "fp8.safetensors"),
                "nvfp4": partial(checkpoints.nvfp4, root / "nvfp4.safetensors"),
                "GGUF Q8_0": partial(checkpoints.gguf, root / "q8.gguf"),
            }
            paths = dict[str, Path]()
            for name, write in writers.items():
                paths[name] = write(size)
                advance(name)
        os.sync()  # pages that are not on disk yet cannot be dropped
        candidates = {f"Salon: {name}": ("salon", path) for name, path in paths.items()}
        candidates["diffusers: bfloat16, a folder"] = ("diffusers", paths["bfloat16, a folder"])
        if bench.tiny:  # what they share is run once; tests of the engine read each format
            del candidates["Salon: fp8 with scales"], candidates["Salon: nvfp4"]
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in candidates}
        with bench.progress(f"loading as {dtype}", rounds * len(candidates)) as advance:
            for _ in range(rounds):
                for name, (loader, path) in candidates.items():
                    if bench.deadline.left() > 0:
                        found[name].append(_measured(loader, path, dtype, bench.threads, warm=not bench.tiny))
                    advance(name)
        for name, (loader, path) in candidates.items():
            _report(bench, name, loader, path, dtype, found[name])
    bench.note(f"computed with as {dtype}; memory is what the process had of its own, without pages of the file")
    _compare(bench)


def _measured(loader: str, path: Path, dtype: str, threads: int, *, warm: bool) -> dict[str, Any]:
    """Load cold, then warm. Each is a process of its own."""
    for file in _files(path):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    words = (loader, str(path), dtype, str(threads))
    if not warm and loader == "diffusers":  # a process of its own takes seconds to import it
        found = [candidate.main(*words)]
    else:
        command = python_command("salon.bench.loading.candidate", *words)
        found = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            for _ in range(2 if warm else 1)
        ]
    memory = {what: max(each[what] for each in found) for what in ("anonymous", "resident")}
    return {"cold": found[0]["seconds"], "warm": found[-1]["seconds"], **memory}


def _report(bench: Bench, name: str, loader: str, path: Path, dtype: str, found: list[dict[str, Any]]) -> None:
    if not found:
        return
    stated = None
    if loader == "salon":
        parts = {"transformer": transformer(path)}
        stated = sum(weight_bytes(parts, 2 if dtype == "bfloat16" else 4).values()) + loading_bytes(parts)
        held = max(each["anonymous"] for each in found) - SLACK
        bench.goal(Goal.at_most(f"{name}: memory, of what is stated", 1.0, max(0.0, held) / stated, "x"))
    bench.row(
        candidate=name, file_gb=sum(file.stat().st_size for file in _files(path)) / 1e9,
        cold_s=min(each["cold"] for each in found), warm_s=min(each["warm"] for each in found),
        memory_gb=max(each["anonymous"] for each in found) / 1e9, stated_gb=None if stated is None else stated / 1e9,
        with_pages_gb=max(each["resident"] for each in found) / 1e9, n=len(found),
    )  # fmt: skip


def _compare(bench: Bench) -> None:
    rows = {row["candidate"]: row for row in bench.report.rows}
    mine, theirs = rows.get("Salon: bfloat16, a folder"), rows.get("diffusers: bfloat16, a folder")
    for what in ("cold_s", "warm_s", "memory_gb") if mine and theirs else ():
        assert mine is not None, "both were measured"
        assert theirs is not None, "both were measured"
        bench.goal(Goal.at_most(f"{what} of the folder, of diffusers'", 1.0, mine[what] / theirs[what], "x"))


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(each for each in path.iterdir() if each.is_file())


main = partial(run, "loading", (__doc__ or "").splitlines()[0], body, tied_to="nothing")


if __name__ == "__main__":
    sys.exit(main())
