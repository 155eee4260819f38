"""The links of pictures in requests: fetched once for an account, kept like files that it brings."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ...errors import complaint
from ...parameters.pictures import is_link
from ..references import digest_of
from ..threads import thread_pool
from . import links
from .errors import TooMany

if TYPE_CHECKING:
    from .references import ServiceReferences

THREADS: Final = 4  # which wait for strangers' servers
OPEN: Final = 2  # links of an account that are being fetched, or wait for that, at a time
ALL: Final = 16  # of all accounts
KEPT_S: Final = 600.0  # how long a link is known to be the same picture
KEPT: Final = 1000


class Linked:
    """The links that requests name. Used on the event loop's thread.

    Args:
        references: keeps what was fetched.
        allowed: whether links are followed.

    Attributes:
        policy: bounds of what is fetched.
    """

    def __init__(self, references: ServiceReferences, *, allowed: bool) -> None:
        self.policy = links.POLICY
        self._references, self._allowed = references, allowed
        self._pool: ThreadPoolExecutor | None = None
        self._open: Counter[str] = Counter()
        self._known: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    async def brought(self, account: str, picture: Any) -> Any:
        """Return the digest of a link's picture, which the account has then; what is no link, as it is.

        Raises:
            LinkRefused: links are off, or see `links.fetch`.
            TooMany: too many are being fetched at a time.
            ReferenceRefused: the file is no picture.
            StoreError, TooSlow: it could not be stored.
        """
        if not is_link(picture):
            return picture
        if not self._allowed:
            raise links.off(picture, "bring its file, or have the operator serve with --image-links")
        known = self._known.get((account, picture))
        fresh = known is not None and time.monotonic() - known[1] < KEPT_S
        if known is not None and fresh and await self._references.has(account, known[0]):
            return known[0]
        if self._open[account] >= OPEN or self._open.total() >= ALL:
            got = f"more than {OPEN} at a time, or {ALL} of all accounts"
            raise TooMany(complaint("link", got, "fewer", "try again in a moment"))
        if self._pool is None:
            self._pool = thread_pool(THREADS, "salon-links")
        self._open[account] += 1
        try:
            ask = partial(links.fetch, picture, self.policy)
            data = await asyncio.get_running_loop().run_in_executor(self._pool, ask)
        finally:
            self._open[account] -= 1
            self._open = +self._open
        digest = digest_of(data)
        await self._references.add(account, digest, data)
        self._known[account, picture] = digest, time.monotonic()
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return digest

    def close(self) -> None:
        """End the threads; what they fetch is not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
