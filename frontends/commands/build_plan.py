"""`salon build-plan`: a plan of TensorRT for RTX, built of a model's graph."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

from ...errors import SalonError, complaint
from . import exits, words
from .flags_make import parts_of
from .parsing import UsageError, shown
from .tables import print_json


def build_plan(options: argparse.Namespace) -> int:
    """Build the plan, or find it, and say which it is."""
    sizes = [_size(text) for text in options.shapes.split(",")]
    from ...engine.engine import Engine
    from ...engine.plans import build_plan as build

    start = time.perf_counter()
    try:
        plan = build(
            Engine.load(options.model, **parts_of(options), backend="onnx"),
            Path(options.output),
            sizes,
            samples=options.samples,
            dtype=options.dtype,
            gpu=options.gpu,
        )
    except ImportError as error:
        if error.name != "tensorrt_rtx":
            raise
        remedy = "install it: pip install 'salon[tensorrt]'"
        text = complaint("build-plan", "no TensorRT-RTX", "an installed one", remedy)
        raise SalonError(text) from error
    if options.json:
        print_json({"file": str(plan.path), "built": plan.built, **plan.facts})
    else:
        how = f"built in {time.perf_counter() - start:.1f} s" if plan.built else "was there"
        print(f"{plan.path}: {words.size(plan.path.stat().st_size)}, {how}")
    return exits.DONE


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text.strip())
    if found is None:
        raise UsageError(complaint("--shapes", shown(text), "sizes like 512x512,1024x768", "correct it"))
    return int(found[1]), int(found[2])
