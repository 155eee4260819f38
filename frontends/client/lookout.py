"""Notice that a server does not answer while requests wait, and that it answers again. Pure data, like `core.py`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final

from .core import Core

ASK_S: Final = 2.0  # after this silence the server is asked for a sign of life: a job's events may be far apart
TELL_S: Final = 4.0  # after this silence `news` tells it

OnContact = Callable[[float | None], object]


class Lookout:
    """Looks at a core after each of its turns, and when `due` has come.

    Attributes:
        news: alternately, seconds of silence, and None when the server answers again; for `on_contact`.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._asked_at = -math.inf
        self._silent = False
        self.news: deque[float | None] = deque()

    @property
    def due(self) -> float:
        """When to look again, if nothing happens before.

        Infinite while no request waits, or when the silence was told.
        """
        core = self._core
        if self._silent or not core.pending:
            return math.inf
        if core.away_since is not None:
            return core.away_since + TELL_S
        return core.heard + ASK_S if self._answered else self._asked_at + TELL_S - ASK_S

    @property
    def _answered(self) -> bool:
        return self._core.away_since is None and self._core.heard >= self._asked_at

    def look(self) -> bool:
        """Look at the core. Return whether it has something to send now."""
        core, now = self._core, self._core.clock()
        if self._silent:
            if self._answered:
                self._silent = False
                self.news.append(None)
        elif now >= self.due:
            if self._answered:
                self._asked_at = now
                core.ping()
                return True
            self._silent = True
            self.news.append(now - (core.heard if core.away_since is None else core.away_since))
        return False

    def take(self) -> list[float | None]:
        """Return the news, and forget them."""
        news = list(self.news)
        self.news.clear()
        return news
