"""Prompts that stand for several jobs: all of them are accepted, or none, once for each key."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import complaint
from ...parameters.errors import PromptRefused
from ...scheduler.tickets import Lane
from ..store.domains.prompts import BatchRow
from ..store.retention import check_quota
from ..store.writes import Put
from .packing import pack
from .prompts import Children
from .request import fingerprint
from .submitted import NewJob, Submitted, reused
from .taste_uses import uses_of

if TYPE_CHECKING:
    from .service import Service


class Batches:
    """The submits of a service that make several jobs.

    Args:
        service: carries them out.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._keys: dict[tuple[str, str], asyncio.Task[tuple[str, ...]]] = {}  # those that are not stored yet

    async def submit(self, account: str, children: Children) -> tuple[Submitted, ...]:
        """Accept the jobs; they are on disk when this returns. Raises as `Service.imagine`."""
        service, key = self._service, (account, children.key)
        print_ = fingerprint_of(children)
        found = await service.waits.read(lambda: self._stored(account, children, print_))
        task = self._keys.get(key)
        existing = bool(found) or task is not None
        if not found:
            if task is None:
                task = self._keys[key] = service.waits.begin(self._submit(account, children, print_))
                task.add_done_callback(lambda _: self._keys.pop(key))
            found = await service.waits.outlast(task)
            if existing and not await service.waits.read(lambda: self._stored(account, children, print_)):
                raise reused(children.key)
        return tuple([Submitted(await service.of_batch(job), existing) for job in found])

    def _stored(self, account: str, children: Children, print_: bytes) -> tuple[str, ...]:
        """Return the ids of the jobs of this submit, if it was accepted before. KeyReused: another one was."""
        store = self._service.context.store
        row = store.row(BatchRow, account, children.key)
        if row is not None:
            if row.request != print_:
                raise reused(children.key)
            return tuple(row.jobs.split())
        for key in (children.key, *(request.key for request in children.requests)):
            if store.job_by_key(account, key) is not None:
                raise reused(key)
        return ()

    async def _submit(self, account: str, children: Children, print_: bytes) -> tuple[str, ...]:
        service = self._service
        context = service.context
        owner = context.accounts.rows[account]
        if context.accounts.quota(owner):
            await service.waits.read(lambda: check_quota(context.store, owner, 0, context.options.quota_bytes))
        service.want_open()
        jobs = [await service.prepare(account, request, fingerprint(request)) for request in children.requests]
        want_alike(jobs)
        await service.want_allowed(account, jobs)
        submit = f"{jobs[0].row.job}.all"
        jobs = [of_submit(job, submit) for job in jobs]
        lives = service.jobs.start_all(submit, jobs)
        ids = tuple(job.row.job for job in jobs)
        row = BatchRow(account=account, key=children.key, request=print_, jobs=" ".join(ids), made_ms=context.now_ms())
        uses = [use for live, job in zip(lives, jobs, strict=True) for use in uses_of(live.row, job.spec)]
        await service.jobs.add_all(lives, Put(row), *uses)
        for live, job in zip(lives, jobs, strict=True):
            service.count(live.row, job.spec)
        return ids


def of_submit(job: NewJob, submit: str) -> NewJob:
    """Return a job whose work names its submit, also in its row: after a restart they share a place again."""
    work = replace(job.work, submit=submit)
    return job._replace(work=work, row=msgspec.structs.replace(job.row, work=pack(work)))


def fingerprint_of(children: Children) -> bytes:
    """Return a hash of all that a submit asks for."""
    return hashlib.sha256(b"".join(map(fingerprint, children.requests))).digest()


def want_alike(jobs: list[NewJob]) -> tuple[Lane, bool]:
    """Return lane and privacy of the jobs of a submit. PromptRefused: they differ."""
    found: dict[str, set[Any]] = {"lane": {job.lane for job in jobs}, "private": {job.row.private for job in jobs}}
    for name, values in found.items():
        if len(values) > 1:
            got = " and ".join(sorted(str(value).lower() for value in values))
            raise PromptRefused(complaint(name, f"{got} in one prompt", "one of them", "submit them one by one"))
    return jobs[0].lane, jobs[0].row.private
