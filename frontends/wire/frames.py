"""Turn the frames of a multipart message into (id, record, bytes) and back, on both sides.

Frames here are without the routing id that a ROUTER socket puts before them. An error carries the id of its message, so
that a message can be refused without being understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...errors import complaint
from .checks import MAX_ID
from .codec import MAX_MESSAGE, MAX_REPLY, decode_reply, decode_request, encode
from .errors import BadMessage, MessageError
from .messages import Bye, Chunk, Credit, Event, Ping, Record, Reply, Request

NO_ID: Final = b""  # the id of a notice
NOTICES: Final = (Credit, Bye)  # requests without an answer
MAX_PAYLOAD: Final = 1 << 20  # bytes of a third frame


def split_request(frames: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return (id, encoded record) of a client's message.

    Raises:
        BadMessage: it has not two frames, or its id is too long.
    """
    id = _id(frames)
    if len(frames) != 2:
        raise BadMessage(_frames(len(frames), "2 (id, record)"), id)
    return id, frames[1]


def split_reply(frames: Sequence[bytes]) -> tuple[bytes, bytes, bytes | None]:
    """Return (id, encoded record, bytes or None) of the server's message.

    Raises:
        BadMessage: it has not two or three frames, or its id is too long.
    """
    id = _id(frames)
    if not 2 <= len(frames) <= 3:
        raise BadMessage(_frames(len(frames), "2 or 3 (id, record, bytes)"), id)
    return id, frames[1], frames[2] if len(frames) == 3 else None


def read_request(frames: Sequence[bytes], max_bytes: int = MAX_MESSAGE) -> tuple[bytes, Request]:
    """Return (id, request) of a client's message: well formed, every field in its range, and an id if an answer is due.

    Raises:
        MessageError: it is not so (TooLarge, UnknownMessage, BadMessage). The Failure goes to the error's `id`.
    """
    id, body = split_request(frames)
    try:
        request = decode_request(body, max_bytes)
    except MessageError as error:
        error.id = id
        raise
    if isinstance(request, NOTICES):
        if id != NO_ID:
            raise BadMessage(complaint("id", f"{len(id)} bytes", "none: it is a notice", "leave it empty"), id)
    elif id == NO_ID and not isinstance(request, Ping):
        raise BadMessage(complaint("id", "none", f"1 to {MAX_ID} bytes", "choose one, the answer bears it"))
    return id, request


def read_reply(frames: Sequence[bytes], max_bytes: int = MAX_REPLY) -> tuple[bytes, Reply, bytes | None]:
    """Return (id, reply, bytes or None) of the server's message.

    Bytes of a kind that this side does not know pass, since the server may be newer.

    Raises:
        MessageError: the message is not like that (TooLarge, UnknownMessage, BadMessage).
    """
    id, body, payload = split_reply(frames)
    try:
        reply = decode_reply(body, max_bytes)
    except MessageError as error:
        error.id = id
        raise
    if payload is None and has_payload(reply):
        raise BadMessage(complaint("third frame", "none", "the bytes of a chunk or preview", "correct it"), id)
    return id, reply, payload


def has_payload(reply: Record) -> bool:
    """Return whether a third frame belongs to a record."""
    return isinstance(reply, Chunk) or (isinstance(reply, Event) and reply.kind == "preview")


def request_frames(id: bytes, request: Record) -> list[bytes]:
    """Return a client's message, ready to send."""
    assert len(id) <= MAX_ID
    return [id, encode(request)]


def reply_frames(id: bytes, reply: Record, payload: bytes | None = None) -> list[bytes]:
    """Return the server's message, ready to send."""
    assert has_payload(reply) == (payload is not None)
    return [id, encode(reply)] if payload is None else [id, encode(reply), payload]


def _id(frames: Sequence[bytes]) -> bytes:
    if not frames:
        raise BadMessage(_frames(0, "2 or 3"))
    if len(frames[0]) > MAX_ID:
        raise BadMessage(complaint("id", f"{len(frames[0])} bytes", f"up to {MAX_ID}", "choose a shorter one"))
    return frames[0]


def _frames(got: int, allowed: str) -> str:
    return complaint("frames", str(got), allowed, "send them as docs/wire.md says")
