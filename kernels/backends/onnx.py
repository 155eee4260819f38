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
DTYPE = "float32"
PROVIDERS = True


def create(options: Options) -> GraphOps:
    """See `Backend`. Without onnx and onnxruntime this raises ImportError."""
    for name, value, allowed in (("isa", options.isa, (None,)), ("dtype", options.dtype, (None, "float32"))):
        if value not in allowed:
            wanted = "none: ONNX Runtime chooses" if name == "isa" else "float32"
            raise ValueError(complaint(name, repr(value), wanted, "leave it out"))
    import onnx  # noqa: F401  the graphs are made of it
    import onnxruntime

    from ..onnx.runtime import OnnxSession, chosen, device_of, name_of, providers_of
    from ..onnx.table import GraphOps

    device = where = options.device or "cpu"
    if options.providers is None:
        providers = providers_of(device)
    else:
        providers = chosen(options.providers)
        device = device_of(providers)
        where = "+".join(name_of(provider) for provider in providers).replace("ExecutionProvider", "").lower()
        if options.device is not None and options.device != device:
            there = f"{device}, where these providers compute"
            remedy = "leave it out, or say it by a provider's options: (NAME, {'device_id': N})"
            raise ValueError(complaint("device", repr(options.device), there, remedy))

    def start(path: Path) -> OnnxSession:
        return OnnxSession(path, providers, options.threads, device)

    return GraphOps(f"onnx/{where}/{onnxruntime.__version__}", start, options.threads)
