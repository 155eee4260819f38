"""Keep adapters and adapter branches of a studio, and send them to a worker when a job there first needs them.

A wrong one is refused when it is added, by the facts of the model alone; no worker is asked. A worker has only what its
jobs need, so a worker that starts anew is sent nothing that no job uses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...engine.errors import LimitError, SpecError, StateError
from ...engine.info import ModelInfo
from ...engine.spec import AdapterUse
from ...engine.styles.names import STYLE_BRANCH, is_style
from ...engine.weights.ip_adapter import want_adapter_branch
from ...errors import complaint, is_text
from ...kernels.bfloat16 import widen
from ..workers.messages import AddAdapter, AddBranch, Array, Command, Frames

Float32 = NDArray[np.float32]
DEFAULT_BRANCH: Final = "default"


@dataclass(frozen=True, eq=False)
class Branch:
    """An adapter branch: its arrays by name, the width of its tokens, and its digest."""

    arrays: Mapping[str, Float32]
    token_width: int
    digest: str


@dataclass(frozen=True, eq=False)
class Adapter:
    """The tokens float32 [n, token width] of an adapter, its branch, and its digest, which covers both."""

    tokens: Float32
    branch: str
    digest: str


class StudioAdapters:
    """The adapters that jobs may use. Driven under the loop's lock.

    Attributes:
        branches, adapters: by name.
        rows: how many tokens each adapter has, by name.
    """

    def __init__(self) -> None:
        self.branches: dict[str, Branch] = {}
        self.adapters: dict[str, Adapter] = {}
        self.rows: dict[str, int] = {}

    def add_branch(self, name: str, weights: Mapping[str, NDArray[Any]], info: ModelInfo) -> None:
        """Keep a branch. The same again changes nothing.

        Raises:
            SpecError: no name, or no arrays of numbers.
            CheckpointError: its names or shapes are those of another model.
            StateError: the name belongs to other weights.
        """
        name = _text("branch", name)
        arrays = {_text("weight", key): _floats(f"weight {key!r}", values) for key, values in weights.items()}
        sizes = info.architecture
        width = want_adapter_branch(arrays, sizes.adapter_layers, sizes.adapter_width, f"adapter branch {name!r}")
        digest = _digest(*(part for key in sorted(arrays) for part in (key, arrays[key])))
        known = self.branches.get(name)
        if known is not None and known.digest != digest or name == STYLE_BRANCH:
            raise _taken("branch", name)
        self.branches.setdefault(name, Branch(arrays, width, digest))

    def add_adapter(self, name: str, tokens: NDArray[Any], branch: str, info: ModelInfo) -> None:
        """Keep an adapter: a name stands for the same tokens until it is forgotten. The same again changes nothing.

        Raises:
            SpecError: no name, no such branch, or tokens that are no finite [n, token width] numbers.
            StateError: the name belongs to other tokens.
            LimitError: too many adapters.
        """
        name, branch = _text("adapter", name), _text("adapter branch", branch)
        if is_style(name):
            raise SpecError(complaint("adapter", repr(name), "another name: it is a style's", "choose another name"))
        values = _floats(f"adapter {name!r}", tokens)
        width = self._token_width(branch, info)
        if values.ndim != 2 or not values.size or values.shape[1] != width or not np.isfinite(values).all():
            got = f"tokens of shape {list(values.shape)}"
            raise SpecError(complaint(f"adapter {name!r}", got, f"[n, {width}], all finite", "correct them"))
        digest = _digest(branch, self.branches[branch].digest if branch in self.branches else "", values)
        known = self.adapters.get(name)
        if known is not None and known.digest != digest:
            raise _taken("adapter", name)
        most = info.limits.max_registered
        if known is None and len(self.adapters) >= most:
            got, allowed = f"{len(self.adapters) + 1:,}", f"{most:,} (Limits.max_registered)"
            raise LimitError(complaint("adapters", got, allowed, "forget some first"))
        self.adapters.setdefault(name, Adapter(values, branch, digest))
        self.rows[name] = len(values)

    def forget(self, name: str) -> None:
        """Forget an adapter. Raise SpecError if there is none of this name."""
        if name not in self.adapters:
            raise SpecError(complaint("adapter", repr(name), "one that was registered", "look at its name"))
        del self.adapters[name], self.rows[name]

    def missing(self, uses: Iterable[AdapterUse], known: set[str]) -> Iterator[tuple[str, str]]:
        """Find what a worker lacks for adapters that are used: ("branch" or "adapter", name), a branch before its
        adapters. `known` is what the worker has been sent; it is updated."""
        for use in uses:
            for name in (use.adapter, use.unconditional):
                if name is None or is_style(name) or f"adapter {name}" in known:
                    continue
                branch = self.adapters[name].branch
                if branch in self.branches and f"branch {branch}" not in known:
                    known.add(f"branch {branch}")
                    yield "branch", branch
                known.add(f"adapter {name}")
                yield "adapter", name

    def command(self, number: int, kind: str, name: str) -> tuple[Command, Frames]:
        """Return the command that tells a worker of a branch or an adapter, and its frames."""
        if kind == "branch":
            pairs = [Array.of(key, values) for key, values in self.branches[name].arrays.items()]
            return AddBranch(number, name, tuple(record for record, _ in pairs)), [frame for _, frame in pairs]
        adapter = self.adapters[name]
        record, frame = Array.of("tokens", adapter.tokens)
        return AddAdapter(number, name, adapter.branch, record), [frame]

    def _token_width(self, branch: str, info: ModelInfo) -> int:
        if branch == STYLE_BRANCH and info.styles is not None:
            return info.styles.token_width
        if branch not in self.branches:
            own = [STYLE_BRANCH] if info.styles is not None else []
            known = " or ".join(map(repr, [*self.branches, *own])) or "none (nothing was added)"
            raise SpecError(complaint("adapter branch", repr(branch), known, "call add_branch first"))
        return self.branches[branch].token_width


def _taken(kind: str, name: str) -> StateError:
    return StateError(complaint(f"{kind} {name!r}", "other values", "those that it has", "choose another name"))


def _digest(*parts: str | Float32) -> str:
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else f"{part.shape}".encode() + part.tobytes()
        found.update(f"{len(data)}:".encode() + data)
    return found.hexdigest()


def _text(what: str, value: Any) -> str:
    """Return a name as plain text. Raise SpecError for what cannot be sent to a worker process."""
    if not isinstance(value, str) or not value or not is_text(value):
        raise SpecError(complaint(what, repr(value)[:80], "a name", "give it one"))
    return str.__str__(value)


def _floats(what: str, values: Any) -> Float32:
    """Return a copy of an array as float32; bfloat16 bits come as uint16. Raise SpecError for what holds no numbers."""
    try:
        return widen(np.asarray(values), what)
    except (TypeError, ValueError) as error:
        raise SpecError(complaint(what, type(values).__name__, "an array of numbers", "correct it")) from error
