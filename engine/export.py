"""Write a model as ONNX graphs, and open a folder that has them.

A folder has `step.onnx`, an evaluation of the model for any batch without adapters; `step_adapters.onnx`, the same with
adapters, where the model takes some; `step_references.onnx`, where batches that look at pictures are made another way;
`decoder.onnx`, which makes pixels of one picture's tokens; `weights.data`, the weights of all; and `manifest.json`, of
what they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import complaint
from ..system import explain
from .errors import CheckpointError, OutputError
from .graph_files import write_graphs
from .recorded import record_decoder

if TYPE_CHECKING:
    from ..kernels.onnx.recording import Progress
    from ..kernels.ops import Dtype
    from .engine import Engine

FORMAT: Final = 2  # version of the manifest, of the inputs' names and of what they mean
MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "weights.data"
STEP, WITH_ADAPTERS, WITH_REFERENCES, DECODER = "step", "step_adapters", "step_references", "decoder"


@dataclass(frozen=True, eq=False)
class Exported:
    """A folder of graphs.

    Attributes:
        folder: where it is.
        manifest: what manifest.json says.
    """

    folder: Path
    manifest: Mapping[str, Any]

    def graph(self, name: str = STEP) -> Path:
        """Return the file of a graph. Raise CheckpointError if the folder has none of that name."""
        graphs = self.manifest["graphs"]
        if name not in graphs:
            raise _refused(self.folder, f"no graph {name!r}", f"one of {', '.join(graphs)}")
        return self.folder / str(graphs[name]["file"])


def export(engine: Engine, folder: Path, *, dtype: Dtype = "float32", progress: Progress | None = None) -> Exported:
    """Write an engine's model to a folder, which is made or is empty.

    Args:
        engine: of a backend that runs graphs, whose table can record them.
        dtype: what matrix products read in the graphs of steps. The decoder's is float32.
        progress: is told of the bytes of weights that are written, and of all.

    Raises:
        RecordError: the model does what no graph can hold. The message names the op and the line of the model.
        OutputError: the folder has something in it, is a file, has no room for the weights, or cannot be written.
    """
    from ..kernels.onnx.graph import OPSET

    want_new(folder)
    assert engine.recorded is not None, "an engine that runs no graphs"
    notes = {"salon.format": str(FORMAT), "salon.model": engine.model.digest, "salon.dtype": dtype}
    steps = engine.recorded
    variants = {STEP: steps.usual()}
    if steps.layers:
        variants[WITH_ADAPTERS] = steps.usual(adapters=True)
    if (looking := steps.looking()) is not None:
        variants[WITH_REFERENCES] = looking
    made = {name: steps.record(variant, dtype=dtype, notes=notes, named=True) for name, variant in variants.items()}
    codec, channels = engine.model.denoiser.codec, engine.model.architecture.token_channels
    made[DECODER] = record_decoder(engine.ops, codec, channels, notes={**notes, "salon.dtype": "float32"})
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = {folder / f"{name}.onnx": recording for name, recording in made.items()}
    files = write_graphs(paths, folder / WEIGHTS, progress, what=f"-o {folder}", by="-o")
    manifest = {
        "format": FORMAT,
        "opset": OPSET,
        "dtype": dtype,
        "model": {"name": engine.model.name, "version": engine.model.version, "digest": engine.model.digest},
        "family": engine.model.family,
        "graphs": {
            name: {"file": path.name, "inputs": sorted(recording.inputs), "output": recording.result}
            for name, (path, recording) in zip(made, paths.items(), strict=True)
        },
        "files": {path.name: facts for path, facts in files.items()},
    }
    waiting = folder / f"{MANIFEST}.part"
    try:
        with _writing(folder):
            waiting.write_text(json.dumps(manifest, indent=2) + "\n")
            os.replace(waiting, folder / MANIFEST)
    except BaseException:
        for path in (*files, waiting):
            path.unlink(missing_ok=True)
        raise
    return Exported(folder, manifest)


def want_new(folder: Path) -> None:
    """Raise OutputError for a folder that has something in it or cannot be looked into, and for a file."""
    with _writing(folder):
        found = "a file" if folder.exists() and not folder.is_dir() else ""
        if not found and folder.exists() and any(folder.iterdir()):
            found = "a folder with something in it"
    if found:
        raise OutputError(complaint(f"-o {folder}", found, "a new or empty folder", "name another"))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make errors of the system an OutputError that names the folder."""
    try:
        yield
    except OSError as error:
        advice = explain(error)
        raise OutputError(complaint(f"-o {folder}", advice.got, advice.allowed, advice.remedy)) from error


def open_export(folder: Path) -> Exported:
    """Open a folder of graphs. Digests are not compared, since that reads all of it.

    Raises:
        CheckpointError: it has no manifest, is of another version of Salon, or a file is missing or of another size.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        version = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _refused(path, "no manifest of graphs", "a folder that `salon export` wrote") from error
    if version != FORMAT:
        raise _refused(path, f"graphs of format {version!r}", f"format {FORMAT}, that of this Salon")
    for name, facts in manifest["files"].items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != facts["bytes"]:
            got = "no such file" if size is None else f"{size:,} bytes"
            raise _refused(folder / name, got, f"{facts['bytes']:,} bytes, as {MANIFEST} says")
    return Exported(folder, manifest)


def _refused(path: Path, found: str, expected: str) -> CheckpointError:
    remedy = "export the model again: salon export MODEL -o DIR"
    return CheckpointError("graphs that cannot be used", path=path, expected=expected, found=found, remedy=remedy)
