"""What an operation is made of, written once for both flavours of the client: generators that yield what they wait for.

The blocking client runs each step under its lock, the asyncio one in its loop; between two steps they wait, without it.
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
CREDIT: Final = 8  # chunks ahead; 2 MiB, enough for 200 Mbit/s over 80 ms


class Wait:
    """Go on when the exchange is woken, or at `until` (the core's clock)."""

    __slots__ = ("exchange", "until")

    def __init__(self, exchange: Exchange, until: float) -> None:
        self.exchange, self.until = exchange, until


class Work:
    """Go on with what that returns: something slow that needs neither lock nor loop."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call


class Item(Generic[T]):
    """Of a stream: hand this out, and go on when the next one is wanted."""

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
        preview: a JPEG of the unfinished grid, of kind "preview".
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
    """A request as it can be sent; see `wire.plain`.

    Raises:
        Invalid: a field is something else than its type says.
    """
    try:
        return plain(request, **typed)
    except BadMessage as error:
        raise invalid(str(error)) from error


def seconds_of(timeout_s: Any) -> float:
    """How long to wait.

    Raises:
        Invalid: that is no number from 0.
    """
    seconds = number_of(timeout_s)
    if seconds is None or not seconds >= 0:
        raise invalid(complaint("timeout_s", shown(timeout_s), "seconds, from 0", "correct it"))
    return seconds


def wait(core: Core, exchange: Exchange) -> Steps[None]:
    """Until something came for it, or nothing more will.

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
            if exchange.refusal is not None:  # turned away, and no answer to the last try yet: that says more
                raise fresh(exchange.refusal)
            raise TimedOut(complaint("server", "nothing new in time", "an answer or event", "wait longer"))
        yield Wait(exchange, limit)


def take(exchange: Exchange) -> tuple[Any, bytes | None] | None:
    """The next thing that came; None: it has ended.

    Raises:
        SalonError: it ended with that.
    """
    if exchange.answers:
        return exchange.answers.popleft()
    if exchange.error is not None:
        raise fresh(exchange.error)
    return None


def call(core: Core, request: Record, kind: type[R], timeout_s: float) -> Steps[R]:
    """One request, and its answer, which is of that kind.

    Raises:
        RequestFailed: the server did not do it.
        TimedOut, Disconnected: no answer in time.
        BadAnswer: one of another kind.
        Invalid: a field is something else than its type says; nothing was sent.
    """
    return (yield from answer(core, Call(asked(request), core.clock() + timeout_s), kind))


def answer(core: Core, exchange: Call, kind: type[R]) -> Steps[R]:
    """`call`, for who wants to see the exchange afterwards."""
    core.ask(exchange)
    try:
        yield from wait(core, exchange)
    finally:
        core.drop(exchange)
    taken = take(exchange)
    if taken is None or not isinstance(taken[0], kind):
        got = "nothing" if taken is None else type(taken[0]).__name__
        raise BadAnswer(complaint("answer", got, kind.__name__, "use versions of client and server that fit"))
    return taken[0]


def fetch(core: Core, job: str, indexes: list[int], timeout_s: float) -> Steps[list[bytes]]:
    """Pictures, several at a time. `timeout_s`: the longest wait for a part of one.

    Raises:
        BadPicture: its bytes do not have its sha256.
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
            exchange.deadline = max(exchange.deadline, core.clock() + timeout_s)  # it may have waited for those before
            yield from wait(core, exchange)
            take(exchange)
            pictures.append(bytes(exchange.data))
    finally:
        for exchange in exchanges:
            core.drop(exchange)
    return pictures


def watch(core: Core, job: str, after: int, previews: bool, timeout_s: float | None) -> Stream[JobEvent]:
    """A job's events. `timeout_s`: the longest time without one; None: for as long as there is a server.

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
