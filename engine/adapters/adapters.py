"""Registered adapters: their tokens on the host, their keys and values in the arena, their terms in a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import complaint
from ...kernels.bfloat16 import widen
from ...kernels.ops import Ops
from ...values import shown
from ..denoiser import AdapterTable
from ..errors import LimitError, SpecError, StateError
from ..spec import AdapterUse, adapter_name
from .arena import Arena

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AdapterBranch:
    """Packed `to_k_ip` and `to_v_ip` of every layer that has them: what turns adapter tokens into keys and values.

    Attributes:
        keys, values: per layer, a packed linear [D, token_width].
        token_width: columns of the tokens.
    """

    keys: Sequence[Any]
    values: Sequence[Any]
    token_width: int


@dataclass(frozen=True, eq=False)
class _Adapter:
    tokens: Float32  # [n, token_width]
    branch: AdapterBranch
    digest: str


@dataclass(frozen=True)
class Term:
    """One adapter on one sample of a batch."""

    sample: int
    adapter: str
    weight: float


class Adapters:
    """The adapters of an engine.

    Args:
        ops: backend.
        arena: where keys and values live.
        max_registered: adapters known at a time.
    """

    def __init__(self, ops: Ops[Any, Any], arena: Arena, max_registered: int) -> None:
        self.ops = ops
        self.arena = arena
        self.max_registered = max_registered
        self._known: dict[str, _Adapter] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def register(self, name: str, tokens: NDArray[Any], branch: AdapterBranch) -> None:
        """Make an adapter known; nothing is computed yet. The same name with the same tokens again does nothing.
        Any float dtype, or bfloat16 bits as uint16.

        Raises:
            SpecError: an empty name, or tokens that are no finite [n, token_width] numbers.
            LimitError: too many adapters, or one that the whole arena could not hold.
            StateError: the name is taken by other tokens that an open generation uses.
        """
        name = adapter_name(name)
        try:
            values = widen(np.asarray(tokens), "tokens")
        except (TypeError, ValueError) as error:
            allowed = f"numbers [n, {branch.token_width}]"
            raise SpecError(
                complaint(f"adapter {name!r}", shown(tokens), allowed, "look where they come from")
            ) from error
        if values.ndim != 2 or values.shape[1] != branch.token_width:
            shape = f"tokens of shape {list(values.shape)}"
            raise SpecError(complaint(f"adapter {name!r}", shape, f"[n, {branch.token_width}]", "reshape them"))
        if not np.isfinite(values).all():
            raise SpecError(
                complaint(f"adapter {name!r}", "NaN or infinity", "finite tokens", "look where they come from")
            )
        self.arena.want_room(name, len(values))
        digest = hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()
        known = self._known.get(name)
        if known is not None and known.digest == digest and known.branch is branch:
            return
        if known is not None and self.arena.pins(name):
            remedy = "close those generations first, or choose another name"
            raise StateError(complaint(f"adapter {name!r}", "other tokens", "none while generations use it", remedy))
        if known is None and len(self._known) >= self.max_registered:
            allowed = f"{self.max_registered:,} (Limits.max_registered)"
            raise LimitError(complaint("adapters", f"{len(self._known) + 1:,}", allowed, "forget some first"))
        self.arena.discard(name)
        values.setflags(write=False)
        self._known[name] = _Adapter(values, branch, digest)

    def forget(self, name: str) -> None:
        """Undo `register`. StateError while an open generation uses it; SpecError for an unknown name."""
        self.digest(name)
        if self.arena.pins(name):
            remedy = "close those generations first"
            raise StateError(complaint(f"adapter {name!r}", "forget", "no open generation that uses it", remedy))
        self.arena.discard(name)
        del self._known[name]

    def digest(self, name: str) -> str:
        """Content hash of a registered adapter. SpecError for an unknown name."""
        if name not in self._known:
            known = f"one of the {len(self._known)} registered" if self._known else "none (nothing is registered)"
            raise SpecError(complaint("adapter", repr(name), known, "register it first"))
        return self._known[name].digest

    def pin(self, uses: Sequence[AdapterUse]) -> None:
        """Make the adapters of a generation resident. All or none: SpecError or LimitError leave no pin behind."""
        done: list[str] = []
        try:
            for name in names_used(uses):
                self.digest(name)
                adapter = self._known[name]
                self.arena.pin(name, len(adapter.tokens), self._fill(adapter))
                done.append(name)
        except BaseException:
            for name in done:
                self.arena.unpin(name)
            raise

    def unpin(self, uses: Sequence[AdapterUse]) -> None:
        """Undo one `pin` of the same uses."""
        for name in names_used(uses):
            self.arena.unpin(name)

    def _fill(self, adapter: _Adapter) -> Any:
        tokens = self.ops.array(adapter.tokens)

        def fill(layer: int, keys: Any, values: Any, start: int, stop: int) -> None:
            part = self.ops.rows(tokens, start, stop)
            self.ops.linear(part, adapter.branch.keys[layer], out=keys)
            self.ops.linear(part, adapter.branch.values[layer], out=values)

        return fill

    def table(self, terms: Sequence[Term]) -> AdapterTable | None:
        """Return the terms of a batch as one table, or None if there are none. Their adapters must be pinned.

        The table holds as long as they are pinned: the arena's arrays change as it grows, and their rows do not."""
        if not terms:
            return None
        rows = [self.arena.rows(term.adapter) for term in terms]
        offsets = np.zeros(len(terms) + 1, np.int32)
        np.cumsum([len(part) for part in rows], out=offsets[1:])
        return AdapterTable(
            samples=np.array([term.sample for term in terms], np.int32),
            offsets=offsets,
            rows=np.concatenate(rows),
            weights=np.array([term.weight for term in terms], np.float32),
        )


def names_used(uses: Iterable[AdapterUse]) -> list[str]:
    """The adapters that some term needs, each once; those of weight 0 are left out altogether."""
    names = (name for use in uses if use.weight for name in (use.adapter, use.unconditional) if name is not None)
    return list(dict.fromkeys(names))
