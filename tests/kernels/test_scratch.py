"""What an op takes for the time of a call is given back, also when memory is refused in the middle of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from salon.kernels.cpu import isa_levels

# Refuses memory at every point of a call: the limit leaves `room` bytes, a step more each time, until it succeeds. Each
# try runs in a thread of its own, which has no scratch to speak of; malloc's own room is kept small and shared, so that
# the limit counts. XGETBV(1) says which registers of this thread are in use: bits 17 and 18 are the AMX tiles.
CODE = """
import ctypes, mmap, resource, sys, threading
import numpy as np
from salon.kernels import _C
from salon.kernels.cpu import CpuOps
from salon.kernels.segments import Segments

ops, name = CpuOps(isa=sys.argv[2], threads=1), sys.argv[1]
if ops.isa == "amx_bf16":
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\\xb9\\x01\\x00\\x00\\x00\\x0f\\x01\\xd0\\xc3")  # mov ecx, 1; xgetbv; ret
    in_use = ctypes.CFUNCTYPE(ctypes.c_uint32)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    tiles = lambda: in_use() >> 17 & 3
else:
    tiles = lambda: 0

grids, normal = np.array([[24, 40]], np.int32), np.random.default_rng(3).standard_normal
small, pixels = ops.zeros(2, 6), ops.array(normal((960, 64), np.float32))
if name == "attention":
    q, kv = ops.zeros(64, 64), ops.zeros(20000, 128)  # too many keys for one thread's scratch
    k, v, segments = ops.columns(kv, 0, 64), ops.columns(kv, 64, 128), Segments.of([20000])
    call = lambda: ops.attention(q, k, v, Segments.of([64]), 1, kv_segments=segments)
elif name == "attention_by_pair":
    qkv, segments = ops.zeros(4096, 384), Segments.of([256] * 16)
    q, k, v = (ops.columns(qkv, i * 128, (i + 1) * 128) for i in range(3))
    call = lambda: ops.attention(q, k, v, segments, 2)
elif name in ("conv2d", "upsample"):
    weight = ops.pack_conv(normal((64, 64, 3, 3), np.float32), None)
    call = lambda: getattr(ops, name)(pixels, weight, grids)
elif name == "group_norm_silu":
    wide, ones = ops.zeros(6, 32768), ops.array(np.ones((1, 32768), np.float32), "float32")
    call = lambda: ops.group_norm_silu(wide, ones, ones, np.array([[2, 3]], np.int32), 1)
elif name == "linear":
    x, packed = ops.zeros(67, 9000), ops.pack_linear([normal((64, 9000), np.float32)])
    call = lambda: ops.linear(x, packed)
else:
    qkv = ops.zeros(8, 3 * 40960)
    call = lambda: ops.qk_norm_rope(qkv, 1, None, None, None, None)

def attempt(room, seen):
    ready, go = threading.Event(), threading.Event()
    def run():
        try:  # this thread's own data: scratch, of the smallest size, and exceptions
            ops.qk_norm_rope(small, 1, None, None, None, None)
            ops.empty(-1, 4)
        except ValueError:
            ready.set()
        go.wait()
        try:
            call()
        except MemoryError:
            seen.append("refused")
        else:
            seen.append("done")
        seen.append(tiles())
    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + room, resource.RLIM_INFINITY))
    go.set()
    thread.join()
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

threading.stack_size(262144)
before, refused = _C.memory()["in_use"], 0
for room in range(0, 32 << 20, 65536):
    _C.trim_memory()
    seen = []
    attempt(room, seen)
    refused += seen[0] == "refused"
    if seen[1]:
        print("tiles left configured with", room)
    if _C.memory()["in_use"] != before:
        print("in use", _C.memory()["in_use"] - before, "with", room)
        before = _C.memory()["in_use"]
    if seen[0] == "done":
        break
print(refused > 0, seen[0])
"""
OPS = ("attention", "attention_by_pair", "conv2d", "upsample", "group_norm_silu", "linear", "qk_norm_rope")


@pytest.mark.parametrize("isa", isa_levels()[:1])
@pytest.mark.parametrize("op", OPS)
def test_a_refused_call_leaves_nothing_behind(op: str, isa: str) -> None:
    """house.md 4.4: where the scratch of a task was refused, the blocks of the call stayed in use for ever, and conv2d
    left the AMX tiles of its thread configured, which every switch of threads then has to save."""
    env = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TOP_PAD_": "0"}
    result = subprocess.run(
        [sys.executable, "-c", CODE, op, isa], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout == "True done\n", result.stdout + result.stderr
