"""What a model is, in two digests: of all that it draws with, and of what decides how fast it draws."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from .checkpoint import Checkpoint, Component, file_named, hash_files
from .config import Config
from .errors import MissingFile
from .models import bert, flux, vae
from .safetensors_file import SafetensorsFile

ADAPTER: Final = "adapter.safetensors"  # the style adapter of a model that ships one, always under this name
STATS: Final = "text_stats.safetensors"  # unless `salon.json` names another file
_VALUES: Final = ("scaling_factor", "shift_factor", "layer_norm_eps")  # numbers of a config that no shape depends on


def shipped_files(salon: Config) -> list[Path]:
    """The files beside the components: `salon.json`, every file that it names, and the style adapter.

    A file is named by an entry `"file"` anywhere in `salon.json` and by `text.stats`.

    Raises:
        MissingFile: a named file does not exist. MalformedFile: a name that leads out of the folder.
    """
    if not salon.path.is_file():
        named: dict[str, Any] = {}
    else:
        named = dict(_named(salon.values))
        if "text" in salon.values:
            text = salon.values["text"]
            named["text.stats"] = text.get("stats", STATS) if isinstance(text, dict) else STATS
    files = [salon.path] if salon.path.is_file() else []
    for key, name in named.items():
        file = file_named(salon.path, key, name)
        if not file.is_file():
            raise MissingFile("no such file", path=file, expected=f"the file that {key} of {salon.path.name} names")
        files.append(file)
    adapter = salon.path.parent / ADAPTER
    return list(dict.fromkeys([*files, adapter] if adapter.is_file() else files))


def content_digest(checkpoint: Checkpoint, components: Mapping[str, Component], files: Sequence[Path]) -> str:
    """Hash every byte that a model is made of: blake2b, hex, 32 bytes. Quality is measured for one of these."""
    digest = hashlib.blake2b(checkpoint.content_hash(components).encode(), digest_size=32)
    digest.update(hash_files(checkpoint.path, list(files)).encode())
    return digest.hexdigest()


def architecture_digest(components: Mapping[str, Component], salon: Config, files: Sequence[Path]) -> str:
    """Hash what decides which work a model is, and none of its values: blake2b, hex, 32 bytes.

    In it are the sizes in the configs, the tokens of each text slot, and name, dtype and shape of every tensor of every
    file. Models of one such digest take the same time for the same request, however they were trained, so that speed
    is measured for one of these.
    """
    configs: dict[str, Any] = {
        "transformer": flux.FluxConfig.read(components["transformer"].config),
        "vae": vae.AutoencoderConfig.read(components["vae"].config),
    }
    if "text_encoder" in components:
        configs["text_encoder"] = bert.BertConfig.read(components["text_encoder"].config)
    tensors: dict[str, Any] = {name: components[name].weights().layout() for name in configs}
    for file in files:
        if file.suffix == ".safetensors":
            infos = SafetensorsFile(file).tensors
            tensors[file.name] = {key: (info.dtype, info.shape) for key, info in infos.items()}
    sizes = {
        name: {key: value for key, value in asdict(config).items() if key not in _VALUES}
        for name, config in configs.items()
    }
    slots = [slot["tokens"] for slot in salon.mapping("text").get("slots", ())]
    text = json.dumps({"configs": sizes, "slots": slots, "tensors": tensors}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _named(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, name) of every entry `"file"` below a value of JSON."""
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
