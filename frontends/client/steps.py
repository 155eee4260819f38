"""Define the parts of operations, once for both clients: generators that yield what they wait for.

The blocking client runs each step under its lock, the asyncio client in its loop. Between two steps they wait, without
the lock or outside of the loop's turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from ...errors import complaint
from ...values import number_of, shown
from ..wire.errors import BadMessage
from ..wire.messages import Event, Fetch, Picture, Record, Watch
from ..wire.plain import plain
from .core import Core
from .errors import BadAnswer, TimedOut, fresh, invalid
from .exchanges import Call, Exchange, Fetching, Watching

T = TypeVar("T")
R = TypeVar("R", bound=Record)
CREDIT: Final = 8  # chunks that may be on their way: 2 MiB, enough for 200 Mbit/s over 80 ms


class Wait:
    """A step that goes on when the exchange is woken, or at `until` (the core's clock)."""

    __slots__ = ("exchange", "until")

    def __init__(self, exchange: Exchange, until: float) -> None:
        self.exchange, self.until = exchange, until


class Work:
    """A step that goes on with the result of `call`: slow work that needs neither lock nor loop."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call


class Item(Generic[T]):
    """An item of a stream. The stream goes on when the caller asks for the next one."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


Steps: TypeAlias = Generator[Wait | Work, Any, T]
Stream: TypeAlias = Generator[Wait | Work | Item[T], Any, None]


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a job; see `wire.messages.Event`.

    Attributes:
        number: rises over the life of the job; go on after it with `events(after=number)`.
        kind: queued, note, started, step, preview, image, paused, resumed, requeued, or a final one: done, failed,
            cancelled, blocked. A newer server may have others.
        preview: a JPEG of the unfinished grid, in events of kind "preview".
    """

    number: int
    kind: str
    at_ms: int = 0
    step: int = 0
    steps: int = 0
    reason: str = ""
    picture: Picture | None = None
    preview: bytes | None = None


def asked(request: R, **typed: str) -> R:
    """Return a request as it can be sent; see `wire.plain`.

    Raises:
        Invalid: a field does not have its type.
    """
    try:
        return plain(request, **typed)
    except BadMessage as error:
        raise invalid(str(error)) from error


def seconds_of(timeout_s: Any) -> float:
    """Return a time to wait, in seconds.

    Raises:
        Invalid: it is no number from 0.
    """
    seconds = number_of(timeout_s)
    if seconds is None or not seconds >= 0:
        raise invalid(complaint("timeout_s", shown(timeout_s), "seconds, from 0", "correct it"))
    return seconds


def wait(core: Core, exchange: Exchange) -> Steps[None]:
    """Wait until the exchange has an answer, or none will come.

    Raises:
        TimedOut, Disconnected: its deadline passed, or there was no server for too long.
        RequestFailed: its deadline passed while the server turned it away.
    """
    while not exchange.ready:
        limit, away = exchange.deadline, core.away_since
        if away is not None:
            limit = min(limit, max(away, exchange.asked_at) + core.patience_s)
        if core.clock() >= limit:
            if away is not None:
                raise core.unreachable()
            if exchange.refusal is not None:  # the last refusal says more than a timeout
                raise fresh(exchange.refusal)
            raise TimedOut(complaint("server", "nothing new in time", "an answer or event", "wait longer"))
        yield Wait(exchange, limit)


def take(exchange: Exchange) -> tuple[Any, bytes | None] | None:
    """Return the next answer with its bytes; None: the exchange has ended.

    Raises:
        SalonError: the exchange ended with this error.
    """
    if exchange.answers:
        return exchange.answers.popleft()
    if exchange.error is not None:
        raise fresh(exchange.error)
    return None


def call(core: Core, request: Record, kind: type[R], timeout_s: float) -> Steps[R]:
    """Make one request, and return its answer, which is of that kind.

    Raises:
        RequestFailed: the server did not carry it out.
        TimedOut, Disconnected: no answer came in time.
        BadAnswer: the answer is of another kind.
        Invalid: a field does not have its type; nothing was sent.
    """
    return (yield from answer(core, Call(asked(request), core.clock() + timeout_s), kind))


def answer(core: Core, exchange: Call, kind: type[R]) -> Steps[R]:
    """Do what `call` does, with an exchange that the caller can look at afterwards."""
    core.ask(exchange)
    try:
        yield from wait(core, exchange)
    finally:
        core.drop(exchange)
    return take_answer(exchange, kind)


def take_answer(exchange: Call, kind: type[R]) -> R:
    """Return the one answer of an exchange that has ended.

    Raises:
        SalonError: the exchange ended with this error.
        BadAnswer: the answer is of another kind.
    """
    taken = take(exchange)
    if taken is None or not isinstance(taken[0], kind):
        got = "nothing" if taken is None else type(taken[0]).__name__
        raise BadAnswer(complaint("answer", got, kind.__name__, "use versions of client and server that fit"))
    return taken[0]


def fetch(core: Core, job: str, indexes: list[int], timeout_s: float) -> Steps[list[bytes]]:
    """Fetch pictures, several at a time. `timeout_s` is the longest wait for a part of one.

    Raises:
        BadPicture: the bytes do not have their sha256.
        RequestFailed, TimedOut, Disconnected, Invalid: as `call`.
    """
    indexes = [asked(Fetch(job=job, index=index)).index for index in indexes]
    credit = min(CREDIT, core.welcome.limits.max_credit) if core.welcome is not None else 4
    exchanges = [Fetching(job, index, core.clock() + timeout_s, timeout_s, max(1, credit)) for index in indexes]
    for exchange in exchanges:
        core.ask(exchange)
    pictures = []
    try:
        for exchange in exchanges:
            # The exchange may have waited for those before it.
            exchange.deadline = max(exchange.deadline, core.clock() + timeout_s)
            yield from wait(core, exchange)
            take(exchange)
            pictures.append(bytes(exchange.data))
    finally:
        for exchange in exchanges:
            core.drop(exchange)
    return pictures


def watch(core: Core, job: str, after: int, previews: bool, timeout_s: float | None) -> Stream[JobEvent]:
    """Yield a job's events.

    Args:
        timeout_s: the longest time without one, in seconds; None: no bound while there is a server.

    Raises:
        RequestFailed, TimedOut, Disconnected, Invalid: as `call`.
    """
    patience = math.inf if timeout_s is None else seconds_of(timeout_s)
    request = asked(Watch(job=job, after=after, previews=previews))
    exchange = Watching(request.job, request.after, request.previews)
    core.ask(exchange)
    try:
        while True:
            exchange.deadline = core.clock() + patience
            yield from wait(core, exchange)
            taken = take(exchange)
            if taken is None:
                return
            event: Event = taken[0]
            yield Item(
                JobEvent(
                    number=event.number,
                    kind=event.kind,
                    at_ms=event.at_ms,
                    step=event.step,
                    steps=event.steps,
                    reason=event.reason,
                    picture=event.picture,
                    preview=taken[1],
                )
            )
    finally:
        core.drop(exchange)
