"""The exception tree is what its drawing says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from salon.engine import errors
from salon.errors import OutputError, SalonError


def _classes() -> dict[str, type[Exception]]:
    found = inspect.getmembers(errors, inspect.isclass)
    own = {name: c for name, c in found if issubclass(c, Exception) and c.__module__ == errors.__name__}
    return {"SalonError": SalonError, "OutputError": OutputError, "MemoryError": MemoryError, **own}


def test_drawing_matches_classes() -> None:
    parents: list[str] = []
    drawn: dict[str, str | None] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ((?:[│ ]   )*)(?:[├└]── )?(\w+)(  |$)", line)
        if match is None or not line.strip():
            continue
        depth = len(match[1]) // 4 + (1 if "── " in line else 0)
        parents[depth:] = [match[2]]
        drawn[match[2]] = parents[depth - 1] if depth else None
    classes = _classes()
    assert set(drawn) == set(classes)
    for name, parent in drawn.items():
        assert classes[name].__bases__[0].__name__ == (parent or "Exception")


def test_checkpoint_error_names_everything() -> None:
    error = errors.WrongShape(
        "wrong shape", path=Path("a/b.safetensors"), key="x.weight", expected="[2, 3]", found="[3, 2]", remedy="fix it"
    )
    assert str(error) == "a/b.safetensors: wrong shape, key 'x.weight', expected [2, 3], found [3, 2]; fix it"
    assert (error.path, error.key, error.expected, error.found) == ("a/b.safetensors", "x.weight", "[2, 3]", "[3, 2]")
    with pytest.raises(errors.SalonError):
        raise error
