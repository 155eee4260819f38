"""Run `salon serve`: from options to a server that runs until a signal or a request ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from socket import gethostname

import zmq
from msgspec.json import encode

from ...bounds import LOCAL
from ...errors import SalonError, complaint
from ...studio.devices import worker_devices
from ...studio.service.context import ServiceContext
from ...system import explain, make_folder
from ..http.door import HttpDoor
from ..http.place import for_strangers
from ..wire.address import is_loopback, parse_address
from ..wire.keys import KeyPair, client_key_path, load_or_make
from ..wire.messages import EntryMade, NewLink
from .browser import open_page
from .descriptors import raise_limit
from .first_start import FirstStart
from .metrics import Metrics
from .options import ServeOptions
from .places import check_place
from .records import set_up_logging
from .server import Server
from .tracing import Tracing

LOG = logging.getLogger("salon.server")
KEY = "server.key"
BROKEN = 1  # the exit code after the last worker was lost; a service manager starts the server again


class ServeError(SalonError):
    """The server cannot run with these options."""


def serve(options: ServeOptions, *, browser: bool = False) -> int:
    """Run a server until SIGTERM or SIGINT, and return the exit code.

    Args:
        browser: whether to open the page in a browser.

    Raises:
        ServeError: the server cannot listen there, or would listen to strangers without encryption.
        ListenError: something is at the path of an ipc address already.
        SalonError: model, plans or store cannot be opened.
    """
    set_up_logging(json=options.log_json)
    raise_limit(len(worker_devices(options.device, options.workers)))
    for address in options.listen:
        check_place(address)
    with FirstStart(Path(options.data), [client_key_path()]) as first:
        try:
            make_folder(Path(options.data), 0o700)
        except OSError as error:
            got, allowed, remedy = explain(error)
            where = f"--data {str(error.filename or options.data)!r}"
            raise ServeError(complaint(where, got, allowed, remedy)) from error
        key = server_key(options)
        if key is not None:
            options = replace(options, operators=(*options.operators, own_account()))
        context = ServiceContext(options)
        return asyncio.run(_run(context, options, key, first, browser=browser))


def own_account() -> str:
    """Return the account of the user who starts the server, an operator. Make a key pair if there is none."""
    return load_or_make(client_key_path()).account


def server_key(options: ServeOptions) -> KeyPair | None:
    """Return the key pair of the server; None on loopback, where it needs none.

    Raise ServeError if strangers could connect.
    """
    beyond = [address for address in options.listen if not is_loopback(parse_address(address, bind=True))]
    strangers = for_strangers(options)
    if options.curve is False and beyond:
        got = f"{beyond[0]!r} without encryption"
        remedy = "leave --no-curve out, or listen on 127.0.0.1"
        raise ServeError(complaint("--listen", got, "a loopback address, or CURVE", remedy))
    if options.curve is False:
        return None  # HTTP refuses strangers by itself
    return load_or_make(Path(options.data) / KEY) if options.curve or beyond or strangers else None


@asynccontextmanager
async def running(context: ServiceContext, options: ServeOptions, key: KeyPair | None) -> AsyncIterator[Server]:
    """Run a server that listens, and end it gracefully. The context is closed with it.

    Raises:
        ServeError, MetricsError, HttpError: it cannot listen there.
    """
    server = Server(context, options, key)
    metrics = Metrics(server)
    door = HttpDoor(server.service, server.answers, server.router.rates, keyed=key is not None)
    server.closers.append(door.close)
    server.service.jobs.seen.append(Tracing().seen)
    try:
        try:
            server.start()
            metrics.start(options.metrics)
            await door.open(options)
            server.http = door.address
            server.http_clients, server.http_streams = door.clients, door.streams
        except zmq.ZMQError as error:
            got, allowed, remedy = explain(error)
            where = f"--listen {', '.join(options.listen)}"
            raise ServeError(complaint(where, got, allowed, remedy)) from error
        yield server
    finally:
        with suppress(asyncio.CancelledError):
            await server.close(options.grace_s)
        metrics.close()


def _say_where(addresses: list[str], http: str, page: str, *, json: bool) -> None:
    """Print the addresses on standard output, for people or for the program that started the server."""
    if json:
        more = {"http": http, "page": page} if http else {}
        print(encode({"listening": addresses, **more}).decode(), flush=True)
        return
    if page:
        print(f"Salon's page: {page}", flush=True)
    for address in addresses:
        shown = address.replace("//0.0.0.0:", f"//{gethostname()}:").replace("//[::]:", f"//{gethostname()}:")
        print(f"Salon listens. To use it: export SALON_SERVER='{shown}'", flush=True)
    if http:
        token = "none" if page == f"{http}/" else "$(salon account token)"
        print(f"Clients of OpenAI's images: export OPENAI_BASE_URL='{http}/v1' OPENAI_API_KEY={token}", flush=True)


async def _page(server: Server) -> str:
    """Return the page's address, with a link that lets its opener in once; empty without HTTP."""
    if not server.http:
        return ""
    account = own_account() if server.router.encrypted else LOCAL
    made = await server.answers.answer(NewLink(), account, operator=True)
    assert isinstance(made, EntryMade)
    return made.url


def _told_to_end(server: Server) -> None:
    """Take a signal: the first one ends the server, and the next one its grace period, however soon it comes."""
    (server.hurry if server.stopped.is_set() else server.stopped).set()


async def _run(
    context: ServiceContext, options: ServeOptions, key: KeyPair | None, first: FirstStart, *, browser: bool = False
) -> int:
    loop = asyncio.get_running_loop()
    async with running(context, options, key) as server:
        first.done()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _told_to_end, server)
        page = await _page(server)
        _say_where(server.addresses, server.http, page, json=options.log_json)
        if browser and page:
            open_page(page)
        LOG.info("ready", extra={"address": " ".join(server.addresses), "life": context.life})
        await server.stopped.wait()
        LOG.info("ending", extra={"jobs": len(server.service.jobs.live)})
    LOG.info("ended")
    return BROKEN if server.broken else 0
