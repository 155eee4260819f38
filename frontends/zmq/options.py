"""What `salon serve` is told. The command line reads its defaults from here; standard library only."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ...studio.service.options import ServiceOptions
from ...system import home

DEFAULT_LISTEN: Final = "tcp://127.0.0.1:5599"
DEFAULT_METRICS: Final = "127.0.0.1:5600"


def default_data() -> Path:
    """`$XDG_DATA_HOME/salon`, or `~/.local/share/salon` where that is not set (or relative, which does not count).

    Raises:
        NoHome: neither is there.
    """
    base = os.environ.get("XDG_DATA_HOME", "")
    folder = Path(base) if os.path.isabs(base) else home("name a folder with --data") / ".local" / "share"
    return folder / "salon"


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ServiceOptions):
    """Everything about a server, beside what its service stands on; nothing is read from the environment later.

    Attributes:
        data: folder of the server's key, too.
        listen: addresses to bind, `tcp://HOST:PORT`.
        paused: accept jobs, but start no step before `salon ops resume`.
        metrics: `HOST:PORT` of the page of metrics; None: none.
        curve: encrypt and identify; None: exactly if an address of `listen` is beyond loopback. Accounts are then keys
            of 64 hex digits.
        rate, burst: requests a second that one account may send over time, and at once; a rate of 0: no limit; None:
            500 with `curve`, else no limit.
        grace_s: after SIGTERM, running jobs may go on so long; what is left goes on after the next start.
        log_json: log lines as JSON objects.
    """

    data: Path = field(default_factory=default_data)
    listen: tuple[str, ...] = (DEFAULT_LISTEN,)
    paused: bool = False
    metrics: str | None = DEFAULT_METRICS
    curve: bool | None = None
    rate: float | None = None
    burst: int = 1000
    grace_s: float = 10.0
    log_json: bool = False
