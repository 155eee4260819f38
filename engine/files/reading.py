"""Open a single file of named arrays, in any format that Salon reads."""

from __future__ import annotations

from pathlib import Path

from ..quantised.gguf import SUFFIX, GgufFile
from ..safetensors_file import SafetensorsFile
from ..tensor_file import TensorFile


def open_file(path: Path) -> TensorFile:
    """Open a safetensors or a GGUF file. Raises: as `SafetensorsFile` and `GgufFile`."""
    return GgufFile(path) if path.suffix.lower() == SUFFIX else SafetensorsFile(path)
