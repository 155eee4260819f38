"""Read the bodies of requests, bounded in size, in time, and in how many come at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final, ParamSpec, TypeVar

from starlette.requests import Request

from ...errors import complaint
from ...values import shown
from .errors import HttpRefused

MAX_BODY: Final = 1 << 20  # bytes of a request in JSON: prompts are far shorter
BODY_S: Final = 30.0  # the longest time in which such a body may come
JSON: Final = "application/json"
FILES: Final = 4  # files that one account may be bringing at a time
ALL_FILES: Final = 16  # all accounts together: 256 MiB of the largest
LARGE: Final = 1 << 16  # bytes from which on to look at all of them would hold other requests up: some milliseconds
_P = ParamSpec("_P")
_T = TypeVar("_T")


async def aside(size: int, work: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T:
    """Return what a function returns. If it is about many bytes (`size`), it is called on a thread."""
    if size < LARGE:
        return work(*given, **named)
    return await asyncio.to_thread(work, *given, **named)


async def json_body(request: Request, most: int = MAX_BODY) -> bytes:
    """Return the body of a request in JSON.

    Raises:
        HttpRefused: its header does not call it JSON, as browsers ask before they send for a stranger's page; or it is
            too large, or slow.
    """
    kind = kind_of(request)
    if kind != JSON:
        raise HttpRefused(complaint("Content-Type", shown(kind), JSON, "send JSON"), status=415, code="invalid_type")
    return await body_of(request, most, BODY_S)


def kind_of(request: Request) -> str:
    """Return the media type of a request's body, in small letters, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def body_of(request: Request, most: int, seconds: float) -> bytes:
    """Return the body of a request. Raises as `parts_of`."""
    return b"".join([part async for part in parts_of(request, most, seconds)])


async def parts_of(request: Request, most: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield the body of a request as it comes. HttpRefused: it has more than `most` bytes, or takes longer than
    `seconds`."""
    size, end, stream = 0, asyncio.get_running_loop().time() + seconds, request.stream()
    try:
        while True:
            async with asyncio.timeout_at(end):  # of the wait alone: what the caller waits for it must not cancel
                part = await anext(stream, None)
            if part is None:
                return
            size += len(part)
            if size > most:
                text = complaint("body", f"more than {most:,} bytes", "fewer", "shorten it")
                raise HttpRefused(text, status=413, code="too_large")
            yield part
    except TimeoutError:
        text = complaint("body", f"not all of it in {seconds:g} s", "a faster one", "send it again")
        raise HttpRefused(text, status=408, code="too_slow", retry_ms=1000) from None


class Bringing:
    """The files that are being brought, bounded in number."""

    def __init__(self) -> None:
        self._now: Counter[str] = Counter()

    @contextmanager
    def one(self, account: str) -> Iterator[None]:
        """Count one file of an account while it comes. HttpRefused: there are too many already."""
        if self._now[account] >= FILES or self._now.total() >= ALL_FILES:
            text = complaint("files", "too many at a time", f"{FILES} of an account, {ALL_FILES} in all", "wait")
            raise HttpRefused(text, status=429, code="busy", type="rate_limit_error", retry_ms=1000)
        self._now[account] += 1
        try:
            yield
        finally:
            self._now[account] -= 1
            self._now += Counter()  # drops what is 0
