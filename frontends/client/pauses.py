"""Choose how long a client waits before it tries again to connect."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

FIRST_PAUSE_S: Final = 0.05  # doubled for each further failure
LONGEST_PAUSE_S: Final = 5.0


def dice() -> float:
    """Return a random number from 0 to 1, so that clients that were cut off together do not come back together."""
    return os.urandom(1)[0] / 255


def pause_before(failures: int, chance: Callable[[], float]) -> float:
    """Return the seconds before the next attempt, after so many failures in a row."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 20)) * (1 + chance()) / 2
