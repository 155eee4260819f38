"""Run a durable studio inside a program: an accepted job is on disk first, and goes on after a crash.

    with DurableStudio("my-pictures") as studio:
        job = studio.imagine("a red apple", key="apple-1")
        png = job.pictures(timeout_s=60)[0]

The service runs on an event loop in a thread of its own. Every method here hands it one request and waits for the
answer, at most for the time that the caller gives.
"""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Coroutine, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from ...bounds import LOCAL
from ...engine.errors import SpecError
from ...engine.words import WordList
from ...errors import complaint
from ...given import plain_count, plain_text
from ...parameters.job_request import IMAGINE, Source
from ...parameters.known import checked
from ...parameters.request import OWN_STYLE
from ...values import shown, whole_of
from ..errors import JobTimeout, StudioClosed
from ..job import seconds_of
from ..loras import file_of
from ..prompt.plan import Plan
from ..references import bytes_of, digest_of
from ..threads import check_process, start_thread, thread_pool
from .context import OpenStudio, ServiceContext, open_studio
from .durable_job import ANSWER_S, DurableJob, Listener
from .embedded_chat import DurableChat
from .embedded_organize import DurableOrganize
from .embedded_taste import DurableTaste
from .events import JobLog
from .given import ARGUMENTS, checked_options, checks_arguments
from .job_record import JobRecord
from .options import ServiceOptions
from .repeats import Repeat
from .request import request_of
from .service import Service

START_S: Final = 120.0  # the longest wait for jobs to be taken back; the model is loaded by then
CLEAN_UP_S: Final = 3600.0
T = TypeVar("T")


