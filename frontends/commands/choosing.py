"""Show two pictures at a time in a terminal, and read by key which is liked better.

Everything slow is done by two threads: one sends answers, the other fetches and draws the next pictures while the
present ones are looked at. So nothing waits between a key and the next pictures.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from ...errors import complaint
from ..terminal.graphics import Graphics, Window
from ..terminal.pictures import GAP, Canvas, Place, canvas_of
from ..terminal.session import REDRAW, WOKEN, Session
from .parsing import UsageError
from .words import clean

if TYPE_CHECKING:
    import argparse

KEYS: Final = {"1": "left", "2": "right", "3": "skip", "left": "left", "right": "right", "down": "skip", " ": "skip"}
HELP: Final = "1 left, 2 right, 3 skip, u undo, q end"
AROUND: Final = 5  # lines around the pictures: progress, an empty one, captions, message, keys
END_S: Final = 10.0  # the longest wait at the end for answers that are on their way
BAR: Final = 24  # columns of the bar


def want_terminal(command: str, remedy: str) -> None:
    """Raise UsageError unless the command can show pictures and read keys."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(complaint(command, "no terminal", "one on both standard input and output", remedy))


def choose_among(options: argparse.Namespace, pairs: Pairs, title: str, waiting: str) -> Chooser:
    """Show pairs on the whole terminal until they end, or the user does, and give it back. Raises as `Chooser.run`."""
    canvas = canvas_of(options.graphics)
    with Session(escapes=canvas.escapes, pictures=canvas.graphics is Graphics.KITTY) as session:
        chooser = Chooser(canvas, session, pairs, title, waiting)
        chooser.run()
    return chooser


@dataclass(frozen=True)
class Shown:
    """A pair as it is shown: the files of both pictures, what stands under each, and its name for `Pairs.choose`."""

    name: str
    files: tuple[bytes, bytes]
    captions: tuple[str, str]


class Pairs(Protocol):
    """A source of pairs. SalonErrors end the choosing.

    `next` is called on one thread, when all answers have been taken; `choose` and `undo` on another. `next` and `undo`
    are never under way together.
    """

    def next(self) -> Shown | None:
        """Return the next pair; None: there are no more."""

    def choose(self, name: str, choice: str) -> str:
        """Take an answer: left, right or skip. Return a message, or ""."""

    def undo(self) -> tuple[str, Shown | None]:
        """Take the last answer back. Return a message, and its pair, to be answered anew; None: there was no answer."""

    def progress(self) -> tuple[int, int, str]:
        """Return (done, of how many, both in words)."""


@dataclass(frozen=True)
class _Drawn:
    """A pair, drawn for a window of one size."""

    pair: Shown
    window: Window
    row: tuple[str, Place] | None


