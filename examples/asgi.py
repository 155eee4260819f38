"""Salon inside a web application: no server of ours and no socket, only a `Studio` in the application's own process.

    pip install . uvicorn        # in a clone of the repository
    uvicorn --app-dir examples asgi:app
    curl -d '{"prompt": "a red apple, doodle"}' -H 'accept: image/png' -o apple.png localhost:8000/imagine

    POST   /imagine          {"prompt": ..., "images": 4, "steps": 20, "seed": 1, "aspect": [3, 2], "lane": "fast"}
                             accept: image/png: answers with the grid; who leaves before it is there cancels the job
                             else: 202 and where the job is
    GET    /jobs/ID          how it stands
    GET    /jobs/ID/events   server-sent events: its steps, then its end; who leaves changes nothing
    GET    /jobs/ID/grid     PNG, with its recipe inside
    DELETE /jobs/ID          cancel it

Plain ASGI 3, so that any framework can mount it. What is refused is JSON: {"error": NAME, "message": what came, what is
allowed, what to do}. Jobs live as long as the process; accounts, a database and many machines are what `salon serve` is
for.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from salon import SalonError, Studio, __version__
from salon.bounds import FINAL, MAX_IMAGES
from salon.engine.limits import Limits
from salon.studio.errors import JobCancelled, JobFailed, StudioClosed
from salon.studio.job import Job
from salon.studio.service.mosaic import mosaic
from salon.studio.service.recipe import recipe_of
from salon.studio.service.recipe_files import encode_png

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_BODY = 65_536
MAX_OPEN = 64  # jobs at a time
KEEP = 200  # ended jobs that can still be asked for


class Ask(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of POST /imagine."""

    prompt: str
    images: int = 4
    lane: str = "fast"
    negative_prompt: str = ""
    aspect: tuple[float, float] | None = None
    steps: int | None = None
    seed: int | None = None


class Problem(SalonError):
    """A refusal with a status of HTTP."""

    def __init__(self, status: int, name: str, text: str) -> None:
        super().__init__(text)
        self.status, self.name = status, name


class Watched:
    """A job, and a way to wait for its news on the event loop. The studio calls from a thread of its own."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.ended = asyncio.Event()
        self.news = asyncio.Event()  # set at the next change; take it before you look
        self._loop = asyncio.get_running_loop()

    def told(self, *_: object) -> None:
        """Take note of an event; this is for the studio's hooks."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the application has ended
            return

    def _wake(self) -> None:
        if self.job is not None and self.job.state.final:
            self.ended.set()
        news, self.news = self.news, asyncio.Event()
        news.set()


