"""A terminal for tests: the real command runs in it, and it keeps what the command wrote and what it answers."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.frontends.conftest import COMMAND

PATIENCE_S = 90.0
ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|_.*?\x1b\\|\].*?\x07|P.*?\x1b\\|[78])", re.S)
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
CLOSE = b"\x00that was all\x00"  # written behind what a command wrote, when it has ended


class Screen:
    """A command in a pseudo-terminal, which is its controlling one.

    Args:
        words: of `salon`.
        attributes: what the terminal answers to a question for its attributes; empty: nothing.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        size: tuple[int, int] = (30, 90),
        attributes: bytes = b"\x1b[?62;22c",
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.there, here = pty.openpty()
        termios.tcsetwinsize(here, size)
        self.before = termios.tcgetattr(here)
        self._heard, self._attributes = b"", attributes
        self._read_as = (-1, "", "")  # how much was heard, its text and words: pictures are long
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
        for name in ("NO_COLOR", "TMUX", "STY", "KITTY_WINDOW_ID", "TERM_PROGRAM", "LC_TERMINAL"):
            if name not in (env or {}):
                environment.pop(name, None)
        self.process = subprocess.Popen(
            [*command, *words],
            cwd=folder,
            env=environment,
            stdin=here,
            stdout=here,
            stderr=here,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.here = here
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that was written, with the terminal's own line ends undone."""
        return self._reading()[0]

    @property
    def words(self) -> str:
        """The same without escape sequences."""
        return self._reading()[1]

    def _reading(self) -> tuple[str, str]:
        """Text and words of what was written so far. What is known of it is not read again."""
        heard = self._heard
        if self._read_as[0] != len(heard):
            text = heard.decode(errors="replace").replace("\r\n", "\n")
            self._read_as = (len(heard), text, ESCAPES.sub("", text))
        return self._read_as[1:]

    @property
    def last(self) -> str:
        """The last line that was written after the screen was given back, without escape sequences."""
        return ESCAPES.sub("", self.text.rpartition(LEAVE)[2]).splitlines()[-1]

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until a text was written so often, without regard to escape sequences, or with them."""
        end = time.monotonic() + PATIENCE_S
        while self.words.count(text) < count and self.text.count(text) < count:
            assert time.monotonic() < end, f"no {text!r} in {self.words!r}"
            if self.process.poll() is not None:
                self._read_all()
                found = max(self.words.count(text), self.text.count(text))
                assert found >= count, f"it ended: {self.words!r}"
                return
            time.sleep(0.01)

    def send(self, keys: str | bytes) -> None:
        os.write(self.there, keys.encode() if isinstance(keys, str) else keys)

    def press(self, keys: str, caption: str = "  2 ") -> None:
        """Press keys one after another, each when the caption of the next pair is there."""
        for key in keys:
            seen = self.words.count(caption)
            self.send(key)
            self.wait_for(caption, seen + 1)

    def resize(self, lines: int, columns: int) -> None:
        termios.tcsetwinsize(self.there, (lines, columns))
        self.process.send_signal(signal.SIGWINCH)

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.here)

    def finish(self) -> int:
        """Wait for the command's end, and return its exit code."""
        code = self.process.wait(PATIENCE_S)
        self._read_all()
        return code

    def _read_all(self) -> None:
        """Wait until all is heard that the command wrote, which has ended."""
        os.write(self.here, CLOSE)
        end = time.monotonic() + PATIENCE_S
        while CLOSE not in self._heard:
            assert time.monotonic() < end, "nobody reads the terminal"
            time.sleep(0.005)
        self._heard = self._heard.replace(CLOSE, b"")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        os.close(self.here)
        self._reader.join(PATIENCE_S)
        os.close(self.there)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.there, 65536)
            except OSError:  # every other end is closed
                return
            if not data:
                return
            self._heard += data
            if self._heard.endswith(b"\x1b[c") and self._attributes:
                os.write(self.there, self._attributes)


def given_back(screen: Screen, times: int = 1) -> None:
    """The terminal has its settings, its screen and its cursor again."""
    assert screen.settings() == screen.before
    assert screen.text.count(ENTER) == screen.text.count(LEAVE) == times
    assert screen.text.rindex("\x1b[?25h") > screen.text.rindex("\x1b[?25l")


def pairs_seen(screen: Screen) -> list[str]:
    """The pairs that were drawn, by their pixels, in order; one that was drawn again over itself counts once."""
    frames = (re.findall("^.*▀.*$", frame, re.MULTILINE) for frame in screen.text.split("\x1b[2J"))
    seen = ["\n".join(lines) for lines in frames if lines]
    return [one for number, one in enumerate(seen) if number == 0 or one != seen[number - 1]]
