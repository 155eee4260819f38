"""Hostile bytes for the wire's decoder.

    python tests/fuzz/decoder.py --runs 200000            mutated records and random bytes; prints what came out
    python tests/fuzz/decoder.py --atheris -runs=1000000  guided by coverage, after `pip install atheris`; further
                                                          arguments are libFuzzer's

Whatever comes in, a decoder returns a record, or raises one of our errors. A record that was taken has every field in
its range and survives a round trip. The scan agrees with msgspec about what is well formed.
"""

from __future__ import annotations

import importlib
import random
import struct
import sys
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from salon.frontends.wire import codec
from salon.frontends.wire import messages as m
from salon.frontends.wire.checks import check
from salon.frontends.wire.codec import MAX_ELEMENTS, decode_reply, decode_request, encode
from salon.frontends.wire.errors import BadMessage, MessageError
from salon.frontends.wire.frames import read_reply, read_request
from salon.frontends.wire.scan import MAX_DEPTH, scan

KINDS: tuple[type[m.Record], ...] = get_args(m.Request) + get_args(m.Reply) + (m.Submit,) * 16  # it has the most fields
TEXTS = ("", "a", "fast", "a red apple", "0" * 64, "local", "\0", "é\N{GRINNING FACE}", "x" * 300, "*", "a\nb")
WHOLES = (0, 1, -1, 2, 127, 128, 200, 201, 255, 256, 65535, 65536, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -(2**63))
FLOATS = (0.0, 1.0, -1.0, 0.01, 100.0, 1e300, 5e-324, float("inf"), float("nan"))
HEADERS = tuple(bytes([first]) + rest for first in range(256) for rest in (b"", b"\xff" * 4, b"\0\0\0\1"))


def make(kind: Any, rng: random.Random) -> Any:
    """A value of this type, often one at the edge of something."""
    if get_origin(kind) in (Union, types.UnionType):
        return make(rng.choice(get_args(kind)), rng)
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        return tuple(make(one, rng) for one in ([inner[0]] * rng.randrange(3) if inner[-1] is Ellipsis else inner))
    if get_origin(kind) is dict:
        return {make(str, rng): make(int, rng) for _ in range(rng.randrange(3))}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        fields = [field for field in msgspec.structs.fields(kind) if field.required or rng.random() < 0.4]
        return kind(**{field.name: make(hints[field.name], rng) for field in fields})
    if kind is type(None):
        return None
    if kind is bytes:
        return rng.randbytes(rng.randrange(18))
    values: dict[Any, Sequence[Any]] = {int: WHOLES, float: FLOATS, str: TEXTS, bool: (True, False)}
    return rng.choice(values[kind])


def mutate(data: bytes, rng: random.Random) -> bytes:
    """The same with a few things broken: bits, headers, lengths, order, its end."""
    out = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 5))):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(8):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(out):
                out[at] = rng.randrange(256)
            case 2:
                del out[at : at + rng.randrange(1, 6)]
            case 3:
                out[at:at] = rng.choice(HEADERS)
            case 4:
                del out[at:]
            case 5:
                there = rng.randrange(len(out) + 1)
                out[at:at] = out[there : there + rng.randrange(40)]
            case 6:
                out[at:at] = rng.choice((b"\x91", b"\x81\xa1x")) * rng.choice((3, 9, 500, 3000))
            case _:
                first, length = rng.choice((0xDD, 0xDF, 0xDB, 0xC6, 0xC9)), rng.choice((0, 9, 2**32 - 1))
                out[at:at] = struct.pack(">BI", first, length)
    return bytes(out)


def cases(rng: random.Random, runs: int) -> Iterator[bytes]:
    """One message after another: one in ten mere noise, the others broken records, a few of them padded to be large."""
    for _ in range(runs):
        if rng.random() < 0.1:
            yield rng.randbytes(rng.choice((0, 1, 2, 8, 60, 2000)))
            continue
        data = encode(make(rng.choice(KINDS), rng))
        if rng.random() < 0.05 and data[0] & 0xF0 == 0x80 and data[0] != 0x8F:  # a field more, that nobody knows
            filler = rng.choice(([rng.choice(WHOLES)] * rng.choice((400, 5000)), bytes(66_000)))
            data = bytes([data[0] + 1]) + data[1:] + b"\xa1z" + msgspec.msgpack.encode(filler)
        yield mutate(data, rng)


def feed(data: bytes) -> str:
    """Decode it in every way, and check what came out.

    Returns:
        The outcome for a server: the record's or the error's class.
    """
    outcome = "?"
    for side, decode in ((0, decode_request), (1, decode_reply)):
        try:
            record: Any = decode(data)
        except MessageError as error:
            name = type(error).__name__
            if "\n" in str(error):
                raise AssertionError("an error is one line") from error
        else:
            name = type(record).__name__
            again = encode(record)
            assert encode(decode(again)) == again, "a round trip changes nothing"  # bytes: NaN is not equal to itself
            if not side:
                check(record)
        if not side:
            outcome = name
    for read in (read_request, read_reply):
        try:
            read([b"id", data])
        except MessageError as error:
            if error.id != b"id":
                raise AssertionError("the failure does not find its way") from error
    compare(data)
    return outcome


def feed_quietly(data: bytes) -> None:
    """`feed` as libFuzzer wants it."""
    feed(data)


def compare(data: bytes) -> None:
    """What msgspec can decode passes the scan, unless something is in it that the scan is there to find."""
    try:
        elements = scan(data, max_elements=MAX_ELEMENTS)
    except BadMessage:
        try:
            value = msgspec.msgpack.decode(data, strict=False)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            return
        depth, count, odd = measure(value)
        assert odd or depth > MAX_DEPTH or count > MAX_ELEMENTS or has_duplicates(data), "refused without a reason"
    else:
        assert elements <= len(data), "an element takes a byte"


def has_duplicates(data: bytes) -> bool:
    """Whether keys that stand twice hid something from `measure`: encoded again, it is shorter."""
    return len(msgspec.msgpack.encode(msgspec.msgpack.decode(data))) < len(data)


def measure(value: Any, level: int = 0) -> tuple[int, int, bool]:
    """(depth, elements, whether an extension type is in it), down to one level more than is allowed."""
    if isinstance(value, dict):
        inner = [one for pair in value.items() for one in pair]
    elif isinstance(value, list | tuple):
        inner = list(value)
    else:
        return level, 0, not isinstance(value, int | float | str | bytes | bool | None)
    if level == MAX_DEPTH:
        return level + 1, len(inner), False
    found = [measure(one, level + 1) for one in inner]
    depth = max((one[0] for one in found), default=level + 1)
    return depth, len(inner) + sum(one[1] for one in found), any(one[2] for one in found)


def run(runs: int, seed: int) -> Counter[str]:
    """Feed so many cases; how often which outcome."""
    return Counter(feed(data) for data in cases(random.Random(seed), runs))


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["--atheris"]:
        atheris: Any = importlib.import_module("atheris")
        for function in (decode_request, decode_reply, codec._decode, check, scan):
            atheris.instrument_func(function)  # changes them in place
        atheris.Setup([sys.argv[0], *words[1:]], feed_quietly)
        atheris.Fuzz()
        return
    options = dict(zip(words[::2], words[1::2], strict=True))
    counts = run(int(options.get("--runs", 100_000)), int(options.get("--seed", 0)))
    print(f"{counts.total():,} cases")
    for name, count in counts.most_common():
        print(f"{count:9,}  {name}")


if __name__ == "__main__":
    main()
