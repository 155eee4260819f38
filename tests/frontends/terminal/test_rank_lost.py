"""`salon rank` and `salon tune` where the connection breaks, or the server ends, in the middle of something."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from typing import Any

import pytest

from salon.frontends.client.client import Client
from salon.frontends.client.fake import FakeServer
from salon.frontends.wire.messages import TasteSwitch, TasteUndo
from salon.studio.service.taste_logs import TasteLogs

from .conftest import Start, choices
from .screen import given_back, pairs_seen


class Stuck:
    """An entry of a log that is not written until it is let go, or its server ends; see `stuck`.

    Attributes:
        on: kind of the next one.
        begun: one is under way.
        left: how many were not written.
    """

    def __init__(self) -> None:
        self.on, self.begun, self.left = "", threading.Event(), 0
        self._go: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait(self) -> None:
        """Wait on the server's event loop."""
        self.on, self._go, self._loop = "", asyncio.Event(), asyncio.get_running_loop()
        self.left += 1
        self.begun.set()
        await self._go.wait()
        self.left -= 1

    def let_go(self) -> None:
        """Have it written."""
        assert self._loop is not None
        assert self._go is not None
        self._loop.call_soon_threadsafe(self._go.set)


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Stuck:
    """Has the next entry of a kind stay under way, with the account's log in its hands."""
    add, stuck = TasteLogs.add, Stuck()

    async def slow(self: TasteLogs, account: str, rows: Any, *besides: Any) -> None:
        if rows[0].kind == stuck.on:
            await stuck.wait()
        await add(self, account, rows, *besides)

    monkeypatch.setattr(TasteLogs, "add", slow)
    return stuck


def told(fake: FakeServer) -> list[tuple[str, bool]]:
    """Which events the log has, and whether they count, the first one first."""
    with Client(fake.address) as client:
        return [(event.choice, event.on) for event in reversed(client.taste.events().events)]


def undos(fake: FakeServer) -> int:
    """How often a client asked to undo."""
    return sum(isinstance(each, TasteUndo) for each in fake.requests)


def test_a_server_that_goes(start: Start, fake: FakeServer) -> None:
    screen = start("rank", "--timeout", "5")
    screen.wait_for("  2 ")
    fake.stop()
    screen.send("1")
    screen.send("2")
    assert screen.finish() in (2, 3)  # by whether it told the client that it goes
    given_back(screen)
    assert re.search(r"salon: error: .*server", screen.last)


def test_a_connection_that_breaks(start: Start, fake: FakeServer) -> None:
    screen = start("rank")
    screen.wait_for("  2 ")
    screen.press("1")
    fake.drop()
    screen.press("22")
    screen.send("q")
    assert screen.finish() == 0
    assert choices(fake) == ["left", "right", "right"]


def test_an_undo_whose_answer_is_lost_with_the_connection(start: Start, fake: FakeServer) -> None:
    screen = start("rank")
    screen.wait_for("  2 ")
    screen.press("11")
    fake.lose("taste.undo")
    screen.press("u")
    screen.wait_for("choose anew")
    screen.press("2")
    screen.send("q")
    assert screen.finish() == 0
    a, b, c, *again = pairs_seen(screen)
    assert again[:2] == [b, c]
    assert told(fake) == [("left", True), ("left", False), ("right", True)]
    assert undos(fake) == 1, "one was enough"
    assert screen.last == "2 of 200; 198 to go"


def test_an_undo_that_a_killed_server_did_not_carry_out(start: Start, fake: FakeServer, stuck: Stuck) -> None:
    screen = start("rank")
    screen.wait_for("  2 ")
    screen.press("11")
    stuck.on = "switch"
    screen.send("u")
    assert stuck.begun.wait(20)
    fake.stop()
    assert stuck.left == 1, "it was not carried out"
    with FakeServer(fake.address, drawn=True, house=fake.house) as second:
        screen.wait_for("choose anew")
        screen.press("2")
        screen.send("q")
        assert screen.finish() == 0
        assert told(second) == [("left", True), ("left", False), ("right", True)]
    a, b, c, *again = pairs_seen(screen)
    assert again[:2] == [b, c]
    assert screen.last == "2 of 200; 198 to go"


def test_an_answer_that_a_killed_server_did_not_write(start: Start, fake: FakeServer, stuck: Stuck) -> None:
    screen = start("rank")
    screen.wait_for("  2 ")
    stuck.on = "pair"
    screen.send("1")
    assert stuck.begun.wait(20)
    fake.stop()
    assert stuck.left == 1
    with FakeServer(fake.address, drawn=True, house=fake.house) as second:
        screen.wait_for("1 of 200")
        screen.wait_for("  2 ", 2)
        screen.send("q")
        assert screen.finish() == 0
        assert told(second) == [("left", True)]


def test_an_undo_that_is_under_way_when_the_connection_breaks(start: Start, fake: FakeServer, stuck: Stuck) -> None:
    """It takes one answer back, and not the one before it too."""
    screen = start("rank")
    screen.wait_for("  2 ")
    screen.press("11")
    stuck.on = "switch"
    screen.send("u")
    assert stuck.begun.wait(20)
    fake.drop()
    end = time.monotonic() + 20
    while not any(isinstance(each, TasteSwitch) for each in fake.requests):
        assert time.monotonic() < end
        time.sleep(0.01)
    stuck.let_go()
    screen.wait_for("choose anew")
    screen.send("q")
    assert screen.finish() == 0
    assert told(fake) == [("left", True), ("left", False)]
    a, b, c, *again = pairs_seen(screen)
    assert again == [b]


def test_an_undo_without_a_server_ends_as_an_answer_does(start: Start, fake: FakeServer, stuck: Stuck) -> None:
    screen = start("rank", "--timeout", "1")
    screen.wait_for("  2 ")
    screen.press("1")
    stuck.on = "switch"
    screen.send("u")
    assert stuck.begun.wait(20)
    fake.stop()
    assert screen.finish() in (2, 3)  # by whether it told the client that it goes
    given_back(screen)
    assert re.search(r"salon: error: .*server", screen.last)


def test_a_tuner_goes_on_over_broken_connections(start: Start, fake: FakeServer) -> None:
    screen = start("tune", "a cat", "--pairs", "2")
    screen.wait_for("  2 ")
    screen.press("1")
    fake.cut(1)  # of the pictures of the pair, which the undo fetches again
    screen.send("u")
    screen.wait_for("choose anew")
    fake.lose("taste.profile.new")
    screen.press("2")
    screen.send("1")
    assert screen.finish() == 0
    with Client(fake.address) as client:
        (made,) = client.taste.profiles()
    assert (made.name, made.kind, len(made.styles)) == ("a-cat", "tuner", 2)
    assert re.search(f"profile {made.profile} of 2 styles", screen.text)
