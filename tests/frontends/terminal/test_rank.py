"""`salon rank` in a terminal: what it shows, what its keys do, and that the terminal is given back."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salon.frontends.client.client import Client
from salon.frontends.client.fake import FakeServer
from salon.frontends.wire.messages import TasteSwitch, TasteUndo
from salon.studio.service.taste_logs import TasteLogs
from tests.frontends.conftest import COMMAND, Main

from .screen import ENTER, LEAVE, PATIENCE_S, Screen

Start = Callable[..., Screen]
LEADER = """
import os, signal, subprocess, sys
os.set_blocking(0, True)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = subprocess.Popen(sys.argv[1:], process_group=0)
os.tcsetpgrp(0, child.pid)
while True:
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    os.tcsetpgrp(0, os.getpgrp())
    print("STOPPED", flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, child.pid)
    os.killpg(child.pid, signal.SIGCONT)
"""

PATIENT = """
import sys
from salon.frontends import cli
from salon.frontends.terminal import graphics
graphics.ask_terminal.__defaults__ = (60.0,)
sys.exit(cli.main())
"""  # waits for the terminal's answer however long it takes


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer(drawn=True) as server:
        yield server


@pytest.fixture
def start(tmp_path: Path, fake: FakeServer) -> Iterator[Start]:
    screens: list[Screen] = []

    def begin(*words: str, env: dict[str, str] | None = None, **options: Any) -> Screen:
        screens.append(Screen(words, tmp_path, {"SALON_SERVER": fake.address, **(env or {})}, **options))
        return screens[-1]

    yield begin
    for screen in screens:
        screen.close()


def given_back(screen: Screen, times: int = 1) -> None:
    """The terminal has its settings, its screen and its cursor again."""
    assert screen.settings() == screen.before
    assert screen.text.count(ENTER) == screen.text.count(LEAVE) == times
    assert screen.text.rindex("\x1b[?25h") > screen.text.rindex("\x1b[?25l")


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


def choices(fake: FakeServer) -> list[str]:
    """What was answered, the first answer first."""
    with Client(fake.address) as client:
        return [event.choice for event in reversed(client.taste.events().events)]


def test_pairs_are_shown_and_answered(start: Start, fake: FakeServer) -> None:
    screen = start("rank")
    screen.wait_for("  2 ")  # before the caption of the right one
    assert re.search(r"\x1b\[(?:0;)?38;2;[0-9;]*48;2;[0-9;]*m▀", screen.text), "half blocks in 24 bits"
    screen.press("123")
    screen.send("q")
    assert screen.finish() == 0
    given_back(screen)
    assert choices(fake) == ["left", "right", "skip"]
    assert screen.last == "2 of 200; 198 to go"


def test_undo_and_arrows(start: Start, fake: FakeServer) -> None:
    with Client(fake.address) as client:
        client.taste.pair().choose("left")  # before
    screen = start("rank")
    screen.wait_for("  2 ")
    screen.send("u")
    screen.wait_for("nothing to take back")
    screen.press("1")
    screen.wait_for("2 of 200")
    screen.send("u")
    screen.wait_for("is switched off")
    screen.wait_for("1 of 200", 2)
    screen.send("\x1b[C")  # right
    screen.wait_for("2 of 200", 2)
    screen.send("q")
    assert screen.finish() == 0
    with Client(fake.address) as client:
        events = [(one.choice, one.on) for one in client.taste.events().events]
    assert events == [("right", True), ("left", False), ("left", True)]


def pairs_seen(screen: Screen) -> list[str]:
    """The pairs that were drawn, by their pixels, in order; one that was drawn again over itself counts once."""
    frames = (re.findall("^.*▀.*$", frame, re.MULTILINE) for frame in screen.text.split("\x1b[2J"))
    seen = ["\n".join(lines) for lines in frames if lines]
    return [one for number, one in enumerate(seen) if number == 0 or one != seen[number - 1]]


def test_an_undone_pair_is_shown_again_before_the_one_on_the_screen(start: Start, fake: FakeServer) -> None:
    screen = start("rank")
    screen.wait_for("  2 ")
    screen.press("11u")
    screen.wait_for("choose anew")
    screen.press("u")
    screen.wait_for("choose anew", 2)
    screen.press("2211")
    screen.send("q")
    assert screen.finish() == 0
    a, b, c, *seen = pairs_seen(screen)
    assert len({a, b, c}) == 3
    assert seen[:4] == [b, a, b, c]
    assert len(set(seen)) == 5, "then new ones"
    with Client(fake.address) as client:
        events = client.taste.events().events[::-1]
    assert [(one.choice, one.on) for one in events] == [
        ("left", False), ("left", False), ("right", True), ("right", True), ("left", True), ("left", True)
    ]  # fmt: skip
    first, second, again, second_again = ([each.digest for each in one.pictures] for one in events[:4])
    assert (again, second_again) == (first, second)
    assert screen.last == "4 of 200; 196 to go"


def test_an_undo_takes_back_no_like_that_came_later(start: Start, fake: FakeServer) -> None:
    screen = start("rank")
    screen.wait_for("  2 ")
    screen.press("1")
    screen.wait_for("1 of 200")
    with Client(fake.address) as client:
        job = client.imagine("a cat")
        job.wait()
        client.like(job)
        screen.send("u")
        screen.wait_for("a like came after it: `salon profile switch 1 off` takes yours back")
        client.like(job, on=False)
        client.taste.switch(1, False)
        screen.send("u")
        screen.wait_for("event 1 was switched off elsewhere")
        assert [(one.kind, one.on) for one in client.taste.events().events] == [("like", False), ("pair", False)]
    screen.send("q")
    assert screen.finish() == 0
    assert len(pairs_seen(screen)) == 2


def test_keys_choose_nothing_while_an_answer_is_taken_back(start: Start, fake: FakeServer) -> None:
    screen = start("rank")
    screen.wait_for("  2 ")
    screen.press("1")
    screen.wait_for("1 of 200")
    screen.send("u112u")
    screen.wait_for("choose anew")
    screen.send("q")
    assert screen.finish() == 0
    assert choices(fake) == ["left"]
    assert screen.last == "0 of 200; 200 to go"


@pytest.mark.parametrize("end", ["q", "\x03", "\x04"], ids=["q", "Ctrl-C", "Ctrl-D"])
def test_ends_with_a_summary(start: Start, end: str) -> None:
    screen = start("rank", "--json")
    screen.wait_for("  2 ")
    screen.press("2")
    screen.send(end)
    assert screen.finish() == 0
    given_back(screen)
    told = json.loads(screen.last)
    assert told == {"answered": 1, "events": 1, "needed": 200, "code": ""}


def test_sigterm(start: Start) -> None:
    screen = start("rank")
    screen.wait_for("  2 ")
    screen.process.terminate()
    assert screen.finish() == 128 + signal.SIGTERM
    given_back(screen)


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


def test_an_error_of_our_own(start: Start, tmp_path: Path) -> None:
    """A crash gives the terminal back, too."""
    (tmp_path / "crash.py").write_text(
        "import runpy, sys\n"
        "from salon.frontends.terminal.pictures import Canvas\n"
        "Canvas.row = lambda *_: 1 / 0\n"
        "sys.argv[0] = 'salon'\n"
        "runpy.run_module('salon.frontends.cli', run_name='__main__')\n"
    )
    screen = start("rank", command=(sys.executable, "crash.py"))
    assert screen.finish() == 1
    given_back(screen)
    assert "ZeroDivisionError" in screen.words


def test_stopped_and_continued(start: Start, fake: FakeServer) -> None:
    screen = start("rank", command=(sys.executable, "-c", LEADER, *COMMAND))
    screen.wait_for("  2 ")
    screen.send("\x1a")
    screen.wait_for("STOPPED")
    given_back(screen)
    seen = screen.words.count("  2 ")
    screen.send("\n")
    screen.wait_for("  2 ", seen + 1)
    assert screen.settings() != screen.before
    screen.send("1")
    screen.wait_for("1 of 200")
    screen.send("q")
    assert screen.finish() == 0
    given_back(screen, 2)
    assert choices(fake) == ["left"]


def test_keys_before_a_pair_is_there_choose_nothing(start: Start, fake: FakeServer) -> None:
    fake.hold = True
    screen = start("rank")
    screen.wait_for("the server draws")
    screen.send("111")
    fake.release()
    screen.wait_for("  2 ")
    screen.send("q")
    assert screen.finish() == 0
    assert choices(fake) == []


def test_a_window_that_changes(start: Start) -> None:
    screen = start("rank", size=(12, 9))
    screen.wait_for("the win")
    screen.resize(30, 90)
    screen.wait_for("  2 ")
    lines = screen.text.rpartition("\x1b[2J")[2].count("▀")
    screen.resize(50, 160)
    end = time.monotonic() + PATIENCE_S
    while screen.text.rpartition("\x1b[2J")[2].count("▀") <= lines:
        assert time.monotonic() < end
        time.sleep(0.05)
    screen.send("q")
    assert screen.finish() == 0
    given_back(screen)


def test_graphics_that_the_terminal_has(start: Start) -> None:
    screen = start("rank", command=(sys.executable, "-c", PATIENT), attributes=b"\x1b_Gi=31;OK\x1b\\\x1b[?62;4c")
    screen.wait_for("  2 ")
    assert "\x1b_Ga=T,f=100,q=2,C=1," in screen.text
    screen.send("q")
    assert screen.finish() == 0
    assert screen.text.rindex("\x1b_Ga=d,q=2\x1b\\") > screen.text.rindex("\x1b_Ga=T"), "its pictures are removed"
    other = start("rank", "--graphics", "sixel")
    other.wait_for("  2 ")
    assert "\x1bP0;1;0q" in other.text
    assert "\x1b[c" not in other.text, "what is said is not asked"
    other.send("q")
    assert other.finish() == 0


def test_a_terminal_without_escape_sequences(start: Start) -> None:
    screen = start("rank", env={"TERM": "dumb"})
    screen.wait_for("  2 ")
    screen.send("1")
    screen.wait_for("1 of 200")
    screen.send("q")
    assert screen.finish() == 0
    assert "\x1b" not in screen.text
    assert screen.settings() == screen.before


def test_no_colour(start: Start) -> None:
    screen = start("rank", env={"NO_COLOR": "1"})
    screen.wait_for("  2 ")
    screen.send("q")
    assert screen.finish() == 0
    assert not re.search(r"\x1b\[[0-9;]*m", screen.text)


def test_without_a_terminal(main: Main, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALON_SERVER", fake.address)
    for words in (("rank",), ("tune", "a cat")):
        code, out, err = main(*words)
        assert (code, out) == (2, "")
        assert re.fullmatch(
            rf"salon: error: {words[0]}: got no terminal, allowed one .*; run it in a terminal.*\n", err
        )
    assert fake.requests == []


def test_a_profile_that_is_not_there(start: Start) -> None:
    screen = start("rank", "--profile", "nobody")
    assert screen.finish() == 2
    given_back(screen)
    assert re.search("salon: error: .*nobody", screen.last)


def test_unlocks_with_a_code(tmp_path: Path) -> None:
    with FakeServer(drawn=True, unlock=2) as fake:
        screen = Screen(["rank"], tmp_path, {"SALON_SERVER": fake.address})
        try:
            screen.wait_for("  2 ")
            screen.press("12")
            screen.wait_for("unlocked: --p")
            screen.send("q")
            assert screen.finish() == 0
            with Client(fake.address) as client:
                (code,) = client.taste.codes()
            assert screen.last == f"2 ratings; code {code.code}: --p {code.code}"
        finally:
            screen.close()


def test_picks_up_where_it_was(start: Start, fake: FakeServer) -> None:
    for count in (1, 2):
        screen = start("rank")
        screen.wait_for("  2 ")
        screen.press("1")
        screen.send("q")
        assert screen.finish() == 0
        assert screen.last == f"{count} of 200; {200 - count} to go"
    assert choices(fake) == ["left", "left"]
    assert os.environ.get("SALON_SERVER") != fake.address
