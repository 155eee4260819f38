"""Pictures by their links: from where, how large, how long, and that nothing else is asked."""

from __future__ import annotations

import asyncio
import io
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from PIL import Image

from salon.bounds import MAX_LINK
from salon.parameters.job_request import JobRequest
from salon.studio.references import digest_of
from salon.studio.service import links, packing
from salon.studio.service.errors import LinkRefused, TooMany
from salon.studio.service.linked import OPEN
from salon.studio.service.links import LinkPolicy, fetch, is_public
from salon.studio.service.service import Service

from ..conftest import TIMEOUT
from .conftest import Serve, ended

HERE = ipaddress.ip_address("127.0.0.1")
LOOPBACK = LinkPolicy(allows=lambda address: address == HERE, seconds=TIMEOUT)
Answer = Callable[[socket.socket, str], None]


def picture(colour: str = "red") -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def answer(data: bytes, status: str = "200 OK", length: int | None = None, **headers: str) -> Answer:
    """Answer with a file; `length`: the one that is announced."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    return lambda connection, _: connection.sendall(head + data)


@contextmanager
def web(tls: ssl.SSLContext | None = None, /, **pages: Answer) -> Iterator[tuple[str, list[str]]]:
    """A real server on loopback: its address, and the requests that it got, first line and headers."""
    listener, asked, stop = socket.create_server(("127.0.0.1", 0)), list[str](), threading.Event()

    def serve(plain: socket.socket) -> None:
        plain.settimeout(TIMEOUT)
        with suppress(OSError), plain if tls is None else tls.wrap_socket(plain, server_side=True) as connection:
            head = b""
            while b"\r\n\r\n" not in head and (part := connection.recv(4096)):
                head += part
                if head[:1] == b"\x16":  # TLS, where none is spoken
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    return
            if not head:
                return
            asked.append(head.decode())
            name = head.split()[1].decode().strip("/").partition(".")[0]
            page = pages.get(name, answer(b"", "404 Not Found"))
            page(connection, name)
        plain.close()

    def accept() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(TIMEOUT)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
     "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1",
     "fec0::1", "feff::1", "64:ff9b:1::a00:1", "100::1",
     "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "64:ff9b::7f00:1", "2002:7f00:1::",
     "2002:a00:1::1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_a_file_is_fetched_with_one_plain_question() -> None:
    data = picture()
    with web(a=answer(data)) as (there, asked):
        assert fetch(f"{there}/a.png?size=é x".replace(" ", "%20"), LOOPBACK) == data
        assert len(asked) == 1
        first, *headers = asked[0].split("\r\n")
        assert first == "GET /a.png?size=%C3%A9%20x HTTP/1.1"
        names = {line.partition(":")[0].lower() for line in headers if line}
        assert names == {"host", "accept", "accept-encoding", "user-agent", "connection"}


def test_nothing_that_is_not_public_is_asked() -> None:
    with web(a=answer(picture())) as (there, asked):
        port = there.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0", "2130706433", "0x7f.1", "127.1"):
            with pytest.raises(LinkRefused):
                fetch(f"http://{host}:{port}/a.png")
        with pytest.raises(
            LinkRefused, match="got an address that is not public, allowed hosts of the public internet"
        ):
            fetch(f"{there}/a.png")
        assert asked == []


def test_the_address_that_is_connected_to_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up once. Where the connection leads elsewhere than allowed, nothing is asked."""
    lookups, real = list[str](), socket.getaddrinfo

    def lookup(host: str, *arguments: Any, **named: Any) -> Any:
        lookups.append(host)
        return real("127.0.0.1", *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    seen = list[Any]()

    def once(address: Any) -> bool:
        seen.append(address)
        return len(seen) == 1

    with web(a=answer(picture())) as (there, asked):
        port = there.rpartition(":")[2]
        with pytest.raises(LinkRefused, match="not public"):
            fetch(f"http://changing.example:{port}/a.png")
        with pytest.raises(LinkRefused, match="not public"):
            fetch(f"http://changing.example:{port}/a.png", LinkPolicy(allows=once))
        assert seen == [HERE, HERE]
        assert fetch(f"http://changing.example:{port}/a.png", LOOPBACK) == picture()
        assert f"Host: changing.example:{port}" in asked[0]
        assert len(asked) == 1
        assert lookups == ["changing.example"] * 3


def test_redirects_are_checked_anew() -> None:
    data = picture()

    def to(place: str) -> Answer:
        return answer(b"", "302 Found", Location=place)

    with web(a=answer(data), b=to("/a.png"), c=to("b.png"), d=to("/c.png"), e=to("/d.png")) as (there, asked):
        assert fetch(f"{there}/d.png", LOOPBACK) == data  # three
        with pytest.raises(LinkRefused, match="after more redirects, allowed up to 3"):
            fetch(f"{there}/e.png", LOOPBACK)
        port = there.rpartition(":")[2]
        asked.clear()
        for place in (f"http://127.0.0.2:{port}/a.png", "http://169.254.169.254/latest/meta-data", f"//[::1]:{port}/a"):
            with web(go=to(place)) as (other, _), pytest.raises(LinkRefused, match="not public"):
                fetch(f"{other}/go.png", LOOPBACK)
        for place in ("file:///etc/passwd", "ftp://127.0.0.1/x", "http://user:word@127.0.0.1/x"):
            with web(go=to(place)) as (other, _), pytest.raises(LinkRefused, match="allowed http:// or https://"):
                fetch(f"{other}/go.png", LOOPBACK)
        assert asked == []


def test_size_and_time_are_bounded() -> None:
    small, quick = replace(LOOPBACK, max_bytes=1000), replace(LOOPBACK, seconds=0.6)
    over = threading.Event()

    def drip(head: bytes) -> Answer:
        """One byte after the other, until nobody listens any more."""

        def send(connection: socket.socket, _: str) -> None:
            connection.sendall(head)
            while not over.wait(0.05):
                connection.sendall(b"x")

        return send

    endless = drip(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000)
    pages = {
        "announced": answer(b"x" * 2000),
        "endless": endless,
        "chunks": lambda connection, _: connection.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n%s\r\n1\r\nx\r\n0\r\n\r\n" % (b"x" * 1000)
        ),
        "slow": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"),
        "head": drip(b"HTTP/1.1 200 OK\r\nX: "),
        "silent": lambda connection, _: over.wait(),
        "short": answer(b"x" * 10, length=100),
        "packed": answer(b"x", Content_Encoding="gzip"),
        "garbage": lambda connection, _: connection.sendall(b"\0\1\2\3 no http\r\n\r\n"),
        "nothing": lambda connection, _: None,
    }  # fmt: skip
    with web(**pages) as (there, _):
        for name in ("announced", "endless", "chunks"):
            with pytest.raises(LinkRefused, match="got more than 1,000 bytes, allowed up to 1,000"):
                fetch(f"{there}/{name}.png", small)
        for name in ("slow", "head", "silent"):
            started = time.monotonic()
            with pytest.raises(LinkRefused, match="got no whole file within 0.6 s"):
                fetch(f"{there}/{name}.png", quick)
            assert time.monotonic() - started < TIMEOUT / 2, "as long as somebody is patient"
        over.set()
        for name, told in (
            ("short", "got 10 bytes, and no end"),
            ("packed", "encoded as 'gzip'"),
            ("garbage", "got no answer that can be read"),
            ("nothing", "got no answer that can be read"),
            ("missing", "got the answer 404"),
        ):
            with pytest.raises(LinkRefused, match=told):
                fetch(f"{there}/{name}.png", LOOPBACK)
    with pytest.raises(LinkRefused, match="no answer that can be read"):
        fetch(f"{there}/gone.png", LOOPBACK)


