"""Hold what the ops of the triton backend share: its device, its dtypes, its tables."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch

from ..ops import Dtype, DtypeName
from ..segments import Segments
from ..streaming import PLACE_BYTES, Residency
from .accelerator import accelerator_of
from .arrays import DeviceVector, empty
from .checks import refuse, want_array, want_segments, want_vector
from .devices import Device
from .launch import Launch
from .library import Choices
from .streaming import WeightStream
from .tables import SegmentTables, TermTable
from .unloading import Unloading

FLOAT32 = (torch.float32,)


class Base:
    """The device of an op table, and what it has made for `Segments` and terms.

    Attributes:
        device: where all arrays are.
        arch: ten times the device's compute capability; 0 for the interpreter.
        launch: what starts kernels.
        accelerator: what else the engine needs of the device; None: the kernels are interpreted on the host.
        streamed: the weights that the host keeps; None: all are on the device.
        resident: the weights on the device.
        choices: the ops that are left to a library.
    """

    def __init__(self, device: Device, launch: Launch) -> None:
        self._device = device
        self.device = device.torch
        self.arch = device.arch
        self.launch = launch
        self._dtype = torch.bfloat16 if device.dtype == "bfloat16" else torch.float32
        self._tables: WeakKeyDictionary[Segments, SegmentTables] = WeakKeyDictionary()
        self._sinusoids: dict[tuple[int, float], torch.Tensor] = {}
        self.accelerator = accelerator_of(self, device.torch)
        self.streamed: WeightStream | None = None
        self.resident = Unloading()
        self.choices = Choices.of(device.label)
        self._terms: WeakKeyDictionary[DeviceVector, tuple[int, TermTable]] = WeakKeyDictionary()

    @property
    def compute(self) -> Dtype:
        return self._device.dtype

    def stream(self, residency: Residency, place_bytes: int = PLACE_BYTES) -> None:
        """Leave weights that are packed from now on in the host's memory, unless `residency` keeps them."""
        self.streamed = WeightStream(self.device, residency, place_bytes)

    def tables(self, segments: Segments) -> SegmentTables:
        """Return what kernels read of these segments, made at the first call."""
        found = self._tables.get(segments)
        if found is None:
            found = self._tables[segments] = SegmentTables(segments, self.device)
        return found

    def _term_table(self, segments: DeviceVector, count: int) -> TermTable:
        """Return the terms by segment, of `count` segments: made once for each vector, which all layers share."""
        found = self._terms.get(segments)
        if found is None or found[0] != count:
            found = self._terms[segments] = (count, TermTable.of(segments, count, self.device))
        return found[1]

    def copy_derived(self, into: DeviceVector, value: DeviceVector) -> None:
        """Copy what ops have made of a vector into what they have made of another of its length, in its places."""
        found = self._terms.get(into)
        if found is not None:
            count, mine = found
            theirs = self._term_table(value, count)
            mine.first.copy_(theirs.first, non_blocking=True)
            mine.order.copy_(theirs.order, non_blocking=True)

    def _torch_dtype(self, dtype: DtypeName) -> torch.dtype:
        return torch.float32 if dtype == "float32" else self._dtype

    def _new(self, rows: int, width: int, dtype: DtypeName = "compute") -> torch.Tensor:
        return empty(rows, width, self._torch_dtype(dtype), self.device)

    def _want(
        self,
        op: str,
        argument: str,
        x: Any,
        rows: int | None = None,
        width: int | None = None,
        dtype: DtypeName | None = None,
    ) -> None:
        """Raise ValueError unless this is an array [rows, width] of the dtype. None allows any."""
        dtypes = tuple(dict.fromkeys((torch.float32, self._dtype))) if dtype is None else (self._torch_dtype(dtype),)
        want_array(op, argument, x, self.device, rows, width, dtypes)

    def _vector(self, op: str, argument: str, x: Any, dtype: type[Any], length: int | None = None) -> DeviceVector:
        return want_vector(op, argument, x, self.device, dtype, length)

    @staticmethod
    def _want_segments(op: str, argument: str, x: Any, rows: int, samples: int | None = None) -> None:
        if not isinstance(x, Segments):
            refuse(op, argument, type(x).__name__, "Segments")
        want_segments(op, argument, x, rows, samples)