class Chooser:
    """The screen on which pairs are answered.

    Args:
        canvas: draws pictures.
        session: reads keys.
        pairs: where the pairs come from.
        title: stands above.
        waiting: stands there while no pair has come yet.

    Attributes:
        answered: number of answers that were given.
        unsure: whether the last answers may not have arrived.
    """

    def __init__(self, canvas: Canvas, session: Session, pairs: Pairs, title: str, waiting: str) -> None:
        self.answered = 0
        self.unsure = False
        self._canvas, self._session, self._pairs = canvas, session, pairs
        self._title, self._waiting = title, waiting
        self._changed = threading.Condition()  # guards what follows
        self._message = ""
        self._ready: deque[_Drawn] = deque()  # the pairs after the present one
        self._again: _Drawn | None = None  # whose answer was taken back: it comes before the present one
        self._fetching = False  # the next pair is on its way
        self._undoing = self._undone = False  # an answer is to be taken back; that is done, and not shown yet
        self._over = self._ended = False  # there are no more pairs; the user has enough
        self._error: BaseException | None = None  # of an answer: ends the choosing at once
        self._no_more: BaseException | None = None  # why there are no more pairs: the present one can still be answered
        self._answers: deque[Callable[[], str]] = deque()  # the first is being sent
        self._on_screen: _Drawn | None = None

    def run(self) -> None:
        """Show pairs until there are no more, or q or Ctrl-C.

        Raises:
            SalonError: the source of the pairs raised it.
        """
        for work in (self._fetch, self._send):
            threading.Thread(target=work, name="salon-pairs", daemon=True).start()
        try:
            self._loop()
        except KeyboardInterrupt:
            pass  # the usual way to leave it
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._answers or self._error is not None, END_S)
                self.unsure = bool(self._answers)
        if self._error is not None:
            raise self._error

    # ---- the screen ------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        shown: _Drawn | None = None
        while True:
            with self._changed:
                if self._error is not None:
                    return
                before = shown
                shown = self._next(shown)
                if shown is None and self._over and not self._undoing:
                    self._error = self._no_more
                    return
                if shown is not before:
                    self._changed.notify_all()  # the one after it is fetched now
                    self._session.drop_keys(KEYS)  # these chose among what was there before
            if shown is not None and shown.window != self._canvas.window():
                shown = self._drawn(shown.pair)
            self._draw(shown)
            while (key := self._session.key()) != WOKEN:
                if key == REDRAW:
                    self._on_screen = None
                    break
                if key in ("q", "Q", "end"):
                    return
                if self._undoing:
                    continue  # another pair is about to be shown, and a key would choose in this one
                if key in ("u", "U"):
                    self._undoing = True
                    self._answer(self._undo)
                elif key in KEYS and shown is not None and shown.row is not None:
                    self._answer(partial(self._pairs.choose, shown.pair.name, KEYS[key]))
                    self.answered += 1
                    shown = None
                    break

    def _next(self, shown: _Drawn | None) -> _Drawn | None:
        """Return the pair to show now, which may be the present one. Called while `_changed` is held."""
        if self._undone:
            self._undoing = self._undone = False
        if (again := self._again) is not None:
            self._again = None
            after = [each for each in (shown, *self._ready) if each is not None and each.pair.name != again.pair.name]
            self._ready = deque(after)
            return again
        return self._ready.popleft() if shown is None and self._ready else shown

    def _answer(self, act: Callable[[], str]) -> None:
        with self._changed:
            self._message = ""
            self._answers.append(act)
            self._changed.notify_all()

    def _draw(self, shown: _Drawn | None) -> None:
        """Draw everything, or what is written around the pictures if they stand there already."""
        window = self._canvas.window()
        head, message = self._head(window), self._fit(self._message, window)
        if shown is not None and shown is self._on_screen and shown.row is not None:
            self._session.update({1: head, shown.row[1].rows + 4: message})
            return
        self._on_screen = shown
        if shown is None:
            middle = f"{self._fit(self._waiting, window)}\n"
        elif shown.row is None:
            middle = f"{self._fit('the window has no room for two pictures: make it larger', window)}\n"
        else:
            middle = shown.row[0] + _captions(shown.pair.captions, shown.row[1])
        self._session.show(f"{head}\n\n{middle}{message}\n{self._fit(HELP, window)}")

    def _head(self, window: Window) -> str:
        done, of, text = self._pairs.progress()
        filled = min(BAR, BAR * done // of) if of else 0
        bar = f"{'#' * filled}{'.' * (BAR - filled)} " if of and window.columns > BAR + len(text) + 20 else ""
        return self._fit(f"{self._title} {bar}{text}", window)

    def _fit(self, line: str, window: Window) -> str:
        return _fitted(clean(line), max(1, window.columns - 1))

    def _drawn(self, pair: Shown) -> _Drawn:
        window = self._canvas.window()
        return _Drawn(pair, window, self._canvas.row(pair.files, window.lines - AROUND))

    # ---- the threads -----------------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        """Fetch a pair whenever none is ready, and all answers before it have arrived."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or not (self._ready or self._answers))
                if self._ended:
                    return
                self._fetching = True
            drawn: _Drawn | None = None
            try:
                pair = self._pairs.next()
                drawn = None if pair is None else self._drawn(pair)
            except BaseException as error:
                self._no_more = error
            with self._changed:
                self._fetching = False
                if drawn is None:
                    self._over = True
                else:
                    self._ready.append(drawn)
                self._changed.notify_all()
            self._session.wake()
            if drawn is None:
                return

    def _undo(self) -> str:
        """Take the last answer back, and have its pair shown again before the present one."""
        with self._changed:  # what is being fetched would be taken for that pair
            self._changed.wait_for(lambda: self._ended or not self._fetching)
        message, pair = self._pairs.undo()
        drawn = None if pair is None else self._drawn(pair)
        with self._changed:
            self._again, self._undone = drawn, True
        return message

    def _send(self) -> None:
        """Send answers, in order, also those that are left when the user has enough."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or bool(self._answers))
                if not self._answers:
                    return
                act = self._answers[0]
            try:
                message = act()
            except BaseException as error:  # raised by the main thread, which gives the terminal back first
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                self._session.wake()
                return
            with self._changed:
                self._answers.popleft()
                self._message = message or self._message
                self._changed.notify_all()
            self._session.wake()  # the progress has changed


def _captions(captions: tuple[str, str], place: Place) -> str:
    """Return a line with what stands under both pictures."""
    from rich.cells import set_cell_size

    left, right = (_fitted(f"{i} {clean(caption)}", place.columns) for i, caption in enumerate(captions, 1))
    return f"{set_cell_size(left, place.columns)}{' ' * GAP}{right}\n"


def _fitted(text: str, columns: int) -> str:
    """Cut a text to so many columns; characters of some scripts take two."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= columns else set_cell_size(text, columns - 1).rstrip() + "…"
