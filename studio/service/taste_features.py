"""Find the style vectors of pictures: those that are kept, and those that a worker is asked for.

Used on the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...engine.inquiries.features import read
from ...engine.taste.space import TasteSpace
from ...errors import SalonError, complaint
from ...scheduler.tickets import Lane
from ..errors import TasteRefused
from ..inquiring import featuring
from ..job import Job, JobState
from ..pricing import work_of
from ..references import size_of
from ..store.domains.taste import TasteFeatureRow
from ..store.writes import Put
from .context import ServiceContext
from .references import ServiceReferences
from .taste_account import ACCOUNT, lane_of_own
from .waits import Waits

LOG = logging.getLogger("salon.service")
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

AT_ONCE: Final = 3  # pictures that workers are asked about at a time
ASK_S: Final = 60.0  # the longest wait of a request for vectors; what is asked goes on
KEPT: Final = 100_000  # coordinates in memory
PART: Final = 2_000  # pictures that are looked up in one read


class TasteFeatures:
    """The style vectors of pictures, by the SHA-256 of their files.

    Args:
        context: of the service.
        waits: for the store.
        references: has the files.
    """

    def __init__(self, context: ServiceContext, waits: Waits, references: ServiceReferences) -> None:
        self._context, self._waits, self._references = context, waits, references
        self._coordinates: OrderedDict[str, Float64] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Float32 | None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    @property
    def space(self) -> TasteSpace:
        """The plain numbers of the model's style space. Raise TasteRefused for a model without one."""
        space = self._context.studio.loop.model.taste
        if space is None:
            got, allowed = "a model without a style encoder", "one that ships its styles"
            raise TasteRefused(complaint("taste", got, allowed, "serve another checkpoint"))
        return space

    @property
    def model(self) -> str:
        """Digest of the model that the vectors are of."""
        return self._context.studio.loop.model.identity.digest

    def known(self, digest: str) -> Float64 | None:
        """Return the coordinates float64 [K] of a picture that were looked up before; None: they were not."""
        return self._coordinates.get(digest)

    async def coordinates(self, digests: Iterable[str]) -> dict[str, Float64]:
        """Return the coordinates float64 [K] of pictures; those that cannot be found any more are left out.

        Raises:
            TasteRefused: the model has no style space.
            StoreError, TooSlow: as any read.
        """
        space, wanted = self.space, dict.fromkeys(digests)
        lacking = [digest for digest in wanted if digest not in self._coordinates]
        if lacking:
            vectors = await self.vectors(lacking)
            if vectors:
                places = await asyncio.to_thread(space.coordinates, np.stack(list(vectors.values())))
                self._coordinates.update(zip(vectors, places, strict=True))
        found = {digest: self._coordinates[digest] for digest in wanted if digest in self._coordinates}
        while len(self._coordinates) > max(KEPT, len(found)):
            self._coordinates.popitem(last=False)
        return found

    async def vectors(self, digests: Iterable[str]) -> dict[str, Float32]:
        """Return the style vectors float32 [W] of pictures, in the order of the digests; those that cannot be found
        any more are left out. Raises as `coordinates`."""
        wanted, store, model = list(dict.fromkeys(digests)), self._context.store, self.model
        width, found = self.space.width, dict[str, Float32]()
        for start in range(0, len(wanted), PART):
            part = wanted[start : start + PART]
            rows = await self._waits.read(partial(store.rows_with, TasteFeatureRow, "picture", part, model=model))
            found |= {row.picture: np.frombuffer(row.vector, "<f4") for row in rows if len(row.vector) == 4 * width}
        tasks = {digest: self.ask(digest) for digest in wanted if digest not in found}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=ASK_S)
        for digest, task in tasks.items():
            if task.done() and not task.cancelled() and (vector := task.result()) is not None:
                found[digest] = vector
        return {digest: found[digest] for digest in wanted if digest in found}

    def ask_if_unknown(self, digest: str) -> None:
        """Begin to find a picture's vector, before it is needed."""
        if digest not in self._coordinates and digest not in self._asked:
            self._waits.begin(self._look(digest))

    async def _look(self, digest: str) -> None:
        with suppress(SalonError):  # it is looked for again when it is needed
            await self.coordinates([digest])

    def ask(self, digest: str) -> asyncio.Task[Float32 | None]:
        """Begin to ask a worker for a picture's vector, which is kept then. The task's result is None where that is not
        to be had; it never raises a SalonError."""
        if digest not in self._asked:
            task = self._asked[digest] = self._waits.begin(self._ask(digest))
            task.add_done_callback(lambda _: self._asked.pop(digest, None))
        return self._asked[digest]

    async def _ask(self, digest: str) -> Float32 | None:
        try:
            async with self._turns:
                vector = await self._answer(digest)
            if vector is not None:
                row = TasteFeatureRow(model=self.model, picture=digest, vector=vector.astype("<f4").tobytes())
                await self._waits.stored([Put(row)])
        except SalonError as error:
            LOG.warning("no style vector of picture %s: %s", digest[:12], error)
            return None
        return vector

    async def _answer(self, digest: str) -> Float32 | None:
        context, model = self._context, self._context.studio.loop.model
        data = await self._waits.read(partial(self._references.stored, digest))
        if data is None:
            return None
        spec = featuring(digest, size_of(data), model)
        pictures = await self._waits.read(partial(self._references.load, spec))
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(job: Job) -> None:
            if not ended.done():
                ended.set_result(None)

        lane: Lane = lane_of_own(context)
        job = context.studio.loop.submit(
            spec, account=ACCOUNT, lane=lane, job=f"features-{secrets.token_hex(12)}", work=work_of(model, spec),
            references=pictures, on_end=lambda job: self._waits.post(end, job),
        )  # fmt: skip
        try:
            await ended
        finally:
            job.cancel()
        if job.state is not JobState.DONE:
            LOG.warning("no style vector of picture %s: %s", digest[:12], job.reason)
            return None
        return read(job.texts(0)[0])
