"""Find out how a terminal shows pictures: by one of three protocols, or by characters.

What the environment says for certain is believed. Else the terminal is asked, with a deadline: a kitty graphics query,
which other terminals skip, then the primary device attributes, which nearly every terminal answers and which list
sixel graphics as 4. Nothing is written to what is no terminal.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ANSWER_S: Final = 0.4  # the longest wait for the terminal's answers; over a slow line pictures are blocks then
CELL: Final = (10, 20)  # width and height of a character in pixels, where the terminal does not say
QUERY: Final = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c"  # kitty graphics, size of a cell, attributes
NO_ESCAPES: Final = ("", "dumb", "unknown")  # values of TERM: the terminal knows no escape sequences
MULTIPLEXERS: Final = ("tmux", "screen")  # beginnings of TERM: what the outer terminal can do does not count
CONSOLES: Final = ("linux", "cons25", "vt52")  # beginnings of TERM: terminals that print a query that they do not know
PRINTERS: Final = ("Apple_Terminal",)  # likewise, values of TERM_PROGRAM
ERASE: Final = b"\r\x1b[K"  # what a terminal has printed of a query

_ATTRIBUTES: Final = re.compile(rb"\x1b\[\?([0-9;]*)c")
_KITTY_OK: Final = re.compile(rb"\x1b_Gi=31;OK\x1b\\")
_CELL: Final = re.compile(rb"\x1b\[6;([0-9]{1,4});([0-9]{1,4})t")


class Graphics(StrEnum):
    """A way to show pictures in a terminal.

    `BLOCKS` are half blocks, two pixels a character, in colour; `SHADES` characters without colour or escape sequences.
    """

    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    BLOCKS = "blocks"
    SHADES = "shades"


@dataclass(frozen=True)
class Answers:
    """The answers of a terminal to `QUERY`.

    Attributes:
        kitty: whether it draws kitty graphics.
        sixel: whether it draws sixel graphics.
        cell: width and height of a character, in pixels; None: it did not say.
    """

    kitty: bool = False
    sixel: bool = False
    cell: tuple[int, int] | None = None


Ask = Callable[[], Answers]


def detect(environment: Mapping[str, str], ask: Ask, *, unicode: bool = True) -> Graphics:
    """Return the best way in which a terminal shows pictures.

    Args:
        environment: the process's.
        ask: asks the terminal; called only where the environment leaves it open.
        unicode: whether the terminal's encoding has block characters.
    """
    term = environment.get("TERM", "")
    if term in NO_ESCAPES:
        return Graphics.SHADES
    characters = Graphics.BLOCKS if unicode and not environment.get("NO_COLOR") else Graphics.SHADES
    if term.startswith(CONSOLES) or environment.get("TERM_PROGRAM") in PRINTERS:
        return characters
    if not (term.startswith(MULTIPLEXERS) or environment.get("TMUX") or environment.get("STY")):
        if environment.get("KITTY_WINDOW_ID") or "kitty" in term or "ghostty" in term:
            return Graphics.KITTY
        if environment.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
            return Graphics.ITERM2
    answers = ask()
    if answers.kitty:
        return Graphics.KITTY
    return Graphics.SIXEL if answers.sixel else characters


def ask_terminal(source: int, target: int, patience_s: float = ANSWER_S) -> Answers:
    """Ask a terminal what it can do, and wait for its answers at most `patience_s` seconds. The cursor is in column 0.

    Args:
        source, target: descriptors to read from and write to; no question is asked unless both are terminals.
    """
    if not (os.isatty(source) and os.isatty(target)):
        return Answers()
    before = termios.tcgetattr(source)
    quiet = termios.tcgetattr(source)
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    quiet[6][termios.VMIN], quiet[6][termios.VTIME] = 1, 0
    heard = b""
    try:
        termios.tcsetattr(source, termios.TCSANOW, quiet)
        os.write(target, QUERY)
        end = time.monotonic() + patience_s
        while not _ATTRIBUTES.search(heard) and (left := end - time.monotonic()) > 0:
            if select.select([source], [], [], left)[0]:
                more = os.read(source, 4096)
                if not more:  # the terminal is gone
                    break
                heard += more
        os.write(target, ERASE)
    except OSError:  # not a terminal any more; what is written next says so
        return Answers()
    finally:
        termios.tcsetattr(source, termios.TCSANOW, before)
    return answers_in(heard)


def answers_in(heard: bytes) -> Answers:
    """Return what a terminal's answers say."""
    attributes = _ATTRIBUTES.search(heard)
    cell = _CELL.search(heard)
    size = (int(cell[2]), int(cell[1])) if cell is not None else (0, 0)
    return Answers(
        kitty=_KITTY_OK.search(heard) is not None,
        sixel=attributes is not None and b"4" in attributes[1].split(b";")[1:],
        cell=size if min(size) > 0 else None,
    )


@dataclass(frozen=True)
class Window:
    """A terminal's window: columns and lines of characters, and (width, height) of one in pixels."""

    columns: int
    lines: int
    cell: tuple[int, int] = CELL


def window_of(target: int, cell: tuple[int, int] | None = None) -> Window:
    """Return the size of a terminal's window now; 80 by 24 where it does not say.

    Args:
        cell: what the terminal has answered; used where the system does not know the window's pixels.
    """
    try:
        lines, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(target, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        lines = columns = width = height = 0
    columns, lines = columns or 80, lines or 24
    if width >= columns and height >= lines:
        cell = (width // columns, height // lines)
    return Window(columns, lines, cell or CELL)