class Imagine:
    """The application. `options` are those of `Studio`, which opens when the application starts; without `limits`, a
    request may have as many images as on a server."""

    def __init__(self, **options: Any) -> None:
        self._options = {"limits": Limits(max_images=MAX_IMAGES)} | options
        self._studio: Studio | None = None
        self._jobs: OrderedDict[str, Watched] = OrderedDict()
        self._coming = 0  # jobs that a thread is just submitting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    # ---- start and end -----------------------------------------------------------------------------------------------

    async def _live(self, receive: Receive, send: Send) -> None:
        """Load the model before the first request, and cancel open jobs at the end."""
        await receive()
        try:
            self._studio = await asyncio.to_thread(lambda: Studio(**self._options))
        except SalonError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        studio, self._studio = self._studio, None
        await asyncio.to_thread(studio.close)
        await send({"type": "lifespan.shutdown.complete"})

    # ---- requests ----------------------------------------------------------------------------------------------------

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._route(scope, receive, send)
        except Problem as error:
            await _json(send, error.status, {"error": error.name, "message": str(error)})
        except StudioClosed as error:
            await _json(send, 503, {"error": "StudioClosed", "message": str(error)})
        except (JobFailed, JobCancelled) as error:
            await _json(send, 409, {"error": type(error).__name__, "message": str(error)})
        except SalonError as error:  # anything else of ours is about what was asked for
            await _json(send, 422, {"error": type(error).__name__, "message": str(error)})

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["method"], scope["path"].removeprefix(scope.get("root_path", "")).strip("/").split("/"):
            case "POST", ["imagine"]:
                await self._imagine(scope, receive, send)
            case "GET", ["jobs", name]:
                await _json(send, 200, _state(self._find(name)[1]))
            case "GET", ["jobs", name, "events"]:
                await self._events(self._find(name)[0], receive, send)
            case "GET", ["jobs", name, "grid"]:
                await self._grid(self._find(name)[1], send)
            case "DELETE", ["jobs", name]:
                await _json(send, 200, {"cancelled": self._find(name)[1].cancel()})
            case method, _:
                raise Problem(
                    404, "NotFound", f"{method} {scope['path'][:80]}: there is no such place; see POST /imagine"
                )

    async def _imagine(self, scope: Scope, receive: Receive, send: Send) -> None:
        watched = await self._submit(await _body(receive))
        job = watched.job
        assert job is not None
        accepts = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        if b"image/png" not in accepts:
            place = f"{scope.get('root_path', '')}/jobs/{job.id}"
            await _json(send, 202, _state(job), (b"location", place.encode()))
            return
        gone, ended = asyncio.create_task(_left(receive)), asyncio.create_task(watched.ended.wait())
        try:
            await asyncio.wait((gone, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await self._grid(job, send)
        finally:  # also where the web server cancels us
            job.cancel()
            gone.cancel()
            ended.cancel()

    async def _submit(self, body: bytes) -> Watched:
        studio = self._studio
        if studio is None:
            raise Problem(503, "Closed", "the application: not open, allowed requests while it is; try again")
        try:
            ask = msgspec.json.decode(body, type=Ask)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Problem(400, "BadRequest", f'body: {error}; send JSON like {{"prompt": "a red apple"}}') from error
        if self._forget() + self._coming >= MAX_OPEN:
            raise Problem(429, "TooMany", f"jobs: {MAX_OPEN} are open, allowed {MAX_OPEN}; try again later")
        watched = Watched()
        fields = msgspec.structs.asdict(ask)
        fields = {name: value for name, value in fields.items() if value is not None}
        self._coming += 1  # before anything is waited for, or many requests would see the same room
        making = asyncio.ensure_future(
            asyncio.to_thread(lambda: studio.imagine(**fields, on_progress=watched.told, on_end=watched.told))
        )
        try:
            watched.job = await asyncio.shield(making)
        except asyncio.CancelledError:  # the thread goes on, and nobody would ask for its job
            making.add_done_callback(self._abandon)
            raise
        except BaseException:
            self._coming -= 1
            raise
        self._coming -= 1
        self._jobs[watched.job.id] = watched
        watched.told()  # it may have ended before it was there
        return watched

    def _abandon(self, making: asyncio.Future[Job]) -> None:
        """Cancel the job of a request that was cancelled meanwhile."""
        self._coming -= 1
        if not making.cancelled() and making.exception() is None:
            making.result().cancel()

    def _forget(self) -> int:
        """Drop the oldest of the ended jobs, beyond `KEEP`; how many are open."""
        # The jobs say it, and not the studio's hook: that may come after a client has seen its job end.
        ended = [name for name, watched in self._jobs.items() if watched.job is not None and watched.job.state.final]
        for name in ended[: max(0, len(ended) - KEEP)]:
            del self._jobs[name]
        return len(self._jobs) - min(len(ended), KEEP)

    def _find(self, name: str) -> tuple[Watched, Job]:
        watched = self._jobs.get(name)
        if watched is None or watched.job is None:
            raise Problem(
                404, "UnknownJob", f"job: got {name[:80]!r}, allowed one that was submitted here; submit it again"
            )
        return watched, watched.job

    async def _events(self, watched: Watched, receive: Receive, send: Send) -> None:
        """Send server-sent events. A slow reader misses steps, never the end."""
        job = watched.job
        assert job is not None
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        gone = asyncio.create_task(_left(receive))
        try:
            told: dict[str, Any] | None = None
            while not gone.done():
                news, state = watched.news, _state(job)
                ended = state["state"] in FINAL  # as it is told: the job itself may have gone on
                if state != told:
                    told = state
                    kind = state["state"] if ended else "step"
                    text = f"event: {kind}\ndata: {msgspec.json.encode(state).decode()}\n\n"
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
                if ended:
                    break
                try:
                    await asyncio.wait_for(news.wait(), 10.0)
                except TimeoutError:  # a comment finds out whether the client is still there
                    await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()

    async def _grid(self, job: Job, send: Send) -> None:
        """Send the grid of a job that is done. Raise JobFailed or JobCancelled if there will be none."""
        studio = self._studio
        if not job.state.final or studio is None:
            raise Problem(
                409, "NotEnded", f"job {job.id!r}: it is {job.state}, allowed one that is done; watch its events"
            )

        def make() -> bytes:
            pixels = mosaic(job.result(0))
            return encode_png(pixels, recipe_of(studio.loop.model, job.spec, job.reading, None, pixels, __version__))

        await _whole(send, 200, b"image/png", await asyncio.to_thread(make))


def _state(job: Job) -> dict[str, Any]:
    state = {
        "job": job.id,
        "state": str(job.state),
        "step": job.step,
        "steps": job.spec.steps_taken,
        "seed": job.spec.seed,
    }
    return state | ({"reason": job.reason} if job.reason else {})


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise Problem(
                413, "TooLarge", f"body: got more than {MAX_BODY} bytes, allowed {MAX_BODY}; shorten the prompt"
            )
        if not message.get("more_body"):
            return body


async def _left(receive: Receive) -> None:
    """Wait until the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _json(send: Send, status: int, answer: object, *headers: tuple[bytes, bytes]) -> None:
    await _whole(send, status, b"application/json", msgspec.json.encode(answer), *headers)


async def _whole(send: Send, status: int, kind: bytes, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    listed = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})


app = Imagine(model=os.environ.get("SALON_MODEL"))
