"""Keep a terminal for one command: keys one by one, and a screen of its own. Both are given back at every end."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final

from .keys import keys_in

ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[H"  # another screen, no cursor
LEAVE: Final = "\x1b_Ga=d,q=2\x1b\\"  # kitty keeps pictures until told
BACK: Final = "\x1b[?25h\x1b[?1049l"
CLEAR: Final = "\x1b[H\x1b[2J"
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"  # of what is to be seen only when it is whole
REDRAW: Final = "redraw"  # in place of a key: the window has another size, or the command goes on after a stop
WOKEN: Final = "woken"  # in place of a key: `wake` was called


class Session:
    """A terminal whose keys are read one by one and not shown. A context manager, for the main thread.

    The terminal gets its settings and its screen back when the block ends: by its end, an error, Ctrl-C or SIGTERM
    (which raises SystemExit); also while the command is stopped (Ctrl-Z).

    Args:
        escapes: whether the terminal knows escape sequences; else it keeps its one screen.
        pictures: whether it may have pictures of kitty's, which are removed at the end.
    """

    def __init__(self, *, escapes: bool, pictures: bool = False) -> None:
        self._escapes = escapes
        self._leave = (LEAVE if pictures else "") + BACK
        self._source, self._settings = sys.stdin.fileno(), list[Any]()
        self._keys: list[str] = []
        self._rest = b""
        self._wake, self._waker = os.pipe()
        self._handlers: dict[int, Any] = {}
        self._stop_asked = self._redraw = False

    def __enter__(self) -> Session:
        os.set_blocking(self._waker, False)
        os.set_blocking(self._wake, False)
        self._settings = termios.tcgetattr(self._source)
        try:
            self._on(signal.SIGWINCH, self._resized)
            self._on(signal.SIGTSTP, self._stopped)
            self._take()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._wake)
        os.close(self._waker)

    def key(self, timeout_s: float | None = None) -> str | None:
        """Return the next key, `REDRAW` or `WOKEN`, or None after so many seconds. "end": the terminal is gone.

        See `keys.keys_in` for the names of keys.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._keys:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return None
            ready = select.select([self._source, self._wake], [], [], left)[0]
            if self._wake in ready:
                os.read(self._wake, 4096)
                if self._stop_asked:
                    self._stop()
                redraw, self._redraw = self._redraw, False
                return REDRAW if redraw else WOKEN
            if self._source in ready and not self._listen():
                return "end"
        return self._keys.pop(0)

    def drop_keys(self, keys: Container[str]) -> None:
        """Throw those of some keys away that were typed up to now."""
        while select.select([self._source], [], [], 0)[0] and self._listen():
            pass
        self._keys = [key for key in self._keys if key not in keys]

    def write(self, text: str) -> None:
        """Write a whole text at the cursor, in as many parts as the terminal takes."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def update(self, lines: Mapping[int, str]) -> None:
        """Write lines anew by their numbers, from 1; what stands elsewhere stays. The cursor comes back to its place.

        A terminal without escape sequences gets those that are not empty below what it has.
        """
        if self._escapes:
            self.write("".join(["\x1b7", *(f"\x1b[{row};1H{line}\x1b[K" for row, line in lines.items()), "\x1b8"]))
        else:
            self.write("".join(f"\n{line}" for line in lines.values() if line))

    def show(self, text: str) -> None:
        """Show a text on an empty screen, at once where the terminal can do that. One without escape sequences gets it
        below what it has."""
        self.write(f"{BEGIN}{CLEAR}{text}{END}" if self._escapes else f"\n{text}")

    def wake(self) -> None:
        """Make `key` return `WOKEN`, soon. Any thread may call this."""
        with suppress(OSError):  # full: `key` returns anyway; or the block has ended
            os.write(self._waker, b"!")

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _listen(self) -> bool:
        """Read what was typed. Return False if the terminal is gone."""
        try:
            typed = os.read(self._source, 4096)
        except OSError:
            return False
        found, self._rest = keys_in(self._rest + typed)
        self._keys += found
        return bool(typed)

    def _on(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        self._handlers[number] = signal.signal(number, handler)

    def _take(self) -> None:
        settings = termios.tcgetattr(self._source)
        settings[3] &= ~(termios.ECHO | termios.ICANON)
        settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
        settings[6][termios.VQUIT] = b"\x00"  # Ctrl-\ would end the command without giving the terminal back
        termios.tcsetattr(self._source, termios.TCSANOW, settings)
        if self._escapes:
            self.write(ENTER)

    def _give_back(self) -> None:
        """Restore screen and settings, as far as the terminal is still there."""
        if self._escapes:
            with suppress(OSError, ValueError):
                self.write(self._leave)
        if self._settings:
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._source, termios.TCSANOW, self._settings)

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self._redraw = True
        self.wake()

    def _stopped(self, _number: int, _frame: FrameType | None) -> None:
        """Take note of Ctrl-Z; `key` stops, since this may have interrupted a write."""
        self._stop_asked = self._redraw = True
        self.wake()

    def _stop(self) -> None:
        """Give the terminal back, stop, and take it again when the command goes on."""
        self._stop_asked = False
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # a session without a shell cannot be stopped, and goes on at once
        signal.signal(signal.SIGTSTP, self._stopped)
        self._settings = termios.tcgetattr(self._source)  # the shell may have changed them
        self._take()
