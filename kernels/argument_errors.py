"""Name the arguments that the bindings turn away, in the op table's own words.

The bindings check values by themselves, but an argument of another type or dtype never reaches their checks. pybind11
raises TypeError with every signature that it knows, where the op table promises a ValueError that names the argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_VECTORS: Final[dict[str, type[Any]]] = {
    **dict.fromkeys(("only", "grids", "indices"), np.int32),
    **dict.fromkeys(("timesteps", "a", "b"), np.float32),
    **dict.fromkeys(("adapters.segments", "adapters.offsets", "adapters.rows"), np.int32),
    **dict.fromkeys(("guidance.origins", "guidance.offsets", "guidance.rows"), np.int32),
    **dict.fromkeys(("adapters.weights", "guidance.weights"), np.float32),
}
_PLAIN: Final[tuple[tuple[str, Any, str], ...]] = (
    *((word, str, "text") for word in ("DtypeName", "Activation", "NormKind")),
    ("int", (int, np.integer), "a whole number"),
    ("float", (int, float, np.number), "a number"),
)
_TERMS: Final = {  # parts of arguments that are several
    "AdapterTerms": ("adapters", ("keys", "values", "segments", "offsets", "rows", "weights", "queries", "out")),
    "GuidanceTerms": ("guidance", ("origins", "offsets", "rows", "weights")),
}


def explained(table: type[T]) -> type[T]:
    """Return a backend class whose ops raise ValueError for an argument of another type."""
    for name, op in list(vars(table).items()):
        if inspect.isfunction(op) and not name.startswith("_"):
            setattr(table, name, _explained(op))
    return table


def _explained(op: Callable[P, R]) -> Callable[P, R]:
    @wraps(op)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return op(*args, **kwargs)
        except (TypeError, RuntimeError) as error:  # the caster of adapter terms raises RuntimeError
            try:
                bound = inspect.signature(op).bind(*args, **kwargs)
            except TypeError:
                raise error from None  # the call itself is wrong: an argument is missing, or there is one too many
            for found in _wrong(bound, inspect.signature(op)):
                raise ValueError(f"{op.__name__}: {found}") from error
            raise

    return call


def _wrong(bound: inspect.BoundArguments, signature: inspect.Signature) -> Iterator[str]:
    """Yield the faults of the arguments, one after another."""
    for name, value in bound.arguments.items():
        kind = str(signature.parameters[name].annotation)  # already text: annotations are not evaluated there
        if value is None and "None" in kind:
            continue
        called, parts = _TERMS.get(kind.split(" ")[0], ("", ()))
        if parts and all(hasattr(value, part) for part in parts):
            for part in parts:
                inner = getattr(value, part)
                if inner is not None or part not in ("queries", "out"):
                    place = f"{called}.{part}"
                    yield from _wrong_part(place, inner, "" if place in _VECTORS else "Tensor")
        elif "Sequence" in kind and isinstance(value, list | tuple):
            for part in value:
                yield from _wrong_part(name, part, kind)
        else:
            yield from _wrong_part(name, value, kind)


def _wrong_part(name: str, value: Any, kind: str) -> Iterator[str]:
    got = f"{list(value.shape)} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    if name in _VECTORS:
        dtype = np.dtype(_VECTORS[name])
        if not isinstance(value, np.ndarray) or value.dtype != dtype:
            yield f"{name}: got {got}, want an array of {dtype}"
    elif "Tensor" in kind and type(value).__name__ != "Tensor":
        yield f"{name}: got {got}, want an array of this backend"
    elif "Weight" in kind and type(value).__name__ != "Weight":
        yield f"{name}: got {got}, want a packed weight of this backend"
    elif "Segments" in kind and type(value).__name__ != "Segments":
        yield f"{name}: got {got}, want Segments"
    for word, types, want in _PLAIN:
        if kind.split(" ")[0] == word and not isinstance(value, types):
            yield f"{name}: got {got}, want {want}"
