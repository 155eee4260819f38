"""Data folders of the commits 5dbd8b1 and f242cbd open, and go on: `old_folder_COMMIT.sql` is the database of one, and
`old_pictures.json` has the files of both, which are the same to the byte.

Three jobs had ended, one of them private, when the server was killed. Three more had been accepted; at f242cbd two of
them had taken their first step.
"""

from __future__ import annotations

import base64
import io
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from salon.parameters.job_request import JobRequest
from salon.scheduler.ledger import Ledger
from salon.studio.service.errors import KeyReused, UnknownJob
from salon.studio.service.events import PER_LIFE
from salon.studio.service.recipe import pixel_hash
from salon.studio.service.recipe_files import read_png
from salon.studio.service.service import Service
from salon.studio.store.folder_blobs import FolderBlobs
from salon.studio.store.store import FILE

from .conftest import Serve, ended

HERE = Path(__file__).parent
COMMITS = ("5dbd8b1", "f242cbd")
ANN = "ab" * 32


def asked(key: str, prompt: str, seed: int, **fields: object) -> JobRequest:
    """What was asked for then."""
    return JobRequest(key=key, prompt=prompt, width=16, height=16, steps=2, images=1, seed=seed, **fields)  # type: ignore[arg-type]


DONE = (("local", asked("done-1", "a red apple", 1)), (ANN, asked("done-2", "a red apple", 2)),
        (ANN, asked("done-3", "a red apple", 3, private=True)))  # fmt: skip
OPEN = (("local", asked("open-1", "cat", 4)), (ANN, asked("open-2", "cat", 5, lane="relax", preview_every=1)),
        (ANN, asked("open-3", "cat", 6, private=True)))  # fmt: skip


def unpack(commit: str, folder: Path) -> Path:
    """Make the data folder of that commit."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / FILE)) as database:
        database.executescript((HERE / f"old_folder_{commit}.sql").read_text())
    blobs = FolderBlobs(folder / "pictures")
    for digest, data in json.loads((HERE / "old_pictures.json").read_text()).items():
        assert blobs.put(base64.b64decode(data)) == digest
    return folder


@pytest.fixture(params=COMMITS)
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return unpack(request.param, tmp_path / "old")


def test_it_goes_on(serve: Serve, folder: Path) -> None:
    async def work(service: Service) -> None:
        context = service.context
        assert context.accounts.rows[ANN].name == "Ann"
        for account, request in DONE:
            found, existing = await service.submit(account, request)  # its fingerprint is the same
            assert (existing, found.state, len(found.pictures)) == (True, "done", 2)
            assert (found.seed, found.width, found.solver, found.steps) == (request.seed, 16, "euler", 2)
            for picture in found.pictures:
                pixels, recipe = read_png(io.BytesIO(context.blobs.get(picture.digest)))
                assert (recipe.pixels, recipe.spec.seed) == (pixel_hash(pixels), request.seed)
            log = await service.log(found.job, account)
            assert [event.kind for event in log.since(0)][-3:] == ["image", "image", "done"]
            assert log.last == found.last_event
        secret = next(job.job for job in (await service.page(ANN)).jobs if job.private)
        with pytest.raises(UnknownJob):
            await service.find(secret, "local")
        for account, request in OPEN:
            found, existing = await service.submit(account, request)
            assert existing
            record = await ended(service, found.job, account)
            assert (record.state, record.prompt, record.private) == ("done", "cat", request.private)
            assert record.last_event > 2 * PER_LIFE  # the second start of this store
            fresh, _ = await service.submit(account, asked("fresh" + request.key, "cat", request.seed or 0))
            again = await ended(service, fresh.job, account)
            shown = [_hash(service, one.digest) for one in record.pictures]
            assert shown == [_hash(service, one.digest) for one in again.pictures]
        with pytest.raises(KeyReused):
            await service.submit("local", asked("done-1", "a blue dog", 1))
        private = (await service.page(ANN, states=["done"])).jobs
        assert sum(job.private for job in private) == 2
        hidden = await service.page(None, viewer="local", limit=50)
        assert all(not job.prompt for job in hidden.jobs if job.private and job.account == ANN)
        assert context.ledger.open_jobs() == ()
        ends = Counter(entry.job for entry in context.store.all_entries() if entry.kind in ("done", "void"))
        assert set(ends.values()) == {1}
        assert len(ends) == 9
        context.store.check()

    serve(work, folder=folder)

    async def look(service: Service) -> None:
        assert len((await service.page(None, limit=50)).jobs) == 9
        assert Ledger.replay(service.context.store.all_entries()).balance(ANN) == service.context.ledger.balance(ANN)

    serve(look, folder=folder)


def _hash(service: Service, digest: str) -> str:
    return pixel_hash(read_png(io.BytesIO(service.context.blobs.get(digest)))[0])
