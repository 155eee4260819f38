"""The exit codes of all commands. Shells add 128 for a signal: 130 is Ctrl-C."""

from __future__ import annotations

import sys
from typing import Final

from ...errors import SalonError

DONE: Final = 0  # what was asked for was done
BROKEN: Final = 1  # a job that was waited for ended without pictures; `doctor` or a check found something broken; a bug
REFUSED: Final = 2  # the command line, the engine or the server refused it; nothing was done
UNREACHABLE: Final = 3  # no server there, the connection was lost, or no answer came in time
INTERRUPTED: Final = 130  # Ctrl-C
SUMMARY: Final = "0 done, 1 a job failed or something is broken, 2 refused, 3 no server, 130 interrupted"


def code_of(error: SalonError) -> int:
    """Return the exit code of a command that ended with this error."""
    if f"{__package__.rpartition('.')[0]}.client.errors" not in sys.modules:
        return REFUSED  # it cannot be one of the client's, and importing them takes a while
    from ..client import errors as client

    if isinstance(error, client.KeyRefused):
        return REFUSED
    if isinstance(error, client.Disconnected | client.TimedOut):
        return UNREACHABLE
    if isinstance(error, client.NoPictures | client.BadAnswer | client.BadPicture | client.ServerBug):
        return BROKEN
    return REFUSED