@pytest.mark.parametrize(
    "link",
    ["http://", "https:///a.png", "ftp://a.example/x", "http://a b/x", "http://u@a.example/x", "http://a.example:0/x",
     "http://a.example:99999/x", "http://a.example/\nHost: b", "http://a.example\\@b/x", "http://a..example/x",
     f"http://a.example/{'x' * MAX_LINK}", "http://[::1/x"],
)  # fmt: skip
def test_links_that_cannot_be_read(link: str) -> None:
    with pytest.raises(LinkRefused, match="allowed http:// or https://, a host and a path"):
        fetch(link, LOOPBACK)


def test_tls_wants_a_certificate_for_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A certificate of an unknown authority is refused, one of a known is taken for its own name only."""
    authority, known = trustme.CA(), tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(known)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    data = picture()
    with web(context, a=answer(data)) as (there, asked):
        port = there.rpartition(":")[2]
        with pytest.raises(LinkRefused, match="got no answer that can be read .TLS: CERTIFICATE_VERIFY_FAILED"):
            fetch(f"https://localhost:{port}/a.png", LOOPBACK)
        monkeypatch.setattr(ssl, "create_default_context", lambda real=ssl.create_default_context: real(cafile=known))
        with pytest.raises(LinkRefused, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(f"https://127.0.0.1:{port}/a.png", LOOPBACK)
        assert asked == []
        only_v4 = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **named: only_v4("127.0.0.1", *more, **named))
        assert fetch(f"https://localhost:{port}/a.png", LOOPBACK) == data
    with web(a=answer(data)) as (there, _), pytest.raises(LinkRefused, match="got no answer that can be read"):
        fetch(there.replace("http:", "https:") + "/a.png", LOOPBACK)


# ---- in requests -----------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"images": 1, "steps": 2, "seed": 3}
SHIPPED: dict[str, Any] = {"model": None, "backend": "cpu", "dtype": "float32"}


def ask(key: str, prompt: str, **said: Any) -> JobRequest:
    return JobRequest(key=key, prompt=prompt, parameters={**SMALL, **said}, language=True)


def test_links_are_off_unless_the_operator_allows_them(serve: Serve) -> None:
    with web(a=answer(picture())) as (there, asked):

        async def work(service: Service) -> None:
            service.linked.policy = LOOPBACK
            for request in (
                ask("a", f"{there}/a.png a cat"),
                ask("b", "a cat", image=f"{there}/a.png"),
                ask("c", "a cat", style_references=(f"{there}/a.png",)),
            ):
                with pytest.raises(LinkRefused, match="links of pictures are off; .*--image-links"):
                    await service.submit_all("local", request)
                with pytest.raises(LinkRefused):
                    await service.plan("local", request)
            assert service.accepted == 0

        serve(work, **SHIPPED)
        assert asked == []


def test_pictures_of_links_are_called_by_their_digests(serve: Serve) -> None:
    red, blue, text = picture(), picture("blue"), b"hello"
    with web(red=answer(red), blue=answer(blue), text=answer(text), cut=answer(red, length=60)) as (there, asked):

        async def work(service: Service) -> None:
            service.linked.policy = LOOPBACK
            request = ask(
                "a", f"{there}/red.png {there}/blue.png a cat", style_references=((f"{there}/blue.png", 2.0), 7)
            )
            plan = await service.plan("local", request)
            assert len(plan.jobs) == 1
            (one,) = await service.submit_all("local", request)
            assert (await service.submit_all("local", request))[0].existing
            assert len(asked) == 2, "each link once"
            found = await ended(service, one.job.job)
            row = service.context.store.job(found.job)
            assert row is not None
            spec = packing.spec_of(row)
            assert spec.start is not None
            assert spec.start.pictures == (digest_of(red), digest_of(blue))
            names = {use.adapter for use in spec.adapters}
            assert names == {f"style:picture:{digest_of(red)}", f"style:picture:{digest_of(blue)}", "style:number:7"}
            (two,) = await service.submit_all("local", ask("b", "a cat", image=f"{there}/red.png", image_strength=0.5))
            row = service.context.store.job(two.job.job)
            assert row is not None
            start = packing.spec_of(row).start
            assert start is not None
            assert start.picture == digest_of(red)
            before = service.accepted
            for name in ("text", "cut", "missing"):
                with pytest.raises(Exception, match="got no picture|got a damaged picture|the answer 404"):
                    await service.submit_all("local", ask(name, f"{there}/{name}.png a cat"))
            assert service.accepted == before

        serve(work, image_links=True, **SHIPPED)


def test_a_real_address_is_never_asked_by_default(serve: Serve) -> None:
    with web(a=answer(picture())) as (there, asked):

        async def work(service: Service) -> None:
            assert service.linked.policy is links.POLICY
            with pytest.raises(LinkRefused, match="not public"):
                await service.submit_all("local", ask("a", f"{there}/a.png a cat"))

        serve(work, image_links=True, **SHIPPED)
        assert asked == []


def test_strangers_servers_keep_few_threads_waiting(serve: Serve) -> None:
    """An account has few links fetched at a time; more are refused at once, and nothing else waits for them."""
    release, arrived = threading.Event(), threading.Semaphore(0)

    def wait(connection: socket.socket, _: str) -> None:
        arrived.release()
        release.wait(TIMEOUT)
        answer(picture())(connection, "")

    with web(a=wait) as (there, _):

        async def work(service: Service) -> None:
            service.linked.policy = replace(LOOPBACK, seconds=2 * TIMEOUT)
            asking = [
                asyncio.create_task(service.submit_all("local", ask(f"k{i}", f"{there}/a.png?{i} a cat", steps=1)))
                for i in range(OPEN)
            ]
            for _ in asking:
                assert await asyncio.to_thread(arrived.acquire, timeout=TIMEOUT)
            with pytest.raises(TooMany, match=f"got more than {OPEN} at a time, or 16 of all accounts"):
                await service.submit_all("local", ask("more", f"{there}/a.png?more a cat"))
            assert (await service.submit_all("local", ask("plain", "a cat")))[0].job.job
            release.set()
            for each in asking:
                assert (await each)[0].job.starts == (digest_of(picture()),)

        serve(work, image_links=True, **SHIPPED)
