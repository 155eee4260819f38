"""Go on where a server ends and starts again in the middle of a command that a person is answering."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
AGAIN_S: Final = 0.5  # between two questions for what is not there yet


def patiently(act: Callable[[], T], timeout_s: float) -> T:
    """Do what may be done more than once, and again where the server was just ending; the client does where it is gone.

    Args:
        timeout_s: for how long.

    Raises:
        SalonError: as `act`.
    """
    from ..client.errors import Draining

    until = time.monotonic() + timeout_s
    while True:
        try:
            return act()
        except Draining:
            if time.monotonic() >= until:
                raise
        time.sleep(AGAIN_S)
