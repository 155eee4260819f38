"""Turn an exception into the Failure that a client gets."""

from __future__ import annotations

import logging

from ...engine.errors import LimitError
from ...errors import SalonError
from ...parameters.errors import PromptRefused
from ...parameters.language.places import place_in
from ...scheduler.errors import Refused, UnknownAccount
from ...studio.errors import (
    QuotaExceeded,
    StoreBroken,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreLocked,
    StudioClosed,
    WorkerLost,
)
from ...studio.service.errors import (
    Draining,
    NoSuchAccount,
    NoSuchEntry,
    PolicyBlocked,
    PolicyDown,
    TooMany,
    TooSlow,
    UnknownChat,
    UnknownFile,
    UnknownJob,
)
from ..wire.errors import MessageError, UnsupportedVersion
from ..wire.messages import Failure

LOG = logging.getLogger("salon.server")


class RequestRefused(SalonError):
    """This server does not carry out a request. `code` is that of the `Failure`."""

    def __init__(self, code: str, text: str, retry_after_ms: int = 0, kind: str = "") -> None:
        super().__init__(text)
        self.code, self.retry_after_ms, self.kind = code, retry_after_ms, kind


# (error, code, ms after which the request may work); the first that fits. Any other `SalonError` is "invalid".
CODES: tuple[tuple[type[SalonError], str, int], ...] = (
    (UnsupportedVersion, "unsupported", 0),
    (UnknownJob, "not_found", 0),
    (UnknownFile, "not_found", 0),
    (NoSuchAccount, "not_found", 0),
    (NoSuchEntry, "not_found", 0),
    (UnknownChat, "not_found", 0),
    (TooSlow, "busy", 1000),
    (TooMany, "busy", 5000),
    (Draining, "draining", 2000),
    (PolicyDown, "unavailable", 5000),
    (LimitError, "too_large", 0),
    (Refused, "refused", 0),
    (QuotaExceeded, "refused", 0),
    (UnknownAccount, "forbidden", 0),
    (StudioClosed, "draining", 2000),
    (WorkerLost, "unavailable", 2000),
    (StoreBusy, "busy", 500),
    (StoreLocked, "busy", 500),
    (StoreFull, "unavailable", 5000),
    (StoreBroken, "unavailable", 0),
    (StoreError, "unavailable", 2000),
)


def failure_of(error: BaseException, prompt: str = "") -> Failure:
    """Return the answer to a request that raised. `prompt`: the request's, if it has one.

    An unexpected error is logged, and told as "internal" without its words.
    """
    name = type(error).__name__
    if isinstance(error, RequestRefused):
        return Failure(code=error.code, kind=error.kind or name, text=str(error), retry_after_ms=error.retry_after_ms)
    if isinstance(error, MessageError):
        return Failure(code=error.code, kind=name, text=str(error))
    if isinstance(error, PolicyBlocked):
        wait = error.retry_after_ms
        return Failure(code="blocked", kind=name, text=str(error), retry_after_ms=wait, rule=error.rule)
    for kind, code, retry in CODES:
        if isinstance(error, kind):
            return Failure(code=code, kind=name, text=str(error), retry_after_ms=retry)
    if isinstance(error, SalonError):
        return Failure(code="invalid", kind=name, text=str(error), position=position_in(prompt, error))
    LOG.error("internal error", exc_info=error)
    return Failure(code="internal", kind=name, text="internal error: report it with the server's log; nothing was done")


def position_in(prompt: str, error: BaseException) -> int:
    """Return the place in a request's prompt that an error speaks of; -1: none, or it cannot be told."""
    place = error if isinstance(error, PromptRefused) else error.__cause__
    if not prompt or not isinstance(place, PromptRefused) or not place.prompt:
        return -1
    return place_in(prompt, place.prompt, place.position)
