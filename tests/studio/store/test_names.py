"""Names of jobs: every filter, pages in both orders, what is deleted or private, in both databases."""

from __future__ import annotations

from typing import Any

from salon.studio.store.domains.organize import HiddenRow, InFolderRow
from salon.studio.store.names import Names, Wanted
from salon.studio.store.store import Store
from salon.studio.store.writes import AddJob, DeleteJob, Describe, EndJob, Put, SetJob

from .conftest import job_row, picture_row

MODEL = "mini 1"


def add(store: Store, job: str, words: str = "", pictures: int = 2, **fields: Any) -> None:
    values: dict[str, Any] = {"private": False, "made_ms": 1000, "lane": "fast"} | fields
    store.write([AddJob(job_row(job, **values), MODEL, words)])
    if pictures:
        rows = tuple(picture_row(job, index) for index in range(-1, pictures))
        store.write([EndJob(job, {"state": "done", "lane": values["lane"]}, rows)])


def names(store: Store, **wanted: Any) -> list[str]:
    return list(store.names(Wanted(**({"account": "a"} | wanted))).jobs)


def test_what_is_thought_of_a_job_goes_with_it(store: Store) -> None:
    """Of everybody, also where an older version left it."""
    for job in ("one", "two"):
        add(store, job)
        for account in ("a", "b"):
            store.write([Put(HiddenRow(account=account, job=job))])
            store.write([Put(InFolderRow(account=account, folder="f", job=job, added_ms=1))])
    store.write([DeleteJob("one")])
    assert [row.job for row in store.rows(HiddenRow)] == [row.job for row in store.rows(InFolderRow)] == ["two", "two"]


def test_what_is_wanted(store: Store) -> None:
    add(store, "one", " a red apple 7", made_ms=1000)
    add(store, "two", " a red whale 8", made_ms=2000, lane="relax", kind="vary", private=True)
    add(store, "three", " a blue apple 9", made_ms=3000, pictures=0)
    add(store, "other", " a red apple 7", account="b")
    add(store, "secret", " a red apple 7", account="b", private=True)
    add(store, "machine", " a red apple 7", account="m")
    add(store, "gone", " a red apple 7")
    store.write([DeleteJob("gone"), Put(HiddenRow(account="b", job="one"))])
    assert names(store) == ["three", "two", "one"]
    assert names(store, oldest=True) == ["one", "two", "three"]
    assert names(store, words=("red",)) == ["two", "one"]
    assert names(store, words=("appl", "7")) == ["one"], "beginnings of words"
    assert names(store, words=("pple",)) == names(store, words=("%",)) == []
    assert names(store, kinds=("vary", "pan")) == names(store, lanes=("relax",)) == ["two"]
    assert names(store, states=("queued",)) == ["three"]
    assert names(store, from_ms=2000) == ["three", "two"]
    assert names(store, from_ms=1000, until_ms=2000) == ["one"]
    assert names(store, model=MODEL) == names(store)
    assert names(store, model="mini 2") == []
    assert names(store, private=True) == ["two"]
    assert names(store, private=False) == ["three", "one"]
    assert names(store, whose="public", without="m") == ["other", "three", "one"]
    assert names(store, whose="public", without="m", owner="b") == ["other"]
    assert names(store, whose="all", words=("red",)) == ["machine", "other", "two", "one"]
    assert names(store, account="b") == ["secret", "other"]
    assert names(store, account="c") == []
    assert names(store, account="c", whose="all", words=("7",)) == ["machine", "other", "one"]
    store.write([Put(HiddenRow(account="a", job="one")), Put(HiddenRow(account="a", job="other"))])
    assert names(store) == ["three", "two"]
    assert names(store, hidden=True) == ["one"]
    assert names(store, hidden=None) == ["three", "two", "one"]
    assert names(store, hidden=True, whose="all") == ["other", "one"]
    for job in ("one", "secret", "other"):
        store.write([Put(InFolderRow(account="a", folder="f", job=job, added_ms=1))])
    assert names(store, folder="f", whose="all", hidden=None) == ["other", "one"], "what is private stays so"
    assert store.folder_sizes("a") == {"f": 2}
    store.write([SetJob("secret", {"private": False}), SetJob("one", {"private": True})])
    assert store.folder_sizes("a") == {"f": 3}
    assert names(store, account="b", whose="all", words=("7",)) == ["machine", "secret", "other"]
    store.check()


def test_pages(store: Store) -> None:
    for i in range(7):
        add(store, f"j{i}", pictures=i % 3)
    for oldest in (False, True):
        for among in (None, frozenset(f"j{i}" for i in range(7))):
            found, after, pages = list[str](), 0, list[Names]()
            while not pages or after:
                page = store.names(Wanted(account="a", oldest=oldest, among=among, after=after, limit=3))
                found, after = [*found, *page.jobs], page.next
                pages.append(page)
            assert found == sorted(found, reverse=not oldest) == [*dict.fromkeys(found)]
            assert [len(page.jobs) for page in pages] == [3, 3, 1]
            assert [page.total for page in pages] == [7, -1, -1], "counted once"
            assert pages[0].total_pictures == 6
            assert pages[-1].pictures == ((0,) if not oldest else (0,))
    assert names(store, among=frozenset({"j2", "j5", "never"})) == ["j5", "j2"]
    assert names(store, among=frozenset()) == []


def test_words_of_old_jobs(store: Store) -> None:
    store.write([AddJob(job_row(f"j{i}")) for i in range(3)])
    assert [row.job for row in store.without_words(2)] == ["j2", "j1"]
    store.write([EndJob("j1", {"state": "failed"}), DeleteJob("j1")])
    store.write([Describe(f"j{i}", " a word") for i in (0, 1, 2)])
    assert store.without_words(9) == ()
    assert names(store, words=("wo",)) == ["j2", "j0"], "what was deleted is not described again"
    assert set(store.jobs_by_id(["j0", "j1", "never"])) == {"j0"}
    store.check()
