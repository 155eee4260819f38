"""`salon export`: a model becomes ONNX graphs in a folder."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..progress import progress
from . import exits, words
from .flags_make import parts_of
from .tables import print_json

PARTS = 100  # of the bytes that are written, as the bar counts them


def export(options: argparse.Namespace) -> int:
    """Write the graphs, and say what they are."""
    from ...engine.engine import Engine
    from ...engine.export import export as write
    from ...engine.export import want_new

    start = time.perf_counter()
    want_new(Path(options.output))  # before the model is loaded
    engine = Engine.load(options.model, **parts_of(options), backend="onnx")
    with progress(PARTS, quiet=options.quiet) as advance:
        made = write(
            engine,
            Path(options.output),
            dtype=options.dtype,
            progress=lambda done, total: advance(max(1, done * PARTS // max(1, total))),
        )
    manifest = made.manifest
    if options.json:
        print_json({"folder": str(made.folder), **manifest})
    elif not options.quiet:
        size = words.size(sum(facts["bytes"] for facts in manifest["files"].values()))
        names = ", ".join(graph["file"] for graph in manifest["graphs"].values())
        print(f"{made.folder}: {names}, {size} in {time.perf_counter() - start:.1f} s")
        print(f"opset {manifest['opset']}, {manifest['dtype']}, of model {manifest['model']['digest'][:16]}")
    return exits.DONE
