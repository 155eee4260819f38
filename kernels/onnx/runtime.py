"""Run graphs by ONNX Runtime, on the processor or on what other execution providers it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import SalonError, complaint
from .inputs import Feeds

# Devices -> the execution providers that are asked for them, best first. All fall back to the processor.
PROVIDERS: Final = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
# Those that compute on a CUDA device and read its memory. Inputs of all others lie in the host's memory.
ON_CUDA: Final = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")


class ProviderError(SalonError):
    """An execution provider that ONNX Runtime lists and could not start."""


class OnnxSession:
    """A `Session` of ONNX Runtime.

    Args:
        path: the graph.
        providers: execution providers, best first: names, or (name, options).
        threads: threads of an op; None: as many as ONNX Runtime takes.
        device: name and number of the device whose memory holds inputs and outputs.

    Raises:
        ProviderError: the first provider did not start, so the graph would run elsewhere than its inputs lie.
    """

    def __init__(self, path: Path, providers: Sequence[Any], threads: int | None = None, device: str = "cpu") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
        first = name_of(providers[0])
        if first not in self._session.get_providers():  # ONNX Runtime goes on with the others
            got = f"{first}, which did not start"
            raise ProviderError(
                complaint("providers", got, ", ".join(self._session.get_providers()), "see what ONNX Runtime logged")
            )
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


def name_of(provider: Any) -> str:
    """Return the name of an execution provider, which may stand with options."""
    return str(provider if isinstance(provider, str) else provider[0])


def device_of(providers: Sequence[Any]) -> str:
    """Return the device whose memory execution providers read: that of the first, "cpu" or "cuda:N"."""
    first = providers[0]
    if name_of(first) not in ON_CUDA:
        return "cpu"
    return f"cuda:{0 if isinstance(first, str) else first[1].get('device_id', 0)}"


def chosen(providers: Sequence[Any]) -> list[Any]:
    """Return execution providers as they were named, each a name or (name, options).

    Raises:
        ValueError: one is neither, or this ONNX Runtime lacks it; or two name different devices.
    """
    import onnxruntime

    for provider in providers:
        pair = isinstance(provider, tuple) and len(provider) == 2 and isinstance(provider[1], Mapping)
        number = str(provider[1].get("device_id", 0)) if pair else "0"
        if not isinstance(provider[0] if pair else provider, str) or not (number.isascii() and number.isdecimal()):
            allowed = "names, or (name, options), where device_id is a number"
            raise ValueError(complaint("providers", repr(provider), allowed, "write it as onnxruntime takes it"))
    there = onnxruntime.get_available_providers()
    missing = [name for name in map(name_of, providers) if name not in there]
    if missing or not providers:
        got = ", ".join(missing) or "none"
        raise ValueError(complaint("providers", got, ", ".join(there), "install the onnxruntime that has it"))
    places = {device_of([each]) for each in providers if name_of(each) in ON_CUDA}
    if len(places) > 1:
        raise ValueError(complaint("providers", " and ".join(sorted(places)), "one device", "give each its device_id"))
    return [each if isinstance(each, str) else (each[0], dict(each[1])) for each in providers]


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
