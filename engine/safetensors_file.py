"""Read one safetensors file, memory-mapped: named arrays, of which only those that are used are read from disk.

Arrays that are quantised as ComfyUI does it (`engine/quantised/comfy.py`) are read as the numbers that they stand for.

Format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, then the bytes. This
module replaces the safetensors library, whose numpy side has no bfloat16 and whose errors name no file.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from ..system import explain
from .errors import MalformedFile, MissingFile, TruncatedFile, UnreadableFile, UnsafeFile, WrongDtype
from .lfs import POINTER, refuse_pointer
from .quantised import comfy
from .tensor_file import TensorFile
from .tensor_file import TensorInfo as TensorInfo

MAX_HEADER_BYTES: Final = 100_000_000  # the limit of the format's own library
MAX_NUMBER: Final = 1 << 48  # no size or place is larger; numpy refuses larger sizes even of empty arrays
PICKLE_SUFFIXES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
PICKLE_REMEDY: Final = "they could run code while loading: save them again as safetensors (diffusers' save_pretrained)"
_AGAIN: Final = "copy or download the file again"

# Number formats that a weight may have. numpy has no bfloat16, so its bits are read as uint16.
_FLOATS: Final[dict[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_OTHER_BYTES: Final = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2}
_ITEM_BYTES: Final = {
    **{name: dtype.itemsize for name, dtype in _FLOATS.items()},
    **_OTHER_BYTES,
    **dict.fromkeys(("U32", "I32"), 4),
    **dict.fromkeys(("U64", "I64", "C64"), 8),
}


class SafetensorsFile(TensorFile):
    """The arrays of one safetensors file.

    Attributes:
        metadata: what else the header says, text by name.

    Raises:
        UnsafeFile, MissingFile, UnreadableFile, TruncatedFile, MalformedFile: as their names say.
        WrongDtype, WrongShape: the file is quantised in a way that Salon does not read.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix in PICKLE_SUFFIXES:
            raise UnsafeFile("the weights are pickled", path=path, remedy=PICKLE_REMEDY)
        self.path = path
        try:
            with path.open("rb") as file:
                refuse_pointer(path, file.read(len(POINTER)))
                size = file.seek(0, 2)
                file.seek(0)
                header, data_start = self._read_header(file, size)
                self._infos = self._read_infos(header, data_start, size)
                said = header.get("__metadata__")
                self.metadata = {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}
                self._bytes = np.memmap(file, np.uint8, mode="r").view(np.ndarray)
        except FileNotFoundError as error:
            raise MissingFile("no such file", path=path, remedy=_AGAIN) from error
        except OSError as error:
            got, _, remedy = explain(error)
            raise UnreadableFile(f"cannot be read ({got})", path=path, remedy=remedy) from error

        metadata = header.get("__metadata__")
        found = comfy.find(path, self._infos, metadata if isinstance(metadata, dict) else {}, self._raw)
        self.coded, self.notes = found.coded, found.notes
        self.tensors = {key: info for key, info in self._infos.items() if key not in found.hidden}
        self.tensors |= {key: replace(self._infos[key], shape=coded.shape) for key, coded in self.coded.items()}

    @property
    def num_bytes(self) -> int:
        """Length of the file, as it was opened."""
        return len(self._bytes)

    def _raw(self, key: str) -> NDArray[np.uint8]:
        """Return the bytes of an array, one after another, as the file has them."""
        info = self._infos[key]
        return self._bytes[info.start : info.stop]

    def _plain(self, key: str) -> NDArray[Any]:
        """See `TensorFile`."""
        info = self.tensors[key]
        dtype = _FLOATS.get(info.dtype)
        if dtype is None:
            remedy = "save the weights in one of these formats"
            raise WrongDtype(
                "number format", path=self.path, key=key, expected=", ".join(_FLOATS), found=info.dtype, remedy=remedy
            )
        raw = self._raw(key)
        if info.start % dtype.itemsize:  # kernels need aligned rows; not every writer keeps that rule of the format
            raw = raw.copy()
        return raw.view(dtype).reshape(info.shape)

    def _read_header(self, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
        length = int.from_bytes(file.read(8), "little")
        if size < 8:
            raise self._truncated(8, size)
        if length > MAX_HEADER_BYTES:
            raise self._malformed("header length", f"at most {MAX_HEADER_BYTES:,} bytes", f"{length:,}")
        if 8 + length > size:
            raise self._truncated(8 + length, size)
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise self._malformed("header", "JSON", str(error)) from error
        if not isinstance(header, dict):
            raise self._malformed("header", "a JSON object", type(header).__name__)
        return header, 8 + length

    def _read_infos(self, header: dict[str, Any], data_start: int, size: int) -> dict[str, TensorInfo]:
        entries = {key: entry for key, entry in header.items() if key != "__metadata__"}
        infos = {key: self._read_info(key, entry, data_start) for key, entry in entries.items()}
        end = data_start
        for key, info in sorted(infos.items(), key=lambda item: (item[1].start, item[1].stop)):
            if info.start != end:  # the format allows neither holes nor overlaps
                raise self._malformed(
                    "data_offsets", f"a start of {end - data_start}", f"{info.start - data_start}", key
                )
            end = info.stop
        if size < end:
            raise self._truncated(end, size)
        if size > end:
            raise self._malformed("length", f"{end:,} bytes", f"{size:,}")
        return infos

    def _read_info(self, key: str, entry: Any, data_start: int) -> TensorInfo:
        try:
            dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            sane = isinstance(dtype, str) and all(type(n) is int and 0 <= n < MAX_NUMBER for n in (*shape, start, stop))
        except (TypeError, KeyError, ValueError):
            sane = False
        if not sane:
            raise self._malformed("header entry", "dtype, shape, data_offsets", str(entry)[:80], key)
        if dtype not in _ITEM_BYTES:
            raise WrongDtype(
                "number format", path=self.path, key=key, expected=", ".join(_ITEM_BYTES), found=str(dtype)[:80]
            )
        size = math.prod(shape) * _ITEM_BYTES[dtype]
        if stop - start != size:
            raise self._malformed("data_offsets", f"{size} bytes for {dtype} {list(shape)}", f"{stop - start}", key)
        return TensorInfo(dtype, shape, data_start + start, data_start + stop)

    def _truncated(self, expected: int, found: int) -> TruncatedFile:
        return TruncatedFile(
            "truncated", path=self.path, expected=f"at least {expected:,} bytes", found=f"{found:,}", remedy=_AGAIN
        )

    def _malformed(self, what: str, expected: str, found: str, key: str | None = None) -> MalformedFile:
        return MalformedFile(
            f"malformed {what}", path=self.path, key=key, expected=expected, found=found, remedy=_AGAIN
        )
