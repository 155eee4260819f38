"""Load one checkpoint in a process of its own: `python -m salon.bench.loading.candidate LOADER PATH DTYPE THREADS`.

Prints one JSON object: seconds of the loading alone, without imports, and bytes of memory. `anonymous` is the most that
the process had of its own over what it had before, sampled every 2 ms; `resident` counts pages of the file, too.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..torch_mode import torch_as_rival


def main(loader: str, path: str, dtype: str, threads: str) -> dict[str, Any]:
    """Load, and return what was measured."""
    load = LOADERS[loader](Path(path), dtype, int(threads))
    done, before, top = threading.Event(), _status("RssAnon"), 0

    def sample() -> None:
        nonlocal top
        while not done.wait(0.002):
            top = max(top, _status("RssAnon"))

    sampler = threading.Thread(target=sample)
    sampler.start()
    start = time.perf_counter()
    kept = load()
    seconds = time.perf_counter() - start
    done.set()
    sampler.join()
    top = max(top, _status("RssAnon"))
    assert kept is not None, "nothing was loaded"
    return {"seconds": seconds, "anonymous": top - before, "resident": _status("VmHWM")}


def salon(path: Path, dtype: str, threads: int) -> Callable[[], Any]:
    """Return what packs a transformer for the cpu backend."""
    from ...engine.weights.flux import load_flux
    from ...kernels.cpu import CpuOps
    from .opened import transformer

    ops = CpuOps(dtype="bfloat16" if dtype == "bfloat16" else "float32", threads=threads)
    if path.suffix == ".gguf":
        importlib.import_module("gguf.quants")  # which is not counted
    return lambda: load_flux(ops, transformer(path))


def diffusers(path: Path, dtype: str, threads: int) -> Callable[[], Any]:
    """Return what loads a transformer with diffusers."""
    import torch
    from diffusers import FluxTransformer2DModel

    def load() -> Any:
        with torch_as_rival(threads):
            return FluxTransformer2DModel.from_pretrained(path, torch_dtype=getattr(torch, dtype))

    return load


LOADERS = {"salon": salon, "diffusers": diffusers}


def _status(name: str) -> int:
    """Return a line of the process's status, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
