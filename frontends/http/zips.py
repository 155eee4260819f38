"""Send many pictures as one zip: what is in it is asked for first, then it is fetched under a name of its own.

A browser can only follow an address, which has no room for thousands of ids. A name works for its own account alone,
for some minutes.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ...bounds import ID, MAX_NAMES
from ...errors import SalonError, complaint
from ...studio.service.service import Service
from ...values import shown
from ...zips import ZipPieces
from ..zmq import views
from .errors import HttpRefused
from .gate import ACCOUNT
from .reading import JSON, json_body
from .stored import PART

KEPT_S: Final = 600.0  # how long a name works
MANY: Final = 256  # names that are kept, the oldest dropped first
OF_ONE: Final = 8  # of one account
AT_ONCE: Final = 50  # jobs that are looked up at a time
NO_STORE: Final = {"cache-control": "no-store"}
_ID: Final = re.compile(ID)


class _Kept(NamedTuple):
    account: str
    jobs: tuple[str, ...]
    ends: float


class Zips:
    """The endpoints that send zips. Used on the event loop's thread.

    Args:
        service: has the pictures, and knows who may see them.
        clock: seconds.
    """

    def __init__(self, service: Service, clock: Callable[[], float]) -> None:
        self._service, self._clock = service, clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def make(self, request: Request) -> Response:
        """Take the ids of the jobs whose pictures a zip has, and answer with its name."""
        body = await json_body(request)
        try:
            asked = msgspec.json.decode(body, type=dict[str, list[str]])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            asked = {}
        jobs = tuple(dict.fromkeys(asked.get("jobs", ())))
        if asked.keys() != {"jobs"} or not jobs:
            raise HttpRefused(complaint("body", "no ids", 'like {"jobs": ["ID", "ID"]}', "name some"), code="invalid")
        if len(jobs) > MAX_NAMES:
            text = complaint("jobs", f"{len(jobs):,}", f"up to {MAX_NAMES:,}", "download them in parts")
            raise HttpRefused(text, code="invalid")
        if (strange := next((job for job in jobs if not _ID.fullmatch(job)), None)) is not None:
            text = complaint("jobs", shown(strange[:80]), "ids of jobs", "correct it")
            raise HttpRefused(text, code="invalid")
        name = f"salon-{datetime.now(UTC):%Y-%m-%d}-{secrets.token_hex(8)}.zip"
        self._keep(name, _Kept(request.scope[ACCOUNT], jobs, self._clock() + KEPT_S))
        return Response(msgspec.json.encode({"name": name}), headers=NO_STORE, media_type=JSON)

    def _keep(self, name: str, new: _Kept) -> None:
        """Keep a name, in place of what has ended and of the oldest of an account that has too many."""
        now = self._clock()
        own = [each for each, kept in self._kept.items() if kept.account == new.account]
        over = {each for each, kept in self._kept.items() if kept.ends < now}
        for each in over.union(own[: max(0, len(own) + 1 - OF_ONE)]):
            del self._kept[each]
        self._kept[name] = new
        while len(self._kept) > MANY:
            self._kept.popitem(last=False)

    async def send(self, request: Request) -> Response:
        """Answer with a zip. Pictures that are gone by now, or that the disk does not give, are named in its last file.
        An answer that breaks off before that is no whole zip, as every program that opens it says."""
        name, account = request.path_params["name"], request.scope[ACCOUNT]
        kept = self._kept.get(name)
        if kept is None or kept.account != account or kept.ends < self._clock():
            text = complaint("zip", shown(name)[:80], "one that was asked for in the last minutes", "ask for it again")
            raise HttpRefused(text, status=404, code="not_found")
        headers = {**NO_STORE, "content-disposition": f'attachment; filename="{name}"'}
        if request.method == "HEAD":
            return Response(headers=headers, media_type="application/zip")
        return StreamingResponse(self._pieces(account, kept.jobs), headers=headers, media_type="application/zip")

    async def _pieces(self, account: str, jobs: tuple[str, ...]) -> AsyncIterator[memoryview]:
        """Yield a zip's bytes. It has one picture in memory at a time."""
        pieces = ZipPieces()
        for start in range(0, len(jobs), AT_ONCE):
            left = jobs[start : start + AT_ONCE]
            while left:
                found, looked = await self._service.organize.show(account, left)
                records = {record.job: record for record in found}
                for job in left[:looked]:
                    record = records.get(job)
                    pictures = [one for one in record.pictures if one.index >= 0] if record is not None else []
                    if record is None or not pictures:
                        pieces.leave_out(job, "it is not there, or has no pictures")
                        continue
                    info = views.job_info(record)
                    for picture, told in zip(pictures, [one for one in info.pictures if one.index >= 0], strict=True):
                        try:
                            data = await self._service.file(job, picture)
                        except SalonError as error:
                            pieces.leave_out(job, str(error), picture.index)
                            continue
                        for part in _parts(pieces.add(info, told, data)):
                            yield part
                left = left[looked:]
        for part in _parts(pieces.end()):
            yield part


def _parts(data: bytes) -> list[memoryview]:
    whole = memoryview(data)
    return [whole[start : start + PART] for start in range(0, len(data), PART)]
