"""Each kernel at the shapes of FLUX.1 at 1024 x 1024, against what the device can do and against torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ...kernels.ops import GuidanceTerms
from ..report import Goal
from ..runner import Bench
from .choice import choose
from .setting import Gpu, attempt

COLUMNS = [["op", "shape", "by", "ms", "floor_ms", "share", "times"], ["op", "shape", "gain", "same_bits"]]
GOAL = 0.95  # invariance may cost 5 % against the library's free choice


@dataclass
class Case:
    """A call of Salon's, what it must move and compute, and what else does the same. `flops` counts products twice."""

    op: str
    shape: str
    salon: Callable[[], object]
    flops: float
    bytes: float
    rivals: dict[str, Callable[[], object]] = field(default_factory=dict)


def body(bench: Bench, gpu: Gpu) -> None:
    """Measure kernels against floors and rivals."""
    bench.columns = COLUMNS
    rows, width, heads, pixels = bench.pick((48, 64, 2, 8), (4608, 3072, 24, 512), (4608, 3072, 24, 1024))
    with gpu.torch.no_grad():
        flops, rate = peaks(gpu, bench)
        for make in (linear, attention, elementwise, solver, autoencoder):
            with attempt(bench, make.__name__):
                for case in make(gpu, rows, width, heads, pixels):
                    measure(bench, gpu, case, flops, rate)
                    if bench.deadline.left() <= 0:
                        bench.note("the time of this phase ran out")
                        return
        with attempt(bench, "the choice of attention"):
            choose(bench, gpu, rows, width, heads)
    gpu.give_back()


def peaks(gpu: Gpu, bench: Bench) -> tuple[float | None, float | None]:
    """Return FLOP/s of a large product and bytes/s of a large copy, as torch reaches them here; None: not timed."""
    if not gpu.timed:
        return None, None
    torch, size = gpu.torch, 8192
    a, b = gpu.tensor(size, size), gpu.tensor(size, size)
    product = gpu.time(lambda: a @ b, count=10).best
    source = torch.empty(2**30, dtype=torch.uint8, device=gpu.device)
    target = torch.empty_like(source)
    copy = gpu.time(lambda: target.copy_(source), count=10).best
    flops = 2e3 * size**3 / product if product else None
    rate = 2e3 * 2**30 / copy if copy else None
    bench.row(op="product", shape=f"{size}^3", by="torch", ms=product, tflops=(flops or 0) / 1e12)
    bench.row(op="copy", shape="1 GiB", by="torch", ms=copy, gigabytes=(rate or 0) / 1e9)
    return flops, rate


def measure(bench: Bench, gpu: Gpu, case: Case, flops: float | None, rate: float | None) -> None:
    """Add a row for each candidate of a case."""
    floor = max(case.flops / flops, case.bytes / rate) * 1e3 if flops and rate else None
    found = {name: gpu.time(call).median for name, call in {"Salon": case.salon, **case.rivals}.items()}
    mine = found["Salon"]
    for name, ms in found.items():
        bench.row(
            op=case.op, shape=case.shape, by=name, ms=ms, floor_ms=floor, share=floor / ms if floor and ms else None,
            times=ms / mine if ms and mine else None,
        )  # fmt: skip
    others = [ms for name, ms in found.items() if name != "Salon" and ms]
    if case.op.startswith("linear") and mine and others:
        value = min(others) / mine
        bench.goal(Goal.at_least(f"{case.op} {case.shape}: speed of the library's free choice", GOAL, value, "x"))


