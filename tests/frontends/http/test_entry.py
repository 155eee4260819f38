"""Who is let in where accounts have keys, and that nobody sees what is another's: tried at every route.

Long because it is one subject: every test asks one server with keys, which the makers at the top start.
"""

from __future__ import annotations

import asyncio
import io
import json
import queue
import socket
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import openai
import pytest
from PIL import Image

from salon.frontends import cli
from salon.frontends.client.aio import AsyncClient
from salon.frontends.client.client import Client
from salon.frontends.client.errors import NotFound, RequestFailed
from salon.frontends.fake.worker import Behaviour
from salon.frontends.http import connections
from salon.frontends.http.door import HttpDoor
from salon.frontends.http.place import HttpError, place_of
from salon.frontends.wire.keys import load_or_make, make_pair
from salon.frontends.zmq import browser, main
from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions
from salon.scheduler import plans as plans_module
from salon.studio.service import entries

from .conftest import WAIT_S, address, fake_server, made

Ask = Callable[[httpx.Client], httpx.Response]


class Side(NamedTuple):
    """An account, and the browser that is in as it."""

    program: Client
    page: httpx.Client


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundServer]:
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=tmp_path_factory.mktemp("keyed"), metrics=None, http="127.0.0.1:0",
        curve=True, open=True, open_plan="unlimited", grace_s=0.1,
    )  # fmt: skip
    with fake_server(options, Behaviour(drawn=True)) as started:
        yield started


@pytest.fixture(scope="module")
def sides(keyed: BackgroundServer) -> Iterator[tuple[Side, Side]]:
    """Two accounts."""
    found = []
    for _ in range(2):
        program = Client(keyed.address, key=make_pair())
        page = httpx.Client(base_url=address(keyed), timeout=WAIT_S)
        enter(page, program.entry.link().url)
        found.append(Side(program, page))
    yield found[0], found[1]
    for side in found:
        side.program.close()
        side.page.close()


def enter(page: httpx.Client, url: str) -> httpx.Response:
    answer = page.post("/api/session", json={"link": url.partition("#link=")[2]})
    if answer.status_code == 200:
        page.headers["x-salon-csrf"] = answer.json()["csrf"]
    return answer


# ---- getting in ------------------------------------------------------------------------------------------------------


def test_a_link_lets_in_once_and_a_session_ends(keyed: BackgroundServer, sides: tuple[Side, Side]) -> None:
    program = sides[0].program
    url = program.entry.link().url
    assert url.startswith(f"{address(keyed)}/#link=link-")
    with httpx.Client(base_url=address(keyed), timeout=WAIT_S) as page:
        first = enter(page, url)
        assert first.status_code == 200, first.text
        said = first.headers["set-cookie"]
        assert "HttpOnly" in said
        assert "samesite=strict" in said.lower()
        assert "secure" not in said.lower()
        assert first.json()["account"] == program.server.account == page.get("/api/session").json()["account"]
        assert first.json()["keyless"] is False
        with httpx.Client(base_url=address(keyed), timeout=WAIT_S) as thief:
            again = enter(thief, url)
            assert (again.status_code, again.json()["error"]["code"]) == (401, "invalid_api_key")
        for csrf, status in (("", 403), ("0" * 32, 403), (page.headers["x-salon-csrf"], 200)):
            assert page.post("/api/settings", json={}, headers={"x-salon-csrf": csrf}).status_code == status
        assert page.request("DELETE", "/api/session", headers={"x-salon-csrf": ""}).status_code == 403
        cookie = dict(page.cookies)
        assert page.delete("/api/session").json()["changed"] is True
        assert not page.cookies
        assert (
            page.get("/api/session", headers={"cookie": f"{next(iter(cookie))}={cookie.popitem()[1]}"}).status_code
            == 401
        )


def test_a_link_ends_by_itself(sides: tuple[Side, Side], keyed: BackgroundServer, monkeypatch: Any) -> None:
    monkeypatch.setitem(entries.LASTS_MS, "link", -1)
    url = sides[0].program.entry.link().url
    with httpx.Client(base_url=address(keyed), timeout=WAIT_S) as page:
        assert enter(page, url).status_code == 401


