"""Carry out plans on an engine: a worker does the work of a device, and never dies of a job's error."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from ...engine.adapters.adapters import names_used
from ...engine.engine import Engine
from ...engine.errors import DeviceLost, NumericalError, SalonError
from ...engine.generation import Generation, ParkedGeneration, State, StepReport
from ...engine.info import ModelInfo
from ...engine.start import PictureForm
from ...errors import complaint
from ...scheduler.tickets import Stage
from ..errors import StudioError
from ..resources import not_here
from .messages import (
    Ack,
    AddAdapter,
    AddBranch,
    Answer,
    ArenaUse,
    Array,
    Arrival,
    Command,
    Drop,
    Failure,
    Forget,
    Frames,
    Park,
    Parked,
    Progress,
    Ran,
    Reading,
    Run,
)
from .stages import Outputs, handler_of

LOG = logging.getLogger("salon.studio")

Said = tuple[Answer, list[Any]]  # an answer and its frames


class Worker:
    """An engine and the jobs that are open on it. One thread drives it.

    Args:
        engine: the engine; no other thread drives it meanwhile.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        for note in getattr(engine.ops, "notes", ()):
            LOG.warning("%s", note)
        self._held: dict[str, Generation] = {}
        self._preview_every: dict[str, int] = {}
        self._pictures: dict[PictureForm, Any] = {}  # as long as the pool wants
        self._refused: dict[str, Exception] = {}  # branches and adapters that the engine did not take
        self._complaints: set[tuple[str, str]] = set()  # kinds of errors that were reported

    def handle(self, command: Command, frames: Frames = ()) -> Said:
        """Carry out a command. An error becomes part of the answer.

        Raises:
            DeviceLost: the engine's device stopped working. Nothing of the worker can be used any more.
        """
        if isinstance(command, Run):
            return self._run(command, frames)
        if isinstance(command, Park):
            return self._park(command), []
        try:
            if isinstance(command, Drop):
                self._drop(command.jobs)
            elif isinstance(command, AddBranch | AddAdapter):
                self._add(command, frames)
            elif isinstance(command, Forget):
                if command.name in self.engine.adapters:
                    self.engine.forget_adapter(command.name)
            else:
                raise AssertionError(f"no command for a worker: {type(command).__name__}")
        except DeviceLost:
            raise
        except Exception as error:
            return Ack(command.number, Failure.of(error)), []
        return Ack(command.number), []

    def _add(self, command: AddBranch | AddAdapter, frames: Frames) -> None:
        """Take a branch or an adapter. An error is remembered for the jobs that need it."""
        try:
            if isinstance(command, AddBranch):
                arrays = zip(command.arrays, frames, strict=True)
                self.engine.add_branch({array.name: array.read(frame) for array, frame in arrays}, command.name)
            elif (error := self._refused.get(command.branch)) is not None:
                raise error
            else:
                tokens = command.tokens.read(frames[0])
                self.engine.register_adapter(command.name, tokens, branch=command.branch)
        except DeviceLost:
            raise
        except Exception as error:
            self._refused[command.name] = error
            raise
        self._refused.pop(command.name, None)

    def rest(self) -> None:
        """Let the engine's weights leave its device: nothing has come for a while. The next plan brings them back."""
        freed = self.engine.unload()
        if freed:
            LOG.info("idle: %.1f GB of weights left the device until the next job", freed / 1e9)

    def close(self) -> None:
        """Forget all jobs."""
        self._drop(tuple(self._held))

    # ---- plans -----------------------------------------------------------------------------------------------------

    def _run(self, run: Run, frames: Frames) -> Said:
        failed: dict[str, Failure] = {}
        try:
            self.engine.wake()  # before the time is taken that the work costs
        except DeviceLost:
            raise
        except Exception:  # the first that computes tries again, and says so as it says other errors
            LOG.debug("weights could not be brought back", exc_info=True)
        start = time.perf_counter()
        for form in run.forget:
            self._pictures.pop(form, None)
        for sent, frame in zip(run.pictures, frames, strict=True):
            self._pictures[sent.form] = sent.array.read(frame)
        for arrival in run.arrivals:
            try:
                self._open(arrival)
            except DeviceLost:
                raise
            except Exception as error:
                self._drop([arrival.job])
                failed[arrival.job] = Failure.of(error)
        opened_ms = 1e3 * (time.perf_counter() - start)
        jobs = [job for job in run.jobs if job not in failed]
        dropped = tuple(job for job in jobs if job not in self._held)
        if dropped:  # then no job advances, and these arrive with the next plan
            reason = Failure("StateError", "not held by this worker")
            return Ran(number=run.number, failed=failed, broken=reason, dropped=dropped), []
        if run.stage == Stage.ENCODE:
            return Ran(
                number=run.number,
                elapsed_ms=opened_ms,
                failed=failed,
                progress=self._progress(jobs),
                readings={job: self._reading(job) for job in jobs},
                arena=self._arena(),
            ), []
        start = time.perf_counter()
        try:
            made = handler_of(run.stage)(self.engine, [self._held[job] for job in jobs], run.piece)
        except NumericalError as error:  # of a stage that has one job
            failed |= {job: Failure.of(error) for job in jobs}
            made = Outputs()
        except DeviceLost:
            raise
        except Exception as error:
            elapsed = 1e3 * (time.perf_counter() - start)
            if not isinstance(error, SalonError):  # a refusal changes nothing; others may have
                dropped = tuple(jobs)
                self._drop(jobs)
            broken = Failure.of(error)
            return Ran(number=run.number, elapsed_ms=elapsed, failed=failed, broken=broken, dropped=dropped), []
        elapsed = 1e3 * (time.perf_counter() - start)
        reports = made.reports
        pictures = [Array.of(job, pixels, run.piece) for job, pixels in zip(jobs, made.pictures, strict=False)]
        for job, report in zip(jobs, reports, strict=False):
            if report.error is not None:
                failed[job] = Failure.of(report.error)
        self._drop([job for job in jobs if job in failed])
        progress = self._progress([job for job in jobs if job not in failed])
        previews, preview_ms, complaints = self._previews(reports, jobs)
        pictures += previews
        texts = {job: text for job, text in zip(jobs, made.texts, strict=False) if text}
        records = tuple(record for record, _ in pictures)
        answer = Ran(
            number=run.number,
            elapsed_ms=elapsed,
            preview_ms=preview_ms,
            failed=failed,
            progress=progress,
            arena=self._arena(),
            pictures=records,
            complaints=complaints,
            texts=texts,
        )
        return answer, [frame for _, frame in pictures]

    def _open(self, arrival: Arrival) -> None:
        self._drop([arrival.job])
        for name in names_used(arrival.spec.adapters):
            if (error := self._refused.get(name)) is not None:
                raise error
        for form in arrival.pictures:
            if form not in self._pictures:
                raise not_here(form, arrival.job, remedy="ask for the job again")
            self.engine.add_picture(form, self._pictures[form])
        if arrival.parked:
            generation = self.engine.resume(ParkedGeneration.from_bytes(arrival.parked))
        else:
            generation = self.engine.open(arrival.spec)
        self._held[arrival.job] = generation
        self._preview_every[arrival.job] = arrival.preview_every
        while generation.position < arrival.position:  # a replay gives the same numbers
            if arrival.spec.inquiry:
                self.engine.inquire(generation)
                continue
            for report in self.engine.step([generation]):
                if report.error is not None:
                    raise report.error

    def _previews(
        self, reports: Sequence[StepReport], jobs: list[str]
    ) -> tuple[list[tuple[Array, Any]], dict[str, float], tuple[str, ...]]:
        """Return pictures of the unfinished jobs that are due for a preview, the ms that each took, and complaints.

        A complaint is about a preview that failed.
        """
        pictures, took, complaints = [], {}, []
        for job, report in zip(jobs, reports, strict=False):
            generation, every = report.generation, self._preview_every.get(job, 0)
            whole = report.position == report.num_evaluations or generation.evaluations[report.position].step == (
                generation.evaluations[report.position - 1].step + 1
            )
            if generation.state is State.RUNNING and every and whole and report.step % every == 0:
                start = time.perf_counter()
                try:
                    pictures.append(Array.of(job, self.engine.preview(generation)))
                except DeviceLost:
                    raise
                except Exception as error:  # it was only a preview
                    complaints.append(self._complaint("a preview could not be made", error))
                took[job] = 1e3 * (time.perf_counter() - start)
        return pictures, took, tuple(filter(None, complaints))

    def _park(self, command: Park) -> Parked:
        job, data, complaint = command.job, b"", ""
        try:
            if job in self._held:
                data = self.engine.park(self._held[job]).to_bytes()
        except DeviceLost:
            raise
        except Exception as error:  # the job is replayed from its beginning, which gives the same pixels
            complaint = self._complaint("a job could not be parked and is run from its beginning", error)
        finally:
            self._drop([job])
        return Parked(command.number, job, data, complaint)

    def _complaint(self, what: str, error: Exception) -> str:
        """Return a complaint for the log; an empty one if this kind of error was told before."""
        kind = what, type(error).__name__
        if kind in self._complaints:
            return ""
        self._complaints.add(kind)
        return f"{what}: {Failure.of(error)}; more of this kind are not told"

    def _drop(self, jobs: list[str] | tuple[str, ...]) -> None:
        for job in jobs:
            generation = self._held.pop(job, None)
            self._preview_every.pop(job, None)
            if generation is not None:
                self.engine.close(generation)

    def _reading(self, job: str) -> Reading:
        generation = self._held[job]
        return Reading(dict(generation.clauses), generation.warnings)

    def _arena(self) -> ArenaUse:
        arena = self.engine.adapters.arena
        return ArenaUse(arena.hits, arena.misses, arena.allocated_bytes)

    def _progress(self, jobs: list[str]) -> dict[str, Progress]:
        return {job: Progress(self._held[job].position, self._held[job].step) for job in jobs}


def info_of(engine: Engine) -> ModelInfo:
    """Return the facts of a loaded engine. Raise StudioError for one that reads no prompts, of which jobs are made."""
    if not engine.info.text_rows:
        remedy = "use a checkpoint with salon.json"
        raise StudioError(complaint("model", "one without a text pipeline", "one that reads prompts", remedy))
    return engine.info
