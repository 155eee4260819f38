"""Provide the openvino backend: the model's ONNX graph, run by OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import complaint
from . import Options

if TYPE_CHECKING:
    from ..onnx.table import GraphOps

HELP = "the same graph, by OpenVINO: other pixels"
EXTRA = "openvino"
DTYPE = "float32"


def create(options: Options) -> GraphOps:
    """See `Backend`. Without onnx and openvino this raises ImportError."""
    if options.isa is not None:
        raise ValueError(complaint("isa", repr(options.isa), "none: OpenVINO chooses", "leave it out"))
    if options.device not in (None, "cpu"):
        raise ValueError(complaint("device", repr(options.device), "cpu", "choose --backend onnx for a GPU"))
    import onnx  # noqa: F401  the graphs are made of it
    import openvino

    from ..onnx.table import GraphOps
    from ..onnx.vino import PRECISIONS, VinoSession

    dtype = options.dtype or "float32"
    if dtype not in PRECISIONS:
        raise ValueError(complaint("dtype", repr(dtype), " or ".join(PRECISIONS), "leave it out"))

    def start(path: Path) -> VinoSession:
        return VinoSession(path, dtype, options.threads)

    version = openvino.__version__.partition("-")[0]
    return GraphOps(f"openvino/{'cpu' if dtype == 'float32' else dtype}/{version}", start, options.threads)
