"""The core alone: no socket, no thread, a clock that we turn, and a server and a line that do their worst."""

from __future__ import annotations

import hashlib
import math
import pickle
from collections import deque
from collections.abc import Iterator
from copy import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.errors import SalonError
from salon.frontends.client import exchanges as x
from salon.frontends.client.core import Core
from salon.frontends.client.errors import BY_CODE, Busy, Disconnected, JobFailed, failed
from salon.frontends.client.lookout import ASK_S, TELL_S, Lookout
from salon.frontends.client.pauses import LONGEST_PAUSE_S
from salon.frontends.client.steps import Wait, Work
from salon.frontends.client.steps import fetch as fetch_all
from salon.frontends.wire import codec
from salon.frontends.wire import messages as m
from salon.frontends.wire.frames import NO_ID

LIMITS = m.Limits(heartbeat_ms=1000, chunk=3, max_credit=4, max_watches=2, max_fetches=2)
FILE = b"twenty bytes of file"
DIGEST = hashlib.sha256(FILE).hexdigest()
NUM_EVENTS = 12  # with the final one


class Clock:
    """Seconds, as many as we say."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class World:
    """A core, the line, and a server that says everything that it can as soon as it can."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.core = Core("tcp://s:1", patience_s=1e9, clock=self.clock, chance=lambda: 0.5)
        self.up: deque[list[bytes]] = deque()
        self.down: deque[list[bytes]] = deque()
        self.session = False
        self.told = NUM_EVENTS  # events that have happened
        self.done: list[str] = []  # keys of submits
        self.busy = 0
        self.ids: set[bytes] = set()
        self.requests: list[m.Request] = []
        self._watches: dict[bytes, int] = {}
        self.fetches: dict[bytes, tuple[int, int]] = {}
        self.most = {"watch": 0, "fetch": 0}

    def link(self) -> None:
        """What `Link` does."""
        if self.core.wants_socket:
            self.forget()
            self.up.clear()
            self.down.clear()
            self.core.opened()
        self.core.tick()
        while self.core.outbox:
            message = self.core.outbox.popleft()
            assert self.core.has_socket
            assert not message[0] or message[0] not in self.ids, "an id is never used again"
            self.ids.add(message[0])
            self.up.append(message)

    def break_line(self) -> None:
        self.up.clear()
        self.down.clear()
        self.forget()
        self.core.lost("it broke")

    def forget(self) -> None:
        self.session = False
        self._watches.clear()
        self.fetches.clear()

    def serve(self) -> None:
        """One message of the client's."""
        if not self.up:
            return
        id, body = self.up.popleft()
        request = codec.decode_request(body)
        self.requests.append(request)
        if isinstance(request, m.Hello):
            self.session = True
            self.say(id, m.Welcome(version=1, limits=LIMITS))
        elif not self.session:
            self.say(id, m.Failure(code="hello", kind="", text=""))
        elif isinstance(request, m.Credit):
            if request.fetch in self.fetches:
                offset, credit = self.fetches[request.fetch]
                assert credit + request.chunks <= LIMITS.max_credit
                self.fetches[request.fetch] = (offset, credit + request.chunks)
        elif id and self.busy:
            self.busy -= 1
            self.say(id, m.Failure(code="busy", kind="", text="", retry_after_ms=100))
        elif isinstance(request, m.Submit):
            if request.key not in self.done:
                self.done.append(request.key)
            self.say(id, m.Accepted(job=m.JobInfo(job=request.key)))
        elif isinstance(request, m.Watch):
            self._watches[id] = request.after
        elif isinstance(request, m.Unwatch):
            if self._watches.pop(request.watch, None) is not None:
                self.say(request.watch, m.Watched())
            self.say(id, m.Done())
        elif isinstance(request, m.Fetch):
            self.fetches[id] = (request.offset, request.credit)
        elif isinstance(request, m.Ping):
            self.say(id, m.Pong())
        self.most["watch"] = max(self.most["watch"], len(self._watches))
        self.most["fetch"] = max(self.most["fetch"], len(self.fetches))

    def stream(self) -> None:
        """A part of everything that flows."""
        for id, last in list(self._watches.items()):
            if last < self.told:
                last += 1
                final = last == NUM_EVENTS
                self.say(id, m.Event(number=last, kind="done" if final else "step" if last % 2 else "image"))
                self._watches[id] = last
                if final:
                    del self._watches[id]
                    self.say(id, m.Watched(last=last))
        for id, (offset, credit) in list(self.fetches.items()):
            if credit:
                part = FILE[offset : offset + LIMITS.chunk]
                self.say(id, m.Chunk(offset=offset, total=len(FILE), digest=DIGEST), part)
                self.fetches[id] = (offset + len(part), credit - 1)
                if offset + len(part) >= len(FILE):
                    del self.fetches[id]

    def say(self, id: bytes, reply: m.Record, payload: bytes | None = None) -> None:
        self.down.append([id, codec.encode(reply), *([] if payload is None else [payload])])

    def deliver(self) -> None:
        if self.down:
            self.core.receive(self.down.popleft())

    def settle(self, seconds: float = 30.0) -> None:
        """No more trouble: let everything come to its end."""
        end = self.clock.now + seconds
        while self.clock.now < end and (len(self.core.pending) or self.core.outbox or self.up or self.down):
            for _ in range(20):
                self.link()
                self.serve()
                self.stream()
                self.deliver()
            self.clock.now += 0.05


