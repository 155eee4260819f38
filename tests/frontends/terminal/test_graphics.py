"""Which way to show pictures a terminal gets, by its environment and by its answers."""

from __future__ import annotations

import os
import pty
import termios
import threading
import time
from collections.abc import Iterator

import pytest

from salon.frontends.terminal.graphics import QUERY, Answers, Graphics, answers_in, ask_terminal, detect, window_of

NOTHING, SIXEL, KITTY = Answers(), Answers(sixel=True), Answers(kitty=True, sixel=True)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """(the terminal's side, the program's side)."""
    there, here = pty.openpty()
    yield there, here
    os.close(there)
    os.close(here)


@pytest.mark.parametrize(
    ("environment", "answers", "expected"),
    [
        ({"TERM": "xterm-256color"}, NOTHING, Graphics.BLOCKS),
        ({"TERM": "xterm-256color"}, SIXEL, Graphics.SIXEL),
        ({"TERM": "xterm-256color"}, KITTY, Graphics.KITTY),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, NOTHING, Graphics.SHADES),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, NOTHING, Graphics.BLOCKS),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, NOTHING, Graphics.BLOCKS),  # of the outer terminal
        ({"TERM": "xterm-256color", "TMUX": "/tmp/t", "LC_TERMINAL": "iTerm2"}, SIXEL, Graphics.SIXEL),
    ],
)
def test_what_the_terminal_answers(environment: dict[str, str], answers: Answers, expected: Graphics) -> None:
    assert detect(environment, lambda: answers) is expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Graphics.SHADES),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, Graphics.SHADES),
        ({"TERM": "linux"}, Graphics.BLOCKS),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, Graphics.BLOCKS),
        ({"TERM": "xterm-kitty"}, Graphics.KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Graphics.KITTY),
        ({"TERM": "xterm-ghostty"}, Graphics.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Graphics.ITERM2),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Graphics.ITERM2),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Graphics.ITERM2),
    ],
)
def test_what_needs_no_question(environment: dict[str, str], expected: Graphics) -> None:
    def ask() -> Answers:
        raise AssertionError("a question")

    assert detect(environment, ask) is expected


def test_an_encoding_without_blocks() -> None:
    assert detect({"TERM": "xterm"}, lambda: NOTHING, unicode=False) is Graphics.SHADES
    assert detect({"TERM": "xterm"}, lambda: SIXEL, unicode=False) is Graphics.SIXEL


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (b"", Answers()),
        (b"\x1b[?62;22c", Answers()),
        (b"\x1b[?62;4;22c", Answers(sixel=True)),
        (b"\x1b[?4c", Answers()),  # a class of terminals, not an attribute
        (b"\x1b[?64;14;44c", Answers()),
        (b"\x1b_Gi=31;OK\x1b\\\x1b[?62c", Answers(kitty=True)),
        (b"\x1b_Gi=31;ENOTSUP:no\x1b\\\x1b[?62c", Answers()),
        (b"q\x1b[6;18;9t\x1b[?1;2c", Answers(cell=(9, 18))),
        (b"\x1b[6;0;0t\x1b[?1;2c", Answers()),
    ],
)
def test_answers(heard: bytes, expected: Answers) -> None:
    assert answers_in(heard) == expected


def test_a_terminal_that_answers_in_parts(terminal: tuple[int, int]) -> None:
    there, here = terminal
    asked = []

    def answer() -> None:
        asked.append(os.read(there, 4096))
        for part in (b"\x1b_Gi=31;", b"OK\x1b\\\x1b[6;20;1", b"0t\x1b[?62;4", b"c"):
            os.write(there, part)
            time.sleep(0.02)

    before = termios.tcgetattr(here)
    thread = threading.Thread(target=answer)
    thread.start()
    assert ask_terminal(here, here, 60.0) == Answers(kitty=True, sixel=True, cell=(10, 20))
    thread.join()
    assert asked == [QUERY]
    assert os.read(there, 4096) == b"\r\x1b[K"
    assert termios.tcgetattr(here) == before


def test_a_terminal_that_says_nothing(terminal: tuple[int, int]) -> None:
    _, here = terminal
    before, start = termios.tcgetattr(here), time.monotonic()
    assert ask_terminal(here, here, 0.1) == Answers()
    assert 0.1 <= time.monotonic() - start < 30
    assert termios.tcgetattr(here) == before


def test_no_question_for_what_is_no_terminal(terminal: tuple[int, int]) -> None:
    read, write = os.pipe()
    there, here = terminal
    os.set_blocking(there, False)
    for source, target in ((read, here), (here, write), (read, write)):
        assert ask_terminal(source, target) == Answers()
    with pytest.raises(BlockingIOError):
        os.read(there, 1)
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)


def test_the_window(terminal: tuple[int, int]) -> None:
    _, here = terminal
    termios.tcsetwinsize(here, (40, 100))
    window = window_of(here, (8, 17))
    assert (window.columns, window.lines, window.cell) == (100, 40, (8, 17))
    read, write = os.pipe()
    assert (window_of(read).columns, window_of(read).lines) == (80, 24)
    os.close(read)
    os.close(write)
