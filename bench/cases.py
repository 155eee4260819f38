"""One op on one shape: Salon's call, torch's call on the same numbers, the true result, and what the machine must move.

Each maker returns a `Case`. `flops` counts multiply-adds twice; `bytes` counts what must be read and written at least
once with the dtypes used. The floor of a case is the larger of flops / peak and bytes / bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .peers.base import F32

Call = Callable[[], object]


@dataclass
class Case:
    op: str
    shape: str
    flops: float
    bytes: float
    salon: Call
    rivals: dict[str, Call]
    result: Callable[[], F32]  # Salon's result as float32
    truth: F32
    tags: set[str] = field(default_factory=set)

    def verify(self, tolerance: float = 0.02) -> None:
        """ArithmeticError unless Salon's result is finite and within `tolerance` of the truth's largest magnitude."""
        got = self.result()
        worst = float(np.abs(got - self.truth).max()) / max(float(np.abs(self.truth).max()), 1e-30)
        if not np.isfinite(got).all() or not worst <= tolerance:
            raise ArithmeticError(f"{self.op} {self.shape}: off by {worst:.3g} of the largest, allowed {tolerance}")


class Cases:
    """Makes cases for one op table and torch, both with bf16 operands and float32 accumulation."""

    def __init__(self, ops: Any) -> None:
        import torch

        self.ops, self.torch = ops, torch
        self.random = np.random.default_rng(7)

    # ---- helpers

    def normal(self, *shape: int, scale: float = 1.0) -> F32:
        """Standard normal values that bf16 holds exactly, so that all candidates start from equal numbers."""
        values = self.random.standard_normal(shape, np.float32) * np.float32(scale)
        return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)

    def tensor(self, values: F32) -> Any:
        return self.torch.from_numpy(values).to(self.torch.bfloat16)

    def true(self, make: Callable[[], Any]) -> F32:
        with self.torch.no_grad():
            return np.asarray(make().float().numpy(), np.float32)

    # ---- dense

    def linear(self, rows: int, k: int, n: int, activation: str = "none") -> Case:
        """y = activation(x W^T + b), weights packed once by both."""
        torch, ops = self.torch, self.ops
        x, w, b = self.normal(rows, k), self.normal(n, k, scale=k**-0.5), self.normal(n)
        mine, packed = ops.array(x), ops.pack_linear([w], [b])
        tx, tw, tb = self.tensor(x), self.tensor(w), self.tensor(b)
        gelu = activation == "gelu_tanh"
        F = torch.nn.functional

        def act(y: Any) -> Any:
            return F.gelu(y, approximate="tanh") if gelu else y

        rivals: dict[str, Call] = {"torch": lambda: act(F.linear(tx, tw, tb))}
        if torch.backends.mkldnn.is_available():
            # What inductor's frozen graphs call: weights in oneDNN's own layout, reordered once.
            onednn = torch.ops.mkldnn
            with torch.no_grad():
                packed_weight = onednn._reorder_linear_weight(tw, rows)
            how: tuple[str, list[Any], str] = ("gelu", [], "tanh") if gelu else ("none", [], "")
            rivals["oneDNN packed"] = lambda: onednn._linear_pointwise(tx, packed_weight, tb, *how)
        return Case(
            "linear" + (" + gelu" if gelu else ""),
            f"{rows} x {k} -> {n}",
            2.0 * rows * k * n,
            2.0 * (rows * k + n * k + rows * n) + 4 * n,
            lambda: ops.linear(mine, packed, activation=activation),
            rivals,
            lambda: ops.numpy(ops.linear(mine, packed, activation=activation)),
            self.true(lambda: act(F.linear(tx.float(), tw.float(), tb.float()))),
            {"gemm"} if rows >= 64 else {"few rows"},
        )

    def attention(self, samples: int, rows: int, heads: int, width: int, adapters: int = 0, tokens: int = 4) -> Case:
        """Self-attention of `samples` equal segments; with `adapters` terms of `tokens` rows each for every sample."""
        from ..kernels.ops import AdapterTerms
        from ..kernels.segments import Segments

        torch, ops, d = self.torch, self.ops, heads * width
        qkv = self.normal(samples * rows, 3 * d)
        mine = ops.array(qkv)
        q, k, v = (ops.columns(mine, i * d, (i + 1) * d) for i in range(3))
        segments = Segments.of([rows] * samples)
        split = self.tensor(qkv).view(samples, rows, 3, heads, width).permute(2, 0, 3, 1, 4)
        tq, tk, tv = (split[i].contiguous() for i in range(3))
        sdpa = torch.nn.functional.scaled_dot_product_attention
        truth = sdpa(tq.float(), tk.float(), tv.float())
        terms = None
        rivals: dict[str, Call] = {"torch": lambda: sdpa(tq, tk, tv)}
        if adapters:
            count = samples * adapters
            ak, av = self.normal(count * tokens, d), self.normal(count * tokens, d)
            terms = AdapterTerms(
                keys=ops.array(ak),
                values=ops.array(av),
                segments=np.repeat(np.arange(samples, dtype=np.int32), adapters),
                offsets=np.arange(count + 1, dtype=np.int32) * tokens,
                rows=np.arange(count * tokens, dtype=np.int32),
                weights=np.full(count, 0.5, np.float32),
            )

            def per_sample(values: F32) -> Any:
                tokens_first = self.tensor(values).view(samples, adapters, tokens, heads, width)
                return tokens_first.permute(1, 0, 3, 2, 4).contiguous()

            tak, tav = per_sample(ak), per_sample(av)
            for i in range(adapters):
                truth = truth + 0.5 * sdpa(tq.float(), tak[i].float(), tav[i].float())

            def with_terms() -> Any:
                out = sdpa(tq, tk, tv)
                for i in range(adapters):
                    out = out + 0.5 * sdpa(tq, tak[i], tav[i])
                return out

            rivals = {"torch": with_terms}
        expected = truth.permute(0, 2, 1, 3).reshape(samples * rows, d).numpy()
        keys = rows + adapters * tokens
        return Case(
            "attention" + (f" + {adapters} adapters" if adapters else ""),
            f"{samples} x {rows} rows, {heads} x {width}",
            4.0 * samples * rows * keys * d,
            2.0 * samples * (2 * rows + 2 * keys) * d,
            lambda: ops.attention(q, k, v, segments, heads, adapters=terms),
            rivals,
            lambda: ops.numpy(ops.attention(q, k, v, segments, heads, adapters=terms)),
            np.asarray(expected, np.float32),
            {"adapters"} if adapters else {"attention"},
        )

    # ---- rows in, rows out

    def modulate(self, samples: int, rows: int, d: int) -> Case:
        from ..kernels.segments import Segments

        ops, F = self.ops, self.torch.nn.functional
        x, shift, scale = self.normal(samples * rows, d), self.normal(samples, d), self.normal(samples, d)
        mine = [ops.array(a, "float32") for a in (x, shift, scale)]
        segments = Segments.of([rows] * samples)
        tx = self.tensor(x).view(samples, rows, d)
        ts, tc = self.tensor(shift)[:, None], self.tensor(scale)[:, None]

        def rival(cast: Callable[[Any], Any] = lambda t: t) -> Any:
            return F.layer_norm(cast(tx), (d,), eps=1e-6) * (1 + cast(tc)) + cast(ts)

        return Case(
            "modulate", f"{samples} x {rows} x {d}", 0.0, x.size * 6.0,
            lambda: ops.modulate(*mine, segments), {"torch": rival},
            lambda: ops.numpy(ops.modulate(*mine, segments)),
            self.true(lambda: rival(lambda t: t.float())).reshape(x.shape), {"memory"},
        )  # fmt: skip

    def qk_norm_rope(self, rows: int, heads: int, width: int) -> Case:
        torch, ops, d = self.torch, self.ops, heads * width
        qkv, qw, kw = self.normal(rows, 3 * d), self.normal(1, width), self.normal(1, width)
        angle = self.random.uniform(-3, 3, (rows, width // 2)).astype(np.float32)
        cos, sin = np.cos(angle), np.sin(angle)
        mine = ops.array(qkv)
        extra = [ops.array(a, "float32") for a in (qw, kw, cos, sin)]
        t = self.tensor(qkv)
        tc, ts = (torch.from_numpy(a.repeat(2, axis=1))[:, None] for a in (cos, sin))
        tqw, tkw = torch.from_numpy(qw), torch.from_numpy(kw)

        def one(x: Any, w: Any) -> Any:
            x = torch.nn.functional.rms_norm(x.unflatten(-1, (heads, width)), (width,), w[0].to(x.dtype), 1e-6)
            even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
            turned = torch.stack([-odd, even], -1).flatten(-2)
            return (x.float() * tc + turned * ts).to(x.dtype).flatten(-2)

        def rival(source: Any) -> Any:
            return torch.cat([one(source[:, :d], tqw), one(source[:, d : 2 * d], tkw), source[:, 2 * d :]], -1)

        def once() -> F32:
            fresh = ops.array(qkv)
            ops.qk_norm_rope(fresh, heads, *extra)
            return np.asarray(ops.numpy(fresh), np.float32)

        return Case(
            "qk_norm_rope", f"{rows} x 2 x {heads} x {width}", 0.0, rows * d * 2 * 2 * 2.0,
            lambda: ops.qk_norm_rope(mine, heads, *extra), {"torch": lambda: rival(t)},
            once, self.true(lambda: rival(t.float())), {"memory"},
        )  # fmt: skip

    # ---- pictures

    def conv(self, images: int, side: int, inputs: int, outputs: int, upsample: bool = False) -> Case:
        torch, ops, F = self.torch, self.ops, self.torch.nn.functional
        x = self.normal(images * side * side, inputs)
        w, b = self.normal(outputs, inputs, 3, 3, scale=(9 * inputs) ** -0.5), self.normal(outputs)
        mine, packed = ops.array(x), ops.pack_conv(w, b)
        grids = np.full((images, 2), side, np.int32)

        def call() -> Any:
            return ops.upsample(mine, packed, grids) if upsample else ops.conv2d(mine, packed, grids)

        last = {"memory_format": torch.channels_last}
        tx = self.tensor(x).view(images, side, side, inputs).permute(0, 3, 1, 2).contiguous(**last)
        tw, tb = self.tensor(w).contiguous(**last), self.tensor(b)

        def rival(x: Any, w: Any, b: Any) -> Any:
            return F.conv2d(F.interpolate(x, scale_factor=2.0) if upsample else x, w, b, padding=1)

        out_side = side * 2 if upsample else side
        pixels = images * out_side**2
        taps = 4 if upsample else 9  # after nearest 2x nine taps fall on four pixels: their weights can be summed
        truth = self.true(lambda: rival(tx.float(), tw.float(), tb.float()).permute(0, 2, 3, 1))
        return Case(
            "upsample + conv2d" if upsample else "conv2d", f"{images} x {side}x{side} x {inputs} -> {outputs}",
            2.0 * taps * pixels * inputs * outputs, 2.0 * (x.size + pixels * outputs + w.size),
            call, {"torch": lambda: rival(tx, tw, tb)},
            lambda: ops.numpy(call()), truth.reshape(pixels, outputs), {"conv"},
        )  # fmt: skip

    def group_norm_silu(self, images: int, side: int, channels: int, groups: int) -> Case:
        torch, ops, F = self.torch, self.ops, self.torch.nn.functional
        x, w, b = self.normal(images * side * side, channels), self.normal(1, channels), self.normal(1, channels)
        mine, mw, mb = ops.array(x), ops.array(w, "float32"), ops.array(b, "float32")
        grids = np.full((images, 2), side, np.int32)
        nchw = self.tensor(x).view(images, side, side, channels).permute(0, 3, 1, 2)
        tx = nchw.contiguous(memory_format=torch.channels_last)
        tw, tb = self.tensor(w)[0], self.tensor(b)[0]

        def rival(cast: Callable[[Any], Any] = lambda t: t) -> Any:
            return F.silu(F.group_norm(cast(tx), groups, cast(tw), cast(tb), 1e-6))

        truth = self.true(lambda: rival(lambda t: t.float()).permute(0, 2, 3, 1)).reshape(x.shape)
        return Case(
            "group_norm_silu", f"{images} x {side}x{side} x {channels}", 0.0, x.size * 2 * 3.0,
            lambda: ops.group_norm_silu(mine, mw, mb, grids, groups), {"torch": rival},
            lambda: ops.numpy(ops.group_norm_silu(mine, mw, mb, grids, groups)), truth, {"memory"},
        )  # fmt: skip
