"""Convolve and norm images, for the triton backend."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..bfloat16 import widen
from ..ops import DtypeName
from ..segments import Int32
from .arrays import bring, from_host
from .base import Base
from .checks import describe, refuse, want_dtype_name, want_eps, want_grids
from .devices import Device
from .jit import image as kernels
from .launch import Launch
from .tables import Tiles, tile_tables
from .tiles import conv_tiles, power

NUMBERS: Final = 8192  # that one program norms; twice as many spill on sm_90
KEPT: Final = 64  # tables of grids: batches of the same sizes are frequent


@dataclass(frozen=True, eq=False)
class TritonConv:
    """A packed convolution: weight [side * side * O, I] of compute dtype, tap by tap, and bias float32 [O].

    `name` is that of the weight's piece where it lies in the host's memory, else None.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    side: int
    name: int | None = None


@dataclass(frozen=True, eq=False)
class _Images:
    """The images of one call: where their pixels are.

    Attributes:
        tiles: blocks of pixels of the result.
        offsets: int32 [B + 1], first pixel of each image in the result.
        facts: int32 [B, 4]: first row, height and width in the input, width of the result.
        pixels: of the result.
    """

    tiles: Tiles
    offsets: torch.Tensor
    facts: torch.Tensor
    pixels: int


class ImageOps(Base):
    """The ops conv2d, upsample, downsample and group_norm_silu of `TritonOps`. `Ops` documents them.

    Convolutions are kernels of ours and not cuDNN: images of any sizes go in one call, and no heuristic that sees the
    whole batch decides how a pixel is summed.
    """

    def __init__(self, device: Device, launch: Launch) -> None:
        super().__init__(device, launch)
        self._images: OrderedDict[tuple[bytes, int, int, int, int], _Images] = OrderedDict()

    def pack_conv(self, weight: NDArray[Any], bias: NDArray[Any] | None) -> TritonConv:
        op = "pack_conv"
        if weight.ndim != 4 or weight.shape[2:] not in ((1, 1), (3, 3)) or 0 in weight.shape:
            refuse(op, "weight", describe(weight), "[O, I, 1, 1] or [O, I, 3, 3], not empty")
        outputs, inputs, side = weight.shape[:3]
        if bias is not None and bias.shape != (outputs,):
            refuse(op, "bias", describe(bias), f"[{outputs}]")
        shift = np.zeros(outputs, np.float32) if bias is None else widen(bias, "pack_conv: bias")
        flat = np.ascontiguousarray(weight.transpose(2, 3, 0, 1)).reshape(-1, inputs)
        there = torch.from_numpy(shift).to(self.device)
        if self.streamed is not None:
            size = flat.size * self._dtype.itemsize
            if size > self.streamed.place_bytes // 2:  # rows are padded, by less than as much again
                self.streamed.residency.stays(size)
            elif not self.streamed.residency.keeps(size):
                packed = from_host(flat, self._dtype, torch.device("cpu"), "pack_conv: weight")
                host = self.streamed.host(len(packed), packed.stride(0), packed.dtype)
                host[:, :inputs] = packed
                return TritonConv(host[:, :inputs], there, side, self.streamed.add([host]))
        packed = self.resident.add(from_host(flat, self._dtype, self.device, "pack_conv: weight"))
        return TritonConv(packed, there, side)

    def conv2d(
        self,
        x: torch.Tensor,
        weight: TritonConv,
        grids: Int32,
        *,
        residual: torch.Tensor | None = None,
        dtype: DtypeName = "compute",
        wrap: bool = False,
    ) -> torch.Tensor:
        self._want_conv("conv2d", x, weight, grids)
        want_dtype_name("conv2d", dtype)
        if residual is not None:
            self._want("conv2d", "residual", residual, len(x), len(weight.bias), "compute")
        return self._convolve(x, weight, grids, residual, dtype, step=1, double=False, wrap=wrap)

    def upsample(self, x: torch.Tensor, weight: TritonConv, grids: Int32, *, wrap: bool = False) -> torch.Tensor:
        self._want_conv("upsample", x, weight, grids, only_3x3=True)
        return self._convolve(x, weight, grids, None, "compute", step=1, double=True, wrap=wrap)

    def downsample(self, x: torch.Tensor, weight: TritonConv, grids: Int32, *, symmetric: bool = False) -> torch.Tensor:
        self._want_conv("downsample", x, weight, grids, only_3x3=True, smallest=2)
        return self._convolve(
            x, weight, grids, None, "compute", step=2, double=False, wrap=False, before=int(symmetric)
        )

    def _convolve(
        self,
        x: torch.Tensor,
        weight: TritonConv,
        grids: Int32,
        residual: torch.Tensor | None,
        dtype: DtypeName,
        *,
        step: int,
        double: bool,
        wrap: bool,
        before: int | None = None,
    ) -> torch.Tensor:
        """Convolve with `before` zeros above and left; None: as many as keep the size."""
        pad = weight.side // 2 if before is None else before
        outputs, inputs, taps = len(weight.bias), weight.weight.shape[1], weight.weight
        if weight.name is not None:
            assert self.streamed is not None, "nothing is streamed"
            taps = self.streamed.take(weight.name, len(taps), taps.stride(0), taps.dtype)
        sizes = conv_tiles(self.arch, self.compute, inputs, outputs)
        images = self._grid_tables(grids, step, 2 if double else 1, pad, sizes.m)
        result = self._new(images.pixels, outputs, dtype)
        self.launch(
            kernels.conv2d,
            (len(images.tiles), -(-outputs // sizes.n)),
            x,
            taps,
            weight.bias,
            residual,
            result,
            images.tiles.table,
            images.offsets,
            images.facts,
            inputs,
            outputs,
            x.stride(0),
            taps.stride(0),
            0 if residual is None else residual.stride(0),
            result.stride(0),
            warps=sizes.warps,
            stages=sizes.stages,
            SIDE=weight.side,
            STEP=step,
            PAD=pad,
            DOUBLE=double,
            WRAP=wrap,
            RESIDUAL=residual is not None,
            EVEN=inputs % sizes.k == 0,
            BM=sizes.m,
            BN=sizes.n,
            BK=sizes.k,
        )
        return result

    def group_norm_silu(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        grids: Int32,
        groups: int,
        *,
        eps: float = 1e-6,
        silu: bool = True,
    ) -> torch.Tensor:
        op = "group_norm_silu"
        self._want(op, "x", x, dtype="compute")
        channels = x.shape[1]
        self._want(op, "weight", weight, 1, channels, "float32")
        self._want(op, "bias", bias, 1, channels, "float32")
        want_grids(op, grids, len(x))
        want_eps(op, eps)
        if groups < 1 or channels % groups:
            refuse(op, "groups", groups, f"a divisor of {channels} channels")
        result = self._new(*x.shape)
        if not len(x) or not channels:
            return result
        block = power(channels)
        images = self._grid_tables(grids, 1, 1, 0, max(1, NUMBERS // block))
        tiles, size = images.tiles, channels // groups
        moments = torch.empty((len(tiles), 2 * channels), dtype=torch.float32, device=self.device)
        norms = torch.empty((len(grids), groups, 2), dtype=torch.float32, device=self.device)
        shared: dict[str, Any] = {"BM": tiles.size, "BC": block, "warps": 8}
        self.launch(
            kernels.channel_moments,
            (len(tiles),),
            x,
            tiles.table,
            images.offsets,
            moments,
            channels,
            x.stride(0),
            moments.stride(0),
            **shared,
        )
        self.launch(
            kernels.group_moments,
            (len(grids), groups),
            moments,
            tiles.first,
            images.offsets,
            norms,
            channels,
            size,
            groups,
            moments.stride(0),
            float(eps),
            BM=tiles.size,
            BT=64,
            BS=power(size),
        )
        self.launch(
            kernels.group_norm_silu,
            (len(tiles),),
            x,
            weight,
            bias,
            norms,
            result,
            tiles.table,
            images.offsets,
            channels,
            size,
            groups,
            x.stride(0),
            result.stride(0),
            ACTIVATION="silu" if silu else "none",
            **shared,
        )
        return result

    def _grid_tables(self, grids: Int32, step: int, times: int, pad: int, size: int) -> _Images:
        """Return the tables of images of these sizes, whose results are smaller by `step` or larger by `times`."""
        pad = pad if step == 2 else 0
        key = (grids.tobytes(), step, times, pad, size)
        found = self._images.get(key)
        if found is None:
            found = self._images[key] = self._make_tables(grids, step, times, pad, size)
            if len(self._images) > KEPT:
                self._images.popitem(last=False)
        self._images.move_to_end(key)
        return found

    def _make_tables(self, grids: Int32, step: int, times: int, pad: int, size: int) -> _Images:
        sides = grids.astype(np.int64)
        results = sides * times if step == 1 else (sides - 2 + pad) // step + 1
        inputs = np.concatenate([[0], np.cumsum(sides.prod(axis=1))])
        starts = np.concatenate([[0], np.cumsum(results.prod(axis=1))]).astype(np.int32)
        facts = np.column_stack([inputs[:-1], sides, results[:, 1:]]).astype(np.int32)
        table, first = tile_tables(starts, np.diff(starts).astype(np.int32), size)
        table_, first_, offsets, facts_ = bring([table, first, starts, facts], self.device)
        return _Images(Tiles(table_, first_, size), offsets, facts_, int(starts[-1]))

    def _want_conv(
        self, op: str, x: Any, weight: Any, grids: Int32, *, only_3x3: bool = False, smallest: int = 1
    ) -> None:
        if not isinstance(weight, TritonConv):
            refuse(op, "weight", type(weight).__name__, "the result of pack_conv: a packed weight of this backend")
        if only_3x3 and weight.side != 3:
            refuse(op, "weight", f"{weight.side}x{weight.side}", "3x3")
        self._want(op, "x", x, width=weight.weight.shape[1], dtype="compute")
        want_grids(op, grids, len(x), smallest)
