"""The ground under the ops: choice of instruction set, threads, memory, and the compiled files themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from salon.kernels import _C
from salon.kernels.backends import create
from salon.kernels.cpu import CpuOps, isa_levels
from salon.kernels.ops import AdapterTerms, GuidanceTerms
from salon.kernels.segments import Segments


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False
    )


def test_levels_end_with_portable():
    levels = isa_levels()
    assert levels[-1] == "portable"
    assert CpuOps().isa == levels[0] or os.environ.get("SALON_ISA")
    assert [CpuOps(isa=level).isa for level in levels] == levels


def test_environment_forces_isa_and_threads():
    code = "from salon.kernels.cpu import CpuOps; o = CpuOps(); print(o.isa, o.threads, o.compute)"
    assert run(code, SALON_ISA="portable", SALON_THREADS="3").stdout.split() == ["portable", "3", "float32"]
    assert "SALON_ISA=mmx: this machine runs" in run(code, SALON_ISA="mmx").stderr
    assert "SALON_THREADS=many: want a whole number" in run(code, SALON_THREADS="many").stderr
    assert "SALON_THREADS=0" in run(code, SALON_THREADS="0").stderr


def test_refusals():
    with pytest.raises(ValueError, match="isa=vax: this machine runs"):
        CpuOps(isa="vax")
    with pytest.raises(ValueError, match="portable has no bf16 dot product"):
        CpuOps(isa="portable", dtype="bfloat16")
    with pytest.raises(ValueError, match="threads"):
        CpuOps(threads=0)
    with pytest.raises(ValueError, match="threads"):
        CpuOps(threads=257)
    with pytest.raises(ValueError, match="backend: got 'tpu'"):
        create("tpu")
    with pytest.raises(ValueError, match="reference"):
        create("reference", isa="avx2")
    with pytest.raises(ValueError, match="reference backend is plain float32 on one thread: .* threads=5"):
        create("reference", threads=5)
    assert create("reference", threads=1, dtype="float32").name == "reference"


def wrong_types() -> dict[str, Callable[[CpuOps], object]]:
    """Calls with an argument of another type than the op table says, by what the error must begin with."""
    i, f = np.zeros(1, np.int32), np.ones(1, np.float32)
    one, plain = Segments.of([4]), np.ones((4, 8), np.float32)

    def terms(o: CpuOps, **changes: Any) -> AdapterTerms:
        values = {"segments": i, "offsets": np.array([0, 1], np.int32), "rows": i, "weights": f}
        return AdapterTerms(**({"keys": o.zeros(4, 8), "values": o.zeros(4, 8)} | values | changes))

    def solve(o: CpuOps, **changes: Any) -> None:
        x = o.zeros(4, 8, "float32")
        values: dict[str, Any] = {"origins": i, "offsets": np.array([0, 1], np.int32), "rows": i, "weights": f}
        numbers: dict[str, Any] = {"a": f, "b": 0 * f}
        mine = {name: changes.get(name, value) for name, value in values.items()}
        o.solver_step(x, x, one, GuidanceTerms(**mine), **{n: changes.get(n, value) for n, value in numbers.items()})

    def attend(o: CpuOps, **changes: Any) -> object:
        x = o.zeros(4, 8)
        return o.attention(x, x, x, one, 2, adapters=terms(o, **changes))

    square = np.ones((8, 8), np.float32)
    calls: dict[str, Callable[[Any], object]] = {
        "array: values: got list, want a float dtype": lambda o: o.array([[1.0]]),
        "cast: activation: got int, want text": lambda o: o.cast(o.zeros(4, 8), activation=3),
        "cast: x: got [4, 8] float32, want an array of this backend": lambda o: o.cast(plain),
        "zeros: width: got str, want a whole number": lambda o: o.zeros(3, "8"),
        "concat: parts: got [4, 8] float32, want an array": lambda o: o.concat([o.zeros(4, 8), plain]),
        "linear: x: got [4, 8] float32, want an array": lambda o: o.linear(plain, o.pack_linear([square])),
        "linear: weight: got [8, 8] float32, want a packed weight": lambda o: o.linear(o.zeros(4, 8), square),
        "pack_linear: weights: got list, want a float dtype": lambda o: o.pack_linear([[1.0]]),
        "conv2d: grids: got [1, 2] int64, want an array of int32": lambda o: o.conv2d(
            o.zeros(4, 8), o.pack_conv(square[..., None, None], None), np.array([[2, 2]])
        ),
        "embed: indices: got [1] int64, want an array of int32": lambda o: o.embed(
            [np.zeros(1, np.int64)], [o.zeros(4, 8)]
        ),
        "embed: tables: got [4, 8] float32, want an array": lambda o: o.embed([i], [plain]),
        "timestep_embedding: timesteps: got [3] float64, want an array of float32": lambda o: o.timestep_embedding(
            np.ones(3), 8
        ),
        "add: only: got [1] int64, want an array of int32": lambda o: o.add(
            o.zeros(4, 8, "float32"), o.zeros(4, 8), one, np.zeros(1, np.int64)
        ),
        "solver_step: guidance.rows: got [1] int64, want an array of int32": lambda o: solve(
            o, rows=i.astype(np.int64)
        ),
        "solver_step: guidance.weights: got [1] float64, want an array of float32": lambda o: solve(
            o, weights=f.astype(np.float64)
        ),
        "solver_step: b: got [1] float64, want an array of float32": lambda o: solve(o, b=f.astype(np.float64)),
        "blend: a: got [1] float64, want an array of float32": lambda o: o.blend(
            *[o.zeros(4, 8, "float32")] * 3, o.zeros(4, 1, "float32"), one, f.astype(np.float64), f
        ),
        "attention: adapters.rows: got [1] int64, want an array of int32": lambda o: attend(o, rows=i.astype(np.int64)),
        "attention: adapters.keys: got [4, 8] float32, want an array of this": lambda o: attend(o, keys=plain),
    }
    return calls


@pytest.mark.parametrize("message", wrong_types())
def test_an_argument_of_another_type_is_named(message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        wrong_types()[message](CpuOps(threads=1))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_call_that_is_none_stays_a_type_error():
    with pytest.raises(TypeError, match="width"):
        CpuOps(threads=1).zeros(3)  # type: ignore[call-arg]


def test_steady_state_asks_nothing_of_the_system():
    """After the first pass every array comes from memory that was used before."""
    ops = CpuOps(threads=2)
    weight = ops.pack_linear([np.ones((256, 128), np.float32)])
    x = ops.array(np.ones((300, 128), np.float32))

    def step() -> None:
        y = ops.linear(x, weight, activation="silu")
        ops.linear(ops.columns(y, 0, 128), weight, dtype="float32")

    step()
    before = _C.memory()
    for _ in range(50):
        step()
    after = _C.memory()
    assert after["system_calls"] == before["system_calls"]
    assert after["in_use"] == before["in_use"]


def test_threads_that_do_not_start_are_told():
    """faults 8: `--threads 64` under a small limit of processes was a traceback. Here there is no room for stacks."""
    code = """
