"""Find jobs by what is listed of them: their names in order, a page at a time, with the number of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from .domains.organize import HiddenRow, InFolderRow
from .registered import table_of
from .sql import sa
from .tables import LISTED, SHOWN

OWN, PUBLIC, ALL = "own", "public", "all"  # whose jobs
WHOSE: Final = (OWN, PUBLIC, ALL)
# As SHOWN, but of no index: most jobs are shown, and are counted in a walk, four times as fast as one by one.
_SHOWN_EACH: Final = sa.func.coalesce(LISTED.c.private, sa.true()).is_(sa.false())
PART: Final = 500  # values of one question: SQLite takes a bounded number of parameters


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which jobs are wanted, and where their page begins. What is empty leaves out nothing.

    Attributes:
        account: that asks.
        whose: "own", "public" (of anybody, not private), or "all" that the account may see.
        without: an account whose jobs are not among public ones.
        owner: of public ones, only this account's.
        words: beginnings of words, each of which has to be found.
        kinds, lanes, states, model: one of these.
        from_ms, until_ms: made from then on, and before then (UTC ms).
        hidden: only those that the account hides (True), none of them (False), or both (None).
        private: only private ones (True), none of them (False), or both (None).
        folder: id of a folder of the account.
        among: ids of jobs.
        oldest: whether the oldest comes first.
        after: `seq` of the last job of the page before; 0: the first page, which alone is counted.
        limit: number of names, at most.
    """

    account: str
    whose: str = OWN
    without: str = ""
    owner: str = ""
    words: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    model: str = ""
    from_ms: int = 0
    until_ms: int = 0
    hidden: bool | None = False
    private: bool | None = None
    folder: str = ""
    among: frozenset[str] | None = None
    oldest: bool = False
    after: int = 0
    limit: int = 1000


class Names(NamedTuple):
    """A page of names.

    Attributes:
        jobs: ids, in order.
        pictures: how many pictures each has.
        next: for `Wanted.after`; 0: there is no further page.
        total, total_pictures: number of all jobs that fit, and of their pictures; of the first page alone, else -1.
    """

    jobs: tuple[str, ...]
    pictures: tuple[int, ...]
    next: int = 0
    total: int = -1
    total_pictures: int = -1


def names_of(connection: sa.Connection, wanted: Wanted) -> Names:
    """Return a page of the names of the jobs that are wanted."""
    fits = list(_fitting(connection, wanted))
    columns = LISTED.c.seq, LISTED.c.job, LISTED.c.pictures
    order = LISTED.c.seq.asc() if wanted.oldest else LISTED.c.seq.desc()
    beyond = []
    if wanted.after:
        beyond.append(LISTED.c.seq > wanted.after if wanted.oldest else LISTED.c.seq < wanted.after)
    total, counted = -1, -1
    rows: list[Any]
    if wanted.among is None:
        query = sa.select(*columns).where(*fits, *beyond).order_by(order).limit(wanted.limit + 1)
        rows = list(connection.execute(query))
        if not wanted.after and len(rows) > wanted.limit:
            all_fit = list(_fitting(connection, wanted, shown=_SHOWN_EACH))
            count = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(LISTED.c.pictures), 0)).where(*all_fit)
            total, counted = connection.execute(count).one()
        elif not wanted.after:
            total, counted = len(rows), sum(pictures for _, _, pictures in rows)
    else:
        rows = [
            row for part in _parts(wanted.among) for row in connection.execute(sa.select(*columns).where(*fits, part))
        ]
        if not wanted.after:
            total, counted = len(rows), sum(pictures for _, _, pictures in rows)
        rows.sort(reverse=not wanted.oldest)
        after = wanted.after
        rows = [row for row in rows if not after or (row[0] > after if wanted.oldest else row[0] < after)]
    more = len(rows) > wanted.limit
    # Unpacked: of very many rows a column by its name takes longer than the whole question.
    numbers, jobs, pictures = zip(*rows[: wanted.limit], strict=True) if rows else ((), (), ())
    return Names(jobs, pictures, numbers[-1] if more else 0, int(total), int(counted))


def folder_sizes(connection: sa.Connection, account: str) -> dict[str, int]:
    """Return how many jobs that an account may see its folders have, by id; empty ones are left out."""
    _, inside = table_of(InFolderRow)
    seen = sa.or_(LISTED.c.account == account, SHOWN)
    query = sa.select(inside.c.folder, sa.func.count().label("jobs")).join(LISTED, LISTED.c.job == inside.c.job)
    query = query.where(inside.c.account == account, seen).group_by(inside.c.folder)
    return {row.folder: int(row.jobs) for row in connection.execute(query)}


def _fitting(
    connection: sa.Connection, wanted: Wanted, shown: sa.ColumnElement[bool] = SHOWN
) -> Iterator[sa.ColumnElement[bool]]:
    """Yield the conditions on a listed job, without where the page begins. `shown`: that it is not private."""
    listed, account = LISTED.c, wanted.account
    if wanted.whose == OWN:
        yield listed.account == account
    elif wanted.whose == PUBLIC:
        yield shown
        if wanted.without:
            yield listed.account != wanted.without
        if wanted.owner:
            yield listed.account == wanted.owner
    else:
        yield sa.or_(listed.account == account, SHOWN)
    for column, values in ((listed.kind, wanted.kinds), (listed.lane, wanted.lanes), (listed.state, wanted.states)):
        if values:
            yield column.in_(values)
    if wanted.model:
        yield listed.model == wanted.model
    if wanted.from_ms:
        yield listed.made_ms >= wanted.from_ms
    if wanted.until_ms:
        yield listed.made_ms < wanted.until_ms
    if wanted.private is not None:
        yield listed.private if wanted.private else ~listed.private
    if wanted.folder:
        _, inside = table_of(InFolderRow)
        members = sa.select(inside.c.job).where(inside.c.account == account, inside.c.folder == wanted.folder)
        yield listed.job.in_(members)
    if wanted.hidden is not None:
        _, hidden = table_of(HiddenRow)
        mine = sa.select(hidden.c.job).where(hidden.c.account == account)
        if wanted.hidden:
            yield listed.job.in_(mine)
        elif connection.execute(mine.limit(1)).first() is not None:  # most hide nothing: then no job is looked up
            yield listed.job.not_in(mine)
    find = sa.func.strpos if connection.dialect.name == "postgresql" else sa.func.instr
    for word in wanted.words:
        yield find(listed.words, f" {word}") > 0


def _parts(jobs: frozenset[str]) -> Iterator[sa.ColumnElement[bool]]:
    names = sorted(jobs)
    for start in range(0, len(names), PART):
        yield LISTED.c.job.in_(names[start : start + PART])
