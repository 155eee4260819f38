"""Random messages of a client: sound ones, such as no checks would take, damaged ones, and plain noise."""

from __future__ import annotations

import random
import types
from collections.abc import Sequence
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from ...frontends.wire import messages as m
from ...frontends.wire.codec import encode

LEFT_OUT: Final = (m.Bye, m.Hello, m.OpsDrain, m.OpsPause)  # they end or stop what is to be watched
KINDS: Final = tuple(kind for kind in get_args(m.Request) if kind not in LEFT_OUT)
NOTICES: Final = (m.Credit,)
WORDS: Final = ("fast", "relax", "turbo", "draft", "euler", "heun", "done", "queued", "basic", "user", "bought", "x")
TEXTS: Final = ("", "cat", "a red apple", "\u2028", "\0", "äöü" * 9, "x" * 7000, "-" * 65, "../../etc", "'; --", "%s{}")
WHOLE: Final = (-(2**63), -1, 0, 1, 2, 16, 64, 200, 1001, 2**16 + 1, 2**31, 2**53, 2**63 - 1, 2**64 - 1)
REAL: Final = (-1.0, 0.0, 0.5, 1.0, 3.0, 1e9, 1e308, float("inf"), float("nan"))


class Maker:
    """Makes messages. It only names accounts that do not exist.

    Args:
        draw: of everything random.
        jobs: that may be named; they may be cancelled and deleted.
    """

    def __init__(self, draw: random.Random, jobs: Sequence[str] = ()) -> None:
        self.draw, self.jobs = draw, (*jobs, "f" * 24, "a.b:c-d_e")
        self._hints = {kind: get_type_hints(kind) for kind in KINDS}
        self._fields = {kind: msgspec.structs.fields(kind) for kind in KINDS}

    def record(self) -> m.Record:
        """Make a record with sound and odd values."""
        draw = self.draw
        kind = draw.choice(KINDS)
        values = {
            field.name: self._value(kind, field.name, self._hints[kind][field.name])
            for field in self._fields[kind]
            if field.required or draw.random() < 0.4
        }
        made: m.Record = kind(**values)
        return made

    def _value(self, kind: type, name: str, hint: Any) -> Any:
        draw = self.draw
        if name == "job":
            return draw.choice(self.jobs)
        if name == "account":
            return draw.choice((f"{draw.getrandbits(256):064x}", "", "*", "nobody", "F" * 64))
        if name == "key":
            return draw.choice((f"k{draw.randrange(50)}",) * 8 + ("", "ä"))
        return self._of(hint)

    def _of(self, hint: Any) -> Any:
        draw, origin = self.draw, get_origin(hint)
        if origin in (Union, types.UnionType):
            return self._of(draw.choice(get_args(hint)))
        if origin is tuple:
            inner = get_args(hint)
            many = inner[:1] * draw.choice((0, 1, 3, 70)) if inner[-1] is Ellipsis else inner
            return tuple(self._of(one) for one in many)
        if hint is bool:
            return draw.random() < 0.5
        if hint is int:
            return draw.choice(WHOLE) if draw.random() < 0.2 else draw.randrange(1, 9)
        if hint is float:
            return draw.choice(REAL) if draw.random() < 0.3 else draw.uniform(0.5, 5.0)
        if hint is bytes:
            return draw.randbytes(draw.choice((0, 1, 4, 16, 17)))
        if hint is str:
            return draw.choice(WORDS) if draw.random() < 0.8 else draw.choice(TEXTS)
        return None

    def whole(self, number: int) -> list[bytes] | None:
        """Make a message that is due exactly one final answer; None, if this one is due none."""
        record = self.record()
        if isinstance(record, NOTICES):
            return None
        return [number.to_bytes(8, "big"), encode(record)]

    def noise(self) -> list[bytes]:
        """Make any frames: damaged records, wrong ids and numbers of frames, deep and wide msgpack, plain bytes."""
        draw = self.draw
        body = encode(self.record()) if draw.random() < 0.7 else self._odd()
        if draw.random() < 0.6:
            body = self._damaged(body)
        id = draw.randbytes(draw.choice((0, 1, 8, 16, 17, 300)))
        return draw.choice(([id, body], [id, body], [id, body], [id], [body], [id, b"", body], [id, body, *[b"x"] * 9]))

    def _damaged(self, body: bytes) -> bytes:
        draw = self.draw
        data = bytearray(body)
        for _ in range(draw.choice((1, 1, 2, 8))):
            at = draw.randrange(len(data) + 1)
            how = draw.randrange(4)
            if how == 0 and at < len(data):
                data[at] = draw.randrange(256)
            elif how == 1:
                data[at:at] = draw.randbytes(draw.randrange(1, 5))
            elif how == 2:
                del data[at : at + draw.randrange(1, 9)]
            else:
                data = data[:at]
        return bytes(data)

    def _odd(self) -> bytes:
        draw = self.draw
        size = draw.choice((1, 60, 5000, 60_000))
        return draw.choice(
            (
                draw.randbytes(size),
                b"\x91" * size,  # deep
                b"\x81\xa4type" * (size // 6 + 1),
                b"\xdd\xff\xff\xff\xff" + draw.randbytes(8),  # an array that says it is long
                b"\xdc" + min(size, 65535).to_bytes(2, "big") + b"\xc0" * min(size, 65535),  # and one that is
                msgspec.msgpack.encode({"type": draw.choice(("nonsense", "", "hello\0", "welcome")), "job": [{}] * 9}),
                msgspec.msgpack.encode({"type": "show", "job": "x", "more": {"a": [1] * 9}, 7: 8}),
                encode(m.Ping()) + draw.randbytes(3),
            )
        )
