"""Weights that come to a device while it computes: on one that does copies and work in every order it is allowed."""

from __future__ import annotations

import random
from typing import Any

import pytest

from salon.kernels.streaming import PLACES, Residency, Stream


class Device:
    """Stands in for a GPU: launches and copies are done later, each kind in its order, as the marks allow.

    Args:
        chooses: which of the two goes on where both may: "copies", "work", or a seed.
    """

    def __init__(self, chooses: str | int) -> None:
        self.chooses, self.random = chooses, random.Random(chooses)
        self.copies: list[tuple[int, Any, int]] = []  # place, piece, launches that come before
        self.work: list[tuple[int, Any, int]] = []  # place, what it should read, copies that come before
        self.left = [0] * PLACES
        self.needs = 0

    def copy(self, place: int, piece: Any) -> None:
        self.copies.append((place, piece, self.left[place]))

    def enter(self, place: int) -> None:
        mine = [number for number, (where, *_) in enumerate(self.copies) if where == place]
        self.needs = max(self.needs, 1 + mine[-1])

    def leave(self, place: int) -> None:
        self.left[place] = len(self.work)

    def launch(self, place: int, wanted: Any) -> None:
        self.work.append((place, wanted, self.needs))

    def finish(self) -> None:
        """Do everything; fail where work reads another piece than it should."""
        holds: list[Any] = [None] * PLACES
        copied = worked = 0
        while copied < len(self.copies) or worked < len(self.work):
            may_copy = copied < len(self.copies) and self.copies[copied][2] <= worked
            may_work = worked < len(self.work) and self.work[worked][2] <= copied
            assert may_copy or may_work, "each waits for the other"
            first = {"copies": True, "work": False}.get(str(self.chooses), self.random.random() < 0.5)
            if may_copy and (first or not may_work):
                place, piece, _ = self.copies[copied]
                holds[place] = piece
                copied += 1
            else:
                place, wanted, _ = self.work[worked]
                assert holds[place] == wanted
                worked += 1


def run(stream: Stream, device: Device, names: str) -> None:
    for name in names:
        place = stream.take(name)
        for _ in range(2):  # a layer may be launched in parts
            device.launch(place, f"piece {name}")


def opened(chooses: str | int, names: str) -> tuple[Stream, Device]:
    device = Device(chooses)
    stream = Stream(device)
    for name in set(names):
        stream.add(name, f"piece {name}")
    return stream, device


@pytest.mark.parametrize("chooses", ["copies", "work", 1, 2, 3])
@pytest.mark.parametrize("names", ["a", "ab", "abcde", "awbwcw", "aabbc", "abacad"])
def test_every_launch_reads_its_piece_and_the_next_is_on_its_way(names: str, chooses: str | int) -> None:
    stream, device = opened(chooses, names)
    for _ in range(3):
        run(stream, device, names)
    missed = stream.misses
    assert missed <= len(names) + 3
    for _ in range(5):
        run(stream, device, names)
    assert stream.misses == missed, "what was learned in two rounds holds"
    device.finish()


@pytest.mark.parametrize("seed", range(8))
def test_any_order_is_right(seed: int) -> None:
    """Also where what comes next was never seen."""
    chosen = random.Random(seed)
    names = "".join(chosen.choice("abcdef") for _ in range(120))
    stream, device = opened(seed, "abcdef")
    run(stream, device, names)
    device.finish()
    assert stream.hits + stream.misses == len(names)


def test_what_stays_lies_evenly_and_the_first_weights_come_first() -> None:
    residency = Residency(600, 1000, 1000)
    first = [residency.keeps(100) for _ in range(10)]
    assert first == [False, True, False, True, True] * 2
    assert [residency.keeps(100) for _ in range(10)] == [False] * 10
    assert (residency.kept, residency.streamed) == (600, 1400)
    ample = Residency(1500, 1000, 1000)
    assert all(ample.keeps(100) for _ in range(10))
    assert sum(ample.keeps(100) for _ in range(10)) == 5
    large = Residency(600, 1000, 0)
    large.stays(590)
    assert not any(large.keeps(100) for _ in range(10)), "what stays in any case counts"
    assert not any(Residency(100, 1000, 1000).keeps(101) for _ in range(3))
