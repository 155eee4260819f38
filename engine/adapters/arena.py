"""Hold keys and values of adapters in an arena: computed once per adapter and layer, shared by all jobs.

They depend on neither the timestep nor the company. Nor do those of references and of texts that a model keeps
(`kept_references.py`, `kept_texts.py`), which are adapters here like others. All layers have the same rows. An adapter
of n tokens takes ceil(n / PAGE_ROWS) pages. A page is PAGE_ROWS rows of the key and the value array of every layer, so
one list of row numbers serves all layers (`AdapterTerms.rows`). Running jobs pin what they use. When pages run out, the
arena evicts the least recently used adapter without a pin. The arrays grow by doubling up to a byte limit, and nothing
is allocated before the first adapter comes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...errors import complaint
from ...kernels.ops import Ops
from ...kernels.segments import Int32
from ..errors import LimitError

PAGE_ROWS: Final = 4
_FIRST_PAGES: Final = 64

# fill(layer, keys, values, start, stop): write rows start..stop of the adapter into the given views [stop-start, D].
Fill = Callable[[int, Any, Any, int, int], None]


@dataclass
class _Entry:
    rows: int
    pages: list[int]
    yields: bool
    pins: int = 0


class Arena:
    """Paged keys and values of many adapters.

    Args:
        ops: backend that holds the arrays.
        num_layers: layers with an adapter branch.
        width: D, columns of a key; of each layer where layers differ.
        limit_bytes: upper bound of the arrays' size, bytes.

    Attributes:
        keys, values: per layer, a backend array [capacity, D] of compute dtype. The arena replaces them when it grows,
            so callers read these attributes anew after every `pin`.
        version: how often the arena has replaced them.
        hits, misses: pins that found their adapter resident, and pins that had to compute it.
    """

    def __init__(self, ops: Ops[Any, Any], num_layers: int, width: int | Sequence[int], limit_bytes: int) -> None:
        self.ops = ops
        self.num_layers = num_layers
        self.widths = (width,) * num_layers if isinstance(width, int) else tuple(width)
        assert len(self.widths) == num_layers, "a layer without a width"
        self.page_bytes = PAGE_ROWS * sum(self.widths) * 2 * (2 if ops.compute == "bfloat16" else 4)
        self.max_pages = limit_bytes // self.page_bytes if self.page_bytes else 0
        self.version = self.hits = self.misses = 0
        self.keys: list[Any] = []
        self.values: list[Any] = []
        self._num_pages = 0
        self._free: list[int] = []  # falling, so that pop() takes the lowest: runs of pages stay together
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first

    @property
    def allocated_bytes(self) -> int:
        """Size of the arrays in bytes, used or not."""
        return self._num_pages * self.page_bytes

    def __contains__(self, adapter: str) -> bool:
        return adapter in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def pins(self, adapter: str) -> int:
        """Return how many pins hold an adapter; 0 if it is not resident."""
        return self._entries[adapter].pins if adapter in self._entries else 0

    def pin(self, adapter: str, num_rows: int, fill: Fill, *, yields: bool = False) -> None:
        """Make an adapter resident until `unpin`. If it is not resident, call `fill` for every layer, and there for
        every run of pages.

        Args:
            yields: it goes, with its pins, when something that does not yield needs its pages. Its owner looks whether
                it is still there.

        Raises:
            LimitError: the rows do not fit beside what is pinned. Then, and when `fill` raises, the arena is as before,
                except that other adapters may have been evicted.
        """
        entry = self._entries.get(adapter)
        if entry is None:
            entry = self._admit(adapter, num_rows, fill, yields)
            self.misses += 1
        else:
            self.hits += 1
        assert entry.rows == num_rows, f"adapter {adapter!r} has {entry.rows} rows in the arena, pinned with {num_rows}"
        entry.pins += 1
        self._entries.move_to_end(adapter)

    def unpin(self, adapter: str) -> None:
        """Undo one `pin`. The adapter stays until its pages are needed."""
        entry = self._entries[adapter]
        assert entry.pins > 0, f"adapter {adapter!r} is not pinned"
        entry.pins -= 1

    def discard(self, adapter: str) -> None:
        """Free an adapter's pages, if it is resident. It must not be pinned."""
        if adapter in self._entries:
            assert not self._entries[adapter].pins, f"adapter {adapter!r} is pinned"
            self._release(self._entries.pop(adapter).pages)

    def rows(self, adapter: str) -> Int32:
        """Return where a resident adapter's tokens lie in `keys` and `values`, as row numbers int32 [n]."""
        entry = self._entries[adapter]
        starts = np.array(entry.pages, np.int32).reshape(-1, 1) * PAGE_ROWS
        rows = (starts + np.arange(PAGE_ROWS)).reshape(-1)[: entry.rows]
        return rows.astype(np.int32)

    def check_fits(self, adapter: str, num_rows: int) -> None:
        """Raise LimitError if an adapter would not fit even into the empty arena."""
        self._check_pages(adapter, -(-num_rows // PAGE_ROWS), 0)

    def _check_pages(self, adapter: str, need: int, held: int) -> None:
        """Raise LimitError if `need` pages do not fit beside `held` pinned ones."""
        if need <= self.max_pages - held:
            return
        got = f"{need * self.page_bytes:,} bytes of keys and values"
        allowed = f"{(self.max_pages - held) * self.page_bytes:,} bytes"
        if held:
            total, pinned = self.max_pages * self.page_bytes, held * self.page_bytes
            allowed += f" ({total:,} in all, {pinned:,} of them pinned by open generations)"
        raise LimitError(
            complaint(f"adapter {adapter!r}", got, allowed, "close a generation or raise Limits.arena_bytes")
        )

    def _admit(self, adapter: str, num_rows: int, fill: Fill, yields: bool) -> _Entry:
        need = -(-num_rows // PAGE_ROWS)
        self._ensure_free(adapter, need, yields)
        pages = [self._free.pop() for _ in range(need)]
        try:
            for layer in range(self.num_layers):
                for start, stop in _runs(pages):
                    first, last = start * PAGE_ROWS, min(stop * PAGE_ROWS, num_rows)
                    top = pages[start] * PAGE_ROWS
                    keys = self.ops.rows(self.keys[layer], top, top + last - first)
                    values = self.ops.rows(self.values[layer], top, top + last - first)
                    fill(layer, keys, values, first, last)
        except BaseException:
            self._release(pages)
            raise
        entry = self._entries[adapter] = _Entry(num_rows, pages, yields)
        return entry

    def _ensure_free(self, adapter: str, need: int, yields: bool) -> None:
        """Make `need` pages free: grow the arrays first, then evict the least recently used adapters, first those
        without a pin."""
        firm = (entry for entry in self._entries.values() if entry.pins and (yields or not entry.yields))
        self._check_pages(adapter, need, sum(len(entry.pages) for entry in firm))
        if need > len(self._free) and self._num_pages < self.max_pages:
            want = self._num_pages - len(self._free) + need
            self._grow(min(self.max_pages, max(want, 2 * self._num_pages, _FIRST_PAGES)))
        while need > len(self._free):
            spare = [name for name, entry in self._entries.items() if not entry.pins]
            spare += [name for name, entry in self._entries.items() if entry.pins and entry.yields]
            self._release(self._entries.pop(spare[0]).pages)

    def _grow(self, num_pages: int) -> None:
        """Grow all arrays to `num_pages` pages. If the backend runs out of memory, the arena stays as it was."""
        more = (num_pages - self._num_pages) * PAGE_ROWS
        self.keys, self.values = self._grown(self.keys, more), self._grown(self.values, more)
        self._free = sorted([*self._free, *range(self._num_pages, num_pages)], reverse=True)
        self._num_pages = num_pages
        self.version += 1

    def _grown(self, arrays: list[Any], more: int) -> list[Any]:
        """Return copies of the arrays of all layers with `more` rows below, or new arrays if there are none."""
        # Zeros, so that no uninitialised memory is copied. Rows past an adapter's last token are never read.
        if not arrays:
            return [self.ops.zeros(more, width) for width in self.widths]
        pairs = zip(arrays, self.widths, strict=True)
        return [self.ops.concat([array, self.ops.zeros(more, width)]) for array, width in pairs]

    def _release(self, pages: list[int]) -> None:
        self._free = sorted([*self._free, *pages], reverse=True)

    def check(self) -> None:
        """Check, for tests, that every page is free or owned exactly once and that the limit is kept.

        Raises:
            AssertionError: it is not so.
        """
        owned = [page for entry in self._entries.values() for page in entry.pages]
        assert sorted([*owned, *self._free]) == list(range(self._num_pages)), "a page is lost or owned twice"
        assert self._num_pages <= self.max_pages, "the arena outgrew its limit"
        for name, entry in self._entries.items():
            assert entry.pins >= 0, f"{name!r} has {entry.pins} pins"
            assert len(entry.pages) == -(-entry.rows // PAGE_ROWS), f"{name!r} has the wrong number of pages"


def copied(ops: Ops[Any, Any], layers: Iterator[tuple[Any, Any]]) -> Fill:
    """Return what fills rows with keys and values that are computed layer by layer, [n, D] of compute dtype each."""
    present: list[Any] = [-1, None, None, None]  # layer, keys, values, ones

    def fill(layer: int, keys: Any, values: Any, start: int, stop: int) -> None:
        if layer != present[0]:
            present[:3] = [layer, *next(layers)]
            if present[3] is None or present[3].shape != present[1].shape:
                present[3] = ops.array(np.ones(present[1].shape, np.float32))
        ones = ops.rows(present[3], start, stop)  # times one is a copy into rows of the arena
        for into, whole in ((keys, present[1]), (values, present[2])):
            ops.gated(ones, ops.rows(whole, start, stop), out=into)

    return fill


def _runs(pages: list[int]) -> list[tuple[int, int]]:
    """Return the index ranges of `pages` in which page numbers are consecutive."""
    cuts = [0, *(i for i in range(1, len(pages)) if pages[i] != pages[i - 1] + 1), len(pages)]
    return [(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if b > a]
