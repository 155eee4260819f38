"""The adapter arena: pages are never lost or shared, pins hold, the least recently used goes first."""

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from salon.engine.adapters.arena import PAGE_ROWS, Arena
from salon.engine.errors import LimitError
from salon.kernels.reference import ReferenceOps

WIDTH, LAYERS = 6, 2
PAGE_BYTES = PAGE_ROWS * WIDTH * 2 * LAYERS * 4


def tokens(name: str, layer: int, rows: int, side: int) -> Any:
    seed = [*name.encode(), layer, side]
    return np.random.default_rng(seed).standard_normal((rows, WIDTH)).astype(np.float32)


class Filler:
    """Writes an adapter's known numbers, and counts how often it is asked to."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops
        self.calls: list[str] = []

    def __call__(self, name: str, rows: int) -> Any:
        def fill(layer: int, keys: Any, values: Any, start: int, stop: int) -> None:
            self.calls.append(name)
            for view, side in ((keys, 0), (values, 1)):
                self.ops.add(view, self.ops.array(-self.ops.numpy(view), "float32"))
                self.ops.add(view, self.ops.array(tokens(name, layer, rows, side)[start:stop], "float32"))

        return fill


def make(pages: int) -> tuple[Arena, Filler]:
    ops = ReferenceOps()
    return Arena(ops, LAYERS, WIDTH, pages * PAGE_BYTES + PAGE_BYTES - 1), Filler(ops)


def assert_holds(arena: Arena, name: str, rows: int) -> None:
    index = arena.rows(name)
    assert index.dtype == np.int32
    assert len(index) == rows
    for layer in range(LAYERS):
        for arrays, side in ((arena.keys, 0), (arena.values, 1)):
            if rows:
                got = arena.ops.numpy(arrays[layer])[index]
                np.testing.assert_array_equal(got, tokens(name, layer, rows, side))


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 8, 33])
def test_keeps_keys_and_values(rows: int) -> None:
    arena, filler = make(16)
    assert arena.allocated_bytes == 0
    arena.pin("a", rows, filler("a", rows))
    arena.pin("b", 4, filler("b", 4))
    assert_holds(arena, "a", rows)
    assert_holds(arena, "b", 4)
    calls = len(filler.calls)
    arena.pin("a", rows, filler("a", rows))
    assert len(filler.calls) == calls, "computed twice"
    assert arena.pins("a") == 2
    arena.check()


def test_the_least_recently_used_goes_first() -> None:
    arena, filler = make(3)
    for name in "abc":
        arena.pin(name, 4, filler(name, 4))
    for name in "bac":
        arena.unpin(name)
    arena.pin("a", 4, filler("a", 4))
    arena.unpin("a")
    arena.pin("d", 4, filler("d", 4))
    assert [name in arena for name in "abcd"] == [True, False, True, True]


def test_everything_pinned_is_a_limit_error_without_effect() -> None:
    arena, filler = make(3)
    arena.pin("a", 8, filler("a", 8))
    arena.pin("b", 4, filler("b", 4))
    arena.unpin("b")
    with pytest.raises(
        LimitError, match=r"adapter 'c': got 768 bytes.*allowed 384 bytes \(1,152 .*768 .*pinned.*arena_bytes"
    ):
        arena.pin("c", 8, filler("c", 8))
    assert "b" in arena, "evicted in vain"
    arena.check()
    arena.pin("c", 4, filler("c", 4))
    assert "b" not in arena


def test_what_yields_goes_for_what_does_not_pinned_or_not() -> None:
    arena, filler = make(3)
    for name in "ab":
        arena.pin(name, 4, filler(name, 4), yields=True)
    arena.pin("c", 4, filler("c", 4))
    with pytest.raises(LimitError, match="adapter 'd': got"):
        arena.pin("d", 4, filler("d", 4), yields=True)
    arena.unpin("b")
    arena.pin("d", 4, filler("d", 4))
    assert [name in arena for name in "abcd"] == [True, False, True, True], "first what has no pin"
    arena.pin("e", 4, filler("e", 4))
    assert [name in arena for name in "acde"] == [False, True, True, True]
    assert not arena.pins("a")
    with pytest.raises(LimitError, match="adapter 'a': got"):
        arena.pin("a", 4, filler("a", 4))
    arena.check()
    assert_holds(arena, "e", 4)


def test_a_failing_fill_gives_its_pages_back() -> None:
    arena, filler = make(4)

    def broken(*args: Any) -> None:
        raise RuntimeError("no numbers today")

    with pytest.raises(RuntimeError, match="no numbers"):
        arena.pin("a", 16, broken)
    arena.check()
    assert "a" not in arena
    arena.pin("a", 16, filler("a", 16))
    assert_holds(arena, "a", 16)


class Scarce(ReferenceOps):
    """Runs out of memory at the given array from now on, once."""

    left = -1

    def zeros(self, rows: int, width: int, dtype: Any = "compute") -> Any:
        self.spend()
        return super().zeros(rows, width, dtype)

    def concat(self, parts: Any) -> Any:
        self.spend()
        return super().concat(parts)

    def spend(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise MemoryError("no more")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("array", range(2 * LAYERS))
def test_growing_without_memory_changes_nothing(first: bool, array: int) -> None:
    ops = Scarce()
    arena, filler = Arena(ops, LAYERS, WIDTH, 1000 * PAGE_BYTES), Filler(ops)
    if not first:
        arena.pin("a", 9, filler("a", 9))
    before = arena.allocated_bytes
    ops.left = array
    with pytest.raises(MemoryError, match="no more"):
        arena.pin("b", 300, filler("b", 300))
    arena.check()
    assert arena.allocated_bytes == before
    rows_of_all = {len(each) for each in (*arena.keys, *arena.values)}
    assert rows_of_all == (set() if first else {before // PAGE_BYTES * PAGE_ROWS})
    for name, rows in (("a", 9), ("b", 300)):
        arena.pin(name, rows, filler(name, rows))
        assert_holds(arena, name, rows)
    assert len(arena.keys) == len(arena.values) == LAYERS


def test_no_room_at_all() -> None:
    arena, filler = make(0)
    with pytest.raises(LimitError):
        arena.pin("a", 1, filler("a", 1))
    arena.pin("empty", 0, filler("empty", 0))
    assert arena.allocated_bytes == 0


class ArenaMachine(RuleBasedStateMachine):
    """Random use of a small arena against a model that knows only pins and the limit."""

    names = st.sampled_from([f"{letter}{rows}" for letter in "abcd" for rows in (0, 1, 4, 5, 9, 17)])

    @initialize(pages=st.integers(1, 12))
    def start(self, pages: int) -> None:
        self.arena, self.filler = make(pages)
        self.pages = pages
        self.pinned: dict[str, int] = {}

    @staticmethod
    def size(name: str) -> int:
        return int(name[1:])

    def held(self) -> int:
        return sum(-(-self.size(name) // PAGE_ROWS) for name in self.pinned)

    @rule(name=names)
    def pin(self, name: str) -> None:
        rows = self.size(name)
        fits = name in self.pinned or -(-rows // PAGE_ROWS) + self.held() <= self.pages
        try:
            self.arena.pin(name, rows, self.filler(name, rows))
        except LimitError:
            assert not fits
        else:
            assert fits
            self.pinned[name] = self.pinned.get(name, 0) + 1

    @precondition(lambda self: self.pinned)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.pinned)))
        self.arena.unpin(name)
        self.pinned[name] -= 1
        if not self.pinned[name]:
            del self.pinned[name]

    @rule(name=names)
    def discard(self, name: str) -> None:
        if name not in self.pinned:
            self.arena.discard(name)
            assert name not in self.arena

    @invariant()
    def sound(self) -> None:
        self.arena.check()
        assert self.arena.allocated_bytes <= self.pages * PAGE_BYTES
        for name, pins in self.pinned.items():
            assert self.arena.pins(name) == pins
            assert_holds(self.arena, name, self.size(name))


TestArenaMachine = ArenaMachine.TestCase
TestArenaMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
