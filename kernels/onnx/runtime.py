"""Run graphs by ONNX Runtime, on the processor or on what other execution providers it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import complaint
from .inputs import Feeds

# Devices -> the execution providers that are asked for them, best first. All fall back to the processor.
PROVIDERS: Final = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}


class OnnxSession:
    """A `Session` of ONNX Runtime.

    Args:
        path: the graph.
        providers: execution providers, best first.
        threads: threads of an op; None: as many as ONNX Runtime takes.
        device: name and number of the device whose memory holds inputs and outputs.
    """

    def __init__(self, path: Path, providers: Sequence[Any], threads: int | None = None, device: str = "cpu") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
        self._of = onnxruntime.OrtValue.ortvalue_from_numpy
        self._where = ("cpu", 0) if device == "cpu" else ("cuda", number_of(device))
        self._names = {given.name for given in self._session.get_inputs()}
        self._output = self._session.get_outputs()[0].name
        self._binding = self._session.io_binding()
        self._held: Feeds = {}  # what is bound, which the values may share the memory of

    @property
    def providers(self) -> list[str]:
        """The execution providers that the graph is given to, first come first served."""
        found: list[str] = self._session.get_providers()
        return found

    def bind(self, feeds: Feeds) -> None:
        """See `Session`: they are brought to the device once."""
        self._binding.clear_binding_inputs()
        self._held = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        for name, value in self._held.items():
            self._binding.bind_ortvalue_input(name, self._of(value, *self._where))

    def run(self, feeds: Feeds) -> NDArray[Any]:
        """See `Session`."""
        for name, value in feeds.items():
            self._held[name] = np.ascontiguousarray(value)
            self._binding.bind_ortvalue_input(name, self._of(self._held[name], *self._where))
        self._binding.bind_output(self._output, *self._where)
        self._session.run_with_iobinding(self._binding)
        found: NDArray[Any] = self._binding.get_outputs()[0].numpy()
        return found


def number_of(device: str) -> int:
    """Return the number of a device: 1 of "cuda:1", 0 of "cuda"."""
    return int(device.partition(":")[2] or 0)


def chosen(providers: Sequence[str]) -> list[Any]:
    """Return execution providers as they were named. Raise ValueError for one that this ONNX Runtime lacks."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    missing = [name for name in providers if name not in there]
    if missing or not providers:
        got = ", ".join(missing) or "none"
        raise ValueError(complaint("providers", got, ", ".join(there), "install the onnxruntime that has it"))
    return list(providers)


def providers_of(device: str) -> list[Any]:
    """Return the execution providers for a device: cpu, or cuda or tensorrt with a number.

    Raises:
        ValueError: there is no such device, or this ONNX Runtime has no provider for it.
        ImportError: ONNX Runtime is not installed.
    """
    import onnxruntime

    there = onnxruntime.get_available_providers()
    kind, _, number = device.partition(":")
    if kind not in PROVIDERS or (number and not number.isdecimal()) or (kind == "cpu" and number):
        allowed = "cpu, or cuda:N or tensorrt:N"
        raise ValueError(complaint("device", repr(device), allowed, "choose one of them"))
    if PROVIDERS[kind][0] not in there:
        allowed = ", ".join(name for name, wanted in PROVIDERS.items() if wanted[0] in there)
        got = f"{device!r}, which wants the {PROVIDERS[kind][0]}"
        raise ValueError(complaint("device", got, f"{allowed} (of this onnxruntime)", "install onnxruntime-gpu"))
    chosen = [name for name in PROVIDERS[kind] if name in there]
    at = {"device_id": number_of(device)}
    return [*((name, at) if name != "CPUExecutionProvider" else name for name in chosen),
            *(() if kind == "cpu" else ("CPUExecutionProvider",))]  # fmt: skip
