"""Peers that are older or newer, or do not follow the protocol: each gets an answer that says so, and nobody else
notices."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
import zmq

from salon.bench.faulty.hostile import Peer
from salon.frontends.wire import messages as m
from salon.frontends.wire.codec import encode

from ..conftest import TINY, Connect, Serve

BOUNDED_MS = 60_000
SHOW = encode(m.Show(job="x"))


def say(peer: Peer, **record: Any) -> Any:
    """The answer to a record of any shape."""
    peer.socket.send_multipart([b"r", msgpack.packb(record)])
    return peer.answer(b"r", BOUNDED_MS)


def failure(answer: Any) -> tuple[str, str]:
    assert isinstance(answer, m.Failure), answer
    assert "\n" not in answer.text
    return answer.code, answer.kind


def test_versions(serve: Serve) -> None:
    server = serve()
    for version, oldest in ((1, 1), (7, 1), (2**31 - 1, 1)):
        with Peer(server.address) as peer:
            assert say(peer, type="hello", version=version, oldest=oldest).version == 1
            assert isinstance(say(peer, type="ping"), m.Pong)
    with Peer(server.address) as peer:
        assert say(peer, type="hello").version == 1  # both fields have defaults
    for version, oldest in ((2, 2), (9, 3)):
        with Peer(server.address) as peer:
            answer = say(peer, type="hello", version=version, oldest=oldest)
            assert failure(answer) == ("unsupported", "UnsupportedVersion")
            assert failure(say(peer, type="ping"))[0] == "hello"  # it is still a stranger
            assert say(peer, type="hello", version=1).version == 1
    for fields in ({"version": 0}, {"version": 1, "oldest": 2}, {"version": 2**31}, {"version": "1"}, {"version": 1.0}):
        with Peer(server.address) as peer:
            assert failure(say(peer, type="hello", **fields))[0] == "invalid"


def test_features(serve: Serve) -> None:
    server = serve()
    for asked, told in (((), ()), (("previews", "rays"), ("previews",)), (m.FEATURES, m.FEATURES)):
        with Peer(server.address) as peer:
            assert sorted(say(peer, type="hello", features=list(asked)).features) == sorted(told)


def test_what_a_newer_client_says(serve: Serve) -> None:
    server = serve()
    with Peer(server.address) as peer:
        welcome = say(peer, type="hello", version=3, oldest=1, mood="bright", nested={"a": [1, {"b": None}]})
        assert isinstance(welcome, m.Welcome)
        answer = say(peer, type="submit", key="k", prompt="cat", **TINY, smell="of roses", weights=[[1, 2]])
        assert isinstance(answer, m.Accepted)
        assert failure(say(peer, type="dream", key="k")) == ("unsupported", "UnknownMessage")
        assert failure(say(peer, type="ops.dance")) == ("unsupported", "UnknownMessage")
        assert failure(say(peer, type="welcome", version=1))[0] == "unsupported"  # not for a server
        assert isinstance(say(peer, type="show", job=answer.job.job, lens="wide"), m.JobInfo)


def test_what_an_older_client_leaves_out(serve: Serve) -> None:
    """Every optional field; what is needed is asked for by name."""
    server = serve()
    with Peer(server.address) as peer:
        peer.hello()
        job = say(peer, type="submit", key="k", prompt="cat", width=16, height=16).job.job
        for record in ({"type": "list"}, {"type": "info"}, {"type": "show", "job": job}, {"type": "ops.status"}):
            assert not isinstance(say(peer, **record), m.Failure)
        for record, name in (
            ({"type": "submit", "key": "k"}, "prompt"), ({"type": "show"}, "job"), ({"type": "ops.grant"}, "account"),
        ):  # fmt: skip
            answer = say(peer, **record)
            assert failure(answer)[0] == "invalid"
            assert name in answer.text
        assert failure(say(peer, job=job))[0] == "invalid"  # no type
        for odd in (b"", b"\xc1", b"\x00", b"\x80", b"\x90", msgpack.packb("hello"), msgpack.packb({"type": 5})):
            peer.socket.send_multipart([b"r", odd])
            assert failure(peer.answer(b"r", BOUNDED_MS))[0] == "invalid"


def test_before_hello(serve: Serve, connect: Connect) -> None:
    server = serve()
    for record in (m.Ping(), m.Submit(key="k", prompt="cat"), m.OpsDrain(stop=True), m.OpsStatus()):
        with Peer(server.address) as peer:
            assert failure(peer.ask(record, b"r", BOUNDED_MS))[0] == "hello"
    with Peer(server.address) as peer:  # what needs no answer gets none, and does no harm
        peer.put([b"", encode(m.Bye())])
        peer.put([b"", encode(m.Credit(fetch=b"x"))])
        peer.put([b"", b"\xff\xff"])
        peer.hello()
    assert list(connect(server).jobs()) == []


def test_again_after_bye(serve: Serve) -> None:
    server = serve()
    with Peer(server.address) as peer:
        peer.hello()
        peer.put([b"", encode(m.Bye())])
        assert failure(peer.ask(m.Ping(), b"r", BOUNDED_MS))[0] == "hello"
        peer.hello()
        assert isinstance(peer.ask(m.Ping(), b"r", BOUNDED_MS), m.Pong)


@pytest.mark.parametrize("name", [b"x", b"salon", b"\x01\x02\x03\x04\x05", b"n" * 255])
def test_a_chosen_routing_id(serve: Serve, name: bytes) -> None:
    server = serve()
    with Peer(server.address, options={zmq.ROUTING_ID: name}) as peer:
        answer = peer.ask(m.Hello(), b"h", BOUNDED_MS)
        assert failure(answer) == ("invalid", "BadMessage")
        assert "ROUTING_ID" in answer.text
    with Peer(server.address) as peer:
        peer.hello()


@pytest.mark.parametrize("known", [False, True], ids=["stranger", "known"])
def test_frames(serve: Serve, known: bool) -> None:
    server = serve()
    with Peer(server.address) as peer:
        if known:
            peer.hello()
        for frames in (
            [b"id"], [b"id", SHOW, b""], [b"id", b"", SHOW], [b"id", *[SHOW] * 50], [b"", SHOW, SHOW, SHOW, SHOW],
            [b"i" * 17, SHOW], [b"i" * 300, SHOW], [SHOW], [b""],
        ):  # fmt: skip
            peer.socket.send_multipart(frames)
            if not (known or frames[0]):
                continue  # nothing to answer to: the next answer is the next one's
            answer = peer.get(BOUNDED_MS)
            assert answer is not None
            assert failure(answer[1])[0] == "invalid"
            assert answer[0] == frames[0][:16]
        if known:
            assert isinstance(peer.ask(m.Ping(), b"r", BOUNDED_MS), m.Pong)
        else:
            peer.socket.send_multipart([b"hello", encode(m.Hello())])
            answer = peer.get(BOUNDED_MS)
            assert answer is not None
            assert answer[0] == b"hello"


def test_notices_and_requests_are_told_apart(serve: Serve) -> None:
    server = serve()
    with Peer(server.address) as peer:
        peer.hello()
        for id, record in ((b"id", m.Bye()), (b"id", m.Credit(fetch=b"f"))):
            assert failure(peer.ask(record, id, BOUNDED_MS))[0] == "invalid"
        peer.put([b"", SHOW])
        answer = peer.get(BOUNDED_MS)
        assert answer is not None
        assert (answer[0], failure(answer[1])[0]) == (b"", "invalid")
        peer.put([b"", encode(m.Ping())])
        answer = peer.get(BOUNDED_MS)
        assert answer is not None
        assert answer[0] == b""
        assert isinstance(answer[1], m.Pong)
