"""Open a model folder in diffusers' layout, without reading the weights. `engine/files` opens single files.

    model_index.json            {"transformer": ["diffusers", "FluxTransformer2DModel"], ...}
    transformer/config.json     and diffusion_pytorch_model.safetensors, or its shards with .safetensors.index.json
    text_encoder/config.json    and model.safetensors, likewise

Every fault of a folder is a `CheckpointError` that names path, key, expected and found.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from ..system import explain
from .config import Config, read_json
from .errors import (
    MalformedFile,
    MissingFile,
    MissingKey,
    ModelNotFound,
    UnexpectedKey,
    UnreadableFile,
    WrongConfig,
    WrongShape,
)
from .quantised.coded import Coded, CodedTable
from .safetensors_file import SafetensorsFile, TensorInfo
from .weight_files import WeightFiles, find_weights

EMBEDDED = Path(__file__).parents[1] / "models" / "mini"  # the model that comes with Salon
# Parts without weights that cannot be named apart: a file in place of a folder's denoiser draws by those of the folder.
STOOD_IN = frozenset({"scheduler", "processor"})


class Tensors(Protocol):
    """A file of named arrays: a `TensorFile`, or one whose arrays have other names."""

    path: Path
    tensors: dict[str, TensorInfo]
    coded: dict[str, Coded]
    notes: tuple[str, ...]

    def array(self, key: str, *, narrowed: bool = False) -> NDArray[Any]:
        """Return an array, see `TensorFile.array`."""


@dataclass(frozen=True)
class Format:
    """Arrays of one component that are quantised alike.

    Attributes:
        name: the format, in a few words.
        arrays: number of arrays.
        stored: their bytes in the files, with their scales.
        numbers: how many numbers they are.
    """

    name: str
    arrays: int
    stored: int
    numbers: int


class Weights:
    """The named arrays of a component, over one file or many, with a record of which were taken.

    A loader takes every array that its architecture has, then calls `finish`. Arrays that are left over are an error:
    if no loader reads them, the file is of another architecture than its config says.
    """

    def __init__(self, path: Path, homes: Mapping[str, Tensors]) -> None:
        self.path = path
        self._homes = homes
        self._taken: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._homes

    def keys(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._homes)

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the shape of an array. Raise MissingKey if it does not exist."""
        return self._home(key).tensors[key].shape

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return (dtype, shape) of every array by name."""
        return {key: (home.tensors[key].dtype, home.tensors[key].shape) for key, home in self._homes.items()}

    def take(self, key: str, *shape: int, narrowed: bool = False) -> NDArray[Any]:
        """Return an array of exactly this shape: of a float dtype, or uint16 holding bfloat16 bits.

        It is memory-mapped, or decoded to float32 if the file keeps it in fewer bits.

        Args:
            narrowed: whether decoded numbers come as bfloat16 bits, see `TensorFile.array`.

        Raises:
            MissingKey, WrongShape, WrongDtype.
        """
        return self._want(key, shape).array(key, narrowed=narrowed)

    def table(self, key: str, *shape: int) -> Any:
        """Return an array as `take` does, for rows that are looked up: one that is decoded decodes each row then.

        Raises: as `take`.
        """
        home = self._want(key, shape)
        coded = home.coded.get(key)
        return home.array(key) if coded is None or coded.shape != shape else CodedTable(coded)  # no part of an array

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be told of the files."""
        return tuple(dict.fromkeys(note for home in self._homes.values() for note in home.notes))

    @property
    def largest(self) -> int:
        """How many numbers the largest array has that is not used as the file has it; 0: all are."""
        copied = (
            math.prod(home.tensors[key].shape)
            for key, home in self._homes.items()
            if key in home.coded or home.tensors[key].dtype == "F16"
        )
        return max(copied, default=0)

    def formats(self) -> list[Format]:
        """Return what formats the quantised arrays have. An array that is read in pieces counts as one."""
        found = dict[str, dict[int, Coded]]()
        for key, home in self._homes.items():
            if key in home.coded:
                coded = home.coded[key]
                found.setdefault(coded.format, {})[id(coded)] = coded
        return [
            Format(
                name, len(arrays), sum(each.stored for each in arrays.values()),
                sum(math.prod(each.shape) for each in arrays.values()),
            )
            for name, arrays in sorted(found.items())
        ]  # fmt: skip

    def _want(self, key: str, shape: tuple[int, ...]) -> Tensors:
        """Return the file of an array, which counts as taken. Raise MissingKey or WrongShape."""
        home = self._home(key, shape)
        if home.tensors[key].shape != shape:
            found = str(list(home.tensors[key].shape))
            remedy = "the weights and their config.json are not of one model"
            raise WrongShape(
                "wrong shape", path=home.path, key=key, expected=str(list(shape)), found=found, remedy=remedy
            )
        self._taken.add(key)
        return home

    def ignore(self, *keys: str) -> None:
        """Count these arrays as taken, where they exist."""
        self._taken.update(keys)

    def finish(self) -> None:
        """Raise UnexpectedKey unless every array was taken."""
        left = [key for key in self.keys() if key not in self._taken]
        if left:
            more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
            raise UnexpectedKey(
                f"unexpected weight{more}",
                path=self._homes[left[0]].path,
                key=left[0],
                expected="only the weights of the architecture in config.json",
                found=f"{len(left)} others",
            )

    def _home(self, key: str, shape: tuple[int, ...] | None = None) -> Tensors:
        if key not in self._homes:
            expected = f"an array of shape {list(shape)}" if shape is not None else None
            found = f"{len(self._homes)} others"
            raise MissingKey("missing weight", path=self.path, key=key, expected=expected, found=found)
        return self._homes[key]


