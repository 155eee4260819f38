"""How a model, its steps and its decodings are kept within a device's memory, with numbers in every refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salon.engine.device import LEAST, RESERVE, UNIT, fitted, loading_on, want_room
from salon.engine.engine import Engine
from salon.engine.errors import DeviceFull, DeviceLost, LimitError
from salon.engine.limits import Limits
from salon.kernels import backends
from salon.kernels.accelerator import Room
from salon.kernels.reference import ReferenceOps
from salon.kernels.streaming import ROOM_BYTES, Residency

GIB = 2**30
LIMITS = Limits(arena_bytes=GIB)


class Card:
    """A device of which only the memory matters."""

    name, label = "cuda:1", "NVIDIA H200"

    def __init__(self, free: int, total: int) -> None:
        self.memory = Room(free, total)

    def room(self) -> Room:
        return self.memory

    streams = False

    def full(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    def lost(self, error: BaseException) -> str | None:
        return "it fell off the bus" if isinstance(error, ConnectionError) else None


def card(free: int, total: int) -> Any:
    return Card(free, total)


def test_a_model_that_what_is_free_does_not_hold() -> None:
    need = 24 * GIB + GIB + RESERVE + LEAST
    told = rf"cuda:1 \(NVIDIA H200\): got a model that needs {need:,} bytes \({24 * GIB:,} of them weights\), allowed "
    with pytest.raises(LimitError, match=told + rf"{9 * GIB:,} bytes, which are free of {80 * GIB:,}; end what else"):
        want_room(LIMITS, card(9 * GIB, 80 * GIB), 24 * GIB)
    assert want_room(LIMITS, card(need, 80 * GIB), 24 * GIB) is None


def test_a_model_that_is_larger_than_the_card_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of it stays as leaves a fourth of the card, the arena and two places for what is streamed."""
    monkeypatch.setattr("salon.engine.device.free_memory", lambda: 64 * GIB)
    total = 16 * GIB
    kept = want_room(LIMITS, card(15 * GIB, total), 24 * GIB)
    assert kept == total - GIB - RESERVE - ROOM_BYTES - total // 4
    steps = fitted(LIMITS, card(GIB, total), 24 * GIB).max_step_bytes
    assert total // 4 - UNIT * 3 < steps * 9 / 4 <= total // 4
    streamed = f"and {24 * GIB - kept:,} bytes of weights that are streamed"
    with pytest.raises(LimitError, match=f"{streamed}, allowed {8 * GIB:,} bytes, which are free of {total:,}; end"):
        want_room(LIMITS, card(8 * GIB, total), 24 * GIB)
    with pytest.raises(LimitError, match=f"streamed, allowed {GIB:,} bytes; use a device with more memory, .* arena"):
        want_room(LIMITS, card(GIB, GIB), 24 * GIB)
    monkeypatch.setattr("salon.engine.device.free_memory", lambda: 3 * GIB)
    with pytest.raises(LimitError, match=f"{streamed}, allowed {3 * GIB:,} bytes of the host's memory; free some"):
        want_room(LIMITS, card(15 * GIB, total), 24 * GIB)


def test_limits_follow_from_the_size_of_the_card() -> None:
    """Not from what is free: workers on equal cards must have equal limits."""
    found = fitted(LIMITS, card(70 * GIB, 80 * GIB), 24 * GIB)
    assert found == fitted(LIMITS, card(50 * GIB, 80 * GIB), 24 * GIB)
    assert found.max_step_bytes == found.max_decode_bytes
    assert found.max_step_bytes % UNIT == 0
    rest = 80 * GIB - 24 * GIB - GIB - RESERVE
    assert found.max_step_bytes * 9 / 4 <= rest < (found.max_step_bytes + UNIT) * 9 / 4
    chosen = fitted(Limits(arena_bytes=GIB, max_step_bytes=GIB, max_decode_bytes=2**50), card(GIB, 80 * GIB), 24 * GIB)
    assert (chosen.max_step_bytes, chosen.max_decode_bytes) == (GIB, found.max_step_bytes)


def test_errors_of_a_device_while_a_model_is_loaded() -> None:
    full = r"cuda:1 \(NVIDIA H200\): got no memory left amid 'load', 1 bytes free of 2"
    with pytest.raises(DeviceFull, match=full), loading_on(card(1, 2)):
        raise MemoryError
    lost = r"got it fell off the bus amid 'load' \(gone\), allowed a working device"
    with pytest.raises(DeviceLost, match=lost), loading_on(card(1, 2)):
        raise ConnectionError("gone")
    for device in (None, card(1, 2)):
        with pytest.raises(KeyError), loading_on(device):
            raise KeyError("a bug")


def test_an_engine_is_refused_before_its_weights_are_packed(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ops(ReferenceOps):
        accelerator = card(0, 2 * GIB)

        def pack_linear(self, *args: Any, **options: Any) -> Any:
            raise AssertionError("packed")

    monkeypatch.setattr(backends, "create", lambda *args, **options: Ops())
    with pytest.raises(LimitError, match="0 bytes, which are free of"):
        Engine.load(tiny_model, limits=Limits(arena_bytes=2**20))


def test_an_engine_streams_what_its_device_does_not_hold(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of the model that is stepped are the first, of which as many stay as fit; no step is captured."""
    given: list[Residency] = []

    class Small(Card):
        def stream(self, residency: Residency) -> None:
            given.append(residency)
            self.streams = True

    class Ops(ReferenceOps):
        accelerator: Any = Small(2**40, RESERVE + ROOM_BYTES + LEAST + 2**20 + 1000)

    monkeypatch.setattr(backends, "create", lambda *args, **options: Ops())
    monkeypatch.setattr("salon.engine.device.LEAST", LEAST)
    engine = Engine.load(tiny_model, limits=Limits(arena_bytes=2**20))
    assert engine.graphs is not None
    assert not given, "it fits"
    monkeypatch.setattr("salon.engine.device.kept_bytes", lambda *args: 1000)
    engine = Engine.load(tiny_model, limits=Limits(arena_bytes=2**20))
    assert engine.graphs is None
    (residency,) = given
    assert residency.budget == 1000
    assert residency._first > residency._rest > 1
