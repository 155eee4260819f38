"""Norm, rotate, gate and look up rows, for the triton backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..ops import Activation, DtypeName, NormKind
from ..reference.dense import GATES
from ..segments import Segments
from .base import Base
from .checks import describe, refuse, want_choice, want_dtype_name, want_eps, want_indices
from .jit import norms, rows
from .tiles import COLUMNS, TILE, power, row_warps


class DenseOps(Base):
    """Norms, rotary embedding, gates and lookups of `TritonOps`. `Ops` documents them."""

    def gated(
        self,
        gate: torch.Tensor,
        value: torch.Tensor,
        activation: Activation = "none",
        *,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        op = "gated"
        want_choice(op, "activation", activation, GATES)
        self._want(op, "gate", gate)
        self._want(op, "value", value, *gate.shape)
        if out is not None:
            self._want(op, "out", out, gate.shape[0], gate.shape[1], "compute")
        count, width = gate.shape
        result = self._new(count, width) if out is None else out
        block = min(power(width, 16), COLUMNS)
        self.launch(
            rows.gated,
            (-(-count // TILE), -(-width // block)),
            gate,
            value,
            result,
            count,
            width,
            gate.stride(0),
            value.stride(0),
            result.stride(0),
            ACTIVATION=activation,
            BM=TILE,
            BN=block,
        )
        return result

    def modulate(
        self,
        x: torch.Tensor,
        shift: torch.Tensor | None,
        scale: torch.Tensor,
        segments: Segments,
        *,
        kind: NormKind = "layer",
        eps: float = 1e-6,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        op = "modulate"
        want_choice(op, "kind", kind, ("layer", "rms"))
        self._want(op, "x", x, dtype="float32")
        if shift is not None:
            self._want(op, "shift", shift, width=x.shape[1], dtype="float32")
        self._want(op, "scale", scale, None if shift is None else len(shift), x.shape[1], "float32")
        self._want_segments(op, "segments", segments, len(x), len(scale))
        if weight is not None:
            self._want(op, "weight", weight, 1, x.shape[1], "float32")
        want_eps(op, eps)
        result = self._new(*x.shape)
        self._norm(x, result, weight, scale, shift, self.tables(segments).row_owner, kind, eps)
        return result

    def norm(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        *,
        kind: NormKind = "layer",
        eps: float = 1e-5,
        dtype: DtypeName = "compute",
    ) -> torch.Tensor:
        op = "norm"
        want_choice(op, "kind", kind, ("layer", "rms"))
        want_dtype_name(op, dtype)
        self._want(op, "x", x)
        self._want(op, "weight", weight, 1, x.shape[1], "float32")
        if bias is not None:
            self._want(op, "bias", bias, 1, x.shape[1], "float32")
        want_eps(op, eps)
        result = self._new(x.shape[0], x.shape[1], dtype)
        self._norm(x, result, weight, None, bias, None, kind, eps)
        return result

    def _norm(
        self,
        x: torch.Tensor,
        result: torch.Tensor,
        weight: torch.Tensor | None,
        scale: torch.Tensor | None,
        shift: torch.Tensor | None,
        owners: torch.Tensor | None,
        kind: NormKind,
        eps: float,
    ) -> None:
        count, width = x.shape
        if width == 0:
            return
        block = power(width)
        self.launch(
            norms.norm,
            (count,),
            x,
            result,
            weight,
            scale,
            shift,
            owners,
            width,
            x.stride(0),
            result.stride(0),
            0 if scale is None else scale.stride(0),
            0 if shift is None else shift.stride(0),
            float(eps),
            warps=row_warps(block),
            LAYER=kind == "layer",
            WEIGHT=weight is not None,
            SCALE=scale is not None,
            SHIFT=shift is not None,
            BLOCK=block,
        )

    def qk_norm_rope(
        self,
        qkv: torch.Tensor,
        heads: int,
        q_weight: torch.Tensor | None,
        k_weight: torch.Tensor | None,
        cos: torch.Tensor | None,
        sin: torch.Tensor | None,
        *,
        eps: float = 1e-6,
        plain_q: torch.Tensor | None = None,
        kv_heads: int | None = None,
    ) -> None:
        op = "qk_norm_rope"
        self._want(op, "qkv", qkv, dtype="compute")
        groups = heads if kv_heads is None else kv_heads
        if heads < 1 or groups < 1 or heads % groups:
            refuse(op, "kv_heads", groups, f"a divisor of the {heads} heads")
        if qkv.shape[1] % (heads + 2 * groups):
            refuse(op, "qkv", f"{describe(qkv)} with {heads} heads", "[T, (heads + 2 * kv_heads) * E]")
        want_eps(op, eps)
        count, e = len(qkv), qkv.shape[1] // (heads + 2 * groups)
        width = heads * e
        for name, w in (("q_weight", q_weight), ("k_weight", k_weight)):
            if w is not None:
                self._want(op, name, w, 1, e, "float32")
        if (cos is None) != (sin is None):
            refuse(op, "cos, sin", "one of them", "both or none")
        if cos is not None and sin is not None:
            if e % 2:
                refuse(op, "qkv", f"heads {e} wide", "an even head width for rotary embedding")
            self._want(op, "cos", cos, count, e // 2, "float32")
            self._want(op, "sin", sin, count, e // 2, "float32")
        if plain_q is not None:
            self._want(op, "plain_q", plain_q, count, width, "compute")
        if width == 0:
            return
        block_heads, block = power(heads), power(e, 2)
        self.launch(
            norms.qk_norm_rope,
            (count,),
            qkv,
            q_weight,
            k_weight,
            cos,
            sin,
            plain_q,
            qkv.stride(0),
            0 if cos is None else cos.stride(0),
            0 if sin is None else sin.stride(0),
            0 if plain_q is None else plain_q.stride(0),
            float(eps),
            warps=row_warps(block_heads * block),
            HEADS=heads,
            KV_HEADS=groups,
            E=e,
            BH=block_heads,
            BG=power(groups),
            BE=block,
            Q_NORM=q_weight is not None,
            K_NORM=k_weight is not None,
            ROPE=cos is not None,
            PLAIN=plain_q is not None,
        )

    def embed(self, indices: Sequence[Any], tables: Sequence[torch.Tensor]) -> torch.Tensor:
        op = "embed"
        if not tables or len(indices) != len(tables):
            refuse(op, "indices", f"{len(indices)} for {len(tables)} tables", "one for each table, at least one")
        vectors = []
        for index, table in zip(indices, tables, strict=True):
            self._want(op, "tables", table, width=tables[0].shape[1])
            vectors.append(want_indices(op, "indices", index, self.device, len(table)))
        for vector in vectors:
            self._vector(op, "indices", vector, np.int32, len(vectors[0]))
        count, width = len(vectors[0]), tables[0].shape[1]
        result = self._new(count, width, "float32")
        block = min(power(width, 16), 1024)
        for i, (vector, table) in enumerate(zip(vectors, tables, strict=True)):
            self.launch(
                rows.embed,
                (count, -(-width // block)),
                vector.data,
                table,
                result,
                width,
                table.stride(0),
                result.stride(0),
                warps=row_warps(block),
                MORE=i > 0,
                BN=block,
            )
        return result

    def timestep_embedding(self, timesteps: Any, width: int, *, max_period: float = 10000.0) -> torch.Tensor:
        op = "timestep_embedding"
        times = self._vector(op, "timesteps", timesteps, np.float32)
        if width < 2 or width % 2:
            refuse(op, "width", width, "an even number of at least 2")
        if not (np.isfinite(max_period) and max_period > 0):
            refuse(op, "max_period", max_period, "a positive finite number")
        half = width // 2
        result = self._new(len(times), width)
        self.launch(
            rows.timestep_embedding,
            (len(times),),
            times.data,
            self._frequencies(half, float(max_period)),
            result,
            half,
            result.stride(0),
            BLOCK=power(half),
        )
        return result

    def _frequencies(self, half: int, max_period: float) -> torch.Tensor:
        """Return max_period^(-i / half), float32 [half], made once for each width and period."""
        found = self._sinusoids.get((half, max_period))
        if found is None:
            values = (np.float64(max_period) ** (-np.arange(half) / half)).astype(np.float32)
            found = self._sinusoids[half, max_period] = torch.from_numpy(values).to(self.device)
        return found