def test_tokens_are_for_programs(keyed: BackgroundServer, sides: tuple[Side, Side]) -> None:
    program = sides[0].program
    made_ = program.entry.token("a script")
    assert made_.entry is not None
    assert (made_.url, made_.entry.kind, made_.entry.name) == (f"{address(keyed)}/v1", "token", "a script")
    bearer = {"authorization": f"Bearer {made_.secret}"}
    with httpx.Client(base_url=address(keyed), headers=bearer, timeout=WAIT_S) as script:
        assert script.get("/v1/models").status_code == 200
        answer = script.post("/v1/images/generations", json={"prompt": "a cat"})
        assert answer.status_code == 200, answer.text
        assert script.post("/api/info", json={}).json()["account"] == program.server.account  # without CSRF
        [job] = program.jobs(limit=1).jobs
        assert job.job == answer.headers["x-salon-jobs"]
        assert made_.entry.id in [one.id for one in program.entry.list()]
        with pytest.raises(NotFound):
            sides[1].program.entry.end(made_.entry.id)
        program.entry.end(made_.entry.id)
        refused = script.get("/v1/models")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert refused.json()["error"]["code"] == "invalid_api_key"
    with pytest.raises(NotFound):
        program.entry.end(made_.entry.id)


def test_the_asynchronous_client_does_it_too(keyed: BackgroundServer) -> None:
    async def ask() -> None:
        async with AsyncClient(keyed.address, key=make_pair()) as client:
            assert (await client.entry.link()).secret
            token = (await client.entry.token("x")).entry
            assert token is not None
            assert {one.kind for one in await client.entry.list()} == {"link", "token"}
            await client.entry.end(token.id)
            assert {one.kind for one in await client.entry.list()} == {"link"}

    asyncio.run(ask())


def test_no_secret_is_on_disk(keyed: BackgroundServer, sides: tuple[Side, Side]) -> None:
    secrets = [sides[0].program.entry.token("x").secret, *sides[0].page.cookies.values()]
    kept = b"".join(path.read_bytes() for path in Path(keyed.options.data).glob("salon.db*"))
    assert len(secrets) == 2
    assert all(secret.encode() not in kept for secret in secrets)