ACTIONS = (
    "link",
    "serve",
    "serve",
    "stream",
    "deliver",
    "deliver",
    "time",
    "long",
    "break",
    "forget",
    "busy",
    "closing",
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_happens_everything_comes_to_its_end(data: st.DataObject) -> None:
    world = World()
    calls = [x.Call(m.Submit(key=f"k{n}", prompt="p"), math.inf) for n in range(3)]
    watches = [x.Watching("j", 0, False) for _ in range(3)]
    fetches = [x.Fetching("j", n, math.inf, math.inf, credit=4) for n in range(3)]
    left = x.Watching("j", 0, False), x.Fetching("j", 9, math.inf, math.inf, credit=2)
    waiting: list[x.Exchange] = [*calls, *watches, *fetches, *left]
    world.told = data.draw(st.integers(0, NUM_EVENTS))
    for action in data.draw(st.lists(st.sampled_from((*ACTIONS, "ask", "ask", "drop")), max_size=150)):
        if action == "ask" and waiting:
            world.core.ask(waiting.pop())
        elif action == "drop":
            for exchange in left:
                world.core.drop(exchange)
        elif action == "time":
            world.clock.now += 0.05
        elif action == "long":
            world.clock.now += 4
        elif action == "break":
            world.break_line()
        elif action == "forget":
            world.forget()
        elif action == "busy":
            world.busy += 1
        elif action == "closing":
            world.say(b"", m.Closing(reason="r", retry_after_ms=200))
        elif action in ("link", "serve", "stream", "deliver"):
            getattr(world, action)()
    world.told = NUM_EVENTS
    while waiting:
        world.core.ask(waiting.pop())
    for exchange in left:
        world.core.drop(exchange)
    world.settle()
    for call in calls:
        assert call.ended
        assert call.error is None
        assert len(call.answers) == 1
        assert not isinstance(call.answers[0][0], m.Failure)
    assert sorted(world.done) == ["k0", "k1", "k2"]
    for watch in watches:
        assert watch.ended
        assert [event.number for event, _ in watch.answers] == list(range(1, NUM_EVENTS + 1))
    for fetch in fetches:
        assert fetch.ended
        assert fetch.error is None
        assert bytes(fetch.data) == FILE
    assert len(world.core.pending) == 0
    assert not left[1].data or not left[1].orphan or left[1].ended or len(left[1].data) < len(FILE)
    assert world.most["watch"] <= LIMITS.max_watches
    assert world.most["fetch"] <= LIMITS.max_fetches


def opened() -> World:
    """A world with an open connection."""
    world = World()
    ping = x.Call(m.Ping(), math.inf)
    world.core.ask(ping)
    world.settle(1.0)
    assert ping.ended
    assert world.core.state == "open"
    return world


def test_it_does_nothing_until_it_is_asked() -> None:
    core = Core("s", patience_s=1, clock=Clock())
    assert (core.state, core.due, core.wants_socket) == ("idle", math.inf, False)


def test_nothing_is_sent_before_welcome() -> None:
    world = World()
    world.core.ask(x.Call(m.Ping(), math.inf))
    world.link()
    assert [codec.decode_request(body) for _, body in world.up] == [
        m.Hello(version=1, oldest=1, features=m.FEATURES, client="")
    ]


def test_the_pauses_between_sockets_grow() -> None:
    world = World()
    world.core.ask(x.Call(m.Ping(), math.inf))
    pauses = []
    for _ in range(14):
        world.link()
        world.core.lost("again")
        pauses.append(world.core.due - world.clock.now)
        world.clock.now = world.core.due
    assert [round(pause, 6) for pause in pauses] == sorted(round(pause, 6) for pause in pauses)
    assert pauses[0] < 0.2
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_S * 0.75)


