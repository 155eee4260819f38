"""The caller's floating-point mode reaches no result, on no thread, and comes back as it was.

house 4.1, faults 11: MXCSR belongs to a thread. A caller that flushes denormal numbers (torch.set_flush_denormal, a
library built with -ffast-math) or rounds another way had its mode on the tasks that its own thread took, and the pool's
threads kept theirs: one result held both, and its bits depended on who took which task.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from salon.kernels.cpu import CpuOps
from salon.kernels.ops import Dtype, GuidanceTerms
from salon.kernels.segments import Segments

from .conftest import variants

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="sets MXCSR")

PLAIN, FLUSH = 0x1F80, 0x1F80 | 0x8040  # all exceptions masked; and FTZ and DAZ
UP, TO_ZERO = 0x1F80 | 0x4000, 0x1F80 | 0x6000 | 0x8040
MODES = {"denormals": PLAIN, "flush": FLUSH, "up": UP, "to zero": TO_ZERO}
FLAGS = 0x3F  # what happened; any operation sets these
MXCSR_AT = 28  # in glibc's fenv_t of x86-64

LIBM = ctypes.CDLL(ctypes.util.find_library("m"))


def mode() -> int:
    """MXCSR of this thread, without the flags of what happened."""
    environment = ctypes.create_string_buffer(32)
    LIBM.fegetenv(environment)
    return int.from_bytes(environment.raw[MXCSR_AT:], "little") & ~FLAGS


@contextmanager
def set_mode(value: int) -> Iterator[None]:
    """Give this thread another MXCSR."""
    before, changed = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    LIBM.fegetenv(before)
    changed.raw = before.raw[:MXCSR_AT] + value.to_bytes(4, "little")
    LIBM.fesetenv(changed)
    try:
        yield
        assert mode() == value, "an op changed its caller's mode"
    finally:
        LIBM.fesetenv(before)


def tiny(rng: np.random.Generator, *shape: int) -> Any:
    """Numbers whose products are denormal or zero, beside some that are not."""
    return (rng.standard_normal(shape) * 10.0 ** rng.integers(-38, -18, shape)).astype(np.float32)


def results(isa: str, dtype: Dtype, threads: int, value: int) -> dict[str, bytes]:
    """Bytes of one call of each kind of op, computed while the caller's MXCSR is `value`."""
    rng = np.random.default_rng(7)
    ops = CpuOps(isa, dtype, threads)
    rows, width, heads = 600, 64, 2
    x, weight, bias = tiny(rng, rows, width), tiny(rng, 3 * width, width), tiny(rng, 3 * width)
    large = 40 * rng.standard_normal((rows, 2 * width)).astype(np.float32)
    joined = np.concatenate([large, x], axis=1)
    pixels, kernel = tiny(rng, 40 * 40, 16), rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
    some, other = tiny(rng, rows, width), tiny(rng, rows, width)
    segments, grids = Segments.of([rows]), np.array([[40, 40]], np.int32)
    one, small = np.ones(1, np.float32), np.full(1, 1e-3, np.float32)
    times = np.array([1e-42, 1e-3, 700], np.float32)
    with set_mode(value):
        packed = ops.pack_linear([weight], [bias])
        backend = ops.array(x)
        out = {
            "array": backend,
            "linear": ops.linear(backend, packed, dtype="float32"),
            "silu": ops.linear(backend, packed, activation="silu", dtype="float32"),
            "cast": ops.cast(ops.array(x, "float32"), "float32", activation="silu"),
            "norm": ops.norm(ops.array(x, "float32"), ops.array(one.repeat(width), "float32"), dtype="float32"),
            "embed": ops.embed([np.zeros(rows, np.int32)] * 2, [ops.array(x, "float32"), ops.array(some, "float32")]),
            "timestep": ops.timestep_embedding(times, width),
        }
        qkv, again = ops.array(joined), ops.array(joined)
        ops.qk_norm_rope(qkv, heads, None, None, ops.array(x[:, :16], "float32"), ops.array(some[:, :16], "float32"))
        q, k, v = (ops.columns(again, i * width, (i + 1) * width) for i in range(3))
        out["qkv"], out["attention"] = qkv, ops.attention(q, k, v, segments, heads)
        shift = ops.array(some[:1], "float32")
        out["modulate"] = ops.modulate(ops.array(x, "float32"), shift, shift, segments)
        out["sum"] = ops.array(some, "float32")
        ops.add(out["sum"], ops.array(other, "float32"))
        out["solver"] = ops.array(some, "float32")
        zero = np.zeros(1, np.int32)
        velocity = ops.array(other, "float32")
        guidance = GuidanceTerms(zero, np.array([0, 1], np.int32), zero, one)
        ops.solver_step(out["solver"], velocity, segments, guidance, small, one * 0)
        out["blend"] = ops.array(some, "float32")
        weights = ops.array(np.full((rows, 1), 0.5), "float32")
        ops.blend(out["blend"], velocity, ops.array(x, "float32"), weights, segments, small, small)
        image, conv = ops.array(pixels), ops.pack_conv(kernel, None)
        out["conv2d"], out["upsample"] = ops.conv2d(image, conv, grids), ops.upsample(image, conv, grids)
        affine = ops.array(one.repeat(16), "float32")
        out["group norm"] = ops.group_norm_silu(image, affine, affine, grids, 4)
        return {name: ops.numpy(array).tobytes() for name, array in out.items()}


@pytest.mark.parametrize(("isa", "dtype"), variants())
def test_the_callers_mode_reaches_no_result(isa: str, dtype: Dtype) -> None:
    want = results(isa, dtype, 1, PLAIN)
    for name, value in MODES.items():
        for threads in (1, 2):
            got = results(isa, dtype, threads, value)
            assert [op for op in want if got[op] != want[op]] == [], f"{name}, {threads} threads"


def test_one_result_has_one_mode() -> None:
    """The example of the fault: 1e-30 times 1e-10 was 6.4e-39 in some rows and 0 in others."""
    ops = CpuOps(None, "float32", 2)
    weight = ops.pack_linear([np.full((64, 64), 1e-10, np.float32)])
    x = ops.array(np.full((4096, 64), 1e-30, np.float32))
    with set_mode(FLUSH):
        flushed = ops.numpy(ops.linear(x, weight, dtype="float32"))
    plain = ops.numpy(ops.linear(x, weight, dtype="float32"))
    assert np.unique(flushed).tolist() == np.unique(plain).tolist() == [0.0]
