"""What a server has left in its folder, looked at when no server runs: jobs, books, pictures."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.engine import Engine
from ...engine.spec import GenerationSpec
from ...scheduler.entries import EntryKind
from ...scheduler.ledger import Ledger
from ...scheduler.plans import lane_of, load_plans
from ...studio.service.mosaic import mosaic
from ...studio.service.packing import work_of
from ...studio.service.recipe import pixel_hash
from ...studio.service.recipe_files import read_png
from ...studio.store.folder_blobs import FolderBlobs
from ...studio.store.rows import FINAL, GRID, JobRow
from ...studio.store.store import Store

UInt8 = NDArray[np.uint8]


class Solo:
    """Pictures of requests that share no batch and know no server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._made: dict[GenerationSpec, UInt8] = {}

    def __call__(self, spec: GenerationSpec) -> UInt8:
        """Return the pictures of a request, uint8 [images, height, width, 3]."""
        if spec not in self._made:
            generation = self._engine.open(spec)
            while generation.state == "running":
                self._engine.step([generation])
            self._made[spec] = self._engine.finish(generation)
            self._engine.close(generation)
        return self._made[spec]


def differs(solo: Solo, index: int, file: bytes, asked: Mapping[str, Any]) -> str:
    """Return why a PNG of a server is not what was asked for; empty: it is.

    Args:
        solo: makes the pictures to compare with, from the recipe in the file.
        index: of the picture, or `GRID`.
        asked: fields of the request, each of which has to stand in the recipe; unknown words are passed over.
    """
    pixels, recipe = read_png(io.BytesIO(file))
    others = [name for name, value in asked.items() if getattr(recipe.spec, name, value) != value]
    if others or recipe.pixels != pixel_hash(pixels) or recipe.image != (None if index == GRID else index):
        return f"another recipe {others}"
    alone = solo(recipe.spec)
    expected = mosaic(alone) if index == GRID else alone[index]
    if pixels.shape != expected.shape or (pixels != expected).any():
        return "other pixels"
    return ""


@dataclass
class Findings:
    """What an audit counted, and what it found wrong (`wrong`, in words).

    Attributes:
        jobs: accepted jobs by state.
        pictures: rows of pictures whose file was read, decoded and compared.
        charges: jobs with a charge.
        orphans: files that no job has.
    """

    jobs: Counter[str] = field(default_factory=Counter)
    pictures: int = 0
    charges: int = 0
    orphans: int = 0
    wrong: list[str] = field(default_factory=list)


def audit(data: Path, solo: Solo | None, *, complete: bool = True, seen: set[str] | None = None) -> Findings:
    """Look at everything that is stored.

    Args:
        data: a server's folder.
        solo: makes pictures to compare; None: they are not compared.
        complete: every job should have ended, and nothing may be on hold.
        seen: jobs whose pictures were compared before, and are not again; filled.
    """
    found = Findings()
    store = Store.open(None, data)
    try:
        store.check()
        blobs = FolderBlobs(data / "pictures")
        rows = _all_jobs(store)
        _check_books(store, rows, found, complete)
        digests: set[str] = set()
        for row in rows:
            found.jobs[row.state] += 1
            pictures = store.pictures(row.job)
            digests.update(picture.digest for picture in pictures)
            if complete and row.state not in FINAL:
                found.wrong.append(f"job {row.job} is {row.state}")
            if row.state != "done" or row.deleted or (seen is not None and row.job in seen):
                continue
            if seen is not None:
                seen.add(row.job)
            spec = msgspec.msgpack.decode(row.spec, type=GenerationSpec)
            asked = {name: getattr(spec, name) for name in spec.__slots__}
            if [picture.index for picture in pictures] != [GRID, *range(spec.images)]:
                found.wrong.append(f"job {row.job} has pictures {[picture.index for picture in pictures]}")
            for picture in pictures:
                blobs.verify(picture.digest)
                reason = "" if solo is None else differs(solo, picture.index, blobs.get(picture.digest), asked)
                found.pictures += 1
                if reason:
                    found.wrong.append(f"picture {picture.index} of job {row.job}: {reason}")
        found.orphans = len(set(blobs.digests()) - digests)
        half = [str(path) for path in (data / "pictures" / "tmp").iterdir()]
        found.wrong += [f"half a picture: {path}" for path in half]
        found.wrong += _repeated((row.account, row.key) for row in rows)
    finally:
        store.close()
    return found


def _all_jobs(store: Store) -> list[JobRow]:
    rows: list[JobRow] = []
    while page := store.jobs(None, rows[-1].seq if rows else 0, 500):
        rows += page
    return rows


def _repeated(keys: Iterable[tuple[str, str]]) -> list[str]:
    return [f"key {key!r} of {account} has {n} jobs" for (account, key), n in Counter(keys).items() if n > 1]


def _check_books(store: Store, rows: list[JobRow], found: Findings, complete: bool) -> None:
    entries = list(store.all_entries())
    ledger = Ledger.replay(entries)
    known = {row.job: row for row in rows}
    charged: defaultdict[str, int] = defaultdict(int)
    ends: Counter[str] = Counter()
    for entry in entries:
        if entry.kind is EntryKind.CHARGE:
            charged[entry.job] -= entry.amount_ms
        ends[entry.job] += entry.kind in (EntryKind.DONE, EntryKind.VOID)
    found.charges = len(charged)
    book = load_plans()
    plans = {row.account: row.plan for row in store.accounts(limit=1000)}
    for row in rows:
        if row.state not in FINAL:
            continue
        spec = msgspec.msgpack.decode(row.spec, type=GenerationSpec) if row.spec else None
        if row.state == "done" and spec is not None:
            free = book.plan(plans[row.account]).monthly_ms is None
            price = 0 if free else book.prices.charge(work_of(row), lane_of(row.lane))
            if charged[row.job] != price:
                found.wrong.append(f"job {row.job} costs {price} ms and was charged {charged[row.job]}")
            if row.charged_ms != price:
                found.wrong.append(f"job {row.job} costs {price} ms and says {row.charged_ms}")
        elif charged[row.job]:
            found.wrong.append(f"job {row.job} is {row.state} and was charged {charged[row.job]}")
        if ends[row.job] != 1:
            found.wrong.append(f"job {row.job} was settled {ends[row.job]} times")
    if complete and ledger.open_jobs():
        found.wrong.append(f"holds are open: {ledger.open_jobs()}")
    strange = [job for job in charged if job not in known]
    found.wrong += [f"job {job} was charged and is not there" for job in strange]
