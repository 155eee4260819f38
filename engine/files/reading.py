"""Open a single file of named arrays, in any format that Salon reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ..errors import MissingFile
from ..quantised.gguf import SUFFIX, GgufFile
from ..safetensors_file import SafetensorsFile
from ..tensor_file import TensorFile
from ..weight_files import or_whole

_SHARD: Final = re.compile(r"-0*([1-9]\d*)-of-0*([1-9]\d*)\.[a-z]+")


def open_file(path: Path) -> TensorFile:
    """Open a safetensors or a GGUF file. Raises: as `SafetensorsFile` and `GgufFile`."""
    return GgufFile(path) if path.suffix.lower() == SUFFIX else SafetensorsFile(path)


def open_whole(path: Path) -> TensorFile:
    """Open a file that has all weights of a model or of a part.

    Raises:
        MissingFile: by its name it is one of several that have them together.
        CheckpointError: as `open_file`.
    """
    shard = _SHARD.search(path.name.lower())
    if shard is not None and int(shard[2]) > 1:
        raise MissingFile(
            "weights in several files", path=path, expected="a file that has all of them",
            found=f"number {shard[1]} of {shard[2]}",
            remedy=f"name a file that has all{or_whole(path) or '; or name the folder that has all of these'}",
        )  # fmt: skip
    return open_file(path)
