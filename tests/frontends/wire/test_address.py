"""Addresses: what is read, and what is refused with a word about why."""

from __future__ import annotations

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from salon.frontends.wire.address import Address, is_loopback, parse_address
from salon.frontends.wire.errors import AddressError

KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "address", "endpoint", "loopback"),
    [
        ("tcp://localhost:5599", Address("tcp", "localhost", 5599), "tcp://localhost:5599", True),
        ("tcp://127.0.0.1:1", Address("tcp", "127.0.0.1", 1), "tcp://127.0.0.1:1", True),
        ("tcp://127.9.9.9:65535", Address("tcp", "127.9.9.9", 65535), "tcp://127.9.9.9:65535", True),
        ("tcp://[::1]:5599", Address("tcp", "::1", 5599), "tcp://[::1]:5599", True),
        ("tcp://[0:0:0:0:0:0:0:1]:5599", Address("tcp", "::1", 5599), "tcp://[::1]:5599", True),
        ("tcp://[2001:DB8::5]:80", Address("tcp", "2001:db8::5", 80), "tcp://[2001:db8::5]:80", False),
        ("tcp://[fe80::1%eth0]:80", Address("tcp", "fe80::1%eth0", 80), "tcp://[fe80::1%eth0]:80", False),
        ("tcp://art.example.org:5599", Address("tcp", "art.example.org", 5599), "tcp://art.example.org:5599", False),
        ("tcp://localhost.example.org:1", Address("tcp", "localhost.example.org", 1), None, False),
        ("tcp://192.168.0.2:5599", Address("tcp", "192.168.0.2", 5599), "tcp://192.168.0.2:5599", False),
        (" tcp://host:5599\n", Address("tcp", "host", 5599), "tcp://host:5599", False),
        ("ipc:///run/salon.sock", Address("ipc", "/run/salon.sock"), "ipc:///run/salon.sock", True),
        ("ipc://here", Address("ipc", "here"), "ipc://here", True),
        ("inproc://salon", Address("inproc", "salon"), "inproc://salon", True),
    ],
)
def test_what_is_read(text: str, address: Address, endpoint: str | None, loopback: bool) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address
    assert endpoint is None or address.endpoint == endpoint
    assert is_loopback(address) is loopback
    encrypted = parse_address(f"{text.strip()}#{KEY.upper()}")
    assert encrypted.server_key == KEY
    assert encrypted.endpoint == address.endpoint
    assert parse_address(str(encrypted)) == encrypted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write it like tcp://localhost:5599"),
        ("localhost:5599", "write it like"),
        ("http://localhost:5599", "write it like"),
        ("tcp://", "write it like"),
        ("tcp://host", "give a host and a port"),
        ("tcp://:5599", "give a host and a port"),
        ("tcp://host:", "give a host and a port"),
        ("tcp://host:http", "give a host and a port"),
        ("tcp://host:5599/path", "give a host and a port"),
        ("tcp://user@host:5599", "give a host and a port"),
        ("tcp://eth0;host:5599", "give a host and a port"),
        ("tcp://::1:5599", "give a host and a port"),
        ("tcp://ho st:5599", "write it like"),
        ("tcp://host:0", "a port from 1 to 65535"),
        ("tcp://host:65536", "a port from 1 to 65535"),
        ("tcp://*:5599", "name the machine"),
        ("tcp://[nonsense]:5599", "give a host and a port|an IPv6 address"),
        ("tcp://[1::2::3]:5599", "an IPv6 address in the brackets"),
        ("tcp://host:5599#", "64 hex digits"),
        (f"tcp://host:5599#{KEY[1:]}", "64 hex digits"),
        (f"tcp://host:5599#{KEY}0", "64 hex digits"),
        (f"tcp://host:5599#{KEY[:-1]}g", "64 hex digits"),
        (f"tcp://host:5599#{KEY}#{KEY}", "64 hex digits"),
        ("ipc://" + "x" * 108, "a path of up to 107 bytes"),
        ("ipc://" + "é" * 54, "a path of up to 107 bytes"),
        ("ipc://*", "in a folder of yours"),
        ("ipc://@abstract", "in a folder of yours"),
        ("inproc://" + "x" * 256, "a name of up to 255 characters"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(AddressError, match=f"address: got .*{words}"):
        parse_address(text)


def test_a_servers_own() -> None:
    assert parse_address("tcp://*:0", bind=True) == Address("tcp", "*", 0)
    assert not is_loopback(parse_address("tcp://*:5599", bind=True))
    assert not is_loopback(parse_address("tcp://0.0.0.0:5599", bind=True))
    assert not is_loopback(parse_address("tcp://[::]:5599", bind=True))
    with pytest.raises(AddressError, match="a port from 0 to 65535"):
        parse_address("tcp://*:65536", bind=True)


@given(st.text(max_size=40) | st.from_regex(r"(tcp|ipc|inproc)://[\[\]a-f0-9:.*#@/%-]{0,30}(:[0-9]{1,6})?"))
def test_any_text_is_read_or_refused(text: str) -> None:
    for bind in (False, True):
        try:
            address = parse_address(text, bind=bind)
        except AddressError as error:
            if "\n" in str(error):
                raise AssertionError("an error is one line") from error
        else:
            assert parse_address(str(address), bind=bind) == address
            assert is_loopback(address) in (True, False)


@pytest.mark.parametrize("text", ["tcp://[::1]:0", "tcp://127.0.0.1:0", "tcp://*:0", "inproc://salon"])
def test_zeromq_takes_the_endpoint(text: str) -> None:
    address = parse_address(text, bind=True)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.ipv6 = address.is_ipv6
        try:
            socket.bind(address.endpoint)
        except zmq.ZMQError as error:
            if address.is_ipv6:
                pytest.skip(f"no IPv6 here: {error}")
            raise
        assert socket.get_string(zmq.LAST_ENDPOINT)
