"""`salon serve`: what was typed becomes `ServeOptions`, and the server runs in this process."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import complaint
from ..server.options import DEFAULT_LISTEN, ServeOptions, default_data
from ..wire.address import Address, is_loopback, parse_address
from .parsing import UsageError
from .tables import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence


def serve(options: argparse.Namespace) -> int:
    """Say how to connect, and run a server until it is told to stop."""
    made = options_of(options)
    addresses = [parse_address(text, bind=True) for text in made.listen]
    for address in addresses:
        if made.curve is False and not is_loopback(address):
            remedy = "drop --curve off, or listen on 127.0.0.1 only"
            got = f"off, with {address.endpoint}"
            raise UsageError(complaint("--curve", got, "off on loopback only: anybody could be anybody", remedy))
    from ..server.main import serve as run

    servers = connect_lines(addresses, _server_key(made, addresses))
    if options.json:
        print_json({"servers": servers})
    else:
        print("\n".join(f"SALON_SERVER={place}" for place in servers), flush=True)
    return run(made)


def options_of(options: argparse.Namespace) -> ServeOptions:
    """The server's options. UsageError, AddressError: an address that cannot be read, or comes twice."""
    listen = tuple(options.listen or (DEFAULT_LISTEN,))
    endpoints = [parse_address(text, bind=True).endpoint for text in listen]
    twice = next((place for place in endpoints if endpoints.count(place) > 1 and not place.endswith(":0")), None)
    if twice is not None:
        raise UsageError(f"--listen: got {twice} twice, allowed once; drop one")
    keyed = next((text for text in listen if "#" in text), None)
    if keyed is not None:
        raise UsageError(f"--listen: got {keyed.partition('#')[0]} with a key, allowed without; its key is in --data")
    return ServeOptions(
        listen=listen,
        data=Path(options.data).expanduser() if options.data else default_data(),
        database=options.database,
        model=options.model,
        workers=options.workers,
        threads=options.threads,
        backend=options.backend,
        isa=options.isa,
        dtype=options.dtype,
        process=not options.in_process,
        paused=options.paused,
        plans=None if options.plans is None else Path(options.plans).expanduser(),
        metrics=None if options.metrics == "off" else options.metrics,
        operators=tuple(dict.fromkeys(options.operator or ())),
        curve=None if options.curve is None else options.curve == "on",
        open=options.open,
        keep_days=options.keep,
        quota_bytes=0 if options.quota is None else round(options.quota * 1_000_000),
        log_json=options.json,
    )


def connect_lines(addresses: Sequence[Address], server_key: str) -> list[str]:
    """What clients set SALON_SERVER to; `server_key`: 64 hex digits, or "" without encryption. Where the server listens
    on all interfaces, the name of this machine stands for them."""
    hosts = {"*": socket.gethostname(), "0.0.0.0": socket.gethostname(), "::": socket.gethostname()}
    return [
        str(Address(place.transport, hosts.get(place.host, place.host), place.port, server_key)) for place in addresses
    ]


def _server_key(made: ServeOptions, addresses: Sequence[Address]) -> str:
    beyond = any(not is_loopback(address) for address in addresses)
    if not (beyond if made.curve is None else made.curve):
        return ""
    from ..wire.keys import load_or_make

    return load_or_make(made.data / "server.key").public