def test_tokens_are_bounded_and_old_links_end(sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    program = sides[1].program
    monkeypatch.setitem(entries.MOST, "token", 1)
    monkeypatch.setitem(entries.MOST, "link", 2)
    program.entry.token("one")
    with pytest.raises(Exception, match="tokens: got 1 already"):
        program.entry.token("two")
    for _ in range(4):
        program.entry.link()
    assert [one.kind for one in program.entry.list()].count("link") == 2


def test_a_blocked_account_is_out_at_once(keyed: BackgroundServer) -> None:
    with (
        Client(keyed.address, key=make_pair()) as program,
        httpx.Client(base_url=address(keyed), timeout=WAIT_S) as page,
    ):
        enter(page, program.entry.link().url)
        token = program.entry.token().secret
        account = program.server.account
        assert keyed.server is not None
        accounts = keyed.context.accounts
        import msgspec

        done = asyncio.run_coroutine_threadsafe(
            _put(accounts, msgspec.structs.replace(accounts.rows[account], blocked=True)),
            keyed._loop,  # type: ignore[arg-type]
        )
        done.result(WAIT_S)
        assert page.get("/api/session").status_code == 401
        assert page.post("/api/info", json={}).status_code == 401
        assert page.get("/v1/models", headers={"authorization": f"Bearer {token}"}).status_code == 401


async def _put(accounts: Any, row: Any) -> None:
    accounts.put(row)


# ---- at every route --------------------------------------------------------------------------------------------------

PUBLIC = {"/", "/web/{path:path}", "/docs", "/docs/{path:path}", "/healthz", "/readyz"}  # they tell of no account


def cases(job: str, link: str, digest: str) -> dict[str, list[tuple[int | tuple[int, ...], Ask]]]:
    """What another account asks about a private job at every route, and how that is answered."""

    def post(path: str, **fields: Any) -> Ask:
        return lambda page: page.post(path, json=fields)

    def get(path: str) -> Ask:
        return lambda page: page.get(path)

    of_it = {"job": job}
    return {
        "/api/session": [(200, get("/api/session"))],
        "/api/events": [(200, lambda page: page.head("/api/events"))],
        "/api/pictures/{job}/{index}": [(404, get(f"/api/pictures/{job}/0")), (404, get(f"/api/pictures/{job}/-1"))],
        "/api/thumbnails/{job}/{index}/{side}": [(404, get(f"/api/thumbnails/{job}/0/256"))],
        "/api/previews/{job}/{event}": [(404, get(f"/api/previews/{job}/1"))],
        "/api/references/{digest}": [(404, get(f"/api/references/{digest}")), (404, get("/api/references/x"))],
        "/api/references": [(415, lambda page: page.post("/api/references", json={}))],
        "/api/{tag}": [
            (404, post("/api/show", **of_it)),
            (404, post("/api/cancel", **of_it)),
            (404, post("/api/delete", **of_it)),
            (404, post("/api/taste.like", index=0, **of_it)),
            (404, post("/api/taste.pick", picked=[0], **of_it)),
            ((400, 404), post("/api/plan", prompt=f"a cat --image job:{job}:1")),
            ((400, 404), post("/api/plan", prompt=f"a cat --image {digest}")),
            ((400, 404), post("/api/plan", prompt="", kind="vary", sources=[{"job": job, "index": 0}])),
            (403, post("/api/list", account="*")),
            (403, post("/api/ops.retry", **of_it)),
            (403, post("/api/ops.status")),
            (403, post("/api/ops.accounts")),
            (403, post("/api/ops.ledger")),
            (403, post("/api/entry.link", account="0" * 64)),
            (200, post("/api/organize.names", search="secret", whose="all")),
            (200, post("/api/organize.show", jobs=[job])),
            (200, post("/api/organize.change", act="publish", jobs=[job])),
        ],
        "/api/zip": [(200, post("/api/zip", jobs=[job]))],
        "/api/zip/{name}": [(404, get("/api/zip/salon.zip"))],
        "/v1/models": [(200, get("/v1/models"))],
        "/v1/models/{id:path}": [(404, get("/v1/models/nothing"))],
        "/v1/images/generations": [(400, post("/v1/images/generations", prompt=f"a cat --image {digest}"))],
        "/openapi.json": [(200, get("/openapi.json"))],
        "/v1/images/edits": [(400, post("/v1/images/edits", prompt="a cat", images=[{"file_id": digest}]))],
        "/v1/images/variations": [(400, post("/v1/images/variations", images=[{"file_id": digest}]))],
        "/v1/files": [(200, get("/v1/files"))],
        "/v1/files/{name}": [
            (404, get(link)), (404, get(f"/v1/files/{digest}")),
            (404, lambda page: page.delete(f"/v1/files/{digest}")),
        ],
        "/v1/files/{name}/content": [(404, get(f"/v1/files/{digest}/content"))],
        "/sdapi/v1/txt2img": [(400, post("/sdapi/v1/txt2img", prompt=f"a cat --image {digest}"))],
        "/sdapi/v1/img2img": [(400, post("/sdapi/v1/img2img", prompt="a cat", init_images=[digest]))],
        "/sdapi/v1/options": [
            (200, get("/sdapi/v1/options")),
            (404, post("/sdapi/v1/options", sd_model_checkpoint="x")),
        ],
        **{
            f"/sdapi/v1/{name}": [(200, get(f"/sdapi/v1/{name}"))]
            for name in ("sd-models", "samplers", "schedulers", "progress")
        },
        "/sdapi/v1/interrupt": [(200, post("/sdapi/v1/interrupt"))],
    }  # fmt: skip


def test_nobody_sees_what_is_anothers(keyed: BackgroundServer, sides: tuple[Side, Side]) -> None:
    """A route that is new has to be in `cases`: how does it answer somebody else?"""
    owner, other = sides
    info = made(owner.page, "a secret --stealth")
    assert info["private"] is True
    bearer = {"authorization": f"Bearer {owner.program.entry.token().secret}"}
    asked = {"prompt": "a secret --stealth", "response_format": "url"}
    link = owner.page.post("/v1/images/generations", json=asked, headers=bearer).json()["data"][0]["url"]
    assert owner.page.get(link).status_code == 200
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 8, 7)).save(buffer, "PNG")
    sent: dict[str, Any] = {"files": {"file": ("secret.png", buffer.getvalue())}, "data": {"purpose": "vision"}}
    digest = owner.page.post("/v1/files", **sent).json()["id"]
    assert owner.page.get(f"/v1/files/{digest}").json()["filename"] == "secret.png"
    assert owner.page.get(f"/api/pictures/{info['job']}/0").status_code == 200
    tried = cases(info["job"], link, digest)
    assert keyed.server is not None
    owners = [getattr(close, "__self__", None) for close in keyed.server.closers]
    [door] = [each for each in owners if isinstance(each, HttpDoor)]
    assert {getattr(route, "path", "") for route in door.routes} == tried.keys() | PUBLIC
    with httpx.Client(base_url=address(keyed), timeout=WAIT_S) as stranger:
        for path, asks in tried.items():
            for status, ask in asks:
                answer = ask(other.page)
                allowed = status if isinstance(status, tuple) else (status,)
                assert answer.status_code in allowed, (path, str(answer.request.url), answer.text)
                assert "secret" not in answer.text
                assert ask(stranger).status_code == 401, path
    listed = other.page.post("/api/list", json={"public": True, "limit": 200}).json()["jobs"]
    assert info["job"] not in [job["job"] for job in listed]


