"""What a result was measured on: enough to compare with another machine, and nothing that names this one; and the
commit of what was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..kernels.machine import usable_cores

PACKAGE = Path(__file__).resolve().parent.parent
RESULTS = ("bench/results", "README.md", "docs", "CHANGELOG.md")  # what a run changes; no part of what it measures

# Flags that decide which kernels run, in the order in which they are printed.
ISA_FLAGS = (
    "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "avx_vnni", "amx_tile", "amx_bf16", "amx_int8", "asimd", "sve", "bf16",
)  # fmt: skip


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # not Linux
        return ""


def _fields(text: str) -> dict[str, str]:
    """Return the first value of each `key : value` line."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def all_cores() -> int:
    """Count the cores of the machine, usable or not."""
    return os.cpu_count() or 1


def busy_seconds() -> float:
    """Return the CPU seconds that all processes together have used since the machine started; 0 where it is not
    known."""
    first = _read("/proc/stat").partition("\n")[0].split()
    if len(first) < 5 or first[0] != "cpu":
        return 0.0
    user, nice, system = (int(value) for value in first[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def has_flag(flag: str) -> bool:
    """Return whether the CPU reports an ISA flag, in /proc/cpuinfo's spelling."""
    fields = _fields(_read("/proc/cpuinfo"))
    return flag in (fields.get("flags") or fields.get("Features") or "").split()


def describe() -> dict[str, Any]:
    """Describe CPU model, family, usable cores, caches, ISA flags, memory in GiB, and release of the kernel."""
    fields = _fields(_read("/proc/cpuinfo"))
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    memory_kib = int((_fields(_read("/proc/meminfo")).get("MemTotal") or "0 kB").split()[0])
    return {
        "cpu": fields.get("model name") or platform.machine(),
        "family": f"{fields.get('cpu family', '?')}/{fields.get('model', '?')}",
        "cores": usable_cores(),
        "l2": _cache_size(2),
        "l3": _cache_size(3),
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "memory_gib": round(memory_kib / 2**20, 1),
        "system": platform.system(),
        "arch": platform.machine(),
    }


def _cache_size(level: int) -> str:
    for index in range(8):
        folder = f"/sys/devices/system/cpu/cpu0/cache/index{index}"
        if _read(f"{folder}/level").strip() == str(level):
            return _read(f"{folder}/size").strip()
    return "?"


def commit(folder: Path = PACKAGE) -> str:
    """Return `git describe` of the checkout that the package lies in.

    It ends in "-dirty" where files differ from that commit (other than the results themselves). It is "unknown" for an
    installed package, or where there is no git.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != folder:
            return "unknown"  # a checkout of something else that it is installed in
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *(f":!{path}" for path in RESULTS))
        return git("describe", "--always", "--tags", "--abbrev=9") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def versions(distributions: tuple[str, ...]) -> dict[str, str]:
    """Return versions of Python and of the named distributions; "absent" for those that are not installed."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
