"""Records survive the way; whatever else comes is refused by a typed error, at little cost."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salon.frontends.wire import messages as m
from salon.frontends.wire.codec import (
    MAX_ELEMENTS,
    MAX_MESSAGE,
    REPLIES,
    REQUESTS,
    SMALL,
    decode_reply,
    decode_request,
    encode,
)
from salon.frontends.wire.errors import BadMessage, MessageError, TooLarge, UnknownMessage
from salon.frontends.wire.scan import MAX_DEPTH, scan

from ...fuzz import decoder as fuzz
from . import strategies

QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
pack = msgspec.msgpack.encode


# ---- what is sound -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", strategies.REQUESTS, ids=lambda kind: kind.__name__)
@QUICK
@given(data=st.data())
def test_requests_make_the_round_trip(kind: type[m.Record], data: st.DataObject) -> None:
    request = data.draw(strategies.sound(kind))
    assert decode_request(encode(request)) == request


@pytest.mark.parametrize("kind", strategies.REPLIES, ids=lambda kind: kind.__name__)
@QUICK
@given(data=st.data())
def test_replies_make_the_round_trip(kind: type[m.Record], data: st.DataObject) -> None:
    reply = data.draw(strategies.records(kind))
    assert decode_reply(encode(reply)) == reply


def test_bytes_that_never_change() -> None:
    """What version 1 looks like, whatever msgspec does."""
    assert encode(m.Ping()) == b"\x81\xa4type\xa4ping"
    assert encode(m.Show(job="a")) == b"\x82\xa4type\xa4show\xa3job\xa1a"
    assert decode_request(b"\xde\x00\x02\xa3job\xd9\x01a\xa4type\xda\x00\x04show") == m.Show(job="a")  # longer forms
    assert decode_request(b"\x83\xa3job\xa1a\xa4type\xa5fetch\xa6offset\xcf\0\0\0\0\0\0\0\x05") == m.Fetch(
        job="a", offset=5
    )


def test_no_type_is_of_both_sides() -> None:
    assert not REQUESTS & REPLIES
    assert len(REQUESTS) == len(strategies.REQUESTS)
    assert len(REPLIES) == len(strategies.REPLIES)


def test_the_largest_submit_fits() -> None:
    prompt = "\N{GRINNING FACE}" * 2_000
    data = encode(m.Submit(key="k", prompt=prompt, negative_prompt=prompt))
    assert len(data) < MAX_MESSAGE
    assert decode_request(data) == m.Submit(key="k", prompt=prompt, negative_prompt=prompt)


@pytest.mark.parametrize(  # faults.md 7: of the last three, a TypeError ended the thread that sent them
    "record",
    [
        m.Submit(key="k", prompt="\ud800"),
        m.Watch(job="j", after=2**64),
        m.Watch(job="j", after=-(2**70)),
        m.Show(job=object()),  # type: ignore[arg-type]
        m.Submit(key="k", prompt="p", seed=np.int64(7)),  # type: ignore[arg-type]
        m.Show(job=Path("j")),  # type: ignore[arg-type]
    ],
)
def test_what_msgpack_cannot_say_is_refused_when_it_is_sent(record: m.Record) -> None:
    with pytest.raises(BadMessage, match="allowed Unicode text and 64-bit numbers"):
        encode(record)


# ---- older and newer peers -----------------------------------------------------------------------------------------


@QUICK
@given(
    request=strategies.requests(),
    name=st.text("abcdefghijklm", min_size=1).map(lambda name: f"x_{name}"),
    value=st.recursive(
        st.none() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    ),
)
def test_fields_of_a_newer_peer_are_skipped(request: m.Request, name: str, value: Any) -> None:
    plain = msgspec.msgpack.decode(encode(request))
    assert decode_request(pack({name: value} | plain)) == request
    assert decode_request(pack(plain | {name: value})) == request


def test_fields_that_an_older_peer_does_not_send_have_their_defaults() -> None:
    assert decode_request(pack({"type": "submit", "key": "k", "prompt": "p"})) == m.Submit(key="k", prompt="p")
    assert decode_reply(pack({"type": "welcome", "version": 1})) == m.Welcome(version=1)
    assert decode_reply(pack({"type": "welcome", "version": 1, "limits": {"chunk": 9}})) == m.Welcome(
        version=1, limits=m.Limits(chunk=9)
    )


def test_fields_that_must_be_there() -> None:
    with pytest.raises(BadMessage, match="missing required field `prompt`"):
        decode_request(pack({"type": "submit", "key": "k"}))


@pytest.mark.parametrize("decode", [decode_request, decode_reply])
def test_a_type_of_a_newer_peer_is_named(decode: Any) -> None:
    with pytest.raises(UnknownMessage, match="got 'dream'") as caught:
        decode(pack({"x": [1, {"y": None}], "type": "dream"}))
    assert caught.value.type == "dream"
    assert caught.value.code == "unsupported"


def test_the_other_sides_records_are_unknown() -> None:
    with pytest.raises(UnknownMessage, match="got 'pong'"):
        decode_request(encode(m.Pong()))
    with pytest.raises(UnknownMessage, match="got 'ping'"):
        decode_reply(encode(m.Ping()))


# ---- what is not ---------------------------------------------------------------------------------------------------

BAD = {
    "nothing": b"",
    "no map": pack([1]),
    "no type": b"\x80",
    "type is a number": b"\x81\xa4type\x01",
    "two types": b"\x82\xa4type\xa4ping\xa4type\xa3bye",
    "never used byte": b"\xc1",
    "cut short": b"\x82\xa4type\xa4ping",
    "bytes behind": b"\x81\xa4type\xa4ping\xc0",
    "not UTF-8": b"\x82\xa4type\xa4show\xa3job\xa1\xff",
    "surrogates": b"\x82\xa4type\xa4show\xa3job\xa3\xed\xa0\x80",
    "extension": b"\x82\xa4type\xa4show\xa3job\xd4\x01\x00",
    "text for a number": pack({"type": "watch", "job": "a", "after": "1"}),
    "float for a number": pack({"type": "watch", "job": "a", "after": 1.0}),
    "nil for a number": pack({"type": "watch", "job": "a", "after": None}),
    "bytes for a text": pack({"type": "show", "job": b"a"}),
    "three for two": pack({"type": "submit", "key": "k", "prompt": "p", "aspect": [1, 2, 3]}),
    "a line break": b"\x82\xa4type\xa2\n\n\xa4type\xa4ping",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_bad_messages(data: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        decode_request(data)
    assert caught.value.code == "invalid"
    assert "\n" not in str(caught.value)


def test_too_large() -> None:
    data = encode(m.Submit(key="k", prompt="p" * 100))
    assert decode_request(data, len(data))
    with pytest.raises(TooLarge, match=f"got {len(data)} bytes, allowed up to {len(data) - 1}") as caught:
        decode_request(data, len(data) - 1)
    assert caught.value.code == "too_large"
    with pytest.raises(TooLarge):
        decode_reply(b"\x81" * (2 << 20))


def nested(levels: int, opener: bytes = b"\x91", padding: int = 0) -> bytes:
    """A ping with a field that nobody knows, so deep."""
    fields = b"\xa1z" + pack("z" * padding) + b"\xa1x" + opener * levels + b"\xc0"
    return b"\x83" + fields + b"\xa4type\xa4ping"


@pytest.mark.parametrize("opener", [b"\x91", b"\x81\xa1y"], ids=["arrays", "maps"])
def test_deep_nesting(opener: bytes) -> None:
    assert decode_request(nested(MAX_DEPTH - 1, opener, padding=SMALL)) == m.Ping()
    with pytest.raises(BadMessage, match=f"deeper nesting, allowed up to {MAX_DEPTH} levels"):
        decode_request(nested(MAX_DEPTH, opener, padding=SMALL))
    with pytest.raises(BadMessage, match="deeper nesting"):
        decode_request(nested(20_000, opener))


@pytest.mark.parametrize("depth", [0, 800], ids=["from above", "from below"])
def test_deep_nesting_in_a_small_message_is_harmless(depth: int) -> None:
    """Taken or refused, wherever the caller stands on the stack."""
    data = nested(SMALL - 30)
    assert len(data) <= SMALL

    def call(levels: int) -> str:
        if levels:
            return call(levels - 1)
        try:
            return type(decode_request(data)).__name__
        except BadMessage:
            return "BadMessage"

    assert call(depth) in ("Ping", "BadMessage")
    assert decode_request(encode(m.Ping())) == m.Ping()


HUGE = {
    "array": b"\x82\xa4type\xa5hello\xa8features\xdd\xff\xff\xff\xff",
    "array16": b"\x82\xa4type\xa5hello\xa8features\xdc\xff\xff",
    "array, unknown": b"\x82\xa4type\xa4ping\xa1x\xdd\xff\xff\xff\xff",
    "map": b"\xdf\xff\xff\xff\xff\xa4type\xa4ping",
    "map, unknown": b"\x82\xa4type\xa4ping\xa1x\xdf\xff\xff\xff\xff",
    "text": b"\x82\xa4type\xa4show\xa3job\xdb\xff\xff\xff\xff",
    "bytes": b"\x82\xa4type\xa7unwatch\xa5watch\xc6\xff\xff\xff\xff",
    "pictures": b"\x83\xa4type\xa3job\xa3job\xa1a\xa8pictures\xdd\xff\xff\xff\xff",
    "dict": b"\x83\xa4type\xa6status\xa5state\xa1a\xa6queued\xdf\xff\xff\xff\xff",
    "bare array": b"\xdd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("padding", [0, 2_000], ids=["small", "scanned"])
@pytest.mark.parametrize("data", HUGE.values(), ids=HUGE)
def test_a_length_that_is_only_said_allocates_nothing(data: bytes, padding: int) -> None:
    data += b"\xc0" * padding
    tracemalloc.start()
    try:
        for decode in (decode_request, decode_reply):
            with pytest.raises(MessageError):
                decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000


def test_many_elements() -> None:
    field = b"\x82\xa4type\xa4ping\xa1x\xdd"
    most = MAX_ELEMENTS - 4  # besides two keys and two values
    assert decode_request(field + most.to_bytes(4, "big") + b"\xc0" * most) == m.Ping()
    with pytest.raises(BadMessage, match=f"allowed up to {MAX_ELEMENTS:,}"):
        decode_request(field + (most + 1).to_bytes(4, "big") + b"\xc0" * (most + 1))


def test_a_full_page_of_jobs_passes() -> None:
    pictures = tuple(m.Picture(index=i, digest="d" * 64, size=9, width=8, height=8) for i in range(-1, 4))
    numbers: dict[str, Any] = {field.name: 7 for field in msgspec.structs.fields(m.JobInfo) if field.type is int}
    assert "charged_ms" in numbers
    job = m.JobInfo(**numbers, job="j" * 20, prompt="p" * 500, pictures=pictures)
    page = m.JobList(jobs=(job,) * 200)
    assert decode_reply(encode(page)) == page


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        (None, 0),
        ([], 0),
        ({}, 0),
        ([1, 2], 2),
        ({"a": [1]}, 3),
        ([-1, -33, 127, 128, 2**16, 2**32, 2**63, -(2**31), -(2**63), 1.5, True, b"x" * 300, "y" * 70_000], 13),
        ([[0] * 16, {str(i): i for i in range(16)}], 50),
        ({str(i): i for i in range(70_000)}, 140_000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_scan_counts(value: object, elements: int) -> None:
    data = pack(value)
    assert scan(data, max_elements=1 << 20) == elements
    for end in {0, 1, len(data) // 2, len(data) - 1} - {len(data)}:
        with pytest.raises(BadMessage, match="cut short"):
            scan(data[:end], max_elements=1 << 20)
    with pytest.raises(BadMessage, match="got 1 bytes behind its end"):
        scan(data + b"\xc0", max_elements=1 << 20)


@pytest.mark.parametrize("first", [0xC1, *range(0xC7, 0xCA), *range(0xD4, 0xD9)])
def test_scan_takes_no_extension_types(first: int) -> None:
    with pytest.raises(BadMessage, match="extension"):
        scan(bytes([first, 1, 1, 0, 0, 0]), max_elements=10)


def test_hostile_bytes() -> None:
    """`feed` checks each case; here, that all kinds of outcomes were among them."""
    counts = fuzz.run(6_000, seed=1)
    assert counts.total() == 6_000
    assert {"BadMessage", "UnknownMessage", "TooLarge", "Submit", "Fetch", "Hello"} <= set(counts)


# ---- what it costs to import ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("frames", {"numpy", "zmq", "asyncio", "PIL", "rich", "sqlalchemy"}),
        ("keys", {"numpy", "PIL", "rich"}),
        ("address", {"numpy", "zmq", "msgspec"}),
    ],
)
def test_importing_it_loads_little(module: str, heavy: set[str]) -> None:
    code = (
        f"import sys, salon.frontends.wire.{module}\n"
        f"floors = tuple('salon.' + name for name in ('engine', 'kernels', 'scheduler', 'studio'))\n"
        f"found = {heavy} & set(sys.modules) | {{name for name in sys.modules if name.startswith(floors)}}\n"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
