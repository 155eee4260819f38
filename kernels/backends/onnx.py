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
PROVIDERS = True


def create(options: Options) -> GraphOps:
    """See `Backend`. Without onnx and onnxruntime this raises ImportError."""
    for name, value, allowed in (("isa", options.isa, (None,)), ("dtype", options.dtype, (None, "float32"))):
        if value not in allowed:
            wanted = "none: ONNX Runtime chooses" if name == "isa" else "float32"
            raise ValueError(complaint(name, repr(value), wanted, "leave it out"))
    import onnx  # noqa: F401  the graphs are made of it
    import onnxruntime

    from ..onnx.runtime import OnnxSession, chosen, providers_of
    from ..onnx.table import GraphOps

    device = options.device or "cpu"
    providers = providers_of(device) if options.providers is None else chosen(options.providers)
    where = (
        device if options.providers is None else "+".join(options.providers).replace("ExecutionProvider", "").lower()
    )

    def start(path: Path) -> OnnxSession:
        return OnnxSession(path, providers, options.threads, device)

    return GraphOps(f"onnx/{where}/{onnxruntime.__version__}", start, options.threads)
