"""Keep track of which worker holds which job's state, and move it to where a plan needs it."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ...engine.inquiries import Text
from ...engine.start import PictureForm
from ...scheduler.cost import WorkerCost
from ...scheduler.tickets import BatchPlan, Stage
from ..job import Job, OnEnd, OnEvent, OnPreview, OnProgress, UInt8
from ..workers.client import WorkerClient
from ..workers.messages import (
    Array,
    Arrival,
    Command,
    Drop,
    Forget,
    Frames,
    Park,
    Parked,
    Ran,
    Run,
    SentPicture,
)
from .adapters import StudioAdapters

PICTURE_BYTES: Final = 128 * 2**20  # of pictures that a worker keeps, beside those that it needs at the moment


@dataclass(eq=False)
class RunningJob:
    """A job that has not ended.

    Attributes:
        job: the job as its owner has it.
        started: whether it has been in a plan, and its worker has not died since.
        where: name of the worker that holds its state; None: no worker does.
        position: evaluations taken; a worker that lacks its state can replay to here.
        parking: number of the command that takes its state out of `where`.
        pictures: uint8 [images, height, width, 3], filled as they are decoded.
        texts: what its inquiry answers.
        references: the pictures that its spec refers to, by form.
    """

    job: Job
    preview_every: int = 0
    on_progress: OnProgress | None = None
    on_preview: OnPreview | None = None
    on_end: OnEnd | None = None
    on_event: OnEvent | None = None
    started: bool = False
    where: str | None = None
    position: int = 0
    parking: int | None = None
    pictures: UInt8 | None = None
    texts: tuple[Text, ...] = ()
    references: Mapping[PictureForm, UInt8] = field(default_factory=dict)

    def picture(self, image: int, pixels: UInt8) -> None:
        """Keep a decoded picture."""
        if self.pictures is None:
            self.pictures = np.zeros((self.job.spec.images, *pixels.shape), np.uint8)
        self.pictures[image] = pixels


@dataclass
class WorkerSlot:
    """A worker as the loop sees it.

    Attributes:
        life: life of the worker, if it is ready; 0: it is not.
        gone: whether it is lost for good.
        plan: the scheduler's plan that it carries out.
        run: number of the command that carries the plan out; None while it waits for jobs' states.
        waiting: jobs of the plan whose state is on its way.
        arrivals: the states of jobs that have come for the plan.
        cost: its cost model, kept over restarts.
        known: adapters and branches that the worker was sent in this life.
        pictures: likewise pictures that it keeps, with their bytes; least recently used first.
    """

    client: WorkerClient
    life: int = 0
    gone: bool = False
    plan: BatchPlan | None = None
    run: int | None = None
    waiting: set[str] = field(default_factory=set)
    arrivals: list[Arrival] = field(default_factory=list)
    cost: WorkerCost | None = None
    known: set[str] = field(default_factory=set)
    pictures: OrderedDict[PictureForm, int] = field(default_factory=OrderedDict)

    @property
    def idle(self) -> bool:
        """Whether the worker can take a plan."""
        return self.life > 0 and self.plan is None


class WorkerPool:
    """The workers and the jobs' states. Driven under the loop's lock; knows nothing of scheduling.

    Attributes:
        slots: by the client's name.
        entries: by job id, those that have not ended.
        adapters: what jobs may use, sent to a worker with the first that does.
    """

    def __init__(self, clients: list[WorkerClient]) -> None:
        self.adapters = StudioAdapters()
        self.slots = {client.name: WorkerSlot(client) for client in clients}
        self.entries: dict[str, RunningJob] = {}
        self._numbers = itertools.count(1)

    def send(self, slot: WorkerSlot, command: Command, frames: Frames = ()) -> None:
        """Send a command to a worker that is ready."""
        slot.client.send(command, frames, life=slot.life)

    def number(self) -> int:
        """Return the next command's number."""
        return next(self._numbers)

    def dispatch(self, slot: WorkerSlot, plan: BatchPlan) -> None:
        """Have a plan carried out, once everything that it needs has arrived."""
        slot.plan, slot.run = plan, None
        slot.waiting, slot.arrivals = set(), []
        for name in plan.jobs:
            entry = self.entries[name]
            if plan.stage is Stage.ENCODE:
                self.forget(entry)
                entry.position, entry.pictures, entry.texts = 0, None, ()
                slot.arrivals.append(self._arrival(entry))
            elif entry.where is None:
                slot.arrivals.append(self._arrival(entry))
            elif entry.where != slot.client.name:
                entry.parking = self.number()
                slot.waiting.add(name)
                self.send(self.slots[entry.where], Park(entry.parking, name))
        self._run_if_complete(slot)

    def parked(self, slot: WorkerSlot, answer: Parked) -> None:
        """Bring a job's state, which came out of a worker, to the worker that waits for it."""
        entry = self.entries.get(answer.job)
        if entry is not None and entry.parking == answer.number and entry.where == slot.client.name:
            self._bring(entry, answer.data)

    def ran(self, slot: WorkerSlot, answer: Ran) -> BatchPlan | None:
        """Take note that a plan was carried out, and of where its jobs are now.

        Return the plan; None for an answer that is out of date.
        """
        plan = slot.plan
        if plan is None or slot.run != answer.number:
            return None
        slot.plan = slot.run = None
        for name in plan.jobs:
            entry = self.entries[name]
            lost = name in answer.dropped or name in answer.failed
            entry.where = None if lost else slot.client.name
            if name in answer.progress:
                entry.position = answer.progress[name].position
        return plan

    def lost(self, slot: WorkerSlot) -> None:
        """Take note that a worker died. What was on its way to another worker is replayed there."""
        slot.life, slot.plan, slot.run = 0, None, None
        slot.known.clear()
        slot.pictures.clear()
        slot.waiting, slot.arrivals = set(), []
        for entry in self.entries.values():
            if entry.where == slot.client.name:
                if entry.parking is not None:
                    self._bring(entry, b"")
                entry.where = None

    def forget(self, entry: RunningJob) -> None:
        """Have a job's state dropped, wherever it is."""
        if entry.where is not None:
            slot = self.slots[entry.where]
            self.send(slot, Drop(self.number(), (entry.job.id,)))
        entry.where = entry.parking = None

    def forget_adapter(self, name: str) -> None:
        """Forget an adapter, here and on the workers that know it. Raise SpecError if there is none of this name."""
        self.adapters.forget(name)
        for slot in self.slots.values():
            if f"adapter {name}" in slot.known:
                slot.known.discard(f"adapter {name}")
                self.send(slot, Forget(self.number(), name))

    def _bring(self, entry: RunningJob, data: bytes) -> None:
        entry.where = entry.parking = None
        for slot in self.slots.values():
            if entry.job.id in slot.waiting:
                slot.waiting.discard(entry.job.id)
                slot.arrivals.append(self._arrival(entry, data))
                self._run_if_complete(slot)

    def _arrival(self, entry: RunningJob, data: bytes = b"") -> Arrival:
        return Arrival(
            job=entry.job.id,
            spec=entry.job.spec,
            position=entry.position,
            preview_every=entry.preview_every,
            parked=data,
            pictures=tuple(entry.references),
        )

    def _run_if_complete(self, slot: WorkerSlot) -> None:
        plan = slot.plan
        if plan is None or slot.waiting:
            return
        for arrival in slot.arrivals:
            for kind, name in self.adapters.missing(arrival.spec.adapters, slot.known):
                self.send(slot, *self.adapters.command(self.number(), kind, name))
        slot.run = self.number()
        forget, sent, frames = self._pictures(slot)
        command = Run(
            number=slot.run,
            stage=plan.stage,
            jobs=plan.jobs,
            piece=plan.piece,
            arrivals=tuple(slot.arrivals),
            forget=forget,
            pictures=sent,
        )
        self.send(slot, command, frames)

    def _pictures(self, slot: WorkerSlot) -> tuple[tuple[PictureForm, ...], tuple[SentPicture, ...], Frames]:
        """Return what a worker is to forget, and what it lacks of the pictures of its arrivals, with the frames."""
        wanted: dict[PictureForm, UInt8] = {}
        for arrival in slot.arrivals:
            if (entry := self.entries.get(arrival.job)) is not None:
                wanted.update(entry.references)
        lacking = {form: pixels for form, pixels in wanted.items() if form not in slot.pictures}
        for form, pixels in wanted.items():
            slot.pictures[form] = pixels.nbytes
            slot.pictures.move_to_end(form)
        spare, forget = sum(slot.pictures.values()) - PICTURE_BYTES, list[PictureForm]()
        for form in [form for form in slot.pictures if form not in wanted]:
            if spare <= 0:
                break
            spare -= slot.pictures.pop(form)
            forget.append(form)
        pairs = [(form, *Array.of(form.digest, pixels)) for form, pixels in lacking.items()]
        sent = tuple(SentPicture(form, record) for form, record, _ in pairs)
        return tuple(forget), sent, [frame for *_, frame in pairs]