def test_a_server_that_forgets_at_once_gets_a_pause() -> None:
    world = opened()
    world.core.ask(x.Call(m.Ping(), math.inf))
    for _ in range(200):  # no time passes
        world.link()
        world.forget()
        world.serve()
        world.deliver()
    assert world.core.state in ("waiting", "greeting")
    hellos = len([id for id in world.ids if id])
    assert hellos < 10


def test_heartbeats() -> None:
    world = opened()
    world.clock.now = world.core.due
    world.link()
    assert [codec.decode_request(body) for _, body in world.up] == [m.Ping()]
    assert [id for id, _ in world.up] == [b""]
    world.clock.now += 3
    world.link()
    assert (world.core.state, world.core.trouble) == ("idle", "silence")  # nobody waits: no need for another


def test_news_count_even_if_we_were_away_for_long() -> None:
    world = opened()
    world.clock.now += 100  # the machine slept; what came meanwhile is read first
    world.say(b"", m.Pong())
    world.deliver()
    world.link()
    assert world.core.state == "open"


def test_what_does_not_fit_is_ignored() -> None:
    world = opened()
    for message in (
        [],
        [b"x"],
        [b"x" * 99, b""],
        [b"", b"\x80"],
        [b"zz", codec.encode(m.Done())],
        [b"", b"", b"", b""],
    ):
        world.core.receive(message)
    world.core.receive([b"", codec.encode(m.Welcome(version=7))])
    world.core.receive([b"never", codec.encode(m.Failure(code="busy", kind="", text=""))])
    assert world.core.state == "open"
    assert world.core.welcome is not None
    assert world.core.welcome.version == 1


def test_a_slow_reader_misses_steps_and_previews_only() -> None:
    watch = x.Watching("j", 0, True)
    for number in range(1, 1001):
        kind = {0: "image", 1: "preview"}.get(number % 50, "step")
        watch.accept(m.Event(number=number, kind=kind), b"p" if kind == "preview" else None, b"", 0.0)
    watch.accept(m.Event(number=1001, kind="done"), None, b"", 0.0)
    assert len(watch.answers) < 100
    numbers = [event.number for event, _ in watch.answers]
    assert numbers == sorted(numbers)
    assert sum(event.kind == "image" for event, _ in watch.answers) == 20
    assert [event.kind for event, _ in watch.answers][-1] == "done"
    assert max(event.number for event, _ in watch.answers if event.kind == "preview") == 951


def test_an_event_that_is_told_again_is_dropped() -> None:
    watch = x.Watching("j", 5, False)
    for number in (4, 5, 6, 6, 3, 7):
        watch.accept(m.Event(number=number, kind="image"), None, b"", 0.0)
    assert [event.number for event, _ in watch.answers] == [6, 7]
    assert watch.request().after == 7


