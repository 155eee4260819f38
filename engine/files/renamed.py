"""Read a file whose arrays have other names than the architecture's: by a table of names, and of rows to cut or join.

The originals of many models keep in one array what diffusers keeps in several. Nothing is copied for that: a range of
rows of a memory-mapped array is a view of the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..checkpoint import Component, Weights, hash_files
from ..config import Config
from ..errors import MissingKey, WrongShape
from ..tensor_file import TensorFile, TensorInfo

Ranges = tuple[tuple[int, int], ...]
DENOISER: Final = ("", "model.diffusion_model.")  # what stands before a denoiser's names: nothing, if it is alone
AUTOENCODER: Final = ("", "vae.", "first_stage_model.")


@dataclass(frozen=True, slots=True)
class Piece:
    """The place of an array.

    Attributes:
        key: the file's own name of the array that it lies in.
        rows: ranges of rows (start, stop) of that array, joined in this order; (): all of it.
        square: whether the array is a convolution of 1 x 1, read as a matrix [O, I].
        turned: whether the array is a matrix whose rows are the columns here.
    """

    key: str
    rows: Ranges = ()
    square: bool = False
    turned: bool = False


class RenamedFile:
    """A `TensorFile` under other names.

    Attributes:
        path: the path of the file.
        tensors: name -> dtype and shape; the place of a piece of several ranges is that of the whole array.
        coded: name -> the quantised array that a piece is of.
        notes: those of the file.
    """

    def __init__(self, file: TensorFile, pieces: Mapping[str, Piece]) -> None:
        self.path = file.path
        self.notes = file.notes
        self._file = file
        self._pieces = pieces
        self.tensors = {name: self._info(piece) for name, piece in pieces.items()}
        self.coded = {name: file.coded[piece.key] for name, piece in pieces.items() if piece.key in file.coded}

    def array(self, name: str, *, narrowed: bool = False) -> NDArray[Any]:
        """Return an array: a view of the file, or of several ranges a copy. Args, Raises: as `TensorFile.array`."""
        piece = self._pieces[name]
        parts = [self._file.array(piece.key, rows, narrowed=narrowed) for rows in piece.rows or (None,)]
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return (joined.T if piece.turned else joined).reshape(self.tensors[name].shape)

    def _info(self, piece: Piece) -> TensorInfo:
        info = self._file.tensors[piece.key]
        shape = info.shape
        if piece.rows:
            shape = (sum(stop - start for start, stop in piece.rows), *shape[1:])
        if piece.square and len(shape) == 4 and shape[2:] == (1, 1):
            shape = shape[:2]
        if piece.turned:
            shape = shape[::-1]
        return TensorInfo(info.dtype, shape, info.start, info.stop)


class FileComponent(Component):
    """A component whose weights lie in one file, and whose config follows from their shapes or stands beside it.

    Args:
        name: the component's name in model_index.json.
        kind: (library, class) of that component, as model_index.json would say.
        file: the file.
        pieces: name -> `Piece`, for every array of the component.
        config: what config.json would say.
    """

    def __init__(
        self, name: str, kind: tuple[str, str], file: TensorFile, pieces: Mapping[str, Piece],
        config: Mapping[str, Any],
    ) -> None:  # fmt: skip
        super().__init__(file.path, name)
        self.kind = kind
        self._file = file
        self._pieces = dict(pieces)
        self._values = dict(config)

    @cached_property
    def config(self) -> Config:
        """See `Component`. Faults are told as the file's own."""
        return Config(self.path, self._values)

    def weights(self) -> Weights:
        """See `Component`."""
        renamed = RenamedFile(self._file, self._pieces)
        return Weights(self.path, dict.fromkeys(renamed.tensors, renamed))

    @property
    def files(self) -> list[Path]:
        """See `Component`."""
        return [self.path]

    @cached_property
    def content_hash(self) -> str:
        """See `Component`. Components of one file have one hash."""
        return hash_files(self.path.parent, [self.path])


class SettingsComponent(Component):
    """A component without weights or folder, such as the scheduler of a single file.

    Args:
        path: the file that it belongs to, which errors name.
        config: what its config file would say.
    """

    def __init__(self, name: str, kind: tuple[str, str], path: Path, config: Mapping[str, Any]) -> None:
        super().__init__(path, name)
        self.kind = kind
        self._values = dict(config)

    @cached_property
    def config(self) -> Config:
        """See `Component`."""
        return Config(self.path, self._values)

    @property
    def files(self) -> list[Path]:
        """See `Component`."""
        return []

    @property
    def parameters(self) -> int:
        """See `Component`."""
        return 0

    @cached_property
    def content_hash(self) -> str:
        """See `Component`: of the settings, which no file holds."""
        return settings_hash(self._values)


def settings_hash(values: Mapping[str, Any]) -> str:
    """Return the hash of settings: blake2b, hex, 32 bytes."""
    text = json.dumps(dict(values), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def shape_of(file: TensorFile, key: str, axes: int) -> tuple[int, ...]:
    """Return the shape of an array from which a config follows.

    Raises:
        MissingKey, WrongShape: there is none of this name, it has another number of axes, or it is empty.
    """
    info = file.tensors.get(key)
    if info is None:
        found = f"{len(file.tensors)} others"
        raise MissingKey("missing weight", path=file.path, key=key, expected=f"an array of {axes} axes", found=found)
    if len(info.shape) != axes or not all(info.shape):
        expected, found = f"{axes} axes, none of them empty", str(list(info.shape))
        raise WrongShape("wrong shape", path=file.path, key=key, expected=expected, found=found)
    return info.shape


def prefix_with(
    file: TensorFile, prefixes: Sequence[str], *marks: Collection[str], without: Collection[str] = ()
) -> str | None:
    """Return the first prefix behind which a file has what tells a component; None: there is none.

    Args:
        marks: groups of names of arrays. The file has all names of one group.
        without: names that the file does not have: files of other components have these besides the marks.
    """

    def has(prefix: str, names: Collection[str]) -> list[bool]:
        return [f"{prefix}{name}" in file.tensors for name in names]

    fits = (each for each in prefixes if any(all(has(each, group)) for group in marks) and not any(has(each, without)))
    return next(fits, None)


def count_of(file: TensorFile, prefix: str) -> int:
    """Return how many numbered layers `prefix`0., `prefix`1., ... a file has, up to the highest number."""
    numbers = [key[len(prefix) :].partition(".")[0] for key in file.tensors if key.startswith(prefix)]
    return 1 + max((int(text) for text in numbers if text.isascii() and text.isdigit() and len(text) < 7), default=-1)


def thirds(rows: int) -> tuple[Ranges, Ranges, Ranges]:
    """Return the ranges of q, k and v in an array of their rows together."""
    one = rows // 3
    return ((0, one),), ((one, 2 * one),), ((2 * one, rows),)