def test_a_stream_tells_of_ones_own_jobs_alone(sides: tuple[Side, Side]) -> None:
    owner, other = sides
    with other.page.stream("GET", "/api/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        theirs = made(owner.page, "a secret --stealth")["job"]
        mine = made(other.page, "mine")["job"]
        seen = ""
        for line in lines:
            seen += line
            if line.startswith("data:") and mine in line and json.loads(line[6:]).get("state") == "done":
                break
    assert theirs not in seen


def test_how_often_one_may_ask(tmp_path: Path) -> None:
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=tmp_path / "data", metrics=None, http="127.0.0.1:0", rate=0.01, burst=3,
        grace_s=0.1,
    )  # fmt: skip
    with fake_server(options, Behaviour()) as server, httpx.Client(base_url=address(server), timeout=WAIT_S) as page:
        answers = [page.get("/api/pictures/x/0") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
        assert answers[-1].json()["error"]["code"] == "too_fast"
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert page.get("/healthz").status_code == 200


def test_an_account_that_has_no_time_left(tmp_path: Path) -> None:
    """It is told so with 429 and the reason, over each way, and clients do not try again by themselves."""
    plans = tmp_path / "plans.toml"
    own = Path(plans_module.__file__).with_name("plans.toml").read_text()
    plans.write_text(own.replace("monthly_ms = 12_000_000", "monthly_ms = 1"))
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=tmp_path / "data", metrics=None, http="127.0.0.1:0", curve=True, open=True,
        open_plan="basic", plans=plans, grace_s=0.1,
    )  # fmt: skip
    with fake_server(options, Behaviour()) as server, Client(server.address, key=make_pair()) as program:
        token = program.entry.token().secret
        with openai.OpenAI(base_url=f"{address(server)}/v1", api_key=token, timeout=WAIT_S) as client:
            for stream in (False, True):
                with pytest.raises(openai.RateLimitError, match="fast time") as refused:
                    client.images.generate(prompt="a cat", stream=stream)
                assert (refused.value.type, refused.value.code) == ("insufficient_quota", "refused")
                assert refused.value.response.headers["x-should-retry"] == "false"
        with httpx.Client(
            base_url=address(server), headers={"authorization": f"Bearer {token}"}, timeout=WAIT_S
        ) as page:
            asked = {"key": "k", "prompt": "a cat", "language": True}
            told = page.post("/api/submit", json=asked)
            assert (told.status_code, told.json()["error"]["code"]) == (429, "refused")
            assert "fast time" in told.json()["error"]["text"]
            assert page.post("/sdapi/v1/txt2img", json={"prompt": "a cat"}).status_code == 429
        assert program.jobs().jobs == ()


