"""The page's files: nothing but them, under a policy that lets only them run."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from salon.frontends.http.api import answering
from salon.frontends.http.static import Pages, policy_of

MODULE = '<script type="module" src="/web/a.js"></script>'
MAP = '{"imports": {"preact": "/web/preact.js"}}'


@pytest.fixture
def web(tmp_path: Path) -> httpx.AsyncClient:
    static, site = tmp_path / "static", tmp_path / "site"
    for path, text in {
        static / "index.html": f'<script type="importmap">{MAP}</script>{MODULE}',
        static / "a.js": "export const a = 1;\n" * 100,
        static / ".hidden": "x",
        static
        / "css"
        / "page.css": '@import url("one.css");\n@import url("two.css");\n@import url("../../secret.txt");',
        static / "css" / "one.css": "p { color: red; }\n",
        static / "css" / "two.css": "i { color: blue; }\n",
        tmp_path / "secret.txt": "x",
        site / "index.html": "docs",
        site / "http" / "index.html": "about http",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    pages = Pages(static, site)
    app = Starlette(routes=[
        Route("/", answering(pages.index)), Route("/web/{path:path}", answering(pages.file)),
        Route("/docs/{path:path}", answering(pages.docs)),
    ])  # fmt: skip
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")


def test_the_page_and_its_files(web: httpx.AsyncClient, tmp_path: Path) -> None:
    async def look() -> None:
        page = await web.get("/")
        assert page.headers["cache-control"] == "no-store"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert f"'sha256-{base64.b64encode(hashlib.sha256(MAP.encode()).digest()).decode()}'" in policy
        assert "unsafe" not in policy
        script = await web.get("/web/a.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert script.headers["content-encoding"] == "gzip"
        assert gzip.decompress(gzip.compress(script.content)) == (tmp_path / "static" / "a.js").read_bytes()
        plain = await web.get("/web/a.js", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == script.content
        same = await web.get("/web/a.js", headers={"if-none-match": script.headers["etag"]})
        assert same.status_code == 304
        (tmp_path / "static" / "a.js").write_text("export const a = 2;\n")
        changed = await web.get("/web/a.js", headers={"if-none-match": script.headers["etag"]})
        assert (changed.status_code, changed.text) == (200, "export const a = 2;\n")
        styles = tmp_path / "static" / "css"
        joined = (styles / "one.css").read_text() + "\n" + (styles / "two.css").read_text() + "\n"
        assert (await web.get("/web/css/page.css")).text == joined + '@import url("../../secret.txt");'
        (styles / "two.css").write_text("i { color: green; }\n")
        assert "green" in (await web.get("/web/css/page.css")).text
        for path in (
            "/web/../secret.txt",
            "/web/..%2fsecret.txt",
            "/web//etc/passwd",
            "/web/.hidden",
            "/web/",
            "/web/b",
        ):
            missing = await web.get(path)
            assert missing.status_code == 404, path
        assert (await web.get("/docs/")).text == "docs"
        assert (await web.get("/docs/http")).headers["location"] == "/docs/http/"
        assert (await web.get("/docs/http/")).text == "about http"
        assert "where its site was built" in (await web.get("/docs/nothing/")).text

    asyncio.run(look())


def test_only_scripts_with_something_inside_are_named() -> None:
    assert "sha256" not in policy_of(MODULE.encode())
