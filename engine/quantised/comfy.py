"""Find the quantised arrays of a safetensors file, as ComfyUI and those who quantise for it write them.

    X.weight         F8_E4M3 or F8_E5M2, I8, or U8 with two e2m1 numbers in a byte
    X.weight_scale   (older: X.scale_weight) what to multiply by: one number, one for each row, or one for each block.
                     Those of nvfp4 (16 columns, F8_E4M3) and mxfp8 (32 columns, e8m0) lie in cuBLAS's tiled order
    X.weight_scale_2 of nvfp4: one more number, for all of it
    X.input_scale    (older: X.scale_input) how to quantise the layer's input, which Salon never does; exactly 1.0 means
                     "not calibrated"
    X.comfy_quant    U8, JSON: {"format": "float8_e4m3fn", ...}; or the same by layer in the file's own metadata, under
                     "_quantization_metadata". Without either the dtypes tell
    scaled_fp8       marks an older file as a whole

Formats: ComfyUI's `comfy/quant_ops.py` and comfy-kitchen's `tensor/*.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import MalformedFile
from .coded import Coded
from .layouts import FP8, PLAIN, SECOND, Layouts, Place, unread

WEIGHT: Final = ".weight"
SCALES: Final = (".weight_scale", ".scale_weight")
INPUTS: Final = (".input_scale", ".scale_input")
MARK: Final = ".comfy_quant"
WHOLE: Final = "scaled_fp8"
METADATA: Final = "_quantization_metadata"
# How names of arrays end that other formats have beside a weight.
OTHERS: Final = {
    ".quant_state.bitsandbytes__nf4": "bitsandbytes, NF4",
    ".quant_state.bitsandbytes__fp4": "bitsandbytes, FP4",
    ".wscales": "nunchaku, SVDQuant",
    ".weight_codebook": "asym_w4a8_int8",
}


@dataclass(frozen=True)
class Found:
    """The quantised arrays of a file.

    Attributes:
        coded: name -> array.
        hidden: names of arrays that only help to read others.
        notes: sentences about them.
    """

    coded: dict[str, Coded]
    hidden: frozenset[str]
    notes: tuple[str, ...]


def find(
    path: Path, tensors: Mapping[str, Place], metadata: Mapping[str, Any], raw: Callable[[str], NDArray[np.uint8]]
) -> Found:
    """Find the quantised arrays of a file. Of its data only marks and input scales are read.

    Args:
        path: of the file, for errors.
        tensors: all of its arrays.
        metadata: `__metadata__` of its header.
        raw: returns the bytes of an array.

    Raises:
        WrongDtype: a mark names a format that Salon does not read, or the weight does not have its dtype.
        WrongShape: scales do not go with the weight.
        MalformedFile: a mark is no JSON object.
    """
    for key in tensors:
        if other := next((name for end, name in OTHERS.items() if key.endswith(end)), None):
            raise unread(path, key, other)
    marks = _marks(path, tensors, metadata, raw)
    file = Layouts(path, tensors, raw)
    coded, hidden, uncalibrated = dict[str, Coded](), set[str](), 0
    for key, info in tensors.items():
        layer = key.removesuffix(WEIGHT) if key.endswith(WEIGHT) else None
        scale = None if layer is None else next((f"{layer}{end}" for end in SCALES if f"{layer}{end}" in tensors), None)
        mark = {} if layer is None else marks.get(layer, {})
        if info.dtype in FP8 or scale is not None or mark:
            found = file.coded(key, layer, scale, mark)
            if found is not None:
                coded[key] = found
        if layer is not None:
            ends = (*INPUTS, *((*SCALES, SECOND, MARK) if key in coded else ()))
            helpers = [f"{layer}{end}" for end in ends if f"{layer}{end}" in tensors]
            hidden.update(helpers)
            inputs = (name for name in helpers if name.endswith(INPUTS))
            uncalibrated += sum(_number(tensors[name], raw(name)) == 1.0 for name in inputs)
        elif key.rpartition(".")[2] == WHOLE:
            hidden.add(key)
    notes = (f"{uncalibrated} input scales are exactly 1.0, which is not calibrated; Salon uses none",)
    arrays = {key: each for key, each in coded.items() if key not in hidden}
    return Found(arrays, frozenset(hidden), notes if uncalibrated else ())


def _marks(
    path: Path, tensors: Mapping[str, Place], metadata: Mapping[str, Any], raw: Callable[[str], NDArray[np.uint8]]
) -> dict[str, Mapping[str, Any]]:
    """Return layer -> what is said of its format."""
    marks = dict[str, Mapping[str, Any]]()
    if METADATA in metadata:
        layers = _json(path, METADATA, str(metadata[METADATA])).get("layers", {})
        if not isinstance(layers, dict) or not all(isinstance(mark, dict) for mark in layers.values()):
            raise MalformedFile(
                "wrong metadata", path=path, key=METADATA, expected="layers: name -> object", found=str(layers)[:80]
            )
        marks.update(layers)
    for key, info in tensors.items():
        if key.endswith(MARK) and info.dtype == "U8" and info.stop - info.start < 65_536:
            marks[key.removesuffix(MARK)] = _json(path, key, raw(key).tobytes().decode("utf-8", "replace"))
    return marks


def _json(path: Path, key: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise MalformedFile("a mark of quantisation", path=path, key=key, expected="a JSON object", found=text[:80])
    return value


def _number(info: Place, data: NDArray[np.uint8]) -> float | None:
    """Return the value of an array of one number; None: it is of another kind."""
    if info.dtype in PLAIN and data.nbytes == np.dtype(PLAIN[info.dtype]).itemsize:
        return float(np.frombuffer(data.tobytes(), PLAIN[info.dtype])[0])
    return None
