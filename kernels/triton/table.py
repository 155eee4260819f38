"""Provide the op table of the triton backend."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..ops import Activation, DtypeName, Float32
from ..reference.dense import GATES
from ..segments import Segments, bound_segments
from .arrays import DeviceVector, bring_vectors, from_host
from .attention import AttentionOps
from .checks import refuse, want_choice, want_dtype_name, want_indices
from .dense import DenseOps
from .devices import Device
from .float8 import Float8
from .image import ImageOps
from .jit import rows as kernels
from .launch import DeviceLaunch, Launch
from .linear import LinearOps
from .solver import SolverOps
from .tiles import COLUMNS, TILE, power

TABLE: Final = 16 * 2**20  # bytes of an array that is a table of a model's, which stays on the device


class TritonOps(LinearOps, DenseOps, AttentionOps, SolverOps, ImageOps):
    """The op table over torch tensors, on kernels that Triton compiles. `Ops` documents every method.

    Arrays are 2-D tensors of the device, whose rows start at multiples of 16 bytes; views are torch's. Nothing that a
    step calls waits for the device, or allocates anything but its result, from torch's caching allocator.

    Args:
        device: an opened device.
        launch: what starts kernels; None: Triton, on torch's current stream.
        float8: keeps weights of linear layers in float8; None: they are of the compute dtype.
    """

    def __init__(self, device: Device, launch: Launch | None = None, float8: Float8 | None = None) -> None:
        super().__init__(device, launch or DeviceLaunch(device.torch), float8)

    def __repr__(self) -> str:
        return f"TritonOps(device={str(self.device)!r}, dtype={self.compute!r})"

    @property
    def name(self) -> str:
        return f"{'triton' if self._float8 is None else 'triton_fp8'}/{self._device.label}{self.choices}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user: that kernels are interpreted, what float8 does to layers, which weights are streamed."""
        notes = []
        if self._device.interpreted:
            notes.append("Triton's interpreter runs the kernels: right, and thousands of times slower than a GPU")
        if self._float8 is not None:
            notes.append(str(self._float8))
        if self.streamed is not None:
            notes.append(str(self.streamed))
        return tuple(notes)

    # ---- edges

    def array(self, values: NDArray[Any], dtype: DtypeName = "compute") -> torch.Tensor:
        want_dtype_name("array", dtype)
        if not isinstance(values, np.ndarray) or values.ndim not in (1, 2):
            got = f"{values.ndim} dimensions" if isinstance(values, np.ndarray) else type(values).__name__
            refuse("array", "values", got, "[T, D], or [D] taken as [1, D]")
        rows = values[None] if values.ndim == 1 else values
        made = from_host(rows, self._torch_dtype(dtype), self.device, "array: values")
        if made.nbytes >= TABLE:
            self.resident.add(made)
            if self.streamed is not None:
                self.streamed.residency.stays(made.nbytes)
        return made

    def numpy(self, x: torch.Tensor) -> Float32:
        self._want("numpy", "x", x)
        host: Float32 = x.to("cpu", torch.float32).numpy()
        return np.array(host, order="C")

    def vectors(self, *values: NDArray[Any]) -> list[DeviceVector]:
        return bring_vectors(values, self.device)

    def segments(
        self, lengths: Sequence[int], owners: Sequence[int] | None = None, num_samples: int | None = None
    ) -> Segments:
        made = bound_segments(tuple(lengths), None if owners is None else tuple(owners), num_samples)
        self.tables(made)
        return made

    def empty(self, rows: int, width: int, dtype: DtypeName = "compute") -> torch.Tensor:
        self._want_shape("empty", rows, width, dtype)
        return self._new(rows, width, dtype)

    def zeros(self, rows: int, width: int, dtype: DtypeName = "compute") -> torch.Tensor:
        self._want_shape("zeros", rows, width, dtype)
        return self._new(rows, width, dtype).zero_()

    def cast(self, x: torch.Tensor, dtype: DtypeName = "compute", *, activation: Activation = "none") -> torch.Tensor:
        op = "cast"
        self._want(op, "x", x)
        want_dtype_name(op, dtype)
        want_choice(op, "activation", activation, GATES)
        count, width = x.shape
        result = self._new(count, width, dtype)
        block = min(power(width, 16), COLUMNS)
        self.launch(
            kernels.cast,
            (-(-count // TILE), -(-width // block)),
            x,
            result,
            count,
            width,
            x.stride(0),
            result.stride(0),
            ACTIVATION=activation,
            BM=TILE,
            BN=block,
        )
        return result

    def rows(self, x: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        self._want("rows", "x", x)
        if not 0 <= start <= stop <= len(x):
            refuse("rows", "start, stop", f"{start}, {stop}", f"0 <= start <= stop <= {len(x)}")
        return x[start:stop]

    def columns(self, x: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        self._want("columns", "x", x)
        if not 0 <= start <= stop <= x.shape[1]:
            refuse("columns", "start, stop", f"{start}, {stop}", f"0 <= start <= stop <= {x.shape[1]}")
        return x[:, start:stop]

    def concat(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        if not parts:
            refuse("concat", "parts", "none", "at least one")
        self._want("concat", "parts", parts[0])
        dtype: DtypeName = "float32" if parts[0].dtype == torch.float32 else "compute"
        for part in parts:
            self._want("concat", "parts", part, width=parts[0].shape[1], dtype=dtype)
        result = self._new(sum(len(part) for part in parts), parts[0].shape[1], dtype)
        torch.cat(list(parts), out=result)
        return result

    def split(self, x: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
        self._want("split", "x", x)
        if sum(sizes) != len(x) or min(sizes, default=0) < 0:
            refuse("split", "sizes", list(sizes), f"sizes that sum to {len(x)}")
        ends = np.cumsum([0, *sizes]).tolist()
        return [x[start:stop] for start, stop in pairwise(ends)]

    def add(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        segments: Segments | None = None,
        only: Any = None,
        gate: torch.Tensor | None = None,
    ) -> None:
        op = "add"
        self._want(op, "x", x, dtype="float32")
        self._want(op, "y", y, *x.shape)
        if segments is not None:
            self._want_segments(op, "segments", segments, len(x))
        owners = None
        if gate is not None:
            self._want(op, "gate", gate, width=x.shape[1], dtype="float32")
            if segments is None:
                refuse(op, "segments", None, "the segments that choose gate's rows")
            self._want_segments(op, "segments", segments, len(x), len(gate))
            owners = self.tables(segments).row_owner
        chosen, table, offsets, places = None, None, None, -(-len(x) // TILE)
        if only is not None:
            if segments is None:
                refuse(op, "segments", None, "the segments that `only` chooses from")
            chosen = want_indices(op, "only", only, self.device, len(segments))
            if len(np.unique(chosen.host)) != len(chosen):
                refuse(op, "only", chosen.host.tolist(), "each segment once")
            tables = self.tables(segments)
            tiles = tables.tiles(TILE)
            table, offsets, places = tiles.table, tables.offsets, len(tiles)
        width = x.shape[1]
        block = min(power(width, 16), COLUMNS)
        self.launch(
            kernels.add,
            (places, -(-width // block)),
            x,
            y,
            table,
            offsets,
            None if chosen is None else chosen.data,
            gate,
            owners,
            len(x),
            0 if chosen is None else len(chosen),
            width,
            x.stride(0),
            y.stride(0),
            0 if gate is None else gate.stride(0),
            ONLY=chosen is not None,
            GATED=gate is not None,
            BM=TILE,
            BN=block,
        )

    def finite(self, x: torch.Tensor, segments: Segments) -> torch.Tensor:
        self._want("finite", "x", x)
        self._want_segments("finite", "segments", segments, len(x))
        result = self._new(len(segments), 1, "float32")
        self.launch(
            kernels.finite,
            (len(segments),),
            x,
            self.tables(segments).offsets,
            result,
            x.shape[1],
            x.stride(0),
            result.stride(0),
            BM=64,
            BN=min(power(x.shape[1], 16), 64),
        )
        return result

    @staticmethod
    def _want_shape(op: str, rows: int, width: int, dtype: str) -> None:
        want_dtype_name(op, dtype)
        if rows < 0 or width < 0:
            refuse(op, "rows, width", f"{rows}, {width}", "no negative number")