class Component:
    """One part of a checkpoint, here a folder: a config and, for models, weights.

    Attributes:
        path: the folder.
        name: the component's name in model_index.json.
        kind: (library, class) as model_index.json would say, of a part that was named apart; None: the index says it.
    """

    kind: tuple[str, str] | None = None

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = path.name if name is None else name

    @cached_property
    def config(self) -> Config:
        """The component's config.json, or a scheduler's scheduler_config.json.

        Reading it raises MissingFile, UnreadableFile or MalformedFile.
        """
        path = self.path / ("scheduler_config.json" if self.name == "scheduler" else "config.json")
        return Config(path, read_json(path))

    @property
    def files(self) -> list[Path]:
        """Every file that makes the component: weights and config, or without weights all of its folder."""
        try:
            return [*self._weight_files.files, self.path / "config.json"]
        except MissingFile:
            return [path for path in self.path.rglob("*") if path.is_file() and not path.name.startswith(".")]

    @property
    def parameters(self) -> int:
        """Number of weights, of which no byte is read for it; 0: the component has none."""
        try:
            shapes = self.weights().layout().values()
        except MissingFile:
            return 0
        return sum(math.prod(shape) for _, shape in shapes)

    def weights(self) -> Weights:
        """Open the weights, none of them taken yet.

        Raises:
            MissingFile, AmbiguousWeights, UnsafeFile, UnreadableFile, TruncatedFile, MalformedFile.
        """
        path, shards = self._weight_files.path, self._weight_files.shards
        homes: dict[str, Tensors] = {}
        if not shards:
            file = SafetensorsFile(path)
            homes.update(dict.fromkeys(file.tensors, file))
        else:
            files = {name: SafetensorsFile(self.path / name) for name in sorted(set(shards.values()))}
            for key, name in shards.items():
                if key not in files[name].tensors:
                    raise MissingKey("missing weight", path=self.path / name, key=key, expected=f"as {path.name} says")
                homes[key] = files[name]
            for name, file in files.items():
                for key in file.tensors:
                    if shards.get(key) != name:
                        found = shards.get(key, "nothing")
                        raise UnexpectedKey(
                            "weight not in the index", path=file.path, key=key, expected=name, found=found
                        )
        return Weights(path, homes)

    @cached_property
    def content_hash(self) -> str:
        """Hash of names and bytes of the files that make the component, in the order of names: blake2b, hex, 32 bytes.

        Reading all weights takes longer than starting, so the hash is computed when it is first used. A component
        without weights (a tokenizer) hashes every file of its folder.
        """
        return hash_files(self.path, self.files)

    @cached_property
    def _weight_files(self) -> WeightFiles:
        return find_weights(self.path)


def _want_index(index: Path) -> None:
    """Raise MissingFile for a folder without an index, which says what the folder is. Nothing is said of one that
    cannot be looked into: reading its index does."""
    folder, remedy = index.parent, "name a folder that save_pretrained wrote, or a safetensors or GGUF file"
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    if index.name in names:
        return
    files = [name for name in names if Path(name).suffix.lower() in (".safetensors", ".gguf")]
    part = not {"config.json", "tokenizer_config.json"}.isdisjoint(names)
    found = "a part of a model" if part else f"{', '.join(files[:4])} beside none" if files else "none"
    if part:
        remedy = f"name the model's folder, which may be {folder.parent}"
    elif files:
        several = f"name the one that draws, like {folder / files[0]}, and others with --vae and --text-encoder"
        remedy = several if files[1:] else f"name that file: {folder / files[0]}"
    raise MissingFile(
        "no such file", path=index, expected="the index of a whole model in diffusers' layout", found=found,
        remedy=remedy,
    )  # fmt: skip


