"""Provide the onnx backend: the model's graph, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import complaint
from . import Options

if TYPE_CHECKING:
    from ..onnx.table import GraphOps

HELP = "the model's ONNX graph, by ONNX Runtime: other pixels"
EXTRA = "onnx"


def create(options: Options) -> GraphOps:
    """See `Backend`. Without onnx and onnxruntime this raises ImportError."""
    for name, value, allowed in (("isa", options.isa, (None,)), ("dtype", options.dtype, (None, "float32"))):
        if value not in allowed:
            wanted = "none: ONNX Runtime chooses" if name == "isa" else "float32"
            raise ValueError(complaint(name, repr(value), wanted, "leave it out"))
    import onnx  # noqa: F401  the graphs are made of it
    import onnxruntime

    from ..onnx.runtime import OnnxSession, providers_of
    from ..onnx.table import GraphOps

    device = options.device or "cpu"
    providers_of(device)

    def start(path: Path) -> OnnxSession:
        return OnnxSession(path, device, options.threads)

    return GraphOps(f"onnx/{device}/{onnxruntime.__version__}", start, options.threads)
