"""Find out which files of a component's folder are its weights.

diffusers and transformers write one file, or shards with an index, each also as a variant:

    NAME.safetensors        or  NAME.safetensors.index.json         and NAME-00001-of-00003.safetensors ...
    NAME.fp16.safetensors   or  NAME.safetensors.index.fp16.json    and NAME.fp16-00001-of-00003.safetensors ...

A later save with another shard size leaves the former's file or index beside its own, and the two libraries disagree on
which of them counts. This module does not guess: it refuses such a folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from .config import read_json
from .errors import AmbiguousWeights, MalformedFile, MissingFile, UnreadableFile, UnsafeFile, printable
from .safetensors_file import PICKLE_REMEDY, PICKLE_SUFFIXES

INDEX: Final = "model_index.json"  # of a whole model's folder
CONFIG: Final = "config.json"  # of a part's
# diffusers' name first, then transformers'.
NAMES: Final = ("diffusion_pytorch_model", "model")
_SHARD: Final = re.compile(r".*-\d{5}-of-\d{5}(\..*)?\.safetensors")
_SHOWN: Final = 5  # number of files that an error names


def folder_of(path: Path) -> Path | None:
    """Return the folder of the whole model that a file of a part lies in; None: it lies in none."""
    place = Path(os.path.abspath(path)).parent  # a link stays one: in a download cache it is what lies in the folder
    return place.parent if (place.parent / INDEX).is_file() and (place / CONFIG).is_file() else None


def or_whole(path: Path) -> str:
    """Return the other way out for who named a part's file and not its model; "": it lies in no model's folder."""
    folder = folder_of(path) if path.is_file() else None
    return "" if folder is None else f"; or name the folder of the whole model, {printable(str(folder))}"


@dataclass(frozen=True)
class WeightFiles:
    """The files that hold the weights of a component.

    Attributes:
        path: the one file, or the index of the shards.
        shards: weight -> name of its shard; empty for one file.
    """

    path: Path
    shards: dict[str, str]

    @property
    def files(self) -> list[Path]:
        """Every file of the weights, the index included."""
        return [self.path, *(self.path.parent / name for name in sorted(set(self.shards.values())))]


def find_weights(folder: Path) -> WeightFiles:
    """Find the weights of a component: the plain ones, or the only variant if there are no plain ones.

    Raises:
        MissingFile: there are no weights, or an index names a shard that does not exist.
        AmbiguousWeights: there are several sets, and no index says which is the model's.
        UnsafeFile: all weights are pickled.
        UnreadableFile: the folder or the index cannot be read.
        MalformedFile: the index is malformed.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise UnreadableFile(reason, path=folder, remedy="check that it is a folder, and its rights") from error
    plain = [name for name in names if _variant(name) == ""]
    chosen = plain or [name for name in names if _variant(name)]
    if not chosen:
        _refuse_none(folder, names)
    if len(chosen) > 1:
        found = " and ".join(chosen)
        remedy = "delete those that are not of this model (an older save leaves its file or index behind)"
        raise AmbiguousWeights(
            "several sets of weights", path=folder, expected="one of them", found=found, remedy=remedy
        )
    path = folder / chosen[0]
    return WeightFiles(path, {} if path.suffix == ".safetensors" else _read_index(path))


def _variant(name: str) -> str | None:
    """Return the variant of a weight file or index ("" for the plain one); None for any other file."""
    for base in NAMES:
        for pattern in (rf"{base}(?:\.(.+))?\.safetensors", rf"{base}\.safetensors\.index(?:\.(.+))?\.json"):
            match = re.fullmatch(pattern, name)
            if match and not _SHARD.fullmatch(name):
                return match[1] or ""
    return None


def _refuse_none(folder: Path, names: Sequence[str]) -> NoReturn:
    """Raise for a folder without weights; the message says what is there instead."""
    pickled = [name for suffix in PICKLE_SUFFIXES for name in names if name.endswith(suffix)]
    if pickled:
        expected = f"{NAMES[0]}.safetensors"
        raise UnsafeFile("the weights are pickled", path=folder / pickled[0], expected=expected, remedy=PICKLE_REMEDY)
    shards = [name for name in names if _SHARD.fullmatch(name)]
    shown = shards or names
    found = ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
    raise MissingFile(
        "shards without an index" if shards else "no weights",
        path=folder,
        expected=" or ".join(f"{name}.safetensors[.index.json]" for name in NAMES),
        found=found or "an empty folder",
        remedy="download the index too" if shards else "download the weights too, as safetensors",
    )


def _read_index(path: Path) -> dict[str, str]:
    """Return weight -> shard of an index. Raise MissingFile if one of the shards does not exist."""
    shards = read_json(path).get("weight_map")
    shards = shards if isinstance(shards, dict) else {}
    names = list(shards.values())
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        expected = "weight_map: weight -> name of a file beside this one"
        raise MalformedFile("wrong index", path=path, key="weight_map", expected=expected, found=str(shards)[:80])
    for name in sorted(set(names)):
        file = path.parent / name
        if file.suffix not in PICKLE_SUFFIXES and not file.is_file():  # pickled ones are refused for that
            expected = f"a shard, which {path.name} names"
            remedy = "download it again, or save the model again into an empty folder"
            raise MissingFile("no such file", path=file, expected=expected, remedy=remedy)
    return dict(zip(shards, names, strict=True))
