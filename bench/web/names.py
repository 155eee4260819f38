"""Names of very many jobs, by every filter, from a store of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from ...studio.store.domains.organize import HiddenRow, InFolderRow
from ...studio.store.names import Wanted
from ...studio.store.rows import JobRow
from ...studio.store.store import Store
from ...studio.store.writes import AddJob, Put, Write
from ..measure import interleave, timed
from ..report import Goal
from ..runner import Bench

ACCOUNT: Final = "local"
MARKED: Final = 2_000  # jobs that are liked, in the folder, and at last hidden
BATCH: Final = 2_000  # jobs in one transaction
TARGET_MS: Final = 150.0
THINGS: Final = ("apple", "whale", "cactus", "rocket", "cat", "guitar", "house", "umbrella", "lighthouse", "bridge")
STYLES: Final = ("3d render", "doodle", "retro poster", "bold ink", "storybook", "sepia tones", "watercolour", "pixels")
RARE: Final = "zeppelin"
ASKED: Final[dict[str, dict[str, Any]]] = {
    "first 20,000, counted": {"limit": 20_000},
    "first 200, counted": {"limit": 200},
    "200 in the middle": {"limit": 200, "after": -1},
    "a common word": {"limit": 20_000, "words": ("light",)},
    "a rare word": {"limit": 20_000, "words": (RARE,)},
    "two words, lane and day": {"words": ("blue", "cat"), "lanes": ("relax",), "from_ms": 1},
    "public, counted": {"limit": 200, "whose": "public"},
    "a folder": {"limit": 20_000, "folder": "f", "whose": "all"},
    "liked": {"limit": 20_000, "whose": "all", "among": None},
    "some hidden": {"limit": 20_000},
}
WHOLE: Final = "all, in pages of 20,000"  # which is what InvokeAI tells in one answer
PUBLISHED: Final = (
    "InvokeAI (SQLite, on its authors' machine) takes 6.6 ms for the names of all of 10,000 images, 39.6 of 50,000 "
    "and 186.9 of 200,000 (its pull request 9385)"
)
COLUMNS: Final = [["asked", "ms", "p10", "p90", "jobs", "total"]]


def measure(bench: Bench, folder: Path) -> None:
    """Make the jobs, and time what is asked of them."""
    count = bench.pick(1_000, 20_000, 100_000)
    store = Store.open(None, folder)
    try:
        fill(store, count)
        marked = frozenset(f"{number:024x}" for number in range(0, count, max(1, count // MARKED)))
        wanted = {name: {"account": ACCOUNT, **each} for name, each in ASKED.items()}
        wanted["200 in the middle"]["after"] = count // 2
        wanted["liked"]["among"] = marked
        rounds, each = bench.pick((1, 1), (2, 3), (10, 5))

        def ask(asked: dict[str, Any]) -> Any:
            return lambda: timed(lambda: store.names(Wanted(**asked)), each)

        hidden = wanted.pop("some hidden")
        found = {name: store.names(Wanted(**asked)) for name, asked in wanted.items()}
        results = interleave(
            {name: ask(asked) for name, asked in wanted.items()}, rounds=rounds, deadline=bench.deadline
        )
        store.write([Put(HiddenRow(account=ACCOUNT, job=job)) for job in sorted(marked)])
        found["some hidden"] = store.names(Wanted(**hidden))
        results |= interleave({"some hidden": ask(hidden)}, rounds=rounds, deadline=bench.deadline)
        for name, samples in results.items():
            page = found[name]
            low, high = samples.spread or (None, None)
            bench.row(asked=name, ms=samples.median, p10=low, p90=high, jobs=len(page.jobs), total=page.total)
        whole = interleave({WHOLE: lambda: timed(lambda: _all(store), each)}, rounds=rounds, deadline=bench.deadline)
        slowest = max((row["ms"] for row in bench.report.rows if row["ms"] is not None), default=None)
        bench.goal(Goal.at_most(f"the slowest question about {count:,} jobs", TARGET_MS, slowest, " ms"))
        low, high = whole[WHOLE].spread or (None, None)
        bench.row(asked=WHOLE, ms=whole[WHOLE].median, p10=low, p90=high, jobs=_all(store), total=count)
        bench.note(PUBLISHED)
        bench.note(f"{count:,} jobs, {count * 2:,} pictures; {len(marked):,} liked, in the folder, and at last hidden")
    finally:
        store.close()


def _all(store: Store) -> int:
    """Ask for the names of all jobs, and return how many there are."""
    number, after = 0, 0
    while True:
        page = store.names(Wanted(account=ACCOUNT, limit=20_000, after=after, hidden=None))
        number, after = number + len(page.jobs), page.next
        if not after:
            return number


def fill(store: Store, count: int) -> None:
    """List so many jobs of one account, each of two pictures, one in ten of them private."""
    random = np.random.default_rng(1)
    for start in range(0, count, BATCH):
        jobs, others = list[Write](), list[Write]()
        for number in range(start, min(count, start + BATCH)):
            job = f"{number:024x}"
            thing, style = random.choice(THINGS), random.choice(STYLES)
            prompt = f"a {random.choice(['red', 'blue', 'green'])} {thing} in the evening light, {style}"
            if number % 5_000 == 7:
                prompt += f", with a {RARE}"
            row = JobRow(
                job=job, account=ACCOUNT, key=job, prompt=prompt, spec=bytes(900), work=bytes(60), state="done",
                lane="relax" if number % 3 == 0 else "fast", private=number % 10 == 0, steps=20,
                made_ms=1_700_000_000_000 + number * 60_000,
            )  # fmt: skip
            words = "".join(f" {word}" for word in dict.fromkeys([*prompt.replace(",", "").split(), str(number), job]))
            jobs.append(AddJob(row, "mini 1", words))
            if number % max(1, count // MARKED) == 0:
                others.append(Put(InFolderRow(account=ACCOUNT, folder="f", job=job, added_ms=1)))
        store.write([*jobs, *others])
    with store._database.writer.begin() as connection:  # at once, and not by the end of every job
        connection.exec_driver_sql("UPDATE listed SET pictures = 2")
