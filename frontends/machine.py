"""Describe this machine and installation, from /proc and the packages' own records."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, TypedDict

# The features that the kernels look for.
FEATURES: Final = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512dq",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
)
REQUIRED: Final = (
    "numpy",
    "safetensors",
    "tokenizers",
    "gguf",
    "msgspec",
    "pyzmq",
    "pillow",
    "rich",
    "sqlalchemy",
    "prometheus-client",
)
DRIVER: Final = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")  # any of them: NVIDIA's driver is there
OPTIONAL: Final = ("torch", "triton", "onnxruntime", "openvino", "tensorrt_rtx", "diffusers", "transformers")


class Cpu(TypedDict):
    """The processor.

    Attributes:
        model: its name; "unknown" if the system does not tell it.
        cores: cores that this process can keep busy, by its affinity and its container's quota.
        features: those of `FEATURES` that it has.
    """

    model: str
    architecture: str
    cores: int
    features: list[str]


class Memory(TypedDict):
    """The memory in bytes. `limit` is that of the container or service, or None."""

    total: int
    available: int
    limit: int | None


class Gpu(TypedDict):
    """A GPU. `capability` is NVIDIA's, like "9.0"; memory in bytes."""

    device: str
    name: str
    capability: str
    memory: int
    bfloat16: bool


class Gpus(TypedDict):
    """The GPUs that the triton backend can use. `reason` says why there is none; empty: there are some."""

    found: list[Gpu]
    reason: str


def cpu() -> Cpu:
    """Describe this machine's processor."""
    fields: dict[str, str] = {}
    for line in _lines("/proc/cpuinfo"):
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    return Cpu(
        model=fields.get("model name", "unknown"),
        architecture=platform.machine(),
        cores=_usable_cores(),
        features=[name for name in FEATURES if name in flags],
    )


def memory() -> Memory:
    """Describe this machine's memory. A number is 0 if the system does not tell it."""
    sizes = {"MemTotal": 0, "MemAvailable": 0}
    for line in _lines("/proc/meminfo"):
        name, _, value = line.partition(":")
        if name in sizes:
            sizes[name] = int(value.split()[0]) * 1024
    return Memory(total=sizes["MemTotal"], available=sizes["MemAvailable"], limit=_memory_limit())


def gpus() -> Gpus:
    """Describe this machine's GPUs. torch, which takes seconds to start, is asked only where NVIDIA's driver is."""
    if not any(os.path.exists(path) for path in DRIVER):
        return Gpus(found=[], reason="none (no NVIDIA driver)")
    missing = [name for name, found in versions(("torch", "triton")).items() if found is None]
    if missing:
        return Gpus(found=[], reason=f"not looked for: {' and '.join(missing)} not installed (pip install .[gpu])")
    try:
        from ..kernels.triton.devices import list_devices

        found = [
            Gpu(
                device=f"cuda:{gpu.index}", name=gpu.name, capability=".".join(map(str, gpu.capability)),
                memory=gpu.total_bytes, bfloat16=gpu.capability >= (8, 0),
            )
            for gpu in list_devices()
        ]  # fmt: skip
    except (ImportError, OSError, RuntimeError, ValueError) as error:  # of the driver, or of a broken torch
        return Gpus(found=[], reason=f"none that can be used: {' '.join(str(error).split())}")
    return Gpus(found=found, reason="" if found else "none that this torch can use; it needs a build for CUDA")


def versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """Return the installed version of each package, None if it is missing. No package is imported."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _usable_cores() -> int:
    try:
        from ..kernels.machine import usable_cores
    except ImportError:  # the kernels cannot be loaded; the rest of the report says so
        return len(os.sched_getaffinity(0))
    return usable_cores()


def _memory_limit() -> int | None:
    try:
        from ..kernels.machine import memory_limit
    except ImportError:
        return None
    return memory_limit()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
