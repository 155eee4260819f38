"""Decode the layouts in which ComfyUI's quantised files keep a weight and its scales, see `comfy.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Float32
from ..errors import MalformedFile, WrongDtype, WrongShape
from .coded import Coded, Decode, matrix, write
from .numbers import e2m1_pairs, e4m3, e5m2, e8m0, int8, narrowed

SECOND: Final = ".weight_scale_2"
ROTATION: Final = 256  # columns that int8 with "convrot" rotates together, where nothing else is said
FP8: Final[Mapping[str, tuple[str, Callable[[], Float32]]]] = {
    "F8_E4M3": ("fp8 (e4m3)", e4m3),
    "F8_E5M2": ("fp8 (e5m2)", e5m2),
}
PLAIN: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
# What the marks call a format -> dtypes of the weight that it may have.
FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "float8_e4m3fn": ("F8_E4M3",),
    "float8_e5m2": ("F8_E5M2",),
    "float8_e4m3fn_rowwise": ("F8_E4M3",),
    "float8_e4m3fn_blockwise": ("F8_E4M3",),
    "int8_tensorwise": ("I8",),
    "int8_blockwise": ("I8",),
    "nvfp4": ("U8",),
    "mxfp8": ("F8_E4M3",),
}
REMEDY: Final = "use the file in one of these, or in bfloat16"


class Place(Protocol):
    """A `TensorInfo`."""

    @property
    def dtype(self) -> str:
        """Name of the number format."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As it is in the file."""

    @property
    def start(self) -> int:
        """Its first byte in the file."""

    @property
    def stop(self) -> int:
        """The byte behind its last."""


def unread(path: Path, key: str, found: str) -> WrongDtype:
    """Return the error for a format that Salon does not read."""
    what, expected = "quantised in a format that Salon does not read", ", ".join(FORMATS)
    return WrongDtype(what, path=path, key=key, expected=expected, found=found, remedy=REMEDY)


