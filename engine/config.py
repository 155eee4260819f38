"""Read a component's config.json key by key, with the type and range that the architecture needs.

A key that no reader reads could change the picture, so `Config.finish` refuses it by name. It lets two kinds of keys
pass: those that the reader lists as harmless, with the reason, and those that ask for nothing (null, false or an empty
value). A newer version of a library writes an option in that way for older models, which do without it; so no newer
Salon is needed for them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from ..system import explain
from .errors import MalformedFile, MissingFile, UnknownArchitecture, UnreadableFile, WrongConfig
from .lfs import refuse_pointer

_REQUIRED: Final = object()

# Keys that diffusers and transformers write into every config about the config itself: key -> why it changes nothing.
BOOKKEEPING: Final[Mapping[str, str]] = {
    "_diffusers_version": "what wrote the file",
    "_name_or_path": "where the model was loaded from before it was saved here",
    "_use_default_values": "which of the values were left at their defaults",
    "transformers_version": "what wrote the file",
    "dtype": "the weight files say themselves how each number is stored",
    "torch_dtype": "the same, by its former name",
}
QUANTIZED: Final = "quantization_config"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        MissingFile, UnreadableFile, MalformedFile: as their names say.
    """
    again = "copy or download the file again"
    try:
        data = path.read_bytes()
        refuse_pointer(path, data)
        value = json.loads(data)
    except FileNotFoundError as error:
        raise MissingFile("no such file", path=path, remedy=again) from error
    except OSError as error:
        got, _, remedy = explain(error)
        raise UnreadableFile(f"cannot be read ({got})", path=path, remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        raise MalformedFile(f"broken JSON ({error})", path=path, remedy=again) from error
    if not isinstance(value, dict):
        raise MalformedFile("broken JSON", path=path, expected="an object", found=type(value).__name__, remedy=again)
    return value


class Config:
    """A config file. A key that is absent has the default of its reader; without a default it must be there.

    Attributes:
        path: the file.
        values: everything in it.
    """

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self.path = path
        self.values = values
        self._read: set[str] = set()

    @property
    def architecture(self) -> str:
        """The class that the weights belong to, as diffusers or transformers names it.

        Raises UnknownArchitecture without it.
        """
        self._read |= {"_class_name", "architectures"}
        name = self.values.get("_class_name")
        if name is None:
            names = self.values.get("architectures")
            name = names[0] if isinstance(names, list) and names else None
        if not isinstance(name, str):
            self.refuse("_class_name", "the name of a class", name, UnknownArchitecture)
        return name

    def want_architecture(self, allowed: Collection[str]) -> None:
        """Raise UnknownArchitecture unless the class is one of `allowed`."""
        if self.architecture not in allowed:
            self.refuse("_class_name", " or ".join(sorted(allowed)), self.architecture, UnknownArchitecture)

    def integer(self, key: str, default: Any = _REQUIRED, low: int = 1, high: int = 1_000_000) -> int:
        """Return an integer in low..high. Raise WrongConfig for any other value."""
        value = self._get(key, default)
        if type(value) is not int or not low <= value <= high:
            self.refuse(key, f"an integer in {low}..{high}", value)
        return value

    def number(self, key: str, default: Any = _REQUIRED, low: float = -1e30, high: float = 1e30) -> float:
        """Return a finite number in low..high. Raise WrongConfig for any other value."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not low <= value <= high:
            self.refuse(key, f"a number in {low}..{high}", value)
        return float(value)

    def boolean(self, key: str, default: Any = _REQUIRED) -> bool:
        """Return true or false. Raise WrongConfig for any other value."""
        value = self._get(key, default)
        if type(value) is not bool:
            self.refuse(key, "true or false", value)
        return value

    def integers(self, key: str, default: Any = _REQUIRED, low: int = 1, high: int = 1_000_000) -> tuple[int, ...]:
        """Return a list of at least one integer, each in low..high. Raise WrongConfig for any other value."""
        value = self._get(key, default)
        if (
            not isinstance(value, list | tuple)
            or not value
            or not all(type(n) is int and low <= n <= high for n in value)
        ):
            self.refuse(key, f"a list of integers in {low}..{high}", value)
        return tuple(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object, which is empty if the key is absent. Raise MalformedFile for any other value."""
        self._read.add(key)
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            found = type(value).__name__
            raise MalformedFile("wrong entry", path=self.path, key=key, expected="an object", found=found)
        return value

    def only(self, key: str, allowed: Collection[Any], default: Any = _REQUIRED) -> Any:
        """Return one of the values that Salon implements.

        Raise UnknownArchitecture for any other: it is an unknown variant.
        """
        value = self._get(key, default)
        if not any(type(value) is type(known) and value == known for known in allowed):
            self.refuse(key, " or ".join(json.dumps(v) for v in allowed), value, UnknownArchitecture)
        return value

    def raw(self, key: str) -> Any:
        """Return a value unchecked, for a reader that checks it itself; None if the key is absent."""
        self._read.add(key)
        return self.values.get(key)

    def unset(self, key: str) -> None:
        """Raise UnknownArchitecture if a key asks for something: Salon does not implement it."""
        self._read.add(key)
        if not _asks_for_nothing(self.values.get(key)):
            self.refuse(key, "null (not implemented)", self.values[key], UnknownArchitecture)

    def finish(self, harmless: Mapping[str, str]) -> None:
        """Refuse the keys that no reader has read. A reader calls this when it has read every key of its architecture.

        Args:
            harmless: key -> why it changes no picture. `BOOKKEEPING` is harmless everywhere.

        Raises:
            UnknownArchitecture: a key is neither read nor harmless and asks for something, or the weights are
                quantized.
        """
        left = [key for key in self.values if not (key in self._read or key in harmless or key in BOOKKEEPING)]
        for key in sorted(left, key=lambda key: (key != QUANTIZED, key)):
            value = self.values[key]
            if _asks_for_nothing(value):
                continue
            if key == QUANTIZED:
                method = value.get("quant_method", "some method") if isinstance(value, dict) else value
                bits = [
                    name for name in ("load_in_4bit", "load_in_8bit") if isinstance(value, dict) and value.get(name)
                ]
                raise UnknownArchitecture(
                    "the weights are quantized", path=self.path, key=key, expected="plain weights",
                    found=" ".join([str(method), *bits])[:80],
                    remedy="use the folder that it was quantized from, in float16, bfloat16 or float32",
                )  # fmt: skip
            self.refuse(key, "no such setting (Salon does not implement it)", value, UnknownArchitecture)

    def refuse(
        self,
        key: str,
        expected: str,
        found: Any,
        kind: type[WrongConfig | UnknownArchitecture] = WrongConfig,
        remedy: str | None = None,
    ) -> NoReturn:
        """Raise `kind` for one key."""
        what = "unknown architecture" if kind is UnknownArchitecture else "wrong config"
        shown = "nothing" if found is None else json.dumps(found, default=str)[:80]
        raise kind(what, path=self.path, key=key, expected=expected, found=shown, remedy=remedy)

    def _get(self, key: str, default: Any) -> Any:
        self._read.add(key)
        value = self.values.get(key)
        if value is None:
            if default is _REQUIRED:
                self.refuse(key, "a value", None)
            return default
        return value


def _asks_for_nothing(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)