import resource, threading
import numpy as np
from salon.kernels.cpu import CpuOps
pages = int(open("/proc/self/statm").read().split()[0])
stack = min(max(resource.getrlimit(resource.RLIMIT_STACK)[0], 2 << 20), 64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + 4 * stack, resource.RLIM_INFINITY))
ops = CpuOps("portable", threads=64)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
x = ops.array(np.ones((500, 64), np.float32))
assert (ops.numpy(ops.linear(x, ops.pack_linear([np.ones((64, 64), np.float32)]))) == 64).all()
print(ops.threads, *ops.notes)
assert CpuOps("portable", threads=64).threads == 64
assert CpuOps("portable", threads=64).notes == ()
"""
    result = run(code)
    assert result.returncode == 0, result.stderr
    found = re.fullmatch(
        r"(\d+) threads: (\d+) of 64 are used, since the system started no more \((.+)\); .*\n", result.stdout
    )
    assert found, result.stdout
    assert 1 < int(found[1]) == int(found[2]) < 64


def test_memory_returns():
    ops = CpuOps(threads=1)
    before = _C.memory()["in_use"]
    big = ops.zeros(1000, 1000, "float32")
    assert _C.memory()["in_use"] >= before + 4_000_000
    del big
    assert _C.memory()["in_use"] == before
    _C.trim_memory()
    assert _C.memory()["cached"] == 0


def test_batches_of_ever_new_sizes_keep_little():
    """What is kept for reuse is bounded by what was in use, not by how many sizes there were."""
    code = """
