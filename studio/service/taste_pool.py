"""Keep pictures that can be ranked: public jobs of the server's own account, drawn while an account ranks.

Nothing is drawn before the first pair is asked for. Used on the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from ...engine.errors import SpecError
from ...errors import SalonError
from ...parameters.job_request import JobRequest
from ..store.rows import FINAL, JobRow
from ..store.writes import SetMeta
from ..taste.pool import MOST, PLAIN_THINGS, STEPS, Order, PoolPicture, group_of, orders, wanted
from ..taste.types import PairPicture
from .context import ServiceContext
from .errors import TooSlow
from .job_record import StoredPicture, stored_pictures
from .jobs import JobManager
from .submitted import Submitted
from .taste_account import ACCOUNT, lane_of_own
from .taste_features import TasteFeatures
from .waits import Waits

LOG = logging.getLogger("salon.service")
NEXT: Final = "taste.pool"  # a key of meta: the number of the next group
READY_S: Final = 60.0  # the longest wait for the first pictures
PAGE: Final = 1_000
TRIES: Final = 3  # groups of which nothing came, after which no more are drawn until a pair is asked for again
Submit = Callable[[str, JobRequest], Awaitable[Submitted]]


class TastePool:
    """The pictures that can be ranked.

    Args:
        context: of the service.
        waits: for the store.
        jobs: of the service.
        features: of the pictures.
        submit: accepts a job of an account.
    """

    def __init__(
        self, context: ServiceContext, waits: Waits, jobs: JobManager, features: TasteFeatures, submit: Submit
    ) -> None:
        self._context, self._waits, self._jobs = context, waits, jobs
        self._features, self._submit = features, submit
        self._pictures: dict[str, PoolPicture] = {}  # by job
        self._ready: dict[str, PoolPicture] = {}  # those of which the style vector is known
        self._drawn: set[str] = set()  # jobs that have not ended
        self._loading: asyncio.Task[None] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._things: tuple[str, ...] = ()
        self._wanted = self._next = 0
        self._tries = 0  # groups that were begun since a picture was made, or a pair was asked for
        self._changed = asyncio.Event()

    async def ready(self, answered: int) -> list[PoolPicture]:
        """Return the pictures that can be ranked, in the order of their jobs' keys: at least two of one group.

        Args:
            answered: how many pairs the asking account has answered; the more, the more pictures are drawn.

        Raises:
            TasteRefused: no plan of this server lets its own pictures be drawn, or the model has no style space.
            TooSlow: there are none yet; they are being drawn.
        """
        _ = self._features.space  # raises for a model without one, before an account is opened
        lane_of_own(self._context)
        if self._loading is None or (self._loading.done() and self._loading.exception() is not None):
            self._loading = self._waits.begin(self._load())
        await self._waits.outlast(self._loading)
        self._wanted, self._tries = max(self._wanted, wanted(answered)), 0
        self._fill()
        end = asyncio.get_running_loop().time() + READY_S
        while max(Counter(each.group for each in self._ready.values()).values(), default=0) < 2:
            left = end - asyncio.get_running_loop().time()
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError as error:
                raise TooSlow("pictures to rank: they are being drawn; ask again in a moment") from error
        return sorted(self._ready.values(), key=lambda each: (each.group, each.picture.job))

    async def more(self, before: int, end: float) -> bool:
        """Wait until more pictures can be ranked than before. Return whether there are: at once, if none are being
        drawn, and by the loop's time `end` at the latest."""
        while len(self._ready) <= before:
            filling = self._filling is not None and not self._filling.done()
            if not (filling or self._drawn or len(self._pictures) > len(self._ready)):
                return False
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), end - asyncio.get_running_loop().time())
            except TimeoutError:
                return False
        return True

    def forget(self) -> None:
        """Forget the pictures, since old jobs were deleted: the next request reads them anew."""
        if not self._drawn and (self._filling is None or self._filling.done()):
            self._loading, self._wanted = None, 0
            self._pictures.clear()
            self._ready.clear()

    # ---- inside ------------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        if self._ended not in self._jobs.seen:
            self._jobs.seen.append(self._ended)
        store = self._context.store

        def look() -> tuple[list[tuple[JobRow, tuple[StoredPicture, ...]]], int]:
            rows = store.jobs(ACCOUNT, 0, PAGE)
            pictures = store.pictures_of([row.job for row in rows if row.state == "done"])
            found = [(row, stored_pictures(pictures.get(row.job, ()))) for row in rows]
            return found, int(store.meta(NEXT) or 0)

        found, self._next = await self._waits.read(look)
        for row, pictures in found:
            if row.state == "done":
                self._add(row, pictures)
            elif row.state not in FINAL:
                self._drawn.add(row.job)
        try:
            slots = (await asyncio.to_thread(self._context.studio.words)).slots
            self._things = tuple(names[0] for names in slots["things"])
        except SpecError:
            self._things = PLAIN_THINGS

    def _ended(self, what: str, row: JobRow) -> None:
        """Take note of a job that has ended, of whichever account."""
        if what != "ended" or row.account != ACCOUNT or group_of(row.key) is None:
            return
        self._drawn.discard(row.job)
        found = self._jobs.cached(row.job)
        if row.state == "done" and found is not None:
            self._add(row, found[1])
        self._fill()

    def _add(self, row: JobRow, pictures: tuple[StoredPicture, ...]) -> None:
        group, shown = group_of(row.key), next((each for each in pictures if each.index == 0), None)
        if group is None or shown is None:
            return
        picture = PairPicture(
            job=row.job, index=0, digest=shown.digest, size=shown.size, width=shown.width, height=shown.height,
            prompt=row.prompt,
        )  # fmt: skip
        self._pictures[row.job], self._tries = PoolPicture(picture, group), 0
        self._waits.begin(self._look(row.job))

    async def _look(self, job: str) -> None:
        """Find the style vector of a picture, after which it can be ranked."""
        if (found := self._pictures.get(job)) is None:
            return
        digest, places = found.picture.digest, {}
        try:
            places = await self._features.coordinates([digest])
        except SalonError as error:
            LOG.warning("picture %s cannot be ranked: %s", digest[:12], error)
        if digest in places and job in self._pictures:
            self._ready[job] = self._pictures[job]
        else:
            self._pictures.pop(job, None)
        self._changed.set()

    def _fill(self) -> None:
        """Draw the next group, if there are fewer than are wanted and nothing is being drawn."""
        groups = {each.group for each in self._pictures.values()}
        idle = self._filling is None or self._filling.done()
        if idle and not self._drawn and len(groups) < min(self._wanted, MOST) and self._tries < TRIES:
            self._filling = self._waits.begin(self._draw())

    async def _draw(self) -> None:
        number, self._next = self._next, self._next + 1
        self._tries += 1
        try:
            await self._waits.stored([SetMeta(NEXT, str(self._next))])  # a number is used once, also after a crash
            for order in orders(number, self._things):
                submitted = await self._submit(ACCOUNT, self._request(order))
                if submitted.job.state not in FINAL:
                    self._drawn.add(submitted.job.job)
        except SalonError as error:
            LOG.warning("pictures to rank are not drawn for now: %s", error)

    def _request(self, order: Order) -> JobRequest:
        steps = min(int(self._context.studio.loop.model.defaults["steps"]), STEPS)
        styles = ((order.style, 1.0),)
        parameters = {"steps": steps, "images": 1, "seed": order.seed, "style_references": styles}
        lane = str(lane_of_own(self._context))
        return JobRequest(key=order.key, prompt=order.prompt, lane=lane, images=1, parameters=parameters)