def linear(gpu: Gpu, rows: int, width: int, heads: int, pixels: int) -> list[Case]:
    """Make products of a block, with their epilogues."""
    torch, ops = gpu.torch, gpu.ops
    cases, size = [], gpu.dtype.itemsize
    kinds = (("qkv", width, 3 * width), ("up, gelu", width, 4 * width), ("down, gated", 4 * width, width))
    for what, inner, outer in kinds:
        host = (np.random.default_rng(3).standard_normal((outer, inner)) * inner**-0.5).astype(np.float32)
        packed = ops.pack_linear([host], [np.zeros(outer, np.float32)])
        weight, bias = torch.from_numpy(host).to(gpu.device, gpu.dtype), gpu.tensor(outer)
        for count in (rows, 16 * rows) if gpu.timed else (rows,):
            x, segments = gpu.tensor(count, inner), ops.segments([count])
            residual, gate = gpu.tensor(count, outer, dtype=torch.float32), gpu.tensor(1, outer, dtype=torch.float32)
            calls = _calls(gpu, what, x, packed, weight, bias, residual, gate, segments)
            moved = size * (count * inner + outer * inner) + (8 if "gated" in what else size) * count * outer
            cases.append(
                Case(f"linear {what}", f"{count} x {inner} x {outer}", calls[0], 2.0 * count * inner * outer, moved,
                     {"torch": calls[1]})
            )  # fmt: skip
    return cases


