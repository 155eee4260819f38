"""Define the options of `salon serve`. The command line reads its defaults from here; standard library only."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ...studio.service.options import ServiceOptions
from ...system import home

DEFAULT_LISTEN: Final = "tcp://127.0.0.1:5599"
DEFAULT_METRICS: Final = "127.0.0.1:5600"
DEFAULT_HTTP: Final = "127.0.0.1:5580"  # of `salon serve`; a server that a program starts has none


def default_data() -> Path:
    """Return `$XDG_DATA_HOME/salon`, or `~/.local/share/salon` if that is not set (or relative, which does not count).

    Raises:
        NoHome: neither exists.
    """
    base = os.environ.get("XDG_DATA_HOME", "")
    folder = Path(base) if os.path.isabs(base) else home("name a folder with --data") / ".local" / "share"
    return folder / "salon"


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ServiceOptions):
    """All options of a server, beside those of its service. A server reads nothing from the environment later.

    Attributes:
        data: folder of the store, of pictures and of the server's key.
        listen: addresses to bind, `tcp://HOST:PORT`.
        paused: whether it accepts jobs, but starts no step before `salon ops resume`.
        metrics: `HOST:PORT` of the page of metrics; None: there is no page.
        http: `HOST:PORT` of HTTP; None: there is none. Beyond loopback it needs a certificate, and accounts have keys.
        http_optional: whether the server starts without HTTP, and says so, where that cannot be.
        http_url: the address by which people reach HTTP, where a proxy stands before it, like `https://salon.example`;
            accounts then have keys. None: that of `http`.
        tls_cert, tls_key: PEM files of HTTP's certificate and its key; None: HTTP is not encrypted.
        curve: whether to encrypt and identify; None: exactly if strangers reach it, by an address of `listen` or by
            HTTP. Accounts are then keys of 64 hex digits.
        rate, burst: requests a second that one account may send over time, and at once; a rate of 0: no limit; None:
            500 with `curve`, else no limit.
        grace_s: seconds that running jobs may go on after SIGTERM; the rest goes on after the next start.
        log_json: whether log lines are JSON objects.
    """

    data: Path = field(default_factory=default_data)
    listen: tuple[str, ...] = (DEFAULT_LISTEN,)
    paused: bool = False
    metrics: str | None = DEFAULT_METRICS
    http: str | None = None
    http_optional: bool = False
    http_url: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    curve: bool | None = None
    rate: float | None = None
    burst: int = 1000
    grace_s: float = 10.0
    log_json: bool = False
