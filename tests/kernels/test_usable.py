"""What this process may use of the machine: cores and memory, with folders that stand for other machines.

house 4.6: only the affinity was asked. In a container of 2 CPUs on a machine of 64 cores, 64 threads shared a quota of
2 and were throttled; and the memory's limit was read of the root of cgroup v2 only, so a service's own was not seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from salon.frontends import machine as doctor_machine
from salon.kernels import _C
from salon.kernels.machine import memory_limit, usable_cores

V2 = "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
CPU = "33 20 0:30 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
CPUSET = "32 20 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset"
MEMORY = "34 20 0:31 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


def imitate(root: Path, own: str, mounts: str, files: Mapping[str, str]) -> Path:
    """Write a machine: /proc/self/cgroup, /proc/self/mountinfo, and files below /sys/fs/cgroup."""
    for name, text in {"cgroup": own, "mountinfo": "20 1 8:1 / / rw - ext4 /dev/sda rw\n" + mounts}.items():
        path = root / "proc" / "self" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


CORES = {
    # what it is: (/proc/self/cgroup, mounts, files, cores of a machine with 64)
    "no cgroups": ("", "", {}, 64),
    "a container's own namespace": ("0::/", V2, {"cpu.max": "200000 100000"}, 2),
    "a quota that is no whole number": ("0::/", V2, {"cpu.max": "150000 100000"}, 2),
    "less than a core": ("0::/", V2, {"cpu.max": "10000 100000"}, 1),
    "no quota": ("0::/a/b", V2, {"a/cpu.max": "max 100000", "a/b/cpu.max": "max 100000"}, 64),
    "more than the affinity": ("0::/", V2, {"cpu.max": "9900000 100000"}, 64),
    "a service of its own": (
        "0::/system.slice/salon.service",
        V2,
        {"system.slice/salon.service/cpu.max": "300000 100000"},
        3,
    ),
    "its parent's quota": ("0::/a/b/c", V2, {"a/cpu.max": "400000 100000", "a/b/c/cpu.max": "max 100000"}, 4),
    "the least of several": ("0::/a/b", V2, {"a/cpu.max": "500000 100000", "a/b/cpu.max": "600000 100000"}, 5),
    "version 1": (
        "4:cpu,cpuacct:/docker/x\n3:cpuset:/docker/x",
        f"{CPUSET}\n{CPU.format(top='/')}",
        {"cpu,cpuacct/docker/x/cpu.cfs_quota_us": "200000", "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000"},
        2,
    ),
    "version 1, seen from within": (
        "4:cpu,cpuacct:/docker/x",
        CPU.format(top="/docker/x"),
        {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
        3,
    ),
    "version 1, a group within": (
        "4:cpu,cpuacct:/docker/x/inner",
        CPU.format(top="/docker/x"),
        {"cpu,cpuacct/inner/cpu.cfs_quota_us": "50000", "cpu,cpuacct/inner/cpu.cfs_period_us": "50000"},
        1,
    ),
    "version 1 without a quota": (
        "4:cpu,cpuacct:/",
        CPU.format(top="/"),
        {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
        64,
    ),
    "a group outside of what is seen": ("0::/../other", V2, {"cpu.max": "700000 100000"}, 7),
    "nonsense": ("0::/\nx\n:::", V2 + "\n - \nx", {"cpu.max": "two hundred"}, 64),
}


@pytest.mark.parametrize("name", CORES)
def test_usable_cores(name: str, tmp_path: Path) -> None:
    own, mounts, files, want = CORES[name]
    assert usable_cores(imitate(tmp_path, own, mounts, files), affinity=64) == want


def test_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(imitate(tmp_path, "0::/", V2, {"cpu.max": "400000 100000"}), affinity=3) == 3
    assert usable_cores(tmp_path / "nothing") == len(os.sched_getaffinity(0))


MEMORIES = {
    "no cgroups": ("", "", {}, None),
    "none": ("0::/a", V2, {"a/memory.max": "max"}, None),
    "a container's own namespace": ("0::/", V2, {"memory.max": "2147483648"}, 2**31),
    "its parent's": ("0::/a/b", V2, {"a/memory.max": "1000", "a/b/memory.max": "2000"}, 1000),
    "version 1": ("5:memory:/a", MEMORY.format(top="/"), {"memory/a/memory.limit_in_bytes": "4096"}, 4096),
    "version 1 without": (
        "5:memory:/",
        MEMORY.format(top="/"),
        {"memory/memory.limit_in_bytes": "9223372036854771712"},
        None,
    ),
}


@pytest.mark.parametrize("name", MEMORIES)
def test_memory_limit(name: str, tmp_path: Path) -> None:
    own, mounts, files, want = MEMORIES[name]
    assert memory_limit(imitate(tmp_path, own, mounts, files)) == want


def test_everybody_asks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads by default, what `salon doctor` shows and what benchmarks record."""
    from salon.bench import machine as bench_machine

    monkeypatch.delenv("SALON_THREADS", raising=False)
    assert _C.default_threads() == min(usable_cores(), 256)
    assert doctor_machine.cpu()["cores"] == bench_machine.describe()["cores"] == usable_cores()
    assert doctor_machine.memory()["limit"] == memory_limit()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_one_core_of_the_affinity_is_one_thread() -> None:
    code = "from salon.kernels.cpu import CpuOps; print(CpuOps().threads)"
    core = min(os.sched_getaffinity(0))
    env = {name: value for name, value in os.environ.items() if name != "SALON_THREADS"}
    done = subprocess.run(
        ["taskset", "-c", str(core), sys.executable, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
