"""Read the parts of a model that are named apart: a folder or file of text encoders, tokenizers, an autoencoder.

Each part says by itself what it is: a folder by its config, a file by its arrays. A family says which class it reads
where, so the order in which parts are named does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..checkpoint import Checkpoint, Component
from ..config import Config, read_json
from ..errors import MalformedFile, ModelNotFound, UnknownArchitecture
from ..signatures import describe_file
from . import autoencoder, text, wan_autoencoder
from .reading import open_file, open_whole

TOKENIZER_FILES: Final = ("tokenizer.json", "vocab.json", "spiece.model")
TOKENIZERS: Final = {"BPE": "CLIPTokenizer", "Unigram": "T5Tokenizer"}  # model of tokenizer.json -> class
KNOWN_TOKENIZERS: Final = ("CLIP", "T5", "Qwen2", "Llama", "Pixtral")  # starts of classes that the files may name
OTHER_TOKENIZER: Final = "PreTrainedTokenizerFast"
WHAT: Final = "a model folder, a component's folder, or a safetensors or GGUF file"


class FolderComponent(Component):
    """A component's folder whose own config says its class."""

    def __init__(self, path: Path, kind: tuple[str, str]) -> None:
        super().__init__(path, kind[1])
        self.kind = kind


def text_parts(path: Path) -> Iterator[Component]:
    """Yield the text encoders and tokenizers in a folder or file.

    Raises:
        ModelNotFound: there is nothing at the path.
        UnknownArchitecture: what is there is neither, by its name.
        CheckpointError: it cannot be read.
    """
    found = list(_text_parts(path))
    if not found:
        raise UnknownArchitecture(
            "no text encoder", path=path, expected="a text encoder or a tokenizer", found=_what(path),
            remedy="name the file or folder of the text encoder, and the folder of its tokenizer",
        )  # fmt: skip
    yield from found


def vae_parts(path: Path, values: Mapping[str, Any]) -> Iterator[Component]:
    """Yield the autoencoder in a folder or file.

    Args:
        values: what the arrays of a single file do not say: scaling_factor and shift_factor of the family.

    Raises: as `text_parts`.
    """
    _want(path)
    if path.is_file():
        beside = path.parent / "config.json"
        if beside.is_file() and read_json(beside).get("_class_name") in [kind for _, kind in autoencoder.KINDS]:
            values = {**values, **_chosen(read_json(beside), ("scaling_factor", "shift_factor", "norm_num_groups"))}
        file = open_whole(path)
        prefix, causal = autoencoder.prefix_of(file), wan_autoencoder.prefix_of(file)
        found: Component | None = None if prefix is None else autoencoder.autoencoder(file, prefix, values)
        if found is None and causal is not None:
            found = wan_autoencoder.autoencoder(file, causal, {})
    else:
        found = _of_index(path, "vae") or _folder(path)
    kinds = (*autoencoder.KINDS, wan_autoencoder.KIND)
    if found is None or found.kind not in kinds:
        known = " or ".join(kind for _, kind in kinds)
        raise UnknownArchitecture(
            "no autoencoder", path=path, expected=f"diffusers' {known}, or one in the original layout",
            found=_what(path), remedy="name the file or folder of the autoencoder",
        )  # fmt: skip
    yield found


def _text_parts(path: Path) -> Iterator[Component]:
    _want(path)
    if path.is_file():
        yield from text.encoders(open_whole(path))
        return
    if (path / "model_index.json").is_file():
        checkpoint = Checkpoint(path)
        for name, component in checkpoint.components.items():
            if name.startswith(("text_encoder", "tokenizer")) and component.path.is_dir():
                library, kind = checkpoint.index[name]
                tokenizer = _tokenizer(component.path) if name.startswith("tokenizer") else None
                yield FolderComponent(component.path, (library, tokenizer or kind))
        return
    if (own := _folder(path)) is not None:
        yield own
    if (tokenizer := _tokenizer(path)) is not None:
        yield FolderComponent(path, ("transformers", tokenizer))
    if own is None:  # a folder that has these as folders, without an index
        for inner in sorted(each for each in path.iterdir() if each.is_dir()):
            if inner.name.startswith(("text_encoder", "tokenizer")):
                yield from _text_parts(inner)


def _of_index(path: Path, name: str) -> Component | None:
    """Return a component of a model folder, with its class; None: it is no such folder, or has none."""
    if not (path / "model_index.json").is_file():
        return None
    checkpoint = Checkpoint(path)
    if name not in checkpoint.components:
        return None
    library, kind = checkpoint.index[name]
    return FolderComponent(checkpoint.components[name].path, (library, kind))


def _folder(path: Path) -> FolderComponent | None:
    """Return a model's folder by its config; None: it has none, or the config names no class."""
    if not (path / "config.json").is_file():
        return None
    config = Config(path / "config.json", read_json(path / "config.json"))
    library = "diffusers" if "_class_name" in config.values else "transformers"
    return FolderComponent(path, (library, config.architecture)) if config.architecture else None


def _tokenizer(path: Path) -> str | None:
    """Return the class of the tokenizer in a folder; None: there is none."""
    present = [name for name in TOKENIZER_FILES if (path / name).is_file()]
    if not present:
        return None
    settings = path / "tokenizer_config.json"
    named = read_json(settings).get("tokenizer_class") if settings.is_file() else None
    if isinstance(named, str) and named.startswith(KNOWN_TOKENIZERS):
        return named
    if present[0] == "tokenizer.json":
        model = read_json(path / "tokenizer.json").get("model")
        kind = model.get("type") if isinstance(model, dict) else None
        if kind not in TOKENIZERS:
            expected, found = " or ".join(TOKENIZERS), json.dumps(kind)[:80]
            raise MalformedFile(
                "unknown tokenizer", path=path / "tokenizer.json", key="model.type", expected=expected, found=found
            )
        assert isinstance(model, dict)
        if kind == "BPE" and not model.get("end_of_word_suffix"):
            return OTHER_TOKENIZER  # of a language model: CLIP's marks the ends of words
        return TOKENIZERS[kind]
    return TOKENIZERS["BPE" if present[0] == "vocab.json" else "Unigram"]


def _chosen(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values[key] for key in keys if values.get(key) is not None}


def _want(path: Path) -> None:
    if not path.exists():
        raise ModelNotFound(
            "no such file or folder", path=path, expected=WHAT, found="nothing", remedy="check its name"
        )


def _what(path: Path) -> str:
    if path.is_file():
        return describe_file(open_file(path).tensors)
    return "a folder of something else" if any(path.iterdir()) else "an empty folder"
