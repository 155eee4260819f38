"""One op on one shape: Salon's call, torch's call on the same numbers, the true result, and what the machine must move.

Each maker returns a `Case`. `flops` counts multiply-adds twice; `bytes` counts what must be read and written at least
once with the dtypes used. The floor of a case is the larger of flops / peak and bytes / bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..kernels.ops import AdapterTerms
from ..kernels.segments import Segments
from .peers.base import DTYPES, F32, USUAL
from .recording import Call as Recorded

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
    before: Call = lambda: None  # goes before each of Salon's calls, untimed: a fresh input for an op that is in place

    def verify(self, tolerance: float = 0.02) -> None:
        """Raise ArithmeticError unless Salon's result is finite and within `tolerance` of the truth's largest
        magnitude."""
        got = self.result()
        worst = float(np.abs(got - self.truth).max()) / max(float(np.abs(self.truth).max()), 1e-30)
        if not np.isfinite(got).all() or not worst <= tolerance:
            raise ArithmeticError(f"{self.op} {self.shape}: off by {worst:.3g} of the largest, allowed {tolerance}")


class Cases:
    """Makes cases for one op table and torch, both with operands of the usual precision (`peers.base.USUAL`) and
    float32 accumulation."""

    def __init__(self, ops: Any) -> None:
        import torch

        self.ops, self.torch = ops, torch
        self.random = np.random.default_rng(7)

    def of(self, call: Recorded) -> Case:
        """Make the case of a call that was recorded."""
        made: Case = getattr(self, call.op)(**dict(call.arguments))
        return made

    # ---- helpers

    def normal(self, *shape: int, scale: float = 1.0) -> F32:
        """Draw standard normal values that bf16 holds exactly, so that all candidates start from equal numbers."""
        values = self.random.standard_normal(shape, np.float32) * np.float32(scale)
        return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)

    def tensor(self, values: F32) -> Any:
        return self.torch.from_numpy(values).to(getattr(self.torch, DTYPES[USUAL]))

    def true(self, make: Callable[[], Any]) -> F32:
        with self.torch.no_grad():
            return np.asarray(make().float().numpy(), np.float32)

    # ---- dense

    def linear(
        self, rows: int, k: int, n: int, activation: str = "none", gated: int = 0, dtype: str = "compute"
    ) -> Case:
        """Make y = activation(x W^T + b), with weights packed once by both.

        `gated`: r += gate * y, for so many samples, r in float32 by Salon and in the usual precision by torch.
        """
        torch, ops, F = self.torch, self.ops, self.torch.nn.functional
        x, w, b = self.normal(rows, k), self.normal(n, k, scale=k**-0.5), self.normal(n)
        mine, packed = ops.array(x), ops.pack_linear([w], [b])
        tx, tw, tb = self.tensor(x), self.tensor(w), self.tensor(b)
        functions = {"none": lambda y: y, "silu": F.silu, "gelu_tanh": lambda y: F.gelu(y, approximate="tanh")}
        act = functions[activation]
        named: dict[str, Any] = {"activation": activation, "dtype": dtype}
        start, gate = self.normal(rows, n), self.normal(max(1, gated), n, scale=0.01)
        if gated:
            named = {
                "gate": ops.array(gate, "float32"), "residual": ops.array(start, "float32"),
                "segments": Segments.of([rows // gated] * gated),
            }  # fmt: skip

        def join(y: Any, residual: Any, by: Any) -> Any:
            return torch.addcmul(residual, by[:, None], y.unflatten(0, (gated, -1))) if gated else y

        ty, tg = self.tensor(start).unflatten(0, (max(1, gated), -1)), self.tensor(gate)
        rivals: dict[str, Call] = {"torch": lambda: join(act(F.linear(tx, tw, tb)), ty, tg)}
        if torch.backends.mkldnn.is_available():
            # What inductor's frozen graphs call: weights in oneDNN's own layout, reordered once.
            onednn = torch.ops.mkldnn
            with torch.no_grad():
                packed_weight = onednn._reorder_linear_weight(tw, rows)
            how: dict[str, tuple[str, list[Any], str]] = {
                "none": ("none", [], ""), "silu": ("swish", [], ""), "gelu_tanh": ("gelu", [], "tanh"),
            }  # fmt: skip
            rivals["oneDNN packed"] = lambda: join(
                onednn._linear_pointwise(tx, packed_weight, tb, *how[activation]), ty, tg
            )

        def once() -> F32:
            own = {**named, "residual": ops.array(start, "float32")} if gated else named
            return np.asarray(ops.numpy(ops.linear(mine, packed, **own)), np.float32)

        wide = 4 if dtype == "float32" or gated else 2
        what = {"none": "", "silu": " + silu", "gelu_tanh": " + gelu"}[activation] + (" + gate" if gated else "")
        truth = self.true(lambda: join(act(F.linear(tx.float(), tw.float(), tb.float())), ty.float(), tg.float()))
        return Case(
            f"linear{what}",
            f"{rows} x {k} -> {n}",
            2.0 * rows * k * n,
            2.0 * (rows * k + n * k) + wide * rows * n * (2 if gated else 1) + 4 * n,
            lambda: ops.linear(mine, packed, **named),
            rivals,
            once,
            truth.reshape(rows, n),
            {"gemm"} if rows >= 64 else {"few rows"},
        )

    def attention(self, samples: int, rows: int, heads: int, width: int, adapters: int = 0, tokens: int = 4) -> Case:
        """Make self-attention of `samples` equal segments; with `adapters` terms of `tokens` rows each for every
        sample."""
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
        source, work = ops.array(qkv), [ops.array(qkv)]
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

        def fresh() -> None:
            work[0] = ops.concat([source])

        def once() -> F32:
            fresh()
            ops.qk_norm_rope(work[0], heads, *extra)
            return np.asarray(ops.numpy(work[0]), np.float32)

        return Case(
            "qk_norm_rope", f"{rows} x 2 x {heads} x {width}", 0.0, rows * d * 2 * 2 * 2.0,
            lambda: ops.qk_norm_rope(work[0], heads, *extra), {"torch": lambda: rival(t)},
            once, self.true(lambda: rival(t.float())), {"memory"}, fresh,
        )  # fmt: skip

    # ---- pictures

    def conv2d(
        self, images: int, height: int, width: int, inputs: int, outputs: int, taps: int = 9, residual: bool = False
    ) -> Case:
        """Make a convolution of 1 or 9 taps; with `residual`, an array is added to its result."""
        return self._conv(images, height, width, inputs, outputs, taps, residual, upsample=False)

    def upsample(self, images: int, height: int, width: int, inputs: int, outputs: int) -> Case:
        """Make a nearest 2x, then a convolution of 9 taps."""
        return self._conv(images, height, width, inputs, outputs, 9, residual=False, upsample=True)

    def _conv(
        self, images: int, height: int, width: int, inputs: int, outputs: int, taps: int, residual: bool, upsample: bool
    ) -> Case:
        torch, ops, F = self.torch, self.ops, self.torch.nn.functional
        x, edge = self.normal(images * height * width, inputs), 3 if taps == 9 else 1
        w, b = self.normal(outputs, inputs, edge, edge, scale=(taps * inputs) ** -0.5), self.normal(outputs)
        mine, packed = ops.array(x), ops.pack_conv(w, b)
        grids = np.tile(np.array([height, width], np.int32), (images, 1))
        factor = 2 if upsample else 1
        pixels = images * height * width * factor**2
        added = self.normal(pixels if residual else 1, outputs)
        add = ops.array(added)

        def call() -> Any:
            if upsample:
                return ops.upsample(mine, packed, grids)
            return ops.conv2d(mine, packed, grids, residual=add if residual else None)

        last = {"memory_format": torch.channels_last}

        def picture(values: F32, high: int, wide: int) -> Any:
            return self.tensor(values).view(images, high, wide, -1).permute(0, 3, 1, 2).contiguous(**last)

        tx, tw, tb = picture(x, height, width), self.tensor(w).contiguous(**last), self.tensor(b)
        ta = picture(added, height, width) if residual else None

        def rival(x: Any, w: Any, b: Any, added: Any) -> Any:
            y = F.conv2d(F.interpolate(x, scale_factor=2.0) if upsample else x, w, b, padding=edge // 2)
            return y if added is None else y + added

        work = 4 if upsample else taps  # after nearest 2x nine taps fall on four pixels: their weights can be summed
        wide = None if ta is None else ta.float()
        truth = self.true(lambda: rival(tx.float(), tw.float(), tb.float(), wide).permute(0, 2, 3, 1))
        name = "upsample + conv2d" if upsample else f"conv2d {edge}x{edge}" + (" + residual" if residual else "")
        moved = x.size + pixels * outputs * (2 if residual else 1) + w.size
        return Case(
            name, f"{images} x {height}x{width} x {inputs} -> {outputs}",
            2.0 * work * pixels * inputs * outputs, 2.0 * moved,
            call, {"torch": lambda: rival(tx, tw, tb, ta)},
            lambda: ops.numpy(call()), truth.reshape(pixels, outputs), {"conv"},
        )  # fmt: skip

    def group_norm_silu(self, images: int, height: int, width: int, channels: int, groups: int) -> Case:
        torch, ops, F = self.torch, self.ops, self.torch.nn.functional
        x = self.normal(images * height * width, channels)
        w, b = self.normal(1, channels), self.normal(1, channels)
        mine, mw, mb = ops.array(x), ops.array(w, "float32"), ops.array(b, "float32")
        grids = np.tile(np.array([height, width], np.int32), (images, 1))
        nchw = self.tensor(x).view(images, height, width, channels).permute(0, 3, 1, 2)
        tx = nchw.contiguous(memory_format=torch.channels_last)
        tw, tb = self.tensor(w)[0], self.tensor(b)[0]

        def rival(cast: Callable[[Any], Any] = lambda t: t) -> Any:
            return F.silu(F.group_norm(cast(tx), groups, cast(tw), cast(tb), 1e-6))

        truth = self.true(lambda: rival(lambda t: t.float()).permute(0, 2, 3, 1)).reshape(x.shape)
        return Case(
            "group_norm_silu", f"{images} x {height}x{width} x {channels}", 0.0, x.size * 2 * 3.0,
            lambda: ops.group_norm_silu(mine, mw, mb, grids, groups), {"torch": rival},
            lambda: ops.numpy(ops.group_norm_silu(mine, mw, mb, grids, groups)), truth, {"memory"},
        )  # fmt: skip
