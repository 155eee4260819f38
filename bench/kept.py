"""Where what rivals build is kept between runs: exported graphs, compiled kernels, the job of `grid`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..system import home
from . import machine
from .facts import digests

MADE_BY = (  # what the kept files are made by, beside the checkpoint
    "bench/job.py", "bench/facts.py", "bench/peers/export.py", "bench/peers/base.py", "engine/noise.py",
    "engine/text/clauses.py", "engine/sigmas.py", "engine/solvers/__init__.py", "engine/solvers/euler.py",
)  # fmt: skip


def cache_folder(chosen: Path | None, model: Path, threads: int) -> Path:
    """Make a folder for what rivals build, one per checkpoint content, library versions, CPU and thread count."""
    base = os.environ.get("XDG_CACHE_HOME")
    root = chosen or (Path(base) if base else home("name a folder with --cache") / ".cache") / "salon" / "bench"
    digest = hashlib.sha256()
    for source in MADE_BY:
        digest.update((Path(__file__).resolve().parent.parent / source).read_bytes())
    digest.update(digests(model)["digest"].encode())
    state = machine.versions(("torch", "diffusers", "onnxruntime", "openvino", "transformers"))
    digest.update(repr((sorted(state.items()), machine.describe()["cpu"], machine.ISA_FLAGS, threads)).encode())
    return root / digest.hexdigest()[:16]