@dataclass(frozen=True)
class Layouts:
    """The arrays of a file, as `comfy.find` takes them.

    Attributes:
        path: of the file, for errors.
        tensors: all of its arrays.
        raw: returns the bytes of an array.
    """

    path: Path
    tensors: Mapping[str, Place]
    raw: Callable[[str], NDArray[np.uint8]]

    def coded(self, key: str, layer: str | None, scale: str | None, mark: Mapping[str, Any]) -> Coded | None:
        """Return how an array is kept; None: it is not quantised.

        Args:
            key: its name.
            layer: the name without its last part; None: it is no weight.
            scale: name of its scales, if it has any.
            mark: what is said of its format.

        Raises:
            WrongDtype: the mark names a format that Salon does not read, or the array does not have its dtype.
            WrongShape, MalformedFile: array, scales and mark do not go together.
        """
        info, named = self.tensors[key], mark.get("format")
        if named is not None and named not in FORMATS:
            raise unread(self.path, key, str(named)[:80])
        if named is not None and info.dtype not in FORMATS[named]:
            expected = f"{FORMATS[named][0]}, which {named} has"
            raise WrongDtype("number format", path=self.path, key=key, expected=expected, found=info.dtype)
        scales = None if scale is None else self.tensors[scale]
        if info.dtype == "U8":
            second = None if layer is None else self.tensors.get(f"{layer}{SECOND}")
            if named == "nvfp4" or (second is not None and scales is not None and scales.dtype == "F8_E4M3"):
                return self._nvfp4(key, scale, f"{layer}{SECOND}")
            return None
        if named == "mxfp8" or (info.dtype == "F8_E4M3" and scales is not None and scales.dtype in ("U8", "F8_E8M0")):
            return self._mxfp8(key, scale)
        if info.dtype in FP8:
            form, table = FP8[info.dtype]
            return self._bytes(key, form if scale is None else f"{form}, scaled", table, scale)
        if info.dtype == "I8" and (scale is not None or named is not None):
            return self._int8(key, scale, mark)
        if scales is not None and info.dtype in (*PLAIN, "BF16") and scales.dtype in (*PLAIN, "BF16"):
            return self._scaled(key, scale)
        return None

    def _int8(self, key: str, scale: str | None, mark: Mapping[str, Any]) -> Coded:
        if scale is None:
            raise WrongShape("int8 without scales", path=self.path, key=key, expected=f"{key}_scale", found="none")
        extra = mark.get("params")
        said = {**(extra if isinstance(extra, dict) else {}), **mark}
        if not said.get("convrot"):
            return self._bytes(key, "int8", int8, scale)
        size = said.get("convrot_groupsize", ROTATION)
        columns = matrix(self.tensors[key].shape)[1]
        if type(size) is not int or size not in (4, 16, 64, 256, 1024) or columns % size:
            expected = f"a power of 4 that divides the {columns} columns"
            raise MalformedFile("convrot_groupsize", path=self.path, key=key, expected=expected, found=str(size)[:80])
        return self._bytes(key, "int8, rotated", int8, scale, size)

    def _bytes(self, key: str, form: str, table: Callable[[], Float32], scale: str | None, rotation: int = 0) -> Coded:
        """Return an array of one byte a number. `rotation`: columns that were rotated together; 0: none were."""
        info = self.tensors[key]
        rows, columns = matrix(info.shape)
        groups = None if scale is None else self._groups(key, scale, rows, columns)

        def begin(narrow: bool) -> Decode:
            codes, factors = self.raw(key).reshape(rows, columns), None if scale is None else self._scales(scale)
            if factors is None or (factors.size == 1 and not rotation):
                one = table() if factors is None else table() * factors.reshape(())
                return _looked_up(codes, narrowed(one) if narrow else one)
            assert groups is not None, "scales without groups"
            grid = factors.reshape(groups)

            def decode(start: int, stop: int, out: NDArray[Any]) -> None:
                values = np.take(table(), codes[start:stop], mode="clip")
                height = max(1, rows // max(1, groups[0]))
                mine = grid[np.arange(start, stop) // height] if groups[0] > 1 else grid
                values = (values.reshape(stop - start, groups[1], -1) * mine[:, :, None]).reshape(stop - start, columns)
                if rotation:
                    values = _rotated(values, rotation)
                write(values, out)

            return decode

        return Coded(form, info.shape, self._stored(key, scale), begin)

    def _scaled(self, key: str, scale: str | None) -> Coded:
        """Return an array of plain numbers that has a scale, as older files have of layers that they spare."""
        assert scale is not None, "an array without a scale is none of these"
        info = self.tensors[key]
        rows, columns = matrix(info.shape)
        groups = self._groups(key, scale, rows, columns)

        def begin(narrow: bool) -> Decode:
            values, factors = self._plain(key).reshape(rows, columns), self._scales(scale).reshape(groups)
            if groups[1] != 1 or groups[0] not in (1, rows):
                raise WrongShape("scales in blocks", path=self.path, key=scale, expected="one, or one a row")

            def decode(start: int, stop: int, out: NDArray[Any]) -> None:
                mine = factors[start:stop] if groups[0] > 1 else factors
                write(_widened(values[start:stop]) * mine, out)

            return decode

        return Coded("scaled", info.shape, self._stored(key, scale), begin)

    def _nvfp4(self, key: str, scale: str | None, second: str) -> Coded:
        """Return an array of e2m1 numbers in blocks of 16 columns."""
        info = self.tensors[key]
        if len(info.shape) != 2 or info.shape[1] % 8 or scale is None or second not in self.tensors:
            expected = "[N, K / 2] with a multiple of 16 as K, and scales"
            raise WrongShape("nvfp4", path=self.path, key=key, expected=expected, found=str(list(info.shape)))
        rows, columns = info.shape[0], 2 * info.shape[1]
        self._want_tiles(scale, ("F8_E4M3",), rows, columns // 16)

        def begin(narrow: bool) -> Decode:
            codes, pairs = self.raw(key).reshape(rows, columns // 2), e2m1_pairs()
            factors = e4m3()[_untiled(self.raw(scale), rows, columns // 16)] * self._scales(second).reshape(())
            self._want_finite(scale, factors)

            def decode(start: int, stop: int, out: NDArray[Any]) -> None:
                values = np.take(pairs, codes[start:stop], axis=0, mode="clip").reshape(stop - start, -1, 16)
                write((values * factors[start:stop, :, None]).reshape(stop - start, columns), out)

            return decode

        return Coded("nvfp4", (rows, columns), self._stored(key, scale, second), begin)

    def _mxfp8(self, key: str, scale: str | None) -> Coded:
        """Return an array of e4m3 numbers in blocks of 32 columns."""
        info = self.tensors[key]
        if len(info.shape) != 2 or info.shape[1] % 32 or scale is None:
            expected = "[N, K] with a multiple of 32 as K, and scales"
            raise WrongShape("mxfp8", path=self.path, key=key, expected=expected, found=str(list(info.shape)))
        rows, columns = info.shape
        self._want_tiles(scale, ("U8", "F8_E8M0"), rows, columns // 32)

        def begin(narrow: bool) -> Decode:
            codes = self.raw(key).reshape(rows, columns)
            factors = e8m0()[_untiled(self.raw(scale), rows, columns // 32)]
            self._want_finite(scale, factors)

            def decode(start: int, stop: int, out: NDArray[Any]) -> None:
                values = np.take(e4m3(), codes[start:stop], mode="clip").reshape(stop - start, -1, 32)
                write((values * factors[start:stop, :, None]).reshape(stop - start, columns), out)

            return decode

        return Coded("mxfp8", info.shape, self._stored(key, scale), begin)

    def _groups(self, key: str, scale: str, rows: int, columns: int) -> tuple[int, int]:
        """Return the shape of scales as a matrix: how many groups of rows, and of columns, have one each."""
        info = self.tensors[scale]
        shape = info.shape
        count = math.prod(shape)
        if info.dtype not in (*PLAIN, "BF16"):
            expected = ", ".join((*PLAIN, "BF16"))
            raise WrongDtype("scales", path=self.path, key=scale, expected=expected, found=info.dtype)
        if count == 1:
            return 1, 1
        if count == rows and shape[0] == rows:
            return rows, 1
        if len(shape) == 2 and count and rows % shape[0] == 0 and columns % shape[1] == 0:
            return shape
        raise WrongShape(
            "scales", path=self.path, key=scale, expected=f"one, one for each of {rows} rows, or one for each block",
            found=str(list(shape)), remedy=f"the weight is {key}",
        )  # fmt: skip

    def _want_tiles(self, scale: str, dtypes: tuple[str, ...], rows: int, blocks: int) -> None:
        info = self.tensors[scale]
        expected = [-(-rows // 128) * 128, -(-blocks // 4) * 4]
        if info.dtype not in dtypes or info.stop - info.start != expected[0] * expected[1]:
            found = f"{info.dtype} {list(info.shape)}"
            raise WrongShape("scales", path=self.path, key=scale, expected=f"{dtypes[0]} {expected}", found=found)

    def _plain(self, key: str) -> NDArray[Any]:
        info = self.tensors[key]
        dtype = np.dtype(PLAIN.get(info.dtype, "<u2"))
        data = self.raw(key)
        return (data.copy() if info.start % dtype.itemsize else data).view(dtype)

    def _scales(self, scale: str) -> Float32:
        """Return scales as float32, which must be finite."""
        values = _widened(self._plain(scale))
        self._want_finite(scale, values)
        return values

    def _want_finite(self, scale: str, values: Float32) -> None:
        if not np.isfinite(values).all():
            raise MalformedFile("scales", path=self.path, key=scale, expected="finite numbers", found="NaN or infinity")

    def _stored(self, *keys: str | None) -> int:
        return sum(self.tensors[key].stop - self.tensors[key].start for key in keys if key is not None)


def _widened(values: NDArray[Any]) -> Float32:
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values.astype(np.float32)


def _looked_up(codes: NDArray[np.uint8], table: NDArray[Any]) -> Decode:
    """Return a decoder by one table [256]: two bytes at a time, which is faster."""
    if codes.shape[1] % 2 or codes.ctypes.data % 2:

        def single(start: int, stop: int, out: NDArray[Any]) -> None:
            np.take(table, codes[start:stop], out=out, mode="clip")

        return single
    wide = np.uint32 if table.dtype == np.uint16 else np.uint64
    pairs = np.stack([np.tile(table, 256), np.repeat(table, 256)], axis=1).reshape(-1).view(wide)

    def double(start: int, stop: int, out: NDArray[Any]) -> None:
        np.take(pairs, codes[start:stop].view(np.uint16), out=out.view(wide), mode="clip")

    return double


def _untiled(data: NDArray[np.uint8], rows: int, blocks: int) -> NDArray[np.uint8]:
    """Return scales [rows, blocks] of cuBLAS's tiles: 128 x 4, of which 32 x 4 x 4 lie one after another."""
    down, across = -(-rows // 128), -(-blocks // 4)
    tiles = data.reshape(down, across, 32, 4, 4).transpose(0, 3, 2, 1, 4)
    return np.ascontiguousarray(tiles.reshape(down * 128, across * 4)[:rows, :blocks])


def _rotated(values: Float32, size: int) -> Float32:
    """Undo the rotation of int8 with "convrot", which is its own inverse, for each `size` columns (a power of 4).

    The matrix is the Kronecker product of 4 x 4 ones. Sums in a fixed order give the same bits on every machine.
    """
    shape, stride = values.shape, 1
    while stride < size:
        a, b, c, d = np.moveaxis(values.reshape(shape[0], -1, 4, stride), 2, 0)
        parts = [(a + b) + (c - d), (a + b) - (c - d), (a - b) + (c + d), (b - a) + (c + d)]
        values, stride = np.stack(parts, axis=2).reshape(shape), 4 * stride
    return values / np.float32(np.sqrt(size))
