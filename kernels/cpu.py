"""Provide the cpu backend: C++ kernels (csrc/) behind the op table, for the best instruction set of the machine.

Docstrings of the ops are those of `Ops`, and the kernels follow them. The bindings check every argument. Numbers are
rounded to nearest and denormal ones count as zero, in any mode that the calling thread has set.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bounds import MAX_THREADS
from ..values import whole_of
from . import _C
from .argument_errors import explained
from .bfloat16 import holds_bits, want_numbers, widen
from .low_rank import Panels, want_parts
from .ops import (
    Activation,
    AdapterTerms,
    Dtype,
    DtypeName,
    Float32,
    GuidanceTerms,
    LowRankPart,
    LowRankTerm,
    NormKind,
)
from .segments import Int32, Segments, bound_segments
from .vectors import HostVector, host_vectors

Tensor = _C.Tensor
Weight = _C.Weight


def isa_levels() -> list[str]:
    """Return the instruction sets that this machine runs, best first. The last is always "portable"."""
    return _C.isa_levels()


def _plain(values: NDArray[Any], what: str) -> NDArray[Any]:
    """Return C-contiguous float32, or uint16 (bfloat16 bits) unchanged. Copy only if the array is not so already."""
    want_numbers(values, what)
    return np.ascontiguousarray(values, np.uint16 if holds_bits(values) else np.float32)


def _bias(values: NDArray[Any] | None, what: str) -> Float32 | None:
    return None if values is None else widen(values, what)


@explained
class CpuOps:
    """The op table on C++ kernels.

    Args:
        isa: one of `isa_levels()`; None: SALON_ISA, else the best.
        dtype: compute dtype, "bfloat16" or "float32"; None: bfloat16 where the instruction set has a bf16 dot product.
        threads: 1 to 256; None: SALON_THREADS, else `machine.usable_cores`. If the system refuses to start so many,
            there are fewer, and `notes` says so.

    Raises:
        ValueError: the machine cannot run `isa`, the instruction set has no `dtype`, or `threads` is out of range.
    """

    BACKEND = "cpu"

    def __init__(self, isa: str | None = None, dtype: Dtype | None = None, threads: int | None = None) -> None:
        for name, value in (("isa", isa), ("dtype", dtype)):
            if value is not None and not isinstance(value, str):
                raise ValueError(f"{name}: got {value!r}, want a name")
        count = whole_of(threads)
        if threads is not None and (count is None or not 1 <= count <= MAX_THREADS):
            raise ValueError(f"threads: got {threads!r}, want 1 to {MAX_THREADS}")
        self._c = _C.Backend(isa or "", dtype or "", count or 0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(isa={self.isa!r}, dtype={self.compute!r}, threads={self.threads})"

    @property
    def name(self) -> str:
        return f"{self.BACKEND}/{self._c.isa}"

    @property
    def isa(self) -> str:
        """Name of the instruction set in use."""
        return self._c.isa

    @property
    def compute(self) -> Dtype:
        return self._c.compute

    @property
    def threads(self) -> int:
        """Number of threads that an op may use: the number that was given, or as many as the system started."""
        return self._c.threads

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user: that there are fewer threads than were asked for, and why."""
        return (self._c.note,) if self._c.note else ()

    def peak(self, seconds: float = 0.2) -> float:
        """Measure the FLOP/s of one core's dot products in the compute dtype, register to register, for `seconds`."""
        return self._c.peak(seconds)

    # ---- edges

    def array(self, values: NDArray[Any], dtype: DtypeName = "compute") -> Tensor:
        plain = _plain(values, "array: values")
        return self._c.array(plain[None] if plain.ndim == 1 else plain, dtype)

    def numpy(self, x: Tensor) -> Float32:
        return x.numpy()

    def vectors(self, *values: NDArray[Any]) -> list[HostVector]:
        return host_vectors(values)

    def segments(
        self, lengths: Sequence[int], owners: Sequence[int] | None = None, num_samples: int | None = None
    ) -> Segments:
        return bound_segments(tuple(lengths), None if owners is None else tuple(owners), num_samples)

    def empty(self, rows: int, width: int, dtype: DtypeName = "compute") -> Tensor:
        return self._c.empty(rows, width, dtype)

    def zeros(self, rows: int, width: int, dtype: DtypeName = "compute") -> Tensor:
        return self._c.zeros(rows, width, dtype)

    def cast(self, x: Tensor, dtype: DtypeName = "compute", *, activation: Activation = "none") -> Tensor:
        return self._c.cast(x, dtype, activation)

    def rows(self, x: Tensor, start: int, stop: int) -> Tensor:
        return x.rows(start, stop)

    def columns(self, x: Tensor, start: int, stop: int) -> Tensor:
        return x.columns(start, stop)

    def concat(self, parts: Sequence[Tensor]) -> Tensor:
        return self._c.concat(list(parts))

    def split(self, x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        ends = np.cumsum([0, *sizes]).tolist()
        if ends[-1] != x.shape[0]:
            raise ValueError(f"split: sizes: got a sum of {ends[-1]}, want {x.shape[0]}")
        return [x.rows(start, stop) for start, stop in pairwise(ends)]

    def add(
        self,
        x: Tensor,
        y: Tensor,
        segments: Segments | None = None,
        only: Int32 | None = None,
        gate: Tensor | None = None,
    ) -> None:
        owners = None if segments is None or gate is None else segments.row_owners()
        self._c.add(x, y, None if segments is None else segments.offsets, only, gate, owners)

    def gated(
        self, gate: Tensor, value: Tensor, activation: Activation = "none", *, out: Tensor | None = None
    ) -> Tensor:
        return self._c.gated(gate, value, activation, out)

    def finite(self, x: Tensor, segments: Segments) -> Tensor:
        if segments.num_rows != x.shape[0]:
            raise ValueError(f"finite: segments: got {segments.num_rows} rows, want {x.shape[0]} rows")
        wrong = np.zeros(x.shape[0] + 1, np.int64)  # rows above each row, and above the end, that are not finite
        np.cumsum(~np.isfinite(x.numpy()).all(axis=1), out=wrong[1:])
        found = np.diff(wrong[segments.offsets])
        return self.array((found == 0).astype(np.float32)[:, None], "float32")

    # ---- dense

    def pack_linear(
        self,
        weights: Sequence[NDArray[Any]],
        biases: Sequence[NDArray[Any] | None] | None = None,
        *,
        swiglu: bool = False,
        exact: bool = False,
    ) -> Weight:
        return self._packed(weights, biases, swiglu)

    def _packed(
        self,
        weights: Sequence[NDArray[Any]],
        biases: Sequence[NDArray[Any] | None] | None,
        swiglu: bool,
        *,
        int8: bool = False,
    ) -> Weight:
        given = biases if biases is not None else [None] * len(weights)
        plain = [_plain(w, "pack_linear: weights") for w in weights]
        return self._c.pack_linear(plain, [_bias(b, "pack_linear: biases") for b in given], swiglu, int8)

    def pack_low_rank(self, parts: Sequence[LowRankPart], width: int, *, swiglu: bool = False) -> _C.LowRank:
        _, ups = want_parts(parts, width, swiglu)
        panels = Panels.of([part.start for part in parts], ups, width, swiglu)
        down = [_plain(part.down, "pack_low_rank: down") for part in parts]
        return self._c.pack_low_rank(down, panels.data, panels.place, panels.first, panels.last, width, swiglu)

    def linear(
        self,
        x: Tensor,
        weight: Weight,
        *,
        activation: Activation = "none",
        gate: Tensor | None = None,
        residual: Tensor | None = None,
        segments: Segments | None = None,
        out: Tensor | None = None,
        dtype: DtypeName = "compute",
        low_rank: Sequence[LowRankTerm] = (),
    ) -> Tensor:
        owners = None if segments is None or gate is None else segments.row_owners()
        for term in low_rank:
            if not isinstance(term.factors, _C.LowRank):
                got = type(term.factors).__name__
                raise ValueError(f"linear: low_rank: got factors {got}, want the result of pack_low_rank")
        terms = [(term.start, term.stop, term.factors, term.weight) for term in low_rank]
        return self._c.linear(x, weight, activation, gate, residual, owners, out, dtype, terms)

    def modulate(
        self,
        x: Tensor,
        shift: Tensor | None,
        scale: Tensor,
        segments: Segments,
        *,
        kind: NormKind = "layer",
        eps: float = 1e-6,
        weight: Tensor | None = None,
    ) -> Tensor:
        return self._c.modulate(x, shift, scale, segments.offsets, segments.owners, kind, eps, weight)

    def norm(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        kind: NormKind = "layer",
        eps: float = 1e-5,
        dtype: DtypeName = "compute",
    ) -> Tensor:
        return self._c.norm(x, weight, bias, kind, eps, dtype)

    def qk_norm_rope(
        self,
        qkv: Tensor,
        heads: int,
        q_weight: Tensor | None,
        k_weight: Tensor | None,
        cos: Tensor | None,
        sin: Tensor | None,
        *,
        eps: float = 1e-6,
        plain_q: Tensor | None = None,
        kv_heads: int | None = None,
    ) -> None:
        self._c.qk_norm_rope(qkv, heads, q_weight, k_weight, cos, sin, eps, plain_q, kv_heads)

    def attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        segments: Segments,
        heads: int,
        *,
        kv_segments: Segments | None = None,
        adapters: AdapterTerms | None = None,
        out: Tensor | None = None,
        kv_heads: int | None = None,
        scale: float | None = None,
        causal: bool = False,
        bias: Tensor | None = None,
    ) -> Tensor:
        kv = segments if kv_segments is None else kv_segments
        samples = max(segments.num_samples, kv.num_samples)
        terms = None
        if adapters is not None and len(adapters.segments):
            a = adapters
            terms = (a.keys, a.values, a.segments, a.offsets, a.rows, a.weights, a.queries, a.out)
        return self._c.attention(
            q, k, v, heads, samples, segments.offsets, segments.owners, kv.offsets, kv.owners, terms, out,
            kv_heads, scale, causal, bias,
        )  # fmt: skip

    # ---- lookups and conditioning

    def embed(self, indices: Sequence[Int32], tables: Sequence[Tensor]) -> Tensor:
        return self._c.embed(list(indices), list(tables))

    def timestep_embedding(self, timesteps: Float32, width: int, *, max_period: float = 10000.0) -> Tensor:
        return self._c.timestep_embedding(timesteps, width, max_period)

    # ---- solver

    def solver_step(
        self,
        latents: Tensor,
        velocity: Tensor,
        segments: Segments,
        guidance: GuidanceTerms,
        a: Float32,
        b: Float32,
        base: Tensor | None = None,
        previous: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> None:
        g = guidance
        self._c.solver_step(
            latents, velocity, segments.offsets, segments.owners, g.origins, g.offsets, g.rows, g.weights,
            a, b, base, previous, keep,
        )  # fmt: skip

    def blend(
        self, x: Tensor, y: Tensor, z: Tensor, weights: Tensor, segments: Segments, a: Float32, b: Float32
    ) -> None:
        self._c.blend(x, y, z, weights, segments.offsets, segments.owners, a, b)

    # ---- autoencoder

    def pack_conv(self, weight: NDArray[Any], bias: NDArray[Any] | None) -> Weight:
        return self._c.pack_conv(_plain(weight, "pack_conv: weight"), _bias(bias, "pack_conv: bias"))

    def conv2d(
        self,
        x: Tensor,
        weight: Weight,
        grids: Int32,
        *,
        residual: Tensor | None = None,
        dtype: DtypeName = "compute",
        wrap: bool = False,
    ) -> Tensor:
        return self._c.conv2d(x, weight, grids, residual, dtype, wrap)

    def upsample(self, x: Tensor, weight: Weight, grids: Int32, *, wrap: bool = False) -> Tensor:
        return self._c.upsample(x, weight, grids, wrap)

    def downsample(self, x: Tensor, weight: Weight, grids: Int32, *, symmetric: bool = False) -> Tensor:
        return self._c.downsample(x, weight, grids, symmetric)

    def group_norm_silu(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        grids: Int32,
        groups: int,
        *,
        eps: float = 1e-6,
        silu: bool = True,
    ) -> Tensor:
        return self._c.group_norm_silu(x, weight, bias, grids, groups, eps, silu)
