"""Read one GGUF file, memory-mapped, as people have transformers (city96's layout) and text encoders (llama.cpp's).

Format: "GGUF", version, numbers of arrays and of settings; the settings; name, dimensions (the innermost first), type
and offset of every array; then the bytes. The header is read here, because the `gguf` package's reader runs on and on
through a hostile one. The package decodes the blocks of quantised numbers.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.bfloat16 import widen
from ...system import explain
from ..errors import MalformedFile, MissingFile, TruncatedFile, UnreadableFile, WrongDtype
from ..lfs import POINTER, refuse_pointer
from ..tensor_file import TensorFile, TensorInfo
from .coded import Coded, Decode, matrix, write
from .gguf_names import ARCHITECTURES, halved

SUFFIX: Final = ".gguf"
MAX_HEADER_BYTES: Final = 100_000_000
MAX_AXES: Final = 4
_AGAIN: Final = "copy or download the file again"
_PLAIN: Final = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}
# Types of settings' values -> struct's letters; 8 is text, 9 a list.
_VALUES: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_ORIGINAL: Final = "comfy.gguf.orig_shape."  # shapes of arrays that were reshaped to be quantised


class GgufFile(TensorFile):
    """The arrays of one GGUF file. Those of text encoders have transformers' names.

    Attributes:
        settings: the header's values that are numbers, texts, or lists of a few numbers.

    Raises:
        MissingFile, UnreadableFile, TruncatedFile, MalformedFile: as their names say.
        WrongDtype: an array has a type that GGUF does not define.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._bytes = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
        except FileNotFoundError as error:
            raise MissingFile("no such file", path=path, remedy=_AGAIN) from error
        except (OSError, ValueError) as error:  # ValueError: numpy does not map empty files
            got, _, remedy = explain(error) if isinstance(error, OSError) else ("an empty file", "", _AGAIN)
            raise UnreadableFile(f"cannot be read ({got})", path=path, remedy=remedy) from error
        refuse_pointer(path, self._bytes[: len(POINTER)].tobytes())
        header = _Header(path, self._bytes)
        self.settings = header.settings
        self.tensors, self.coded = {}, {}
        kind = self.settings.get("general.architecture")
        names = ARCHITECTURES.get(kind) if isinstance(kind, str) else None
        for name, info in header.infos.items():
            key = name if names is None else names(name)
            self.tensors[key] = info
            coded = Coded(f"GGUF {info.dtype}", info.shape, info.stop - info.start, self._decoder(key))
            if names is not None and names.pairs and key.endswith((".q_proj.weight", ".k_proj.weight")):
                self.coded[key] = halved(coded, self._heads(f"{kind}.attention.head_count", key))
            elif info.dtype not in _PLAIN:
                self.coded[key] = coded

    def _heads(self, setting: str, key: str) -> int:
        """Return how many heads an array of q or k has."""
        heads = self.settings.get(setting)
        if key.endswith(".k_proj.weight"):
            heads = self.settings.get(f"{setting}_kv", heads)
        shape = self.tensors[key].shape
        if type(heads) is not int or heads < 1 or len(shape) != 2 or shape[0] % (2 * heads):
            expected, found = f"heads for the array {list(shape)} {key}", str(heads)[:80]
            raise MalformedFile("malformed setting", path=self.path, key=setting, expected=expected, found=found)
        return heads

    def _plain(self, key: str) -> NDArray[Any]:
        """See `TensorFile`."""
        info = self.tensors[key]
        dtype, raw = np.dtype(_PLAIN[info.dtype]), self._bytes[info.start : info.stop]
        return (raw.copy() if info.start % dtype.itemsize else raw).view(dtype).reshape(info.shape)

    def _decoder(self, key: str) -> Any:
        """Return what `Coded.begin` wants."""

        def plain(_: bool) -> Decode:
            info = self.tensors[key]
            values = self._plain(key).reshape(matrix(info.shape))
            return lambda start, stop, out: write(widen(values[start:stop], key), out)

        def begin(_: bool) -> Decode:
            from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
            from gguf.quants import dequantize

            info = self.tensors[key]
            kind = GGMLQuantizationType[info.dtype]
            numbers, size = GGML_QUANT_SIZES[kind]
            blocks, columns = self._bytes[info.start : info.stop].reshape(-1, size), matrix(info.shape)[1]

            def decode(start: int, stop: int, out: NDArray[Any]) -> None:
                first, last = start * columns // numbers, -(-stop * columns // numbers)
                try:
                    with np.errstate(all="ignore"):
                        # as one row: the package goes through rows in groups of 16
                        values = dequantize(blocks[first:last].reshape(1, -1), kind).reshape(-1)
                except NotImplementedError as error:
                    raise WrongDtype(
                        "quantised in a format that Salon does not read", path=self.path, key=key,
                        expected="a type that the gguf package decodes, such as Q8_0 or Q4_K", found=info.dtype,
                        remedy="use the file in one of these",
                    ) from error  # fmt: skip
                skipped = start * columns - first * numbers
                write(values[skipped : skipped + (stop - start) * columns].reshape(stop - start, columns), out)

            return decode

        return plain if self.tensors[key].dtype in _PLAIN else begin


