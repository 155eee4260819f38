"""Keep the adapters of an engine: tokens on the host, keys and values in the arena, terms in a batch."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import complaint
from ...kernels.bfloat16 import widen
from ...kernels.ops import Ops
from ...values import shown
from ..denoiser import AdapterTable
from ..errors import LimitError, SpecError, StateError
from ..spec import AdapterUse, adapter_name
from ..styles.names import is_style
from .arena import Arena

Float32 = NDArray[np.float32]

NORM_EPS: Final = 1e-5  # of InstantX's keys and values
MAX_DERIVED: Final = 4_096  # adapters made by their names that are kept beside those in use; each some kilobytes


@dataclass(frozen=True, eq=False)
class AdapterBranch:
    """The packed `to_k_ip` and `to_v_ip` of every layer that has them.

    They turn adapter tokens into keys and values.

    Attributes:
        keys, values: per layer, a packed linear [D, token_width].
        token_width: columns of the tokens.
        widths: D of each layer, where layers differ; (): each has that of the model.
        head: of Flux models, if not 0: keys and values are RMS-normed by heads of so many columns, and the terms are
            added to what attention gives before its last layer; of single blocks too, there to text and image alike.
    """

    keys: Sequence[Any]
    values: Sequence[Any]
    token_width: int
    widths: tuple[int, ...] = ()
    head: int = 0

    def fill(self, ops: Ops[Any, Any], layer: int, tokens: Any, keys: Any, values: Any) -> None:
        """Write the keys and values of tokens, backend array [n, token_width], of a layer: [n, D] each."""
        for packed, out in ((self.keys[layer], keys), (self.values[layer], values)):
            if not self.head:
                ops.linear(tokens, packed, out=out)
                continue
            made = ops.numpy(ops.linear(tokens, packed, dtype="float32"))
            rows = ops.array(made.reshape(-1, self.head), "float32")
            ones = ops.array(np.ones((1, self.head), np.float32), "float32")
            normed = ops.numpy(ops.norm(rows, ones, kind="rms", eps=NORM_EPS, dtype="float32")).reshape(made.shape)
            ops.gated(ops.array(np.ones(made.shape, np.float32)), ops.array(normed, "float32"), out=out)


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
        max_registered: how many adapters may be known at a time.
        derive: makes the tokens of an adapter whose name says how they are made, and raises SpecError for a name that
            says nothing; None: the engine derives no adapters.
        styled: whether numbers are styles too: the model has a style space. None: if it derives any.
    """

    def __init__(
        self,
        ops: Ops[Any, Any],
        arena: Arena,
        max_registered: int,
        derive: Callable[[str], tuple[Float32, AdapterBranch]] | None = None,
        *,
        styled: bool | None = None,
    ) -> None:
        self.ops = ops
        self.arena = arena
        self.max_registered = max_registered
        self._derive = derive
        self.styled = derive is not None if styled is None else styled
        self._known: dict[str, _Adapter] = {}
        self._derived: OrderedDict[str, None] = OrderedDict()  # least recently used first

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def register(self, name: str, tokens: NDArray[Any], branch: AdapterBranch) -> None:
        """Make an adapter known by its tokens [n, token_width], of any float dtype, or bfloat16 bits as uint16.

        Nothing is computed yet. Registering the same tokens again under the same name changes nothing.

        Raises:
            SpecError: the name is empty, or the tokens are not finite numbers of shape [n, token_width].
            LimitError: too many adapters are known, or the whole arena could not hold this one.
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
        self.arena.check_fits(name, len(values))
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

    def keep(self, name: str, tokens: NDArray[Any], branch: AdapterBranch) -> None:
        """Make a derived adapter known until more than `MAX_DERIVED` others were used after it.

        Raises as `register` does.
        """
        self.register(name, tokens, branch)
        self._derived[name] = None
        self._derived.move_to_end(name)
        spare = [old for old in self._derived if old != name and not self.arena.pins(old)]
        for old in spare[: max(0, len(self._derived) - MAX_DERIVED)]:
            self.forget(old)

    def forget(self, name: str) -> None:
        """Undo `register`.

        Raises:
            StateError: an open generation uses the adapter.
            SpecError: the name is unknown.
        """
        self.digest(name)
        if self.arena.pins(name):
            remedy = "close those generations first"
            raise StateError(complaint(f"adapter {name!r}", "forget", "no open generation that uses it", remedy))
        self.arena.discard(name)
        del self._known[name]
        self._derived.pop(name, None)

    def digest(self, name: str) -> str:
        """Return the content hash of an adapter that is registered, or whose name says how it is made.

        Raises:
            SpecError: the name is unknown.
        """
        if name in self._derived:
            self._derived.move_to_end(name)
        elif name not in self._known and self._derive is not None and is_style(name):
            self.keep(name, *self._derive(name))
        if name not in self._known:
            known = f"one of the {len(self._known)} registered" if self._known else "none (nothing is registered)"
            raise SpecError(complaint("adapter", repr(name), known, "register it first"))
        return self._known[name].digest

    def pin(self, uses: Sequence[AdapterUse]) -> None:
        """Make the adapters of a generation resident.

        If this raises SpecError or LimitError, none of them is pinned.
        """
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
            adapter.branch.fill(self.ops, layer, self.ops.rows(tokens, start, stop), keys, values)

        return fill

    def table(self, terms: Sequence[Term]) -> AdapterTable | None:
        """Return the terms of a batch as one table, or None if there are none. Their adapters must be pinned.

        The table is valid as long as they are pinned: the arena's arrays change as it grows, but their rows do not.
        """
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
            joined=any(self._known[term.adapter].branch.head for term in terms),
        )


def names_used(uses: Iterable[AdapterUse]) -> list[str]:
    """Return the adapters that some term needs, each once. Terms of weight 0 need none."""
    names = (name for use in uses if use.weight for name in (use.adapter, use.unconditional) if name is not None)
    return list(dict.fromkeys(names))
