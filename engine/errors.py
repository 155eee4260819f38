"""Every error that a user of the engine can cause, as one tree.

    SalonError
    ├── CheckpointError             a model folder that cannot be loaded; carries path, key, expected, found
    │   ├── ModelNotFound           no such model folder
    │   ├── MissingFile             a file that the folder's own index names is not there
    │   ├── UnreadableFile          there, but the system refuses to read it
    │   ├── TruncatedFile           shorter than its header says
    │   ├── MalformedFile           broken JSON, or a header that is no safetensors header
    │   ├── UnsafeFile              pickled weights, which could run code while loading
    │   ├── AmbiguousWeights        several sets of weights in a folder, and nothing says which is the model's
    │   ├── UnknownArchitecture     a class, or a variant of one, that Salon does not implement
    │   ├── WrongConfig             a config key missing, of the wrong type or out of range
    │   ├── MissingKey              a weight that the architecture needs is in no file
    │   ├── UnexpectedKey           a weight that the architecture does not know
    │   ├── WrongShape              a weight of another shape than the config implies
    │   └── WrongDtype              a weight in a number format that Salon does not read
    ├── SpecError                   a request whose own values are impossible
    │   └── PromptError             the prompt cannot be read
    ├── LimitError                  a possible request, but over a limit of this engine: tokens, memory, batch
    ├── StateError                  a call that this generation's state does not allow, such as a step after close
    ├── NumericalError              NaN or infinity where numbers should be
    ├── UnknownBackend              a backend, instruction set or dtype that this machine does not have
    └── OutputError                 the picture cannot be written

A message is one line: what came, what is allowed, what to do. Bugs of Salon itself are `AssertionError`.
"""

from __future__ import annotations

import os
from os import PathLike, fspath

from ..errors import SalonError as SalonError


class CheckpointError(SalonError):
    """A model folder that cannot be loaded.

    Args:
        what: what is wrong, without path, key, expected and found: the message names those by itself.
        path: the file or folder.
        key: the weight's or config entry's name, if it is about one.
        expected, found: both sides of a mismatch, as text.
        remedy: what the user can do.
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
    """A path as text that can be shown and sent: bytes of it that are no UTF-8 are written as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class ModelNotFound(CheckpointError):
    """No such model folder."""


class MissingFile(CheckpointError):
    """A file that the folder's own index names is not there."""


class UnreadableFile(CheckpointError):
    """A file is there, but the system refuses to read it."""


class TruncatedFile(CheckpointError):
    """A file is shorter than its header says."""


class MalformedFile(CheckpointError):
    """Broken JSON, or a header that is no safetensors header."""


class UnsafeFile(CheckpointError):
    """Pickled weights, which could run code while loading."""


class AmbiguousWeights(CheckpointError):
    """Several sets of weights lie in a folder, and nothing says which is the model's."""


class UnknownArchitecture(CheckpointError):
    """A class, or a variant of one, that Salon does not implement."""


class WrongConfig(CheckpointError):
    """A config key missing, of the wrong type or out of range."""


class MissingKey(CheckpointError):
    """A weight that the architecture needs is in no file."""


class UnexpectedKey(CheckpointError):
    """A weight that the architecture does not know."""


class WrongShape(CheckpointError):
    """A weight of another shape than the config implies."""


class WrongDtype(CheckpointError):
    """A weight in a number format that Salon does not read."""


class SpecError(SalonError):
    """A request whose own values are impossible."""


class PromptError(SpecError):
    """The prompt cannot be read."""


class LimitError(SalonError):
    """A possible request, but over a limit of this engine."""


class StateError(SalonError):
    """A call that this generation's state does not allow."""


class NumericalError(SalonError):
    """NaN or infinity where numbers should be."""


class UnknownBackend(SalonError):
    """A backend, instruction set or dtype that this machine does not have."""


class OutputError(SalonError):
    """The picture cannot be written."""