@checks_arguments("prompt", "lane", "key", "kind", "preview_every", "seed")  # `request_of` does
class DurableStudio:
    """Store, scheduler and workers in this process. A context manager that may be used on any thread.

    Jobs that were accepted before, and had not ended when the last process did, go on by themselves: `jobs` lists them.

    Args:
        data: folder of database and pictures; it is made if it does not exist. One process at a time has it open.
        process: whether each engine has a process of its own, instead of a thread of this one.
        studio: starts the workers; tests give another function than `open_studio`.
        options: fields of `ServiceOptions`, such as `model`, `workers`, `backend`, `threads`, `policy`.

    Attributes:
        taste: what its user likes: pairs to rank, profiles and their codes.
        chat: conversations about pictures.
        organize: many jobs at once: names, folders, presets.

    Raises:
        StoreError: the folder cannot be opened (another process has it, it is broken, or newer).
        CheckpointError, WorkerLost, UnknownBackend: as `Studio`.

    Every method raises WrongValue (of a request for a job, SpecError) for an argument that is of another type than its
    annotation, or a number that no database holds.
    """

    def __init__(
        self, data: str | Path, *, process: bool = False, studio: OpenStudio = open_studio, **options: Any
    ) -> None:
        self._pid = os.getpid()
        self.taste, self.chat = DurableTaste(self), DurableChat(self)
        self.organize = DurableOrganize(self)
        said = ServiceOptions(data=Path(data), process=process, **checked_options(options))
        self._context = ServiceContext(said, studio)
        self._service: Service | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._grace_s = 0.0
        self._listeners: set[Listener] = set()
        self._ready = threading.Event()
        self._errors: list[BaseException] = []
        try:
            self._thread = start_thread(self._work, name="salon-service")
        except BaseException:
            self._context.close()
            raise
        if not self._ready.wait(START_S):
            self.close()
            text = complaint("studio", f"no start within {START_S:g} s", "a disk that keeps up", "look after it")
            raise JobTimeout(text)
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> DurableStudio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def imagine(
        self,
        prompt: str,
        lane: str = "fast",
        *,
        key: str | None = None,
        timeout_s: float = ANSWER_S,
        **fields: Any,
    ) -> DurableJob:
        """Accept a job. It is on disk when this returns.

        Args:
            prompt: the words to draw.
            lane: one of `bounds.LANES`.
            key: the caller's own name for it: the same key means the same job, also after a restart; None: a new one.
            timeout_s: the longest wait for the disk, in seconds.
            fields: `private` and `preview_every`, and every other parameter of a request, by the names of
                docs/parameters.md, such as `images`, `seed` or `style_references`. If none of them is about styles, the
                model's default style stays out.

        Raises:
            ParameterError: a name is unknown, or a value is out of range.
            KeyReused, SpecError, LimitError, UnknownLane: see `Service.submit`; there is no job then.
            PolicyBlocked, PolicyTimeout, PolicyDown: a policy of this studio's does not allow it, or does not answer.
            JobTimeout, TooSlow: the job is not on disk yet; if it gets there, the same key finds it.
        """
        own = {name: fields.pop(name) for name in ("private", "preview_every", "parameters") if name in fields}
        parameters = own.pop("parameters", None) or {}
        said = fields | dict(ARGUMENTS.read("Mapping[str, Any]", "parameters", parameters))
        if not said.keys() & set(OWN_STYLE):
            said["stylize"] = 0.0
        return self.make(IMAGINE, prompt, lane=lane, key=key, timeout_s=timeout_s, **own, **said)

    def make(
        self,
        kind: str,
        prompt: str = "",
        *,
        sources: Iterable[Source] = (),
        lane: str = "fast",
        key: str | None = None,
        timeout_s: float = ANSWER_S,
        private: bool = False,
        preview_every: int = 0,
        **parameters: Any,
    ) -> DurableJob:
        """Accept a job of any kind; it is on disk when this returns.

        Args:
            kind: a module of `studio/jobs`, such as "imagine" or "reroll".
            prompt: what to draw; a kind that starts from a picture has that one's, where this is empty.
            sources: the pictures that it starts from.
            lane, key, timeout_s, private, preview_every, parameters: as of `imagine`; but of styles, what a request
                says nothing of is here as it is on the command line.

        Raises as `imagine`; SpecError for an unknown kind, or sources that it does not take.
        """
        request = request_of(
            key=uuid.uuid4().hex if key is None else key,
            prompt=prompt,
            lane=lane,
            private=private,
            preview_every=preview_every,
            parameters=checked(parameters),
            kind=kind,
            sources=sources,
        )
        submitted = self._ask(self._open.submit(LOCAL, request), timeout_s)
        return DurableJob(self, submitted.job.job)

    def again(
        self,
        job: str,
        *,
        seed: int | None = None,
        preview_every: int | None = None,
        key: str | None = None,
        timeout_s: float = ANSWER_S,
    ) -> DurableJob:
        """Accept a job of before once more, of any kind and state, as a new job. It is on disk when this returns.

        Args:
            job: id of the one of before, whose words, parameters, styles, pictures and lane the new one has.
            seed: None: the same, where that job ended without pictures, else a random one.
            preview_every: solver steps between previews; None: as before.
            key, timeout_s: as of `imagine`.

        Raises:
            UnknownJob: there is no such job, or it was deleted.
            SpecError: jobs of this kind have no other seed, or a picture that it refers to is gone.
            As `imagine`.
        """
        said = {} if preview_every is None else {"preview_every": preview_every}
        asked = request_of(key=uuid.uuid4().hex if key is None else key, prompt="", **said)
        repeat = Repeat(asked.key, job, whole_of(checked({"seed": seed}).get("seed")), preview_every)
        submitted = self._ask(self._open.again(LOCAL, repeat), timeout_s)
        return DurableJob(self, submitted.job.job)

    def describe(
        self, picture: str | os.PathLike[str] | bytes | tuple[str, int], *, timeout_s: float = ANSWER_S, **options: Any
    ) -> DurableJob:
        """Accept a job that finds four prompts that a picture might have been drawn of; `DurableJob.texts` has them.

        Args:
            picture: its file, or the bytes of one; or (job id, index from 0).
            timeout_s: as of `imagine`.
            options: `lane`, `key` and `private`, as of `make`.

        Raises as `add_reference` and `make`; SpecError also for a model without a list of its words.
        """
        if isinstance(picture, tuple):
            job, index = (plain_text(picture[0]), plain_count(picture[1])) if len(picture) == 2 else (None, None)
            if job is None or index is None:
                raise SpecError(complaint("picture", shown(picture), "(job id, index)", "name one"))
            source = Source(job=job, index=index)
        else:
            source = Source(digest=self.add_reference(picture, timeout_s=timeout_s))
        return self.make("describe", sources=(source,), timeout_s=timeout_s, **options)

    def shorten(self, prompt: str, *, timeout_s: float = ANSWER_S, **options: Any) -> DurableJob:
        """Accept a job that finds which words of a prompt carry weight, and shorter ones; `DurableJob.texts` has them.

        `options`: as of `describe`, and `aspect`, or `width` and `height`. Raises as `describe`.
        """
        return self.make("shorten", prompt, timeout_s=timeout_s, **options)

    def submit(
        self, prompt: str, *, key: str | None = None, timeout_s: float = ANSWER_S, preview_every: int = 0, **said: Any
    ) -> tuple[DurableJob, ...]:
        """Accept the jobs of a prompt of the prompt language, all or none. They are on disk when this returns.

        Args:
            prompt: words and parameters as people type them, such as "a {red, green} apple --ar 3:2"; see
                docs/parameters.md.
            key: as of `imagine`; of several jobs, all have it.
            timeout_s, preview_every: as of `imagine`.
            said: what a prompt can say, by the parameters' names.

        Raises:
            PromptRefused: the prompt is not of the language, or says something that cannot be done.
            As `imagine`.
        """
        key = uuid.uuid4().hex if key is None else key
        request = request_of(key=key, prompt=prompt, parameters=said, preview_every=preview_every, language=True)
        submitted = self._ask(self._open.submit_all(LOCAL, request), timeout_s)
        return tuple(DurableJob(self, one.job.job) for one in submitted)

    def plan(
        self,
        prompt: str = "",
        *,
        kind: str = IMAGINE,
        sources: Iterable[Source] = (),
        timeout_s: float = ANSWER_S,
        **said: Any,
    ) -> Plan:
        """Return what `submit`, or `make` for another kind, would do, and what it would cost. This makes and charges
        nothing. Arguments and errors as of those."""
        request = request_of(key="plan", prompt=prompt, parameters=said, kind=kind, sources=sources, language=True)
        return self._ask(self._open.plan(LOCAL, request), timeout_s)

    def add_reference(self, picture: str | os.PathLike[str] | bytes, *, timeout_s: float = ANSWER_S) -> str:
        """Keep a picture on disk. Return its digest, for `style_references`, `image` or `mask` of `imagine`.

        Args:
            picture: its file, or the bytes of one.

        Raises:
            ReferenceRefused: the file cannot be read, is no picture, or is larger than `MAX_REFERENCE_BYTES`.
            PolicyBlocked, PolicyTimeout, PolicyDown: as of `imagine`.
            StoreError, TooSlow, JobTimeout: it could not be stored, or not in time.
        """
        data = bytes_of(picture)
        digest = digest_of(data)
        self._ask(self._open.jobs.references.add(LOCAL, digest, data), timeout_s)
        return digest

    def add_lora(self, path: str | os.PathLike[str], *, timeout_s: float = ANSWER_S) -> str:
        """Keep a LoRA on disk. Return its digest, for `loras` of `imagine`.

        Args:
            path: a safetensors file in the layout of diffusers, kohya, Comfy or LyCORIS.

        Raises:
            CheckpointError: it cannot be read, is no LoRA, one for another model, or larger than `MAX_LORA_BYTES`.
            PolicyBlocked, PolicyTimeout, PolicyDown: as of `imagine`.
            StoreError, TooSlow, JobTimeout: it could not be stored, or not in time.
        """
        return self._ask(self._open.jobs.references.loras.add(LOCAL, file_of(path)), timeout_s)

    def lift_timeout(self, *, timeout_s: float = ANSWER_S) -> bool:
        """End the timeout that follows too many blocks of a policy, and forget these. Return whether there was one."""
        return self._ask(self._open.accounts.lift(LOCAL), timeout_s)

    def words(self, like: str = "") -> WordList:
        """See `Studio.words`."""
        check_process(self._pid)
        return self._context.studio.words(like)

    def wildcards(self, *, timeout_s: float = ANSWER_S) -> dict[str, int]:
        """Return the number of words of every list for `__name__` in prompts, by name: those of the folder `wildcards`
        in the studio's. ParameterError: see `WordLists.counts`."""
        return self._ask(self._open.prompts.wildcards(), timeout_s)

    def wildcard(self, name: str, *, timeout_s: float = ANSWER_S) -> tuple[str, ...]:
        """Return the words of a list. ParameterError: there is no such list, or see `WordLists.words`."""
        return self._ask(self._open.prompts.wildcard(name), timeout_s)

    def job(self, job: str, *, timeout_s: float = ANSWER_S) -> DurableJob:
        """Return a job by its id, in whichever start of the studio it was accepted.

        Raise UnknownJob if it does not exist.
        """
        return DurableJob(self, self._ask(self._open.find(job, LOCAL), timeout_s).job)

    def jobs(
        self, *, states: Iterable[str] = (), before: int = 0, limit: int = 20, timeout_s: float = ANSWER_S
    ) -> tuple[JobRecord, ...]:
        """Return jobs, newest first: at most `limit`, and only those in `states`, if there are any."""
        wanted = tuple(states)
        return self._ask(self._open.page(LOCAL, before=before, limit=limit, states=wanted), timeout_s).jobs

    def close(self, grace_s: float = 0.0) -> None:
        """End the workers and close the folder. Running jobs may finish for `grace_s` seconds.

        Other jobs go on the next time that the folder is opened. A second call, or one in a forked child, changes
        nothing.
        """
        if os.getpid() != self._pid or self._loop is None or not self._thread.is_alive():
            return
        self._grace_s = seconds_of(grace_s, "grace_s")
        try:
            self._loop.call_soon_threadsafe(self._stop.set)
        except RuntimeError:  # the loop has ended already
            return
        self._thread.join(self._grace_s + 60.0)

    # ---- inside ----------------------------------------------------------------------------------------------------

    @property
    def _open(self) -> Service:
        check_process(self._pid)
        if self._service is None or not self._thread.is_alive():
            raise StudioClosed("the studio is closed; open the folder again")
        return self._service

    def _ask(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Have the service's thread answer a request. Raise JobTimeout, or what the request raises."""
        assert self._loop is not None
        try:
            seconds = seconds_of(timeout_s)
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except BaseException as error:
            work.close()
            if isinstance(error, RuntimeError):
                raise StudioClosed("the studio is closed; open the folder again") from error
            raise
        try:
            return future.result(seconds)
        except CancelledError:
            raise StudioClosed("the studio is closed; open the folder again") from None
        except TimeoutError:
            future.cancel()
            text = complaint("studio", f"no answer within {seconds:g} s", "an answer", "wait longer, or ask again")
            raise JobTimeout(text) from None

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(thread_pool(2, "salon-aside"))
        cleaning: asyncio.Task[None] | None = None
        try:
            service = Service(self._context)
        except BaseException:
            self._context.close()
            raise
        try:
            service.restore()
            self._context.studio.loop.release()
            cleaning = self._loop.create_task(_clean_up(service))
            self._service = service
            self._ready.set()
            await self._stop.wait()
            await service.leave(self._grace_s)
        finally:
            self._service = None
            if cleaning is not None:
                cleaning.cancel()
            service.jobs.storing.closing = True
            for listener in list(self._listeners):
                listener.touched()
            await service.close()

    async def _listen(self, job: str, listener: Listener) -> JobLog:
        log = await self._open.log(job, LOCAL)
        log.watchers.add(listener)
        self._listeners.add(listener)
        return log

    def _unlisten(self, log: JobLog, listener: Listener) -> None:
        self._listeners.discard(listener)
        with suppress(RuntimeError):  # the service has ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(log.watchers.discard, listener)


async def _clean_up(service: Service) -> None:
    while True:
        await service.clean_up()
        await asyncio.sleep(CLEAN_UP_S)
