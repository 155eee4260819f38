"""Files that are held, and files that are being deleted: each waits for the other, and nobody asks twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from salon.studio.errors import StoreBusy
from salon.studio.service import pins
from salon.studio.service.pins import Pins, Unpinned
from salon.studio.store.blobs import MemoryBlobs

from ..conftest import TIMEOUT


def test_holding_waits_for_a_deletion_and_keeps_others_from_beginning() -> None:
    held, holding, events = Pins(), threading.Event(), []

    def hold() -> None:
        holding.set()
        held.hold("job", ["a", "b"])
        events.append("held")

    thread = threading.Thread(target=hold)

    def delete() -> int:
        thread.start()
        assert holding.wait(TIMEOUT)
        events.append("deleted")
        return 7

    assert held.delete("a", delete) == 7
    thread.join(TIMEOUT)
    assert events == ["deleted", "held"]
    assert held.delete("b", lambda: pytest.fail("it is held")) == 0
    held.hold("job", ["a", "b"])  # another time changes nothing
    held.release("job")
    assert held.delete("b", lambda: 3) == 3


def test_a_deletion_that_does_not_end_is_an_error_and_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "HOLD_S", 0.01)
    held = Pins()

    def delete() -> int:
        with pytest.raises(StoreBusy, match="still being deleted"):
            held.hold("job", ["a"])
        return 1

    assert held.delete("a", delete) == 1
    assert held.delete("a", lambda: 1) == 1  # nobody holds it


def test_rows_are_asked_while_nobody_can_take_hold() -> None:
    """A job lets go when its row is stored: who asked the rows before and the holds after would find neither."""
    blobs, held, order = MemoryBlobs(), Pins(), []
    digest = blobs.put(b"pixels")

    class Rows:
        def referenced(self, digests: Any) -> set[str]:
            order.append("asked")
            assert held.delete(digest, lambda: pytest.fail("two deletions of one file")) == 0
            return {digest}

    files = Unpinned(Rows(), blobs, held)  # type: ignore[arg-type]
    held.hold("job", [digest])
    assert (files.delete(digest), order) == (0, [])
    held.release("job")
    assert (files.delete(digest), order) == (0, ["asked"])
    assert blobs.has(digest)
