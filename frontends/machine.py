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
    "msgspec",
    "pyzmq",
    "pillow",
    "rich",
    "sqlalchemy",
    "prometheus-client",
)
OPTIONAL: Final = ("torch", "triton", "onnxruntime", "openvino", "diffusers", "transformers")


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
