"""Read the bodies of requests that bring pictures, bounded in how much of all of them is in memory at once, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from starlette.requests import Request

from ...errors import complaint
from ...values import shown
from .errors import HttpRefused
from .reading import aside, kind_of, parts_of

FORM: Final = "multipart/form-data"
MAX_PICTURES: Final = 64 << 20  # of a body
ALL: Final = 256 << 20  # of all bodies with pictures at a time
PICTURES_S: Final = 120.0  # the longest time in which it may come


class Room:
    """The memory that bodies with pictures may take together; half of it is the most that one account takes.

    Args:
        most: bytes.
    """

    def __init__(self, most: int = ALL) -> None:
        self._most = most
        self._held: Counter[str] = Counter()

    @contextmanager
    def lease(self, account: str) -> Iterator[Callable[[int], None]]:
        """Lend an account a function that takes so many further bytes, until the context ends. It raises HttpRefused if
        there is no room for them."""
        held = 0

        def take(size: int) -> None:
            nonlocal held
            if self._held.total() + size > self._most or self._held[account] + size > self._most // 2:
                text = complaint("body", "more pictures at a time than there is room for", "fewer", "ask again soon")
                raise HttpRefused(text, status=429, code="busy", type="rate_limit_error", retry_ms=2000)
            held += size
            self._held[account] += size

        try:
            yield take
        finally:
            self._held[account] -= held
            self._held += Counter()  # drops what is 0


def want_kind(request: Request, *kinds: str) -> str:
    """Return the media type of a request's body. HttpRefused: it is none of `kinds`."""
    kind = kind_of(request)
    if kind not in kinds:
        text = complaint("Content-Type", shown(kind), " or ".join(kinds), "send that")
        raise HttpRefused(text, status=415, code="invalid_type")
    return kind


async def pictures_body(request: Request, take: Callable[[int], None]) -> bytes:
    """Return the whole body of a request that may bring pictures.

    Args:
        request: of which it is.
        take: of a `Room`.

    Raises:
        HttpRefused: it is too large, slow, or as `take`.
    """
    parts = []
    async for part in parts_of(request, MAX_PICTURES, PICTURES_S):
        take(len(part))
        parts.append(part)
    return await aside(sum(map(len, parts)), b"".join, parts)


def fields_in(body: bytes) -> dict[str, Any]:
    """Return the fields of a JSON object; those that are null count as not there. HttpRefused: it is none."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HttpRefused(complaint("body", f"no JSON ({error})", "a JSON object", "correct it")) from error
    if not isinstance(fields, dict):
        raise HttpRefused(complaint("body", shown(fields), "a JSON object", "correct it"))
    return {name: value for name, value in fields.items() if value is not None}
