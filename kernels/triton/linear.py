"""Pack linear layers and multiply by them, for the triton backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..bfloat16 import widen
from ..low_rank import want_parts
from ..ops import Activation, DtypeName, LowRankPart, LowRankTerm
from ..reference.dense import GLU
from ..segments import Segments
from .arrays import empty, from_host
from .base import Base
from .checks import describe, refuse, want_choice, want_dtype_name, want_low_rank
from .devices import Device
from .float8 import Float8
from .jit import linear as kernels
from .launch import Launch
from .low_rank import TritonLowRank, TritonLowRankPart, epilogue, runs_of
from .tiles import linear_tiles, power, row_warps

COLUMNS: Final = 256  # of the result: a piece of a streamed weight has a multiple, as tiles have
GROUP: Final = 8  # row tiles that share their columns' tiles in the cache


@dataclass(frozen=True, eq=False)
class TritonLinear:
    """A packed linear layer.

    Attributes:
        weight: [N, K] of compute dtype, or float8.
        bias: float32 [N].
        swiglu: whether the first half of the rows are gates.
        scales: float32 [N], by which rows of a float8 weight are multiplied; None: it is of compute dtype.
        pieces: where `weight` lies in the host's memory, its pieces from the first column of the result on; else None.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    swiglu: bool
    scales: torch.Tensor | None = None
    pieces: tuple[Piece, ...] | None = None


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows of a weight that come to the device together.

    Attributes:
        name: of the piece.
        start, stop: its columns of the result.
        bias, scales: see `TritonLinear`; of these columns, on the device.
    """

    name: int
    start: int
    stop: int
    bias: torch.Tensor
    scales: torch.Tensor | None


class LinearOps(Base):
    """Linear layers of `TritonOps`. `Ops` documents them.

    Products are kernels of ours and not cuBLAS: that one chooses its algorithm, and with it the order of a row's sum,
    by the number of rows. Here tiles and order are fixed by the layer's shape.

    Args:
        float8: keeps weights in float8, where that does; None: none is.
    """

    def __init__(self, device: Device, launch: Launch, float8: Float8 | None = None) -> None:
        super().__init__(device, launch)
        self._float8 = float8

    def pack_linear(
        self,
        weights: Sequence[NDArray[Any]],
        biases: Sequence[NDArray[Any] | None] | None = None,
        *,
        swiglu: bool = False,
        exact: bool = False,
    ) -> TritonLinear:
        op = "pack_linear"
        given = [None] * len(weights) if biases is None else list(biases)
        if not weights:
            refuse(op, "weights", "none", "at least one [N, K]")
        if len(given) != len(weights):
            refuse(op, "biases", f"{len(given)} biases", f"{len(weights)}, one for each weight")
        for w, b in zip(weights, given, strict=True):
            if w.ndim != 2 or w.shape[1] != weights[0].shape[-1] or 0 in w.shape:
                refuse(op, "weights", describe(w), "[N, K], not empty, all of one K")
            if b is not None and b.shape != (w.shape[0],):
                refuse(op, "biases", describe(b), f"[{w.shape[0]}]")
        width = sum(len(w) for w in weights)
        if swiglu and width % 2:
            refuse(op, "weights", f"{width} rows", "an even number for swiglu")
        depth = weights[0].shape[1]
        stay = self._stays(width, depth)
        packed = self._new(width, depth) if stay else empty(width, depth, self._dtype, torch.device("cpu"))
        start = 0
        for w in weights:  # one after another: no second copy of the whole
            packed[start : start + len(w)] = from_host(w, self._dtype, packed.device, "pack_linear: weights")
            start += len(w)
        bias = np.concatenate(
            [
                np.zeros(len(w), np.float32) if b is None else widen(b, "pack_linear: biases")
                for w, b in zip(weights, given, strict=True)
            ]
        )
        shift, scales = torch.from_numpy(bias).to(self.device), None
        if self._float8 is not None and (small := self._float8.rounded(packed)) is not None:
            packed, scales = small[0], small[1].to(self.device)
        if stay:
            return TritonLinear(self.resident.add(packed), shift, swiglu, scales)
        return self._in_pieces(packed, shift, swiglu, scales)

    def pack_low_rank(self, parts: Sequence[LowRankPart], width: int, *, swiglu: bool = False) -> TritonLowRank:
        depth, ups = want_parts(parts, width, swiglu)
        own = [
            TritonLowRankPart(self.pack_linear([part.down]), self.pack_linear([up]), part.start, part.start + len(up))
            for part, up in zip(parts, ups, strict=True)
        ]
        return TritonLowRank(own, (width, depth), swiglu)

    def _stays(self, width: int, depth: int) -> bool:
        """Return whether the next weight is to be on the device."""
        if self.streamed is None or self.device.type == "meta":
            return True
        small = self._float8 is not None and min(width, depth) >= self._float8.least
        return self.streamed.residency.keeps(width * depth * (1 if small else self._dtype.itemsize))

    def _in_pieces(
        self, packed: torch.Tensor, bias: torch.Tensor, swiglu: bool, scales: torch.Tensor | None
    ) -> TritonLinear:
        """Leave a weight in the host's memory, in pieces of which each fits into a place of the device."""
        assert self.streamed is not None, "nothing is streamed"
        host = self.streamed.host(len(packed), packed.stride(0), packed.dtype)
        host[:, : packed.shape[1]] = packed
        halves = 2 if swiglu else 1
        width = len(host) // halves
        fits = self.streamed.place_bytes // (halves * host.shape[1] * host.itemsize)
        step = fits // COLUMNS * COLUMNS or min(fits, width)
        assert step, "a place holds no row"
        pieces = []
        for start in range(0, width, step):
            stop = min(start + step, width)
            parts = [slice(half * width + start, half * width + stop) for half in range(halves)]
            name = self.streamed.add([host[part] for part in parts])
            mine = torch.cat([bias[part] for part in parts])
            pieces.append(
                Piece(name, start, stop, mine, None if scales is None else torch.cat([scales[part] for part in parts]))
            )
        return TritonLinear(host[:, : packed.shape[1]], bias, swiglu, scales, tuple(pieces))

    def linear(
        self,
        x: torch.Tensor,
        weight: TritonLinear,
        *,
        activation: Activation = "none",
        gate: torch.Tensor | None = None,
        residual: torch.Tensor | None = None,
        segments: Segments | None = None,
        out: torch.Tensor | None = None,
        dtype: DtypeName = "compute",
        low_rank: Sequence[LowRankTerm] = (),
    ) -> torch.Tensor:
        op = "linear"
        want_choice(op, "activation", activation, ("none", "gelu_tanh", "gelu", "silu", "quick_gelu", *GLU))
        want_dtype_name(op, dtype)
        if not isinstance(weight, TritonLinear):
            refuse(op, "weight", type(weight).__name__, "the result of pack_linear: a packed weight of this backend")
        depth = weight.weight.shape[1]
        self._want(op, "x", x, width=depth, dtype="compute")
        if weight.swiglu != (activation in GLU):
            refuse(op, "activation", activation, f"one of {', '.join(GLU)} exactly where the weight was packed for it")
        count, width = len(x), len(weight.weight) // (2 if weight.swiglu else 1)
        if residual is not None:
            self._want(op, "residual", residual, count, width, "float32")
            if activation != "none":
                refuse(op, "activation", activation, "none together with residual")
            if out is not None:
                refuse(op, "out", describe(out), "None together with residual")
        owners = None
        if gate is not None:
            if residual is None:
                refuse(op, "gate", describe(gate), "None without residual")
            if segments is None:
                refuse(op, "segments", None, "the segments that choose gate's rows")
            self._want(op, "gate", gate, width=width, dtype="float32")
            self._want_segments(op, "segments", segments, count, len(gate))
            owners = self.tables(segments).row_owner
        if out is not None:
            self._want(op, "out", out, count, width)
        for term in low_rank:
            want_low_rank(op, term, count, tuple(weight.weight.shape), weight.swiglu, TritonLowRank)

        result = residual if residual is not None else out if out is not None else self._new(count, width, dtype)
        if terms := [term for term in low_rank if term.weight and term.start < term.stop]:
            self._with_terms(x, weight, activation, gate, owners, result, terms, residual=residual is not None)
        else:
            self._product(x, weight, activation, gate, owners, result, residual=residual is not None)
        return result

    def _with_terms(
        self, x: torch.Tensor, weight: TritonLinear, activation: Activation, gate: torch.Tensor | None,
        owners: torch.Tensor | None, result: torch.Tensor, terms: Sequence[LowRankTerm], *, residual: bool,
    ) -> None:  # fmt: skip
        """Compute `linear` with low-rank terms into `result`: rows without any as ever, of others all sums first."""
        for start, stop, mine in runs_of(len(x), terms):
            rows, into = x[start:stop], result[start:stop]
            own = None if owners is None else owners[start:stop]
            if not mine:
                self._product(rows, weight, activation, gate, own, into, residual=residual)
                continue
            sums = self._new(stop - start, len(weight.weight), "float32")
            self._product(rows, weight, "none", None, None, sums, residual=False, apart=True)
            for term in mine:
                for part in term.factors.parts:
                    hidden = self._new(stop - start, len(part.down.weight), "float32")
                    self._product(rows, part.down, "none", None, None, hidden, residual=False)
                    scaled = self._new(*hidden.shape)
                    scaled.copy_(hidden * term.weight)
                    self._product(scaled, part.up, "none", None, None, sums[:, part.start : part.stop], residual=True)
            y = epilogue(sums, activation)
            if gate is not None and own is not None:
                y = y * gate[own.long()]
            into.copy_(into + y if residual else y)

    def _product(
        self, x: torch.Tensor, weight: TritonLinear, activation: Activation, gate: torch.Tensor | None,
        owners: torch.Tensor | None, result: torch.Tensor, *, residual: bool, apart: bool = False,
    ) -> None:  # fmt: skip
        """Compute `linear` into `result`, to which it is added with `residual`.

        Args:
            apart: whether pairs of gate and value stay apart: the result has the columns of all gates, then all values.
        """
        count, depth = len(x), weight.weight.shape[1]
        paired = weight.swiglu and not apart
        width = len(weight.weight) // (2 if weight.swiglu else 1)
        tiles = linear_tiles(
            self.arch,
            self.compute,
            width,
            depth,
            swiglu=paired,
            residual=residual,
            gated=gate is not None,
            float8=weight.scales is not None,
        )
        row_scales = None
        if weight.scales is not None:
            x, row_scales = self._to_float8(x)
        for start, stop, part, bias, scales in self._columns(weight, width, apart):
            into = result[:, start:stop]
            gates = None if gate is None else gate[:, start:stop]
            self.launch(
                kernels.linear,
                (-(-count // tiles.m) * -(-(stop - start) // tiles.n),),
                x,
                part,
                bias,
                into,
                gates,
                owners,
                row_scales,
                scales,
                count,
                stop - start,
                depth,
                x.stride(0),
                part.stride(0),
                into.stride(0),
                0 if gates is None else gates.stride(0),
                warps=tiles.warps,
                stages=tiles.stages,
                ACTIVATION=GLU.get(activation, activation),
                PAIRED=paired,
                RESIDUAL=residual,
                GATED=gate is not None,
                SCALED=row_scales is not None,
                EVEN=depth % tiles.k == 0,
                BM=tiles.m,
                BN=tiles.n,
                BK=tiles.k,
                GROUP=GROUP,
            )

    def _columns(
        self, weight: TritonLinear, width: int, apart: bool
    ) -> Iterator[tuple[int, int, torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        """Yield what `_parts` does; of pairs with `apart` the gates, then the values."""
        for start, stop, part, bias, scales in self._parts(weight, width):
            if not (apart and weight.swiglu):
                yield start, stop, part, bias, scales
                continue
            for half, first in enumerate((0, stop - start)):
                mine = slice(first, first + stop - start)
                own = None if scales is None else scales[mine]
                yield half * width + start, half * width + stop, part[mine], bias[mine], own

    def _parts(
        self, weight: TritonLinear, width: int
    ) -> Iterator[tuple[int, int, torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        """Yield columns of the result, first and end, with weight, bias and scales on the device: all, or by pieces."""
        if weight.pieces is None:
            yield 0, width, weight.weight, weight.bias, weight.scales
            return
        assert self.streamed is not None, "nothing is streamed"
        host, halves = weight.weight, 2 if weight.swiglu else 1
        for piece in weight.pieces:
            rows = halves * (piece.stop - piece.start)
            there = self.streamed.take(piece.name, rows, host.stride(0), host.dtype)[:, : host.shape[1]]
            yield piece.start, piece.stop, there, piece.bias, piece.scales

    def _to_float8(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows [T, K] in float8, and the scale of each, float32 [T]: a row's bits depend on that row alone."""
        count, width = x.shape
        made = empty(count, width, torch.float8_e4m3fn, self.device)
        scales = torch.empty(count, dtype=torch.float32, device=self.device)
        block = power(width)
        self.launch(
            kernels.to_float8, (count,), x, made, scales, width, x.stride(0), made.stride(0), warps=row_warps(block),
            BLOCK=block,
        )  # fmt: skip
        return made, scales