from salon.kernels import _C
from salon.kernels.cpu import CpuOps
ops = CpuOps(threads=1)
for rows in [*range(1000, 40_000, 491), *range(40_000, 1000, -491)]:
    some = [ops.empty(rows, 64, "float32"), ops.empty(rows // 3, 64, "float32"), ops.empty(rows // 7, 64, "float32")]
    del some
m = _C.memory()
assert m["in_use"] == 0
assert m["most_in_use"] > 40_000 * 64 * 4
assert m["cached"] <= m["peak"] <= 3 * m["most_in_use"], m
assert m["system_calls"] < 150, m
before = m["system_calls"]
for rows in (20_000, 18_100, 16_300):  # blocks that are a little larger will do
    ops.empty(rows, 64, "float32")
assert _C.memory()["system_calls"] <= before + 1, _C.memory()
print("bounded")
"""
    result = run(code)
    assert result.stdout == "bounded\n", result.stderr


def test_kept_memory_goes_where_the_system_has_no_more():
    code = """
import resource
from salon.kernels import _C
from salon.kernels.cpu import CpuOps
ops = CpuOps(threads=1)
ops.zeros(100_000, 250, "float32")
assert _C.memory()["cached"] > 100_000_000
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + 30_000_000, resource.RLIM_INFINITY))
ops.zeros(110_000, 250, "float32")
print(_C.memory()["in_use"])
"""
    result = run(code)
    assert result.stdout == "0\n", result.stderr


def test_absurd_sizes_are_refused():
    ops = CpuOps(threads=1)
    with pytest.raises(ValueError, match="too large"):
        ops.empty(2**40, 2**20)
    with pytest.raises(ValueError, match="negative"):
        ops.empty(-1, 4)


def test_out_of_memory_is_an_error_not_a_crash():
    """Outputs, and the scratch that pool threads ask for, when the address space ends."""
    code = """
import resource
import numpy as np
from salon.kernels.cpu import CpuOps
from salon.kernels.segments import Segments
ops = CpuOps(threads=2)
rows, width = 4096, 64
qkv = ops.zeros(rows, 3 * width)
out = ops.zeros(rows, width)
q, k, v = (ops.columns(qkv, i * width, (i + 1) * width) for i in range(3))
ops.add(ops.zeros(2000, 8, "float32"), ops.zeros(2000, 8))  # the pool's threads exist
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + 200_000, resource.RLIM_INFINITY))
for attempt in (lambda: ops.empty(100_000, 1000), lambda: ops.attention(q, k, v, Segments.of([rows]), 1, out=out)):
    try:
        attempt()
    except MemoryError:
        print("refused")
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ops.attention(q, k, v, Segments.of([rows]), 1, out=out)
print("works again")
"""
    result = run(code)
    assert result.stdout.split("\n")[:3] == ["refused", "refused", "works again"], result.stdout + result.stderr


def test_calls_from_many_threads():
    """The pool serves one op at a time; callers queue and each gets its own result."""
    ops = CpuOps(threads=2)
    rng = np.random.default_rng(0)
    w = rng.standard_normal((96, 64)).astype(np.float32)
    packed = ops.pack_linear([w])
    inputs = [rng.standard_normal((50 + i, 64)).astype(np.float32) for i in range(6)]
    alone = [ops.numpy(ops.linear(ops.array(x), packed)) for x in inputs]
    failures: list[int] = []

    def worker(i: int) -> None:
        for _ in range(40):
            if not np.array_equal(ops.numpy(ops.linear(ops.array(inputs[i]), packed)), alone[i]):
                failures.append(i)

    threads = [threading.Thread(target=worker, args=(i,)) for i in range(len(inputs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(timeout=60)
        assert not t.is_alive()
    assert not failures


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_too():
    code = """
import os, numpy as np
from salon.kernels.cpu import CpuOps
ops = CpuOps(threads=2)
w = ops.pack_linear([np.ones((64, 64), np.float32)])
x = ops.array(np.ones((100, 64), np.float32))
ops.linear(x, w)
pid = os.fork()
if pid == 0:
    os._exit(0 if (ops.numpy(ops.linear(x, w)) == 64).all() else 1)
print(os.waitpid(pid, 0)[1])
"""
    result = run(code)
    assert result.stdout.strip() == "0", result.stderr


def test_isa_files_have_no_weak_symbols():
    """A weak symbol of a file with raised ISA flags could replace the portable copy of the same function.

    Only the kernels' own namespaces may carry instruction-set code: nothing weak may be defined in them."""
    nm = subprocess.run(["nm", "-C", _C.__file__], capture_output=True, text=True, check=False)
    if nm.returncode:
        pytest.skip("binutils' nm is not installed")
    names = ("portable", "avx2", "avx512", "avx512_bf16", "amx_bf16", "amx_model")
    weak = [
        line
        for line in nm.stdout.splitlines()
        if len(line.split()) > 2 and line.split()[1] in "WVu" and any(f"salon::{n}::" in line for n in names)
    ]
    assert not weak, weak[:5]
