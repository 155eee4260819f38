"""Give each request of HTTP the key under which the service makes its jobs once, however often it comes."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ...errors import complaint
from .errors import HttpRefused

JOIN_S: Final = 900.0  # for which a repeated request without a key finds the first one
MANY: Final = 10_000
LONGEST: Final = 255  # characters of an Idempotency-Key


class Keys:
    """The keys of requests. One with an `Idempotency-Key` has a key of its own for good; one without has a new one,
    which a client's automatic repetition (`x-stainless-retry-count`) finds again.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._latest: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def key(self, account: str, named: str | None, retries: str, body: bytes) -> str:
        """Return the key of a request.

        Args:
            account: that asks.
            named: its Idempotency-Key; None: it has none.
            retries: its `x-stainless-retry-count`.
            body: of the request.

        Raises:
            HttpRefused: an Idempotency-Key that is empty or too long.
        """
        if named is not None:
            if not 1 <= len(named) <= LONGEST:
                got = f"{len(named)} characters"
                text = complaint("Idempotency-Key", got, f"1 to {LONGEST}", "choose another")
                raise HttpRefused(text, code="invalid_idempotency_key")
            return f"http-{hashlib.sha256(named.encode()).hexdigest()[:40]}"
        print_ = hashlib.sha256(b"\0".join([account.encode(), body])).digest()
        before = self._latest.pop(print_, None)
        again = retries.isascii() and retries.isdigit() and retries.strip("0") != ""
        joins = again and before is not None and before[1] >= self._clock() - JOIN_S
        key = before[0] if joins and before is not None else f"http-{secrets.token_hex(20)}"
        self._latest[print_] = key, self._clock()
        while len(self._latest) > MANY:
            self._latest.popitem(last=False)
        return key
