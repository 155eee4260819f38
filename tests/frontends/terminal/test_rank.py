"""`salon rank` in a terminal: what it shows, what its keys do, and that the terminal is given back."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from salon.frontends.client.client import Client
from salon.frontends.client.fake import FakeServer
from tests.frontends.conftest import COMMAND, Main

from .conftest import Start, choices
from .screen import PATIENCE_S, Screen, given_back, pairs_seen

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
