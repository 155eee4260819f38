"""Serve the page: its document, its modules and styles, which lie in the package, and the documentation's site."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import mimetypes
import os
import re
from pathlib import Path
from stat import S_ISREG
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ...errors import complaint
from ...values import shown
from .errors import HttpRefused
from .stored import file_answer, matches

WEB: Final = Path(__file__).parents[1] / "web"
STATIC: Final = WEB / "static"  # index.html and what it needs
SITE: Final = WEB / "site"  # the documentation, where it was built
INDEX: Final = "index.html"
POLICY: Final = (
    "default-src 'none'; script-src 'self'{hashes}; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SITE_POLICY: Final = (  # the theme of the documentation has styles and scripts in its pages
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES: Final = {".js": "text/javascript", ".mjs": "text/javascript", ".woff2": "font/woff2", ".webp": "image/webp"}
PACKED: Final = ("text/", "application/json", "image/svg+xml", "application/xml")  # types that get smaller
LEAST: Final = 512  # bytes from which packing is worth it
_IMPORT: Final = re.compile(rb'@import url\("([A-Za-z0-9-]+\.css)"\);')
_INLINE: Final = re.compile(rb"<script(?:\s[^>]*)?>(.*?)</script>", re.DOTALL | re.IGNORECASE)


class Kept(NamedTuple):
    """A file as it is sent.

    Attributes:
        stamp: time of its last change, and its size; of a style the same of those beside it.
        data: its bytes.
        packed: the same in gzip; None: that is no smaller.
        etag: quoted.
        media_type: of the file.
    """

    stamp: tuple[int, ...]
    data: bytes
    packed: bytes | None
    etag: str
    media_type: str


class Static:
    """The files of a folder, read when they are first asked for, and again when they have changed.

    Args:
        folder: has them; what lies outside cannot be asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, Kept] = {}

    async def get(self, name: str) -> Kept | None:
        """Return a file by its path in the folder; None: there is none."""
        if not all(part and not part.startswith(".") and "\0" not in part for part in name.split("/")) or "\\" in name:
            return None
        path = self._folder / name
        try:
            state = path.stat()
            if not S_ISREG(state.st_mode):
                return None
            stamp, kept = _stamp(path, state), self._kept.get(name)
            if kept is None or kept.stamp != stamp:
                kept = self._kept[name] = await asyncio.to_thread(_kept, path, stamp)
        except (OSError, ValueError):
            self._kept.pop(name, None)
            return None
        return kept


class Pages:
    """The endpoints that serve the page and the documentation. Used on the event loop's thread."""

    def __init__(self, static: Path = STATIC, site: Path = SITE) -> None:
        self._static, self._site = Static(static), Static(site)

    async def index(self, request: Request) -> Response:
        """Answer with the page."""
        kept = await self._static.get(INDEX)
        if kept is None:
            text = complaint("path", "/", "another: this build of Salon is without the page", "see docs/http.md")
            raise HttpRefused(text, status=404, code="not_found")
        return _answer(request, kept, {"cache-control": "no-store", "content-security-policy": policy_of(kept.data)})

    async def file(self, request: Request) -> Response:
        """Answer with one of the page's files."""
        kept = await self._static.get(request.path_params["path"])
        if kept is None:
            raise _missing(request)
        headers = {"cache-control": "no-cache", "content-security-policy": POLICY.format(hashes="")}
        return _answer(request, kept, headers)

    async def docs(self, request: Request) -> Response:
        """Answer with a page of the documentation."""
        name = request.path_params.get("path", "")
        kept = await self._site.get(f"{name}{INDEX}" if not name or name.endswith("/") else name)
        if kept is None and name and await self._site.get(f"{name}/{INDEX}") is not None:
            return RedirectResponse(f"/docs/{name}/")
        if kept is None:
            got, allowed = shown(request.url.path), "a page of the documentation, where its site was built"
            remedy = "build it (docs/http.md), or read the docs folder"
            raise HttpRefused(complaint("path", got, allowed, remedy), status=404, code="not_found")
        return _answer(request, kept, {"cache-control": "no-cache", "content-security-policy": SITE_POLICY})

    async def to_docs(self, request: Request) -> Response:
        """Lead to the documentation."""
        return RedirectResponse("/docs/")


def policy_of(document: bytes) -> str:
    """Return the policy of a document: scripts are files of ours, but for what it has inside, like its import map."""
    found = [hashlib.sha256(body).digest() for body in _INLINE.findall(document) if body.strip()]
    return POLICY.format(hashes="".join(f" 'sha256-{base64.b64encode(one).decode()}'" for one in found))


def _stamp(path: Path, state: os.stat_result) -> tuple[int, ...]:
    states = [state, *(each.stat() for each in sorted(path.parent.glob("*.css")))] if path.suffix == ".css" else [state]
    return tuple(number for each in states for number in (each.st_mtime_ns, each.st_size))


def _kept(path: Path, stamp: tuple[int, ...]) -> Kept:
    data = path.read_bytes()
    if path.suffix == ".css":  # with the styles that it imports inside, so that one answer has them all
        data = _IMPORT.sub(lambda found: (path.parent / found[1].decode()).read_bytes(), data)
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    packed = gzip.compress(data, 9, mtime=0) if kind.startswith(PACKED) and len(data) >= LEAST else None
    if packed is not None and len(packed) >= len(data):
        packed = None
    return Kept(stamp, data, packed, f'"{hashlib.sha256(data).hexdigest()[:32]}"', kind)


def _answer(request: Request, kept: Kept, headers: dict[str, str]) -> Response:
    """Return the answer with a file, packed where the browser takes that; 304 where it has the file."""
    headers = {**headers, "etag": kept.etag, "vary": "Accept-Encoding"}
    if matches(request, kept.etag):
        return Response(status_code=304, headers=headers)
    kind = f"{kept.media_type}; charset=utf-8" if kept.media_type.startswith("text/") else kept.media_type
    takes = [each.partition(";")[0].strip() for each in request.headers.get("accept-encoding", "").split(",")]
    if kept.packed is not None and "gzip" in takes:
        return file_answer(kept.packed, kind, {**headers, "content-encoding": "gzip"})
    return file_answer(kept.data, kind, headers)


def _missing(request: Request) -> HttpRefused:
    got = shown(request.url.path)
    return HttpRefused(complaint("path", got, "a file of the page", "reload the page"), status=404, code="not_found")
