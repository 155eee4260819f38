"""Identify a model by two digests: of all that it draws with, and of what decides how fast it draws."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .checkpoint import Checkpoint, Component, file_named, hash_files
from .config import Config
from .errors import MissingFile
from .safetensors_file import SafetensorsFile
from .text.pipelines import reader_of

ADAPTER: Final = "adapter.safetensors"  # the style adapter of a model that ships one, always under this name


def shipped_files(salon: Config) -> list[Path]:
    """Return the files beside the components: `salon.json`, every file that it names, and the style adapter.

    An entry `"file"` anywhere in `salon.json` names a file. The text pipeline may read further ones.

    Raises:
        MissingFile: a named file does not exist.
        MalformedFile: a name leads out of the folder.
    """
    if not salon.path.is_file():
        named: dict[str, Any] = {}
    else:
        reader = reader_of(salon)
        named = dict(_named(salon.values)) | ({} if reader is None else dict(reader.files(salon)))
    files = [salon.path] if salon.path.is_file() else []
    for key, name in named.items():
        file = file_named(salon.path, key, name)
        if not file.is_file():
            raise MissingFile("no such file", path=file, expected=f"the file that {key} of {salon.path.name} names")
        files.append(file)
    adapter = salon.path.parent / ADAPTER
    return list(dict.fromkeys([*files, adapter] if adapter.is_file() else files))


def content_digest(
    checkpoint: Checkpoint, components: Mapping[str, Component], files: Sequence[Path], said: Sequence[str] = ()
) -> str:
    """Hash every byte that a model is made of: blake2b, hex, 32 bytes. Measured quality belongs to one such digest.

    Args:
        said: what else decides its pictures.
    """
    digest = hashlib.blake2b(checkpoint.content_hash(components).encode(), digest_size=32)
    digest.update(hash_files(checkpoint.path, list(files)).encode())
    for each in said:
        digest.update(each.encode())
    return digest.hexdigest()


def architecture_digest(
    components: Mapping[str, Component],
    sizes: Mapping[str, Mapping[str, Any]],
    text_parts: Sequence[int],
    files: Sequence[Path],
) -> str:
    """Hash what decides how much work a model is, and none of its values: blake2b, hex, 32 bytes.

    Models of one such digest take the same time for the same request, however they were trained, so measured speed
    belongs to one such digest. It also covers name, dtype and shape of every tensor of every file.

    Args:
        sizes: for each component with weights, the numbers of its config that decide its work.
        text_parts: text rows of each part of a prompt.
        files: the model's files beside its components.
    """
    tensors: dict[str, Any] = {name: components[name].weights().layout() for name in sizes}
    for file in files:
        if file.suffix == ".safetensors":
            infos = SafetensorsFile(file).tensors
            tensors[file.name] = {key: (info.dtype, info.shape) for key, info in infos.items()}
    configs = {name: dict(values) for name, values in sizes.items()}
    text = json.dumps({"configs": configs, "slots": [*text_parts], "tensors": tensors}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _named(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, name) of every entry `"file"` below a value of JSON."""
    if isinstance(value, dict):
        for key, part in value.items():
            inner = f"{at}.{key}" if at else key
            if key == "file":
                yield inner, part
            else:
                yield from _named(part, inner)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _named(part, f"{at}.{index}")