def _calls(
    gpu: Gpu, what: str, x: Any, packed: Any, weight: Any, bias: Any, residual: Any, gate: Any, segments: Any
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return Salon's call of a product and torch's."""
    ops, F = gpu.ops, gpu.torch.nn.functional
    if what == "qkv":
        return lambda: ops.linear(x, packed), lambda: F.linear(x, weight, bias)
    if what == "up, gelu":
        return (
            lambda: ops.linear(x, packed, activation="gelu_tanh"),
            lambda: F.gelu(F.linear(x, weight, bias), approximate="tanh"),
        )
    return (
        lambda: ops.linear(x, packed, gate=gate, residual=residual, segments=segments),
        lambda: residual.addcmul_(F.linear(x, weight, bias).float(), gate),
    )


def attention(gpu: Gpu, rows: int, width: int, heads: int, pixels: int) -> list[Case]:
    """Make attention of one sample and of four of other lengths, beside the library's."""
    torch, ops, F = gpu.torch, gpu.ops, gpu.torch.nn.functional
    cases = []
    for lengths in ([rows], [rows // 8, rows // 2, rows // 4, rows // 8]):
        total = sum(lengths)
        qkv, segments = gpu.tensor(total, 3 * width), ops.segments(lengths)
        parts = [ops.columns(qkv, i * width, (i + 1) * width) for i in range(3)]
        per_head = [part.reshape(total, heads, -1).transpose(0, 1)[None] for part in parts]
        rivals: dict[str, Any] = {}
        if len(lengths) == 1:
            rivals["torch SDPA"] = partial(F.scaled_dot_product_attention, *per_head)
        if gpu.timed:
            ends = torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32, device=gpu.device)
            try:
                from flash_attn import flash_attn_varlen_func as varlen
            except ImportError:
                pass
            else:
                three = [part.reshape(total, heads, -1) for part in parts]
                most = max(lengths)
                rivals["FlashAttention varlen"] = partial(varlen, *three, ends, ends, most, most)
        flops = 4.0 * width * sum(n * n for n in lengths)
        cases.append(
            Case("attention", " + ".join(map(str, lengths)), partial(ops.attention, *parts, segments, heads),
                 flops, 4.0 * gpu.dtype.itemsize * total * width, rivals)
        )  # fmt: skip
    return cases


def elementwise(gpu: Gpu, rows: int, width: int, heads: int, pixels: int) -> list[Case]:
    """Make what moves bytes alone: adaLN, norm, the norm and rotation of q and k."""
    torch, ops, F = gpu.torch, gpu.ops, gpu.torch.nn.functional
    size, head = gpu.dtype.itemsize, width // heads
    x = gpu.tensor(rows, width, dtype=torch.float32)
    shift, scale = (gpu.tensor(1, width, dtype=torch.float32) for _ in range(2))
    segments, weight = ops.segments([rows]), gpu.tensor(1, width, dtype=torch.float32)
    qkv = gpu.tensor(rows, 3 * width)
    cos, sin = (gpu.tensor(rows, head // 2, dtype=torch.float32) for _ in range(2))
    norm = gpu.tensor(1, head, dtype=torch.float32)

    def modulated() -> Any:
        return (F.layer_norm(x, (width,)) * (1 + scale) + shift).to(gpu.dtype)

    def rotated() -> Any:
        both = qkv[:, : 2 * width].reshape(rows, 2 * heads, head // 2, 2).float()
        both = both * torch.rsqrt(both.square().mean((-2, -1), keepdim=True) + 1e-6)
        even, odd = both[..., 0], both[..., 1]
        turned = torch.stack([even * cos[:, None] - odd * sin[:, None], odd * cos[:, None] + even * sin[:, None]], -1)
        return turned.to(gpu.dtype)

    rivals = {"modulate": modulated, "qk_norm_rope": rotated}
    named = {name: {"torch": call} for name, call in rivals.items()}
    if gpu.timed:
        for name, call in rivals.items():
            named[name]["torch.compile"] = torch.compile(call)
    shape = f"{rows} x {width}"
    return [
        Case("modulate", shape, lambda: ops.modulate(x, shift, scale, segments), 0, rows * width * (4.0 + size),
             named["modulate"]),
        Case("norm", shape, lambda: ops.norm(x, weight, kind="rms"), 0, rows * width * (4.0 + size)),
        Case("qk_norm_rope", shape, lambda: ops.qk_norm_rope(qkv, heads, norm, norm, cos, sin), 0,
             4.0 * rows * width * size, named["qk_norm_rope"]),
    ]  # fmt: skip


def solver(gpu: Gpu, rows: int, width: int, heads: int, pixels: int) -> list[Case]:
    """Make the update of latents with guidance, and the timestep's embedding."""
    ops, channels = gpu.ops, 64
    latents, velocity = (ops.array(np.ones((n, channels), np.float32), "float32") for n in (rows, 2 * rows))
    keep, segments = ops.empty(rows, channels, "float32"), ops.segments([rows])
    whole = (np.array(values, np.int32) for values in ([rows], [0, 1], [0]))
    guidance = GuidanceTerms(*ops.vectors(*whole, np.array([3.5], np.float32)))
    a, b, times = ops.vectors(*(np.array([value], np.float32) for value in (-0.1, 0.0, 500.0)))
    return [
        Case("solver_step", f"{rows} x {channels}, guided",
             lambda: ops.solver_step(latents, velocity, segments, guidance, a, b, keep=keep), 0,
             20.0 * rows * channels),
        Case("timestep_embedding", "1 x 256", lambda: ops.timestep_embedding(times, 256), 0, 256.0),
    ]  # fmt: skip


def autoencoder(gpu: Gpu, rows: int, width: int, heads: int, pixels: int) -> list[Case]:
    """Make what the decoder spends its time on, at full size."""
    torch, ops, F = gpu.torch, gpu.ops, gpu.torch.nn.functional
    channels, size = (128 if gpu.timed else 32), gpu.dtype.itemsize
    x, grids = gpu.tensor(pixels * pixels, channels), np.array([[pixels, pixels]], np.int32)
    host = (np.random.default_rng(4).standard_normal((channels, channels, 3, 3)) * 0.03).astype(np.float32)
    packed = ops.pack_conv(host, np.zeros(channels, np.float32))
    weight = torch.from_numpy(host).to(gpu.device, gpu.dtype).contiguous(memory_format=torch.channels_last)
    image = x.reshape(1, pixels, pixels, channels).permute(0, 3, 1, 2)
    one, zero = (gpu.tensor(1, channels, dtype=torch.float32) for _ in range(2))
    flat_one, flat_zero = one[0].to(gpu.dtype), zero[0].to(gpu.dtype)
    moved, shape = 2.0 * x.numel() * size, f"{pixels} x {pixels} x {channels}"
    return [
        Case("conv2d 3x3", shape, lambda: ops.conv2d(x, packed, grids), 18.0 * x.numel() * channels, moved,
             {"torch": lambda: F.conv2d(image, weight, padding=1)}),
        Case("group_norm_silu", shape, lambda: ops.group_norm_silu(x, one, zero, grids, 32), 0, moved,
             {"torch": lambda: F.silu(F.group_norm(image, 32, flat_one, flat_zero))}),
    ]  # fmt: skip
