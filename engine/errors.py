"""Define every error that a user of the engine can cause, as one tree.

    SalonError
    ├── CheckpointError             a model folder that cannot be loaded; carries path, key, expected, found
    │   ├── ModelNotFound           no such model folder
    │   ├── MissingFile             a file that the folder's own index names does not exist
    │   ├── UnreadableFile          a file exists, but the system refuses to read it
    │   ├── TruncatedFile           a file is shorter than its header says
    │   ├── MalformedFile           broken JSON, or a header that is no safetensors header
    │   ├── UnsafeFile              pickled weights, which could run code while loading
    │   ├── AmbiguousWeights        several sets of weights in a folder, and nothing says which is the model's
    │   ├── UnknownArchitecture     a class, or a variant of one, that Salon does not implement
    │   ├── WrongConfig             a config key is missing, of the wrong type or out of range
    │   ├── MissingKey              a weight that the architecture needs is in no file
    │   ├── UnexpectedKey           a weight that the architecture does not know
    │   ├── WrongShape              a weight of another shape than the config implies
    │   ├── WrongDtype              a weight in a number format that Salon does not read
    │   └── NotEnoughMemory         weights of more bytes than the memory that is free
    ├── SpecError                   a request whose own values are impossible
    │   └── PromptError             the prompt cannot be read
    ├── LimitError                  a possible request, but over a limit of this engine: tokens, memory, batch
    ├── StateError                  a call that this generation's state does not allow, such as a step after close
    ├── NumericalError              NaN or infinity where numbers should be
    ├── UnknownBackend              a backend, device, instruction set or dtype that this machine does not have
    ├── DeviceLost                  the device stopped working; the engine is of no use any more
    └── OutputError                 a picture, a graph or a zip cannot be written (`errors.py`)

    MemoryError
    └── DeviceFull                  the device has no memory left, amid work of which nothing can be trusted

A message is one line: what came, what is allowed, what to do. Bugs of Salon itself are `AssertionError`.
"""

from __future__ import annotations

import os
from os import PathLike, fspath

from ..errors import OutputError as OutputError
from ..errors import SalonError as SalonError


class CheckpointError(SalonError):
    """A model folder that cannot be loaded.

    Args:
        what: the fault, without path, key, expected and found, which the message names by itself.
        path: the file or folder.
        key: the name of the weight or config entry, if the fault lies in one.
        expected, found: both sides of a mismatch, as text.
        remedy: the way out, as an instruction to the user.
    """

    def __init__(
        self,
        what: str,
        *,
        path: str | PathLike[str],
        key: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.path, self.key = what, fspath(path), key
        self.expected, self.found, self.remedy = expected, found, remedy
        parts = [f"{printable(self.path)}: {what}"]
        if key is not None:
            parts.append(f"key {key!r}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if found is not None:
            parts.append(f"found {found}")
        super().__init__(", ".join(parts) + (f"; {remedy}" if remedy else ""))


def printable(path: str) -> str:
    """Return a path as text that can be shown and sent. Bytes of it that are not UTF-8 are written as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class ModelNotFound(CheckpointError):
    """The model folder does not exist."""


class MissingFile(CheckpointError):
    """A file that the folder's own index names does not exist."""


class UnreadableFile(CheckpointError):
    """A file exists, but the system refuses to read it."""


class TruncatedFile(CheckpointError):
    """A file is shorter than its header says."""


class MalformedFile(CheckpointError):
    """A file holds broken JSON, or its header is no safetensors header."""


class UnsafeFile(CheckpointError):
    """The weights are pickled, and loading them could run code."""


class AmbiguousWeights(CheckpointError):
    """Several sets of weights lie in a folder, and no index says which is the model's."""


class UnknownArchitecture(CheckpointError):
    """Salon does not implement a class, or a variant of one."""


class WrongConfig(CheckpointError):
    """A config key is missing, of the wrong type or out of range."""


class MissingKey(CheckpointError):
    """A weight that the architecture needs is in no file."""


class UnexpectedKey(CheckpointError):
    """The architecture does not have a weight of this name."""


class WrongShape(CheckpointError):
    """A weight has another shape than the config implies."""


class WrongDtype(CheckpointError):
    """Salon does not read the number format of a weight."""


class NotEnoughMemory(CheckpointError):
    """The weights have more bytes than the memory that is free."""


class SpecError(SalonError):
    """The values of a request are impossible."""


class PromptError(SpecError):
    """The prompt cannot be read."""


class LimitError(SalonError):
    """A request is possible, but over a limit of this engine."""


class StateError(SalonError):
    """The state of a generation does not allow a call."""


class NumericalError(SalonError):
    """NaN or infinity stands where numbers should be."""


class UnknownBackend(SalonError):
    """This machine does not have a backend, device, instruction set or dtype."""


class DeviceLost(SalonError):
    """The device of an engine stopped working, and nothing more can be done with it in this process."""


class DeviceFull(MemoryError):
    """A device has no memory left. Generations that took part in the work cannot be trusted; the engine goes on."""
