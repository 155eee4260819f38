"""An account's log: what counts, in which state it is, and how long many events take."""

from __future__ import annotations

import time
from typing import Any

from salon.studio.store.domains.taste import TasteEventRow
from salon.studio.taste.log import AccountLog, digests, pack, unpack
from salon.studio.taste.types import EventPicture

PICTURES = tuple(EventPicture(job=f"job{i}", index=i, digest=f"{i}" * 64, picked=i == 1) for i in range(2))


def row(event: int, kind: str = "pair", profile: str = "p1", **fields: Any) -> TasteEventRow:
    values: dict[str, Any] = {"day": 1, "at_ms": event * 10, "pictures": pack(PICTURES), "model": "m"}
    return TasteEventRow(account="ann", event=event, kind=kind, profile=profile, **(values | fields))


def switch(event: int, target: int, on: bool, profile: str = "p1") -> TasteEventRow:
    return row(event, "switch", profile, target=target, choice="on" if on else "off", teaches=False, pictures=b"")


def log_of(*rows: TasteEventRow) -> AccountLog:
    log = AccountLog()
    for one in rows:
        log.add(one)
    return log


def test_pictures_come_back_as_they_were_packed() -> None:
    assert unpack(row(1)) == PICTURES
    assert digests(row(1)) == [("0" * 64, False), ("1" * 64, True)]


def test_what_counts_is_what_teaches_and_is_on() -> None:
    log = log_of(row(1), row(2, choice="skip", teaches=False), row(3, "grid"), row(4, "like", model="m"))
    assert (log.count("p1", "m"), log.count("p1", "other"), log.count("p2", "m")) == (3, 2, 0)
    log.add(switch(5, 3, on=False))
    assert (log.count("p1", "m"), log.is_on(3)) == (2, False)
    log.add(switch(6, 3, on=False))  # again: nothing changes
    assert log.count("p1", "m") == 2
    log.add(switch(7, 3, on=True))
    log.add(switch(8, 2, on=False))  # a skip counts neither way
    assert log.count("p1", "m") == 3
    assert [one.event for one in log.teaching("p1", "m")] == [1, 3, 4]
    assert [one.event for one in log.teaching("p1", "other")] == [1, 3]


def test_every_entry_of_a_profile_changes_its_state_and_no_other_ones() -> None:
    log = log_of(row(1), row(2, profile="p2"))
    assert (log.state("p1"), log.state("p2"), log.state("p3")) == (1, 2, 0)
    log.add(switch(3, 1, on=False))
    assert (log.state("p1"), log.state("p2")) == (3, 2)
    assert (log.changed_ms("p1"), log.changed_ms("p2")) == (30, 20)


def test_events_are_listed_newest_first_with_those_that_are_off() -> None:
    log = log_of(row(1), row(2, profile="p2"), switch(3, 1, on=False), row(4))
    assert [(one.event, one.on) for one in log.page()] == [(4, True), (2, True), (1, False)]
    assert [one.event for one in log.page("p1")] == [4, 1]
    assert [one.event for one in log.page(limit=1)] == [4]
    assert [one.event for one in log.page(before=4, limit=1)] == [2]
    assert [one.event for one in log.page(before=1)] == []
    found = log.last_on()
    assert found is not None
    assert found.event == 4


def test_the_latest_like_and_grid_are_found() -> None:
    log = log_of(row(1, "like"), row(2, "grid"), row(3, "grid"))
    liked, grid = log.like_of("job0", 0), log.grid_of("p1", "job0")
    assert liked is not None
    assert liked.event == 1
    assert grid is not None
    assert grid.event == 3
    assert log.like_of("job0", 1) is None
    assert log.grid_of("p2", "job0") is None


def test_a_hundred_thousand_events_are_followed_in_less_than_two_seconds() -> None:
    rows = [row(event) for event in range(1, 100_001)]
    started = time.thread_time()
    log = log_of(*rows)
    assert log.count("p1", "m") == 100_000
    assert time.thread_time() - started < 2.0