class _Header:
    """Reads settings and places of arrays, and never beyond the header's own end."""

    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        self._path, self._data, self._at = path, data, 0
        self.settings: dict[str, Any] = {}
        if data[:4].tobytes() != b"GGUF":
            raise self._wrong("beginning", "GGUF", repr(data[:4].tobytes()))
        self._at = 4
        (version,) = self._take("I")
        if version not in (2, 3):
            raise self._wrong("version", "2 or 3, of the byte order of this machine", str(version))
        arrays, settings = self._take("QQ")
        for _ in range(settings):
            key = self._text()
            (kind,) = self._take("I")
            self.settings[key] = self._value(key, kind)
        places = [self._place() for _ in range(arrays)]
        alignment = self.settings.get("general.alignment", 32)
        if type(alignment) is not int or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
            raise self._wrong("general.alignment", "a power of 2", str(alignment)[:80])
        start = -(-self._at // alignment) * alignment
        self.infos: dict[str, TensorInfo] = {}
        for name, shape, kind, offset in places:
            if name in self.infos:
                raise self._wrong("header", "one array of each name", "two", name)
            self.infos[name] = self._info(name, shape, kind, start + offset)

    def _take(self, letters: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + letters)
        return struct.unpack_from("<" + letters, self._data.data, self._skip(size))

    def _skip(self, size: int) -> int:
        """Go over bytes of the header. Return where they began."""
        at = self._at
        if at + size > len(self._data):
            raise self._truncated(at + size)
        if at + size > MAX_HEADER_BYTES:
            raise self._wrong("header length", f"at most {MAX_HEADER_BYTES:,} bytes", f"{at + size:,}")
        self._at += size
        return at

    def _text(self) -> str:
        (length,) = self._take("Q")
        at = self._skip(length)
        return self._data[at : at + length].tobytes().decode("utf-8", "backslashreplace")

    def _value(self, key: str, kind: int) -> Any:
        """Return a setting: a number, a text, a tuple of at most `MAX_AXES` numbers, or None for a longer list."""
        if kind in _VALUES:
            return self._take(_VALUES[kind])[0]
        if kind == _TEXT:
            return self._text()
        if kind != _LIST:
            raise self._wrong("type of a setting", "0 to 12", str(kind), key)
        inner, length = self._take("IQ")
        if inner == _TEXT:
            for _ in range(length):
                self._skip(self._take("Q")[0])
            return None
        if inner not in _VALUES:
            raise self._wrong("type of a list", "that of numbers or texts", str(inner), key)
        if length <= MAX_AXES:
            return self._take(f"{length}{_VALUES[inner]}")
        self._skip(length * struct.calcsize(_VALUES[inner]))
        return None

    def _place(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._text()
        (axes,) = self._take("I")
        if axes > MAX_AXES:
            raise self._wrong("number of axes", f"at most {MAX_AXES}", str(axes), name)
        shape = self._take(f"{axes}Q")[::-1]
        return name, shape, *self._take("IQ")

    def _info(self, name: str, shape: tuple[int, ...], kind: int, start: int) -> TensorInfo:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        try:
            known = GGMLQuantizationType(kind)
        except ValueError:
            expected, remedy = "one that the gguf package knows", "update the gguf package, or use another file"
            raise WrongDtype(
                "type of an array", path=self._path, key=name, expected=expected, found=str(kind), remedy=remedy
            ) from None
        numbers, size = GGML_QUANT_SIZES[known]
        count, inner = math.prod(shape), shape[-1] if shape else 1
        if any(n >= 1 << 48 for n in shape) or inner % numbers:
            raise self._wrong("shape", f"rows of a multiple of {numbers}, for {known.name}", str(list(shape)), name)
        if (stop := start + count // numbers * size) > len(self._data):
            raise self._truncated(stop, name)
        return TensorInfo(known.name, self._original(name, shape), start, stop)

    def _original(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that an array had before it was reshaped to be quantised."""
        said = self.settings.get(_ORIGINAL + name)
        if not isinstance(said, tuple):
            return shape
        if not all(type(n) is int and 0 <= n < 1 << 48 for n in said) or math.prod(said) != math.prod(shape):
            raise self._wrong(_ORIGINAL + name, f"a shape of {math.prod(shape)} numbers", str(list(said)), name)
        return said

    def _truncated(self, expected: int, key: str | None = None) -> TruncatedFile:
        found = f"{len(self._data):,}"
        return TruncatedFile(
            "truncated", path=self._path, key=key, expected=f"at least {expected:,} bytes", found=found, remedy=_AGAIN
        )

    def _wrong(self, what: str, expected: str, found: str, key: str | None = None) -> MalformedFile:
        return MalformedFile(
            f"malformed {what}", path=self._path, key=key, expected=expected, found=found[:80], remedy=_AGAIN
        )