class Checkpoint:
    """A model folder, or parts of several places together (`assembled`).

    Args:
        path: the folder that holds model_index.json.

    Attributes:
        path: the folder.
        index: the contents of model_index.json.
        components: name -> `Component`, for every component that the index names.
        base: the folder of the whole model in which a single file stands in place of the denoiser; None: there is none.

    Raises:
        ModelNotFound: the folder does not exist.
        MissingFile, UnreadableFile, MalformedFile, WrongConfig: its index is not right.
    """

    base: Path | None = None

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            found = "a file" if self.path.exists() else "nothing"
            remedy = "give the folder that holds model_index.json, or a safetensors or GGUF file"
            raise ModelNotFound("no such model folder", path=self.path, expected="a folder", found=found, remedy=remedy)
        file = self.path / "model_index.json"
        _want_index(file)
        self.index = read_json(file)
        self.components: dict[str, Component] = {}
        for name, entry in self.index.items():
            if name.startswith("_") or not isinstance(entry, list) or entry == [None, None]:
                continue  # a setting of the pipeline, or a component that this model does not have
            if entry and all(type(part) is int for part in entry):
                continue  # a setting that is a list of numbers
            if len(entry) != 2 or not all(isinstance(part, str) for part in entry) or Path(name).name != name:
                raise WrongConfig(
                    "wrong component", path=file, key=name, expected="[library, class]", found=str(entry)[:80]
                )
            self.components[name] = Component(self.path / name, name)

    @classmethod
    def assembled(cls, path: Path, pipeline: str, components: Mapping[str, Component]) -> Checkpoint:
        """Return a checkpoint without model_index.json.

        Args:
            path: the single file that it comes from, for errors.
            pipeline: the class that model_index.json would name.
            components: its parts, each with its `kind`.
        """
        checkpoint = object.__new__(cls)
        checkpoint.path = path
        checkpoint.index = {"_class_name": pipeline}
        checkpoint.components = {}
        for name, component in components.items():
            checkpoint.replace(name, component)
        return checkpoint

    def replace(self, name: str, component: Component) -> None:
        """Take a part from another place: one that was named apart, with its `kind`."""
        assert component.kind is not None, f"{name}: a part named apart without its class"
        self.components[name] = component
        self.index = {**self.index, name: list(component.kind)}

    def stand_in(self, base: Checkpoint) -> None:
        """Draw as a whole model does, in whose folder this file stands in place of the denoiser.

        What can be named apart (text encoders, the autoencoder) is not taken: a caller names these.
        """
        self.base = base.path
        self.index |= {
            name: value
            for name, value in base.index.items()
            if not (name in base.components or value == [None, None] or name == "_diffusers_version")
        }
        for name in STOOD_IN & base.components.keys():
            if base.components[name].path.is_dir():
                part = Component(base.components[name].path, name)
                part.kind = (str(base.index[name][0]), str(base.index[name][1]))
                self.replace(name, part)

    def component(self, name: str) -> Component:
        """Return a component that the model must have.

        Raises:
            WrongConfig: the index does not name it.
            MissingFile: its folder does not exist.
        """
        if name not in self.components:
            known = ", ".join(self.components) or "none"
            raise WrongConfig("missing component", path=self.path / "model_index.json", key=name, found=known)
        component = self.components[name]
        if component.kind is None and not component.path.is_dir():
            raise MissingFile("no such folder", path=component.path, expected="a component's folder")
        return component

    def content_hash(self, components: Mapping[str, Component]) -> str:
        """Hash the index and the content hashes of some components: blake2b, hex, 32 bytes.

        The caller names the components that it loaded, since an index may well name others whose folders do not exist.
        """
        digest = hashlib.blake2b(digest_size=32)
        file = self.path / "model_index.json"
        index = hash_files(self.path, [file]) if file.is_file() else json.dumps(self.index, sort_keys=True)
        digest.update(index.encode())
        for name, component in sorted(components.items()):
            digest.update(f"{name}={component.content_hash}\n".encode())
        return digest.hexdigest()


def file_named(source: Path, key: str, name: Any) -> Path:
    """Return the file that an entry of `source` names. Raise MalformedFile if it does not lie in the same folder."""
    if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts:
        expected = "the name of a file beside this one"
        raise MalformedFile("wrong name", path=source, key=key, expected=expected, found=str(name)[:80])
    return source.parent / name


def hash_files(root: Path, files: list[Path]) -> str:
    """Hash relative name, length and bytes of each file, in the order of names: blake2b, hex, 32 bytes.

    Raises:
        MissingFile: a file does not exist.
        UnreadableFile: the system refuses to read a file.
    """
    digest = hashlib.blake2b(digest_size=32)
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in files):
        try:
            with path.open("rb") as file:
                digest.update(os.fsencode(name) + f"\0{path.stat().st_size}\0".encode())
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except FileNotFoundError as error:
            raise MissingFile("no such file", path=path) from error
        except OSError as error:
            got, _, remedy = explain(error)
            raise UnreadableFile(f"cannot be read ({got})", path=path, remedy=remedy) from error
    return digest.hexdigest()
