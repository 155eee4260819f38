"""Every op of the table once, at shapes with tails, on any backend: what `smoke` compares with the reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.bfloat16 import widen
from ...kernels.ops import AdapterTerms, GuidanceTerms, Ops
from ...kernels.reference import ReferenceOps

HEADS, HEAD, WIDTH = 2, 32, 64
LENGTHS = (5, 0, 23)


def errors(ops: Ops[Any, Any]) -> dict[str, float]:
    """Return for each op the largest difference from the reference's result over the largest value of that."""
    mine, theirs = results(ops), results(ReferenceOps())
    found = {}
    for name, want in theirs.items():
        difference = np.abs(mine[name] - want).max()
        found[name] = float(difference / max(float(np.abs(want).max()), 1e-30)) if np.isfinite(difference) else np.inf
    return found


def results(ops: Ops[Any, Any]) -> dict[str, Any]:
    """Return the result of every op as float32. All inputs are numbers that bfloat16 holds exactly."""
    rng = np.random.default_rng(5)

    def normal(*shape: int, scale: float = 1.0) -> Any:
        values = np.float32(scale) * rng.standard_normal(shape).astype(np.float32)
        return widen((values.view(np.uint32) >> 16).astype(np.uint16), "numbers")

    def compute(*shape: int, scale: float = 1.0) -> Any:
        return ops.array(normal(*shape, scale=scale))

    def wide(*shape: int, scale: float = 1.0) -> Any:
        return ops.array(normal(*shape, scale=scale), "float32")

    rows, made = sum(LENGTHS), dict[str, Any]()
    segments = ops.segments(LENGTHS)
    x = compute(rows, WIDTH)
    for activation in ("none", "gelu_tanh", "gelu", "silu", "swiglu"):
        weight = ops.pack_linear(
            [normal(2 * WIDTH, WIDTH, scale=0.1)], [normal(2 * WIDTH)], swiglu=activation == "swiglu"
        )
        made[f"linear {activation}"] = ops.linear(x, weight, activation=activation)
    square = ops.pack_linear([normal(WIDTH, WIDTH, scale=0.1)], [normal(WIDTH)])
    residual, gate = wide(rows, WIDTH), wide(3, WIDTH)
    made["linear gated residual"] = ops.linear(x, square, gate=gate, residual=residual, segments=segments)
    deep, shift, scale = wide(rows, WIDTH), wide(3, WIDTH), wide(3, WIDTH)
    for kind in ("layer", "rms"):
        made[f"modulate {kind}"] = ops.modulate(deep, shift, scale, segments, kind=kind)
        made[f"norm {kind}"] = ops.norm(deep, wide(1, WIDTH), wide(1, WIDTH), kind=kind)
    qkv, plain = compute(rows, 3 * WIDTH), ops.empty(rows, WIDTH)
    angles = normal(rows, HEAD // 2)
    ops.qk_norm_rope(
        qkv, HEADS, wide(1, HEAD), wide(1, HEAD), ops.array(np.cos(angles), "float32"),
        ops.array(np.sin(angles), "float32"), plain_q=plain,
    )  # fmt: skip
    made["qk_norm_rope"], made["qk_norm_rope plain"] = ops.cast(qkv, "float32"), ops.cast(plain, "float32")
    q, k, v = (ops.columns(qkv, i * WIDTH, (i + 1) * WIDTH) for i in range(3))
    made["attention"] = ops.attention(q, k, v, segments, HEADS)
    vectors = ops.vectors(
        np.array([0, 2, 2], np.int32), np.array([0, 4, 4, 9], np.int32),
        np.array([1, 3, 5, 7, 0, 2, 4, 6, 8], np.int32),
        np.array([0.5, 1.0, -0.25], np.float32),
    )  # fmt: skip
    terms = AdapterTerms(compute(9, WIDTH), compute(9, WIDTH), *vectors)
    made["attention with adapters"] = ops.attention(q, k, v, segments, HEADS, adapters=terms)
    indices = ops.vectors(np.array([3, 0, 7], np.int32), np.array([1, 1, 0], np.int32))
    made["embed"] = ops.embed(indices, [wide(8, WIDTH), wide(2, WIDTH)])
    (times,) = ops.vectors(np.array([0.0, 417.0, 1000.0], np.float32))
    made["timestep_embedding"] = ops.timestep_embedding(times, 64)
    made["cast silu"] = ops.cast(deep, activation="silu")
    into = wide(rows, WIDTH)
    ops.add(into, x, segments, ops.vectors(np.array([2], np.int32))[0])
    made["add"] = into
    broken = np.ones((rows, 4), np.float32)
    broken[6] = np.nan
    made["finite"] = ops.finite(ops.array(broken, "float32"), segments)
    latents, keep = wide(rows, 16), ops.zeros(rows, 16, "float32")
    guidance = GuidanceTerms(
        *ops.vectors(
            np.array([0, 5, 5], np.int32), np.array([0, 1, 1, 3], np.int32), np.array([28, 33, 40], np.int32),
            np.array([3.0, 2.0, -0.5], np.float32),
        )
    )  # fmt: skip
    a, b = ops.vectors(np.array([-0.1, 1.0, -0.2], np.float32), np.array([0.0, 0.0, 0.5], np.float32))
    ops.solver_step(latents, wide(70, 16), segments, guidance, a, b, previous=wide(rows, 16), keep=keep)
    made["solver_step"], made["solver_step kept"] = latents, keep
    blended = wide(rows, 16)
    ops.blend(blended, wide(rows, 16), wide(rows, 16), ops.array(np.abs(normal(rows, 1)), "float32"), segments, a, b)
    made["blend"] = blended
    grids = np.array([[7, 5], [4, 6]], np.int32)
    pixels = compute(59, 32)
    for size in (1, 3):
        weight = ops.pack_conv(normal(24, 32, size, size, scale=0.1), normal(24))
        made[f"conv2d {size}x{size}"] = ops.conv2d(pixels, weight, grids)
    three = ops.pack_conv(normal(32, 32, 3, 3, scale=0.1), normal(32))
    made["conv2d wrapped"] = ops.conv2d(pixels, three, grids, residual=compute(59, 32), wrap=True)
    made["upsample"] = ops.upsample(pixels, three, grids)
    made["downsample"] = ops.downsample(pixels, three, grids)
    made["group_norm_silu"] = ops.group_norm_silu(pixels, wide(1, 32), wide(1, 32), grids, 8)
    return {name: ops.numpy(result) for name, result in made.items()}
