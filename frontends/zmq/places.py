"""Check the place where a server is to listen, so that it takes no place that is in use."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Final

from ...errors import SalonError, complaint
from ...system import calling, explain
from ..wire.address import parse_address

ANSWER_S: Final = 2.0


class ListenError(SalonError):
    """The server cannot listen at this address."""


def check_place(address: str) -> None:
    """Check the path of an ipc address before ZeroMQ removes what lies there.

    A socket at which no program answers any more may be removed. The system itself tells whether a tcp address is free.

    Raises:
        AddressError: the address cannot be read.
        ListenError: something else than a socket is there, or a program listens.
    """
    parsed = parse_address(address, bind=True)
    if parsed.transport != "ipc":
        return
    path, where = parsed.host, f"--listen {address}"
    try:
        with calling("stat", path):
            mode = os.lstat(path).st_mode
        if not stat.S_ISSOCK(mode):
            kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"), (stat.S_ISREG, "a file"))
            got = next((name for is_kind, name in kinds if is_kind(mode)), "no socket")
            raise ListenError(complaint(where, f"{got} at that path", "a free path", "choose another, or remove it"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, calling("connect", path):
            probe.settimeout(ANSWER_S)
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        return  # the socket of a server that was killed
    except OSError as error:
        if not isinstance(error, TimeoutError) and error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
            got, allowed, remedy = explain(error)
            raise ListenError(complaint(where, got, allowed, remedy)) from error
    raise ListenError(
        complaint(where, "a socket that another program listens on", "a free path", "end that, or choose another")
    )