@pytest.mark.parametrize("broken", [False, True])
def test_a_fetch_that_nobody_wants_frees_its_slot(broken: bool) -> None:
    world = opened()
    left = x.Fetching("j", 0, math.inf, math.inf, credit=2)
    world.core.ask(left)
    for _ in range(2):
        world.link()
        world.serve()
        world.stream()
        world.deliver()
    assert len(world.fetches) == 1
    world.core.drop(left)
    if broken:
        world.break_line()
    other = x.Call(m.Ping(), math.inf)
    world.core.ask(other)
    world.settle()
    assert other.ended
    assert world.fetches == {}
    assert len(world.core.pending) == 0
    fetched = [request for request in world.requests if isinstance(request, m.Fetch)]
    assert len(fetched) == 1
    assert len(left.data) < len(FILE)


def test_closed_is_the_end() -> None:
    world = opened()
    watch, error = x.Watching("j", 0, False), SalonError("closed")
    world.core.ask(watch)
    world.core.close(error)
    assert (watch.ended, watch.error) == (True, error)
    assert [codec.decode_request(body) for _, body in world.core.outbox] == [m.Bye()]
    late = x.Call(m.Ping(), math.inf)
    world.core.ask(late)
    assert late.error is error
    assert world.core.due == math.inf
    assert not world.core.has_socket


def test_errors_can_be_copied_and_sent_elsewhere() -> None:
    errors: list[SalonError] = [failed(m.Failure(code=code, kind="k", text="t", retry_after_ms=5)) for code in BY_CODE]
    errors += [JobFailed(m.JobInfo(job="j", reason="r")), Disconnected("d")]
    for error in errors:
        for again in (copy(error), pickle.loads(pickle.dumps(error))):
            assert type(again) is type(error)
            assert str(again) == str(error)
            assert vars(again) == vars(error)


def test_pictures_that_wait_for_others_are_not_late() -> None:
    """Each has the whole patience from when its turn has come, and no part of it comes later than that."""
    world = opened()
    began, steps = world.clock.now, fetch_all(world.core, "j", list(range(8)), 0.5)
    pictures: list[list[bytes]] = []

    def look() -> Iterator[Wait | Work]:
        pictures.append((yield from steps))

    for waiting in look():
        assert isinstance(waiting, Wait)
        assert world.clock.now < waiting.until, "it was given up"
        world.clock.now += 0.1
        for turn in (world.link, world.serve, world.stream, world.deliver):
            turn()
    assert pictures == [[FILE] * 8]
    assert world.clock.now - began > 2.0, "much longer than the patience for one"


def test_a_watch_is_not_turned_away_for_ever() -> None:
    world = opened()
    world.core.pending._patience_s = 1.0
    world.busy = 10**6
    watch = x.Watching("j", 0, False)
    world.core.ask(watch)
    world.settle(3.0)
    assert isinstance(watch.error, Busy)


# ---- a silent server -------------------------------------------------------------------------------------------------


def test_silence_of_an_open_connection_is_noticed_once() -> None:
    """faults.md 27: a server that hangs keeps its connection, so nothing was noticed before the third heartbeat."""
    world = World()
    lookout = Lookout(world.core)
    world.core.ask(x.Watching("job-1", NUM_EVENTS, previews=False))
    for _ in range(2):  # Hello and Welcome, Watch
        world.link()
        world.serve()
        while world.down:
            world.core.receive(world.down.popleft())
    assert world.core.state == "open"

    def after(seconds: float) -> list[float | None]:
        world.clock.now += seconds
        if lookout.look():
            world.link()
        news = list(lookout.news)
        lookout.news.clear()
        return news

    assert after(0) == []
    assert lookout.due == world.clock.now + ASK_S
    assert after(ASK_S) == []
    assert len(world.up) == 1  # whether it is there
    assert after(TELL_S - ASK_S) == [TELL_S]
    assert (lookout.due, after(TELL_S)) == (math.inf, [])
    world.core.receive([NO_ID, codec.encode(m.Pong())])
    assert after(0) == [None]
    assert after(0) == []


def test_an_idle_client_looks_for_nobody() -> None:
    core = Core("s", patience_s=1, clock=Clock())
    assert Lookout(core).due == math.inf
