"""Open, replace, read and write a core's socket. No other module does, and nothing here waits.

A socket is one connection. When it breaks, the link makes a new socket, so that no message for an old connection can
reach a new one. ZeroMQ reports the break on a second socket, the monitor.

Both are watched by their file descriptors, which signal only changes: after `pump` has left a socket empty, the next
message signals. Another thread may watch them while no thread is in a method of the link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

import zmq

from ...errors import complaint
from ...system import TooFewDescriptors, need_descriptors
from ...values import path_of, shown
from ..wire.address import Address, parse_address
from ..wire.errors import KeyFileError
from .core import Core
from .errors import ClientClosed, ClientError, KeyRefused

if TYPE_CHECKING:
    from ..wire.keys import KeyPair

DEFAULT: Final = "tcp://127.0.0.1:5599"  # where a server listens by default
MAX_FRAME: Final = 1 << 21  # bytes; twice the largest frame that the wire allows
OF_A_SOCKET: Final = 12  # descriptors of a socket and its context
DESCRIPTORS: Final = OF_A_SOCKET + 4  # of a client, which also has a pipe, and at times a file
NOBODY: Final = "nobody listens there"  # seen of an address where no server is
BYE_MS: Final = 2000  # how long a closed socket may go on in the background to send its Bye

_HEAD: Final = struct.Struct("=hi")  # event, value
_RETRIED: Final = int(zmq.Event.CONNECT_RETRIED)
_BROKE: Final = int(zmq.Event.DISCONNECTED)
_TROUBLE: Final = {
    int(zmq.Event.HANDSHAKE_FAILED_NO_DETAIL): "a connection that ends in the handshake (a wrong key after #?)",
    int(zmq.Event.HANDSHAKE_FAILED_PROTOCOL): "another protocol, or encryption on one side only",
}
_REFUSED: Final = int(zmq.Event.HANDSHAKE_FAILED_AUTH)
_EVENTS: Final = _RETRIED | _BROKE | _REFUSED | sum(_TROUBLE)
_SCARCE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)  # errors that may pass
_FORBIDDEN: Final = 400  # ZAP's status for a key that is not let in; the other ones may pass


def find_address(address: str | None) -> Address:
    """Return the address of the server: the given one, else `SALON_SERVER`, else the default of servers.

    Raises:
        AddressError: it cannot be read.
    """
    return parse_address(address if address is not None else os.environ.get("SALON_SERVER") or DEFAULT)


def find_pair(key: str | os.PathLike[str] | KeyPair | None, address: Address) -> KeyPair | None:
    """Return the key pair, if the connection is encrypted, else None.

    Args:
        key: a key pair or its file; None: the user's file.

    Raises:
        KeyFileError: the file cannot be read.
    """
    if not address.server_key:
        return None
    from ..wire.keys import KeyPair, client_key_path, load_pair

    if isinstance(key, KeyPair):
        return key
    if key is None:
        return load_pair(client_key_path())
    if (path := path_of(key)) is None:
        allowed = "a key pair, or the path of its file"
        raise KeyFileError(complaint("key", shown(key), allowed, "leave it out for the user's own"))
    return load_pair(Path(path))


class Link:
    """The sockets of one core.

    Args:
        core: the core whose messages it carries.
        address: address of the server.
        pair: identity of this side, if the connection is encrypted.

    Raises:
        TooFewDescriptors: see `system.py`; libzmq itself would abort the process.
    """

    def __init__(self, core: Core, address: Address, pair: KeyPair | None) -> None:
        need_descriptors(DESCRIPTORS, "client")
        self._core, self._address, self._pair = core, address, pair
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._trouble = ""
        self.fds: tuple[int, ...] = ()  # the descriptors to watch for input

    def mend(self) -> None:
        """Open or close sockets, as the core needs it. Only the thread or loop that watches `fds` calls this."""
        self.release()
        if not self._core.wants_socket:
            return
        try:
            self._open()
        except zmq.ZMQError as error:
            if error.errno not in _SCARCE:
                raise
            self._shut()
            self._core.unopened(str(error))
        else:
            self._core.opened()

    def release(self) -> None:
        """Close sockets that are no longer of use. Only the thread or loop that watches `fds` calls this."""
        if not self._core.has_socket:
            self._shut()

    def pump(self) -> None:
        """Carry all messages that can be carried now."""
        while self._socket is not None:
            news = self._listen()
            self._receive()
            for event, value in news:
                if self._core.has_socket:  # when the connection has ended, new attempts of its socket do not matter
                    self._seen(event, value)
            self._core.tick()
            if not self._core.has_socket or not self._send():
                return  # after sending, read again: sending may have consumed the signal of a new message

    def close(self) -> None:
        """Send what the core still has to say, and close the sockets."""
        with contextlib.suppress(zmq.ZMQError):  # the context may have ended
            if self._socket is not None:
                self._send()
        self._shut(BYE_MS)

    def _open(self) -> None:
        need_descriptors(OF_A_SOCKET, "client")
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        socket = context.socket(zmq.DEALER)
        try:
            socket.linger = 0
            socket.maxmsgsize = MAX_FRAME
            socket.ipv6 = self._address.is_ipv6
            socket.reconnect_ivl, socket.reconnect_ivl_max = 100, 2000  # until connected; `_BROKE` ends it later
            if self._pair is not None:
                from ..wire.keys import secure_client

                secure_client(socket, self._pair, self._address.server_key)
            self._monitor = socket.get_monitor_socket(_EVENTS)
            socket.connect(self._address.endpoint)
        except BaseException:
            socket.close()
            raise
        self._socket, self._trouble = socket, ""
        self.fds = (int(socket.getsockopt(zmq.FD)), int(self._monitor.getsockopt(zmq.FD)))

    def _shut(self, linger_ms: int = 0) -> None:
        if self._socket is not None:
            with contextlib.suppress(zmq.ZMQError):
                self._socket.disable_monitor()
            self._socket.close(linger_ms)
        if self._monitor is not None:
            self._monitor.close(0)
        self._socket = self._monitor = None
        self.fds = ()

    def _listen(self) -> list[tuple[int, int]]:
        assert self._monitor is not None
        news = []
        try:
            while True:
                event, value = _HEAD.unpack(self._monitor.recv_multipart(zmq.DONTWAIT)[0])
                news.append((int(event), int(value)))
        except zmq.Again:
            return news

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            while True:
                self._core.receive(self._socket.recv_multipart(zmq.DONTWAIT))
        except zmq.Again:
            pass

    def _send(self) -> bool:
        assert self._socket is not None
        outbox, sent = self._core.outbox, False
        try:
            while outbox:
                self._socket.send_multipart(outbox[0], zmq.DONTWAIT)
                outbox.popleft()
                sent = True
        except zmq.Again:
            pass  # the queue is full: the socket signals when it is not
        return sent

    def _seen(self, event: int, value: int) -> None:
        """Take note of an event of the connection. All messages from before a break have been read by now."""
        if event == _RETRIED:
            self._core.trouble = NOBODY
        elif event == _BROKE:
            self._core.lost(self._trouble or "the connection broke")
        elif event == _REFUSED and value == _FORBIDDEN and self._pair is not None:
            text = f"server {self._core.where}: it does not let the key {self._pair.public} in; ask its operator to"
            self._core.fail(KeyRefused(text))
        else:
            self._trouble = _TROUBLE.get(event, "a server that cannot check keys")


def shut(core: Core, link: Link, why: ClientClosed) -> None:
    """End both, so that no caller waits any longer, even if the core or the link is broken.

    `why` says more than the errors that may follow from it, which are suppressed.
    """
    with contextlib.suppress(Exception):
        core.close(why)
    for exchange in core.pending:
        with contextlib.suppress(Exception):  # for example, the caller's event loop may have ended
            exchange.end(why)
    with contextlib.suppress(Exception):
        link.close()


def threadless(error: RuntimeError) -> ClientError:
    """Return the error for a thread that does not start. The client is as it was."""
    remedy = "end some threads or processes, or raise the limit (ulimit -u), and ask again"
    return ClientError(f"client: a thread does not start ({error}); {remedy}")


def unforeseen(error: BaseException) -> ClientClosed:
    """Return the error for a client that cannot go on because of this one."""
    if isinstance(error, zmq.ZMQError):  # for example, the context was ended
        end = closed(f"its socket failed ({error})")
    elif isinstance(error, TooFewDescriptors):
        end = ClientClosed(str(error))
    else:
        line = " ".join(str(error).split())[:200]
        end = closed(f"it met an error that nobody foresaw ({type(error).__name__}: {line})")
    end.__cause__ = error
    return end


def closed(why: str = "it was closed") -> ClientClosed:
    """Return the error for a client that has ended."""
    return ClientClosed(f"client: {why}; make a new one")
