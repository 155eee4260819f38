"""How jobs come in: checked, admitted and queued; all jobs of a submit, or none of them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ...bounds import MAX_PREVIEW_EVERY
from ...engine.errors import SpecError
from ...engine.spec import GenerationSpec
from ...engine.start import PictureForm
from ...errors import complaint
from ...scheduler.admission import Work
from ...scheduler.errors import DuplicateJob, UnknownLane
from ...scheduler.tickets import Admitted, Lane, StageWork, Ticket
from ...values import shown, text_of, whole_of
from ..job import Event, Job, OnEnd, OnEvent, OnPreview, OnProgress, UInt8
from ..pricing import work_of
from ..resources import needed
from .core import Core
from .tickets import ticket_of
from .worker_pool import RunningJob

if TYPE_CHECKING:
    from .loop import Loop


class Order(NamedTuple):
    """A job that is wanted.

    Attributes:
        spec: what to make.
        job: its id; None: a new one.
        work: what it is on the price list; None: a grid.
        stages: what it does besides drawing, after it.
    """

    spec: GenerationSpec
    job: str | None = None
    work: Work | None = None
    stages: Sequence[StageWork] = ()


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What holds for all jobs of a submit; see `Loop.submit` and `Loop.submit_many`.

    Attributes:
        submit: the id of the submit; None: that of its only job.
        restored: they were accepted before a restart.
    """

    account: str
    lane: Lane | str
    max_running: int
    preview_every: int
    on_progress: OnProgress | None
    on_preview: OnPreview | None
    on_end: OnEnd | None
    on_event: OnEvent | None
    references: Mapping[PictureForm, UInt8] | None
    submit: str | None = None
    restored: bool = False


def accept(loop: Loop, core: Core, orders: Sequence[Order], terms: Terms) -> list[Job]:
    """Accept the jobs of a submit, under the lock; `Core.wake` comes next.

    If this raises, as `Loop.submit` says, none of them exists.
    """
    every, running = whole_of(terms.preview_every), whole_of(terms.max_running)
    for order in orders:
        if not isinstance(order.spec, GenerationSpec):
            got = type(order.spec).__name__
            raise SpecError(complaint("spec", got, "a GenerationSpec", "make one with make_spec"))
    if every is None or not 0 <= every <= MAX_PREVIEW_EVERY:
        allowed = f"a whole number from 0 to {MAX_PREVIEW_EVERY}"
        raise SpecError(complaint("preview_every", shown(terms.preview_every), allowed, "correct it"))
    if terms.lane not in list(Lane):
        raise UnknownLane(complaint("lane", repr(terms.lane), ", ".join(Lane), "choose one of these"))
    # a worker process is told plain text, not what somebody derived from it
    names = [uuid.uuid4().hex if order.job is None else text_of(order.job) or order.job for order in orders]
    account = text_of(terms.account) or terms.account  # and so is the billing
    info = core.want_open()
    tickets = [
        ticket_of(
            info,
            order.spec,
            job=name,
            account=account,
            lane=Lane(terms.lane),
            max_running=terms.max_running if running is None else running,  # what is no number, the ticket refuses
            adapters=core.pool.adapters.rows,
            further=order.stages,
        )
        for name, order in zip(names, orders, strict=True)
    ]
    pictures = [
        needed(order.spec, terms.references or {}, info, job=name) for name, order in zip(names, orders, strict=True)
    ]
    for i, name in enumerate(names):
        if name in core.pool.entries or name in names[:i]:
            raise DuplicateJob(complaint("job", repr(name), "an id that is not in use", "give it a new id"))
    made: list[Job] = []
    for admitted, order, held in zip(_admit(core, tickets, orders, terms), orders, pictures, strict=True):
        job = Job(admitted.job, order.spec, account, admitted.lane, admitted.reason, loop, steps=info.steps(order.spec))
        core.pool.entries[job.id] = RunningJob(
            job, every, terms.on_progress, terms.on_preview, terms.on_end, terms.on_event, references=held
        )
        job._happened(Event("queued", reason=admitted.reason))
        made.append(job)
    return made


def _admit(core: Core, tickets: Sequence[Ticket], orders: Sequence[Order], terms: Terms) -> list[Admitted]:
    """Have the accounts, if there are any, and the scheduler take all jobs on. If this raises, they have none."""
    account, lane, billing = tickets[0].account, tickets[0].lane, core.billing
    if billing is not None:
        works = {
            ticket.job: order.work or work_of(core.want_open(), order.spec)
            for ticket, order in zip(tickets, orders, strict=True)
        }
        if terms.submit is not None:
            works = {job: replace(work, submit=terms.submit) for job, work in works.items()}
        if terms.restored:
            assert len(tickets) == 1, "jobs are taken back one by one"
            running = billing.readmit(tickets[0].job, account, lane, works[tickets[0].job])
        else:
            running = billing.admit(works, account, lane, terms.submit or tickets[0].job)
    admitted: list[Admitted] = []
    try:
        if billing is not None:
            tickets = [replace(ticket, max_running=running) for ticket in tickets]
            if billing.renewed(account):
                core.scheduler.set_relax_use(account, 0.0)
        for ticket in tickets:
            admitted.append(core.scheduler.submit(ticket, core.now()))
    except BaseException:
        for one in admitted:
            core.scheduler.cancel(one.job, core.now())
        if billing is not None:
            for ticket in tickets:
                billing.withdraw(ticket.job, ticket.lane)
        raise
    return admitted