# ---- where it may listen ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "keyed", "words"),
    [
        ({"http": "0.0.0.0:80"}, True, "--tls-cert"),
        ({"http": "192.0.2.1:80"}, False, "--tls-cert"),
        ({"http": "0.0.0.0:443", "tls_cert": "a", "tls_key": "b"}, False, "without keys"),
        ({"tls_cert": "a"}, False, "--tls-key"),
        ({"tls_key": "a"}, False, "--tls-cert"),
        ({"http_url": "https://salon.example"}, False, "without keys"),
        ({"http_url": "salon.example"}, True, "https://HOST"),
        ({"http_url": "https://salon.example/path"}, True, "https://HOST"),
        ({"http_url": "javascript:alert(1)"}, True, "https://HOST"),
    ],
    ids=str,
)
def test_a_place_where_others_could_ask_or_read_along(changes: dict[str, Any], keyed: bool, words: str) -> None:
    with pytest.raises(HttpError, match=words):
        place_of(ServeOptions(**({"http": "127.0.0.1:80"} | changes)), keyed=keyed)


def test_by_which_names_it_may_be_called() -> None:
    here = place_of(ServeOptions(http="127.0.0.1:80"), keyed=False)
    assert here.cookie == "salon_session_80"
    assert [here.is_called(name) for name in ("localhost:80", "[::1]:80", "evil.example", "")] == [
        True,
        True,
        False,
        False,
    ]
    proxied = place_of(ServeOptions(http="127.0.0.1:80", http_url="https://salon.example/"), keyed=True)
    assert proxied.address == "https://salon.example"
    assert proxied.cookie == "__Host-salon_session_80"
    assert [proxied.is_called(name) for name in ("salon.example", "127.0.0.1:80", "evil.example")] == [
        True,
        True,
        False,
    ]
    six = place_of(ServeOptions(http="[::1]:80"), keyed=False)
    assert (six.address, six.is_called("evil.example"), six.is_called("[::1]:80")) == ("http://[::1]:80", False, True)
    anywhere = place_of(ServeOptions(http="[::]:443", tls_cert="a", tls_key="b"), keyed=True)
    assert (anywhere.is_called("salon.example"), anywhere.address.startswith("https://")) == (True, True)
    assert proxied.is_origin("https://salon.example", "127.0.0.1:80")
    assert not proxied.is_origin("http://salon.example", "127.0.0.1:80")
    assert proxied.base("http", "127.0.0.1:80") == "https://salon.example"


def ends(connection: socket.socket) -> bool:
    """Whether the other side closes a connection, whatever it says before."""
    try:
        while connection.recv(1 << 12):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def test_with_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    import trustme

    authority = trustme.CA()
    pair = authority.issue_cert("localhost", "127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    pair.cert_chain_pems[0].write_to_path(cert)
    pair.private_key_pem.write_to_path(key)
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=tmp_path / "data", metrics=None, http="0.0.0.0:0", tls_cert=str(cert),
        tls_key=str(key), open=True, grace_s=0.1,
    )  # fmt: skip
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    with fake_server(options, Behaviour()) as server, Client(server.address, key=make_pair()) as program:
        url = program.entry.link().url
        assert url.startswith("https://")
        port = url.partition("/#")[0].rpartition(":")[2]
        with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted, timeout=WAIT_S) as page:
            said = enter(page, url).headers["set-cookie"]
            assert said.startswith("__Host-salon_session_")
            assert "secure" in said.lower()
            assert page.get("/api/session").status_code == 200
            with socket.create_connection(("localhost", int(port)), timeout=WAIT_S) as plain:
                plain.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
                assert ends(plain)
            with monkeypatch.context() as bounds:  # which hold for what has not agreed on its encryption yet, too
                bounds.setattr(connections, "HEADERS_S", 0.1)
                with socket.create_connection(("localhost", int(port)), timeout=WAIT_S) as silent:
                    assert ends(silent)
                bounds.setattr(connections, "HEADERS_S", 20)
                bounds.setattr(connections, "MOST", 1)  # which the page may have, or have left by now
                two = [socket.create_connection(("localhost", int(port)), timeout=WAIT_S) for _ in range(2)]
                assert ends(two[1])
                for each in two:
                    each.close()
            assert page.get("/healthz").status_code == 200
    key.write_text(cert.read_text())
    with pytest.raises(HttpError, match="no such pair"):
        fake_server(options, Behaviour()).start()


# ---- on the command line ---------------------------------------------------------------------------------------------


