"""A data folder with very many pictures, and the real server over it, with a worker without a model."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from ...frontends.client.client import Client
from ...frontends.fake.worker import Behaviour, FakeWorker
from ...frontends.zmq.background import BackgroundServer
from ...frontends.zmq.options import ServeOptions
from ...studio.store.folder_blobs import FolderBlobs
from ...studio.store.rows import PictureRow
from ...studio.store.store import Store
from ...studio.store.tables import PICTURES
from ...studio.store.writes import AddJob
from ...studio.studio import Studio

SIDE: Final = 256  # pixels of a picture
EACH: Final = 4  # pictures of a job
FILES: Final = 24  # pictures that are not the same
BATCH: Final = 2_000  # jobs in one transaction
MINUTE_MS: Final = 60_000
WAIT_S: Final = 60.0


class Worker(FakeWorker):
    """A worker without a model whose pictures are as large as small ones of a model."""

    def __init__(self) -> None:
        super().__init__(Behaviour(drawn=True))
        defaults = {**self._info.defaults, "width": SIDE, "height": SIDE}
        self._info = msgspec.structs.replace(self._info, defaults=defaults)


def served(data: Path) -> BackgroundServer:
    """Return a server over a folder, that is not started."""
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=data, metrics=None, http="127.0.0.1:0", grace_s=0.2, threads=1
    )
    return BackgroundServer(options, lambda _, billing: Studio.over([Worker()], accounts=billing))


def fill(data: Path, count: int) -> None:
    """Make a folder with so many pictures, four a job, all like one that is really asked for."""
    with served(data) as server, Client(server.address) as client:
        asked = client.imagine("a red apple", images=EACH, steps=1)
        asked.wait(timeout_s=WAIT_S)
    blobs = FolderBlobs(data / "pictures")
    files = [(blobs.put(png), len(png)) for png in map(_png, range(FILES))]
    store = Store.open(None, data)
    try:
        like = store.job(asked.id)
        assert like is not None, "it was asked for"
        jobs, now = [f"{number:024x}" for number in range(count // EACH)], int(time.time() * 1000)
        for start in range(0, len(jobs), BATCH):
            writes = []
            for number in range(start, min(len(jobs), start + BATCH)):
                job, made_ms = jobs[number], now - (len(jobs) - number) * MINUTE_MS
                row = msgspec.structs.replace(
                    like, job=job, key=job, seq=0, prompt=f"a picture in the evening light, {number}", made_ms=made_ms,
                    started_ms=made_ms, ended_ms=made_ms,
                )  # fmt: skip
                writes.append(AddJob(row, "fake", f" a picture in the evening light {number} {job}"))
            store.write(writes)
        with store._database.writer.begin() as connection:  # at once, and not by the end of every job
            for start in range(0, len(jobs), BATCH):
                rows = [
                    PictureRow(job=job, index=index, digest=digest, size=size, width=SIDE, height=SIDE)
                    for number, job in enumerate(jobs[start : start + BATCH], start)
                    for index, (digest, size) in enumerate(_some(files, number))
                ]
                connection.execute(PICTURES.insert(), [msgspec.structs.asdict(row) for row in rows])
            connection.exec_driver_sql(f"UPDATE listed SET pictures = {EACH}")
    finally:
        store.close()


def _some(files: list[tuple[str, int]], number: int) -> list[tuple[str, int]]:
    return [files[(number * EACH + index) % len(files)] for index in range(EACH)]


def _png(number: int) -> bytes:
    """Return a picture with soft shapes and a grain, of about the size of a real one."""
    from PIL import Image

    random = np.random.default_rng(number)
    soft = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    grain = random.integers(-9, 10, (SIDE, SIDE, 3), np.int16)
    pixels = np.clip(np.asarray(soft, np.int16) + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
