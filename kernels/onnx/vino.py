"""Run graphs by OpenVINO, on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .inputs import Feeds

PRECISIONS: Final = {"float32": "f32", "bfloat16": "bf16"}


class VinoSession:
    """A `Session` of OpenVINO.

    Args:
        path: the graph.
        dtype: the precision of products: "float32", or "bfloat16" where the processor has it.
        threads: threads of a run; None: as many as OpenVINO takes.
    """

    def __init__(self, path: Path, dtype: str = "float32", threads: int | None = None) -> None:
        import openvino

        core = openvino.Core()
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": PRECISIONS[dtype], "NUM_STREAMS": 1}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._tensor = openvino.Tensor
        model = core.read_model(str(path))
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        self._held: Feeds = {}

    def bind(self, feeds: Feeds) -> None:
        """See `Session`."""
        self._set(feeds)

    def run(self, feeds: Feeds) -> NDArray[Any]:
        """See `Session`."""
        self._set(feeds)
        self._request.infer()
        found: NDArray[Any] = np.array(self._request.get_output_tensor(0).data)
        return found

    def _set(self, feeds: Feeds) -> None:
        for name, value in feeds.items():
            self._held[name] = np.require(value, requirements=["C", "W"])
            self._request.set_tensor(name, self._tensor(self._held[name], shared_memory=True))
