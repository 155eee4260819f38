"""Reading a TOML table strictly: each key once, of exactly its type, within its range, and none left over."""

from __future__ import annotations

from typing import Any

from ..errors import complaint
from .errors import PlanFileError


class Table:
    """A table of the file whose keys are taken one by one; what is left over at `close` is unknown.

    Every method raises PlanFileError, naming the file, the key, what came and what is allowed.
    """

    def __init__(self, file: str, prefix: str, data: dict[str, Any]) -> None:
        self.file, self.prefix, self.data, self.known = file, prefix, dict(data), list[str]()

    def error(self, key: str, got: str, allowed: str, remedy: str = "correct it") -> PlanFileError:
        return PlanFileError(complaint(f"{self.file}: {self.prefix}{key}", got[:80], allowed, remedy))

    def take(self, key: str, kind: type, allowed: str) -> Any:
        """Take the value of a key that must be there, of exactly this type: true is no number, 1.0 no whole number."""
        self.known.append(key)
        if key not in self.data:
            raise self.error(key, "nothing", allowed, "add the key")
        value = self.data.pop(key)
        if type(value) is not kind:
            raise self.error(key, repr(value), allowed)
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        allowed = f"a whole number from {low:,} to {high:,}"
        value: int = self.take(key, int, allowed)
        if not low <= value <= high:
            raise self.error(key, repr(value), allowed)
        return value

    def yes(self, key: str) -> bool:
        value: bool = self.take(key, bool, "true or false")
        return value

    def table(self, key: str) -> Table:
        return Table(self.file, f"{self.prefix}{key}.", self.take(key, dict, "a table"))

    def close(self) -> None:
        """Raise PlanFileError if a key is left that was not taken."""
        for key, value in self.data.items():
            raise self.error(key, repr(value), f"only {', '.join(self.known)}", "remove the key, or correct its name")
