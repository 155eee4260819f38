"""Compile kernels of the triton backend for GPUs that are not there, and tell what each needs of one.

The ops themselves say what to compile: they run over torch's meta tensors, which have shapes and no memory, and a
recorder stands where launches would go. So what is compiled is what a model of those shapes launches.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ..kernels.ops import AdapterTerms, Dtype, GuidanceTerms
from ..kernels.triton.devices import FLOAT8, Device
from ..kernels.triton.image import TritonConv
from ..kernels.triton.linear import TritonLinear
from ..kernels.triton.table import TritonOps

POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float8_e4m3fn: "*fp8e4nv", torch.int32: "*i32"}
DIVISIBLE = [["tt.divisibility", 16]]


@dataclass(frozen=True)
class Build:
    """One kernel as it is launched: its types, its constants and its options, all hashable."""

    kernel: Any
    signature: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]
    divisible: tuple[int, ...]
    warps: int
    stages: int

    @property
    def name(self) -> str:
        return str(self.kernel.fn.__name__)


@dataclass(frozen=True)
class Usage:
    """What a compiled kernel needs: registers of a thread, bytes of shared memory and of spilled registers."""

    registers: int
    shared_bytes: int
    spilled_bytes: int


class Recorder:
    """A launch that only remembers what would be compiled."""

    def __init__(self) -> None:
        self.builds: dict[Build, str] = {}
        self.part = ""

    def __call__(
        self, kernel: Any, grid: tuple[int, ...], *args: Any, warps: int = 4, stages: int = 2, **constants: Any
    ) -> None:
        if 0 in grid:
            return
        signature, fixed, divisible = {}, dict(constants), []
        for i, (parameter, value) in enumerate(zip(kernel.params, args, strict=False)):
            kind = _kind(parameter, value)
            signature[parameter.name] = kind
            if kind == "constexpr":
                fixed[parameter.name] = value
            elif not parameter.do_not_specialize and (kind[0] == "*" or (kind == "i32" and value % 16 == 0)):
                divisible.append(i)
        signature |= dict.fromkeys(constants, "constexpr")
        build = Build(kernel, (*signature.items(),), (*fixed.items(),), (*divisible,), warps, stages)
        self.builds.setdefault(build, self.part)


def _kind(parameter: Any, value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return POINTERS[value.dtype]
    if value is None or (value == 1 and isinstance(value, int) and not parameter.do_not_specialize):
        return "constexpr"
    return "fp32" if isinstance(value, float) else "i32"


def compile_for(build: Build, arch: int) -> Usage:
    """Compile a kernel for an architecture, such as 90, and read its needs from the binary.

    Raises:
        RuntimeError: TRITON_INTERPRET is set, under which nothing is compiled.
    """
    if knobs.runtime.interpret:
        raise RuntimeError("TRITON_INTERPRET: got it set, want it unset: the interpreter compiles nothing")
    names = [name for name, _ in build.signature]
    source = ASTSource(
        build.kernel,
        dict(build.signature),
        {(names.index(name),): value for name, value in build.constants},
        {(i,): DIVISIBLE for i in build.divisible},
    )
    options = {"num_warps": build.warps, "num_stages": build.stages}
    made = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    text = _told_of(knobs.nvidia.cuobjdump.path, ".cubin", made.asm["cubin"], "--dump-resource-usage")
    found = re.search(r"REG:(\d+) STACK:(\d+) ", text)
    assert found is not None, text
    registers, spilled = int(found[1]), 0
    if int(found[2]):  # a stack is there for spills, or for what the code itself keeps in memory: the assembler knows
        assembler = knobs.nvidia.ptxas_blackwell if arch >= 100 else knobs.nvidia.ptxas
        target = re.search(r"\.target (sm_\w+)", made.asm["ptx"])
        assert target is not None
        flags = ["-v", f"--gpu-name={target[1]}", "--output-file=/dev/null"]
        text = _told_of(assembler.path, ".ptx", made.asm["ptx"].encode(), *flags)
        spills = re.search(r"(\d+) bytes spill stores", text)
        assert spills is not None, text
        spilled = int(spills[1])
    return Usage(registers, int(made.metadata.shared), spilled)


def _told_of(tool: str, suffix: str, content: bytes, *options: str) -> str:
    """Return what one of CUDA's tools says of a file with this content."""
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        Path(file.name).write_bytes(content)
        done = subprocess.run([tool, *options, file.name], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def record(arch: int, dtype: Dtype = "bfloat16", *, least: bool = False) -> dict[Build, str]:
    """Return what the ops launch on an architecture for FLUX.1 of 12 billion parameters: build -> part of the model.

    With `least` one of each kernel of a block: the gated layer, and attention with adapter terms.
    """
    recorder = Recorder()
    ops = TritonOps(Device(torch.device("meta"), arch, dtype), recorder)
    parts: dict[str, Callable[[TritonOps], None]] = {"block": _block}
    if not least:
        parts |= {"conditioning": _conditioning, "solver": _solver, "other models": _others, "autoencoder": _images}
        if arch >= 10 * FLOAT8[0] + FLOAT8[1]:
            parts["float8"] = _float8
    for recorder.part, run in parts.items():
        run(ops)
    if not least:
        return recorder.builds
    hardest = {"linear": "GATED", "attention": "TERMS", "qk_norm_rope": "PLAIN"}
    return {
        build: part
        for build, part in recorder.builds.items()
        if build.name not in hardest or dict(build.constants)[hardest[build.name]]
    }


WIDTH, HEADS, TEXT, IMAGE = 3072, 24, 512, 4096


def _linear(ops: TritonOps, width: int, depth: int, swiglu: bool = False, float8: bool = False) -> TritonLinear:
    bias = torch.empty(width, dtype=torch.float32, device="meta")
    weight = ops.empty(width, depth)
    return (
        TritonLinear(weight.to(torch.float8_e4m3fn), bias, swiglu, bias)
        if float8
        else TritonLinear(weight, bias, swiglu)
    )


def _block(ops: TritonOps) -> None:
    """Launch what a double and a single block do, with an adapter."""
    rows = 2 * (TEXT + IMAGE)
    segments = ops.segments([TEXT, TEXT, IMAGE, IMAGE], [0, 1, 0, 1])
    stream, qkv = ops.empty(rows, WIDTH, "float32"), ops.empty(rows, 3 * WIDTH)
    modulation = ops.empty(2, 6 * WIDTH, "float32")
    shift, scale, gate = (ops.columns(modulation, i * WIDTH, (i + 1) * WIDTH) for i in range(3))
    normed = ops.modulate(stream, shift, scale, segments)
    weight, turn = ops.empty(1, WIDTH // HEADS, "float32"), ops.empty(rows, WIDTH // HEADS // 2, "float32")
    plain = ops.empty(rows, WIDTH)
    ops.linear(normed, _linear(ops, 3 * WIDTH, WIDTH), out=qkv)
    ops.qk_norm_rope(qkv, HEADS, weight, weight, turn, turn, plain_q=plain)
    ops.qk_norm_rope(qkv, HEADS, weight, weight, turn, turn)
    q, k, v = (ops.columns(qkv, i * WIDTH, (i + 1) * WIDTH) for i in range(3))
    ints, one = np.array([2], np.int32), np.array([0.5], np.float32)
    where, ends, used, weights = ops.vectors(ints, np.array([0, 4], np.int32), np.arange(4, dtype=np.int32), one)
    keys = ops.empty(64, WIDTH)
    terms = AdapterTerms(keys, keys, where, ends, used, weights, plain, ops.empty(rows, WIDTH))
    ops.attention(q, k, v, segments, HEADS, adapters=terms)
    ops.attention(q, k, v, segments, HEADS)
    attended = ops.empty(rows, WIDTH)
    ops.linear(attended, _linear(ops, WIDTH, WIDTH), gate=gate, residual=stream, segments=segments)
    ops.linear(normed, _linear(ops, 4 * WIDTH, WIDTH), activation="gelu_tanh")
    ops.add(stream, ops.empty(rows, WIDTH), segments, where)


def _float8(ops: TritonOps) -> None:
    """Launch the products of a block in float8, and a paired one."""
    rows = 2 * (TEXT + IMAGE)
    x, stream, segments = ops.empty(rows, WIDTH), ops.empty(rows, WIDTH, "float32"), ops.segments([rows])
    ops.linear(x, _linear(ops, 3 * WIDTH, WIDTH, float8=True), out=ops.empty(rows, 3 * WIDTH))
    ops.linear(x, _linear(ops, 4 * WIDTH, WIDTH, float8=True), activation="gelu_tanh")
    gate = ops.empty(1, WIDTH, "float32")
    ops.linear(x, _linear(ops, WIDTH, WIDTH, float8=True), gate=gate, residual=stream, segments=segments)
    ops.linear(x, _linear(ops, 2 * WIDTH, WIDTH, swiglu=True, float8=True), activation="swiglu")


def _conditioning(ops: TritonOps) -> None:
    (times,) = ops.vectors(np.zeros(2, np.float32))
    hidden = ops.linear(ops.timestep_embedding(times, 256), _linear(ops, WIDTH, 256), activation="silu")
    total = ops.linear(hidden, _linear(ops, WIDTH, WIDTH), dtype="float32")
    ops.linear(hidden, _linear(ops, WIDTH, WIDTH), residual=total)
    ops.cast(total, activation="silu")
    ops.embed(ops.vectors(np.zeros(2, np.int32)), [total])
    ops.norm(total, ops.empty(1, WIDTH, "float32"), ops.empty(1, WIDTH, "float32"))


def _solver(ops: TritonOps) -> None:
    segments = ops.segments([IMAGE, IMAGE])
    x, velocity = ops.empty(2 * IMAGE, 64, "float32"), ops.empty(4 * IMAGE, 64, "float32")
    starts, ends = np.array([0, IMAGE], np.int32), np.array([0, 1, 2], np.int32)
    one = np.ones(2, np.float32)
    origins, offsets, rows, weights, a, b = ops.vectors(starts, ends, starts, one, one, one)
    ops.solver_step(x, velocity, segments, GuidanceTerms(origins, offsets, rows, weights), a, b, x, x, x)
    ops.blend(x, x, x, ops.empty(2 * IMAGE, 1, "float32"), segments, a, b)
    ops.finite(x, segments)
    ops.linear(ops.cast(x), _linear(ops, WIDTH, 64), dtype="float32")
    ops.linear(ops.empty(2 * IMAGE, WIDTH), _linear(ops, 64, WIDTH), dtype="float32")


def _others(ops: TritonOps) -> None:
    """Launch what only other families and text encoders do.

    Narrow heads with terms of the attention's own query; biases by distance; causal attention with few heads of keys;
    paired layers and gates.
    """
    segments = ops.segments([IMAGE, IMAGE])
    q = ops.empty(2 * IMAGE, 640)
    ints, one = np.array([1], np.int32), np.array([0.5], np.float32)
    vectors = ops.vectors(ints, np.array([0, 4], np.int32), np.arange(4, dtype=np.int32), one)
    ops.attention(q, q, q, segments, 10, adapters=AdapterTerms(q, q, *vectors))
    ops.linear(q, _linear(ops, 2 * 2560, 640, swiglu=True), activation="swiglu")
    ops.norm(q, ops.empty(1, 640, "float32"), kind="rms")
    ops.attention(q, q, q, segments, 10, bias=ops.empty(10, 255, "float32"), scale=1.0)
    few = ops.columns(q, 0, 128)
    ops.attention(q, few, few, segments, 5, kv_heads=1, causal=True)
    ops.gated(q, q, "sigmoid")


def _images(ops: TritonOps) -> None:
    grids = np.array([[64, 64]], np.int32)
    x = ops.empty(64 * 64, 512)
    weight, bias = ops.empty(1, 512, "float32"), ops.empty(1, 512, "float32")

    def conv(outputs: int, inputs: int, side: int) -> TritonConv:
        shift = torch.empty(outputs, dtype=torch.float32, device="meta")
        return TritonConv(ops.empty(side * side * outputs, inputs), shift, side)

    ops.group_norm_silu(x, weight, bias, grids, 32)
    ops.group_norm_silu(x, weight, bias, grids, 32, silu=False)
    ops.conv2d(x, conv(512, 512, 3), grids, residual=x)
    ops.conv2d(x, conv(512, 512, 1), grids)
    ops.conv2d(x, conv(3, 512, 3), grids, dtype="float32")
    ops.conv2d(ops.empty(64 * 64, 16), conv(512, 16, 3), grids)
    ops.upsample(x, conv(512, 512, 3), grids)
    ops.downsample(x, conv(512, 512, 3), grids)
    ops.attention(x, x, x, ops.segments([64 * 64]), 1)


def rows(arch: int, *, least: bool) -> list[dict[str, Any]]:
    """Compile what an architecture launches; a row of a result file for each kernel."""
    found = []
    for build, part in record(arch, least=least).items():
        told = {name: value for name, value in build.constants if name.isupper() and value not in (False, "none")}
        words = [name if value is True else f"{name}={value}" for name, value in told.items()]
        usage = compile_for(build, arch)
        found.append(
            {
                "kernel": build.name,
                "part": part,
                "arch": arch,
                "build": " ".join([*words, f"warps={build.warps}", f"stages={build.stages}", _types(build)]),
                "registers": usage.registers,
                "shared_kib": round(usage.shared_bytes / 1024, 1),
                "spilled_bytes": usage.spilled_bytes,
            }
        )
    return found


def _types(build: Build) -> str:
    """Return the types of a kernel's arrays, so that no two builds are called the same."""
    return ",".join(kind.removeprefix("*") for _, kind in build.signature if kind.startswith("*"))


if __name__ == "__main__":
    print(json.dumps(rows(int(sys.argv[1]), least="least" in sys.argv[2:])))