def test_the_command_line_makes_lists_and_ends_them(
    keyed: BackgroundServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SALON_SERVER", keyed.address)
    monkeypatch.setenv("SALON_KEY", str(tmp_path / "key"))
    load_or_make(tmp_path / "key")

    def run(*words: str) -> str:
        assert cli.main(["account", *words]) == 0
        return capsys.readouterr().out

    with httpx.Client(base_url=address(keyed), timeout=WAIT_S) as page:
        assert enter(page, run("link").strip()).status_code == 200
        token = run("token", "a script").strip()
        assert page.get("/v1/models", headers={"authorization": f"Bearer {token}"}).status_code == 200
        listed = json.loads(run("list", "--json"))
        assert [(one["kind"], one["name"]) for one in listed] == [("token", "a script"), ("session", "")]
        assert "a script" in run("list")
        for one in listed:
            assert run("revoke", one["id"]) == "revoked\n"
        assert page.get("/api/session").status_code == 401
    assert run("list") == "no links, sessions or tokens\n"
    assert cli.main(["account", "revoke", "0" * 12]) != 0
    assert "list them" in capsys.readouterr().err
    assert cli.main(["account", "link", "0" * 64]) != 0
    assert "for operators only" in capsys.readouterr().err


def test_a_server_without_keys_needs_none(tmp_path: Path) -> None:
    options = ServeOptions(listen=("tcp://127.0.0.1:0",), data=tmp_path, metrics=None, http="127.0.0.1:0", grace_s=0.1)
    with fake_server(options, Behaviour()) as server, Client(server.address) as client:
        assert (client.entry.link().url, client.entry.link().secret) == (f"{address(server)}/", "")
        assert client.entry.token().secret == ""
        with httpx.Client(base_url=address(server), timeout=WAIT_S) as page:
            assert page.post("/api/session", json={"link": "link-x"}).json()["account"] == "local"
    without = replace(options, http=None)
    with (
        fake_server(without, Behaviour()) as server,
        Client(server.address) as client,
        pytest.raises(RequestFailed) as no,
    ):
        client.entry.link()
    assert "start it with --http" in str(no.value)


def test_a_server_prints_its_page_first_and_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The link is in no command's words, which other users of the machine see."""
    monkeypatch.setenv("SALON_KEY", str(tmp_path / "key"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened: queue.Queue[tuple[Path, int, str]] = queue.Queue()

    def opener(url: str) -> bool:
        lead = Path(url.removeprefix("file://"))
        opened.put((lead, lead.stat().st_mode, lead.read_text()))
        return True

    monkeypatch.setattr(webbrowser, "open", opener)
    monkeypatch.setattr(browser, "LEAD_S", 0.0)
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=tmp_path / "data", metrics=None, http="127.0.0.1:0", curve=True,
        operators=(main.own_account(),), grace_s=0.1,
    )  # fmt: skip
    with fake_server(options, Behaviour()) as server:
        assert server.server is not None
        assert server._loop is not None
        url = asyncio.run_coroutine_threadsafe(main._page(server.server), server._loop).result(WAIT_S)
        main._say_where(server.server.addresses, address(server), url, json=False)
        first, second, third = capsys.readouterr().out.splitlines()
        assert first == f"Salon's page: {url}"
        assert second.startswith("Salon listens. To use it: export SALON_SERVER='tcp://")
        assert third.endswith("OPENAI_API_KEY=$(salon account token)")
        browser.open_page(url).join(WAIT_S)
        lead, mode, text = opened.get_nowait()
        assert mode & 0o077 == 0
        assert url in text
        assert not lead.exists(), "it is gone again"
        with (
            httpx.Client(base_url=address(server), timeout=WAIT_S) as page,
            Client(server.server.addresses[0]) as operator,
        ):
            assert enter(page, url).json()["role"] == "operator"
            assert enter(page, operator.entry.link(new="Ann").url).json()["name"] == "Ann"
            assert made(page, "a first picture")["state"] == "done"
            page.headers["x-salon-csrf"] = page.get("/api/session").json()["csrf"]
            for fields, status in (({"new": "Bob"}, 403), ({"new": "", "account": ""}, 200)):
                assert page.post("/api/entry.link", json=fields).status_code == status
            with pytest.raises(RequestFailed, match="it alone"):
                operator.entry.link(operator.server.account, new="Ann")
