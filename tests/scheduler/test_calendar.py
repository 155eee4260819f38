"""The monthly renewal against a slow count of days: month ends, leap years, and the way back to the 31st."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.scheduler.calendar import END_MS, period_of, spoken, stamp
from salon.scheduler.errors import ClockError


def ms(*when: int) -> int:
    return round(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


def starts(anchor: int, months: int) -> list[str]:
    """The first renewals, each the end of the period before."""
    got, now = [], anchor
    for _ in range(months):
        now = period_of(anchor, now)[1]
        got.append(stamp(now)[:10])
    return got


def test_the_31st_comes_back_after_short_months() -> None:
    assert starts(ms(2023, 12, 31), 8) == [
        "2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31", "2024-06-30", "2024-07-31", "2024-08-31",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("year", "day", "february"),
    [
        (2024, 29, 29), (2024, 30, 29), (2023, 29, 28), (2023, 28, 28), (2100, 29, 28), (2100, 31, 28), (2000, 30, 29),
        (2400, 31, 29),
    ],
)  # fmt: skip
def test_february(year, day, february) -> None:
    start, end = period_of(ms(year - 1, 12, day, 12), ms(year, 2, 15))
    assert start == ms(year, 1, day, 12)
    assert end == ms(year, 2, february, 12)
    assert period_of(ms(year - 1, 12, day, 12), end) == (end, ms(year, 3, day, 12))


def test_a_leap_day_account_over_the_years() -> None:
    renewals = starts(ms(2024, 2, 29), 48)
    assert [day for day in renewals if day[5:7] == "02"] == ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]
    assert all(day.endswith("29") for day in renewals if day[5:7] != "02")


def test_the_hour_stays_and_the_boundary_belongs_to_the_new_period() -> None:
    anchor = ms(2026, 1, 8, 12, 30)
    end = ms(2026, 2, 8, 12, 30)
    assert period_of(anchor, anchor) == (anchor, end)
    assert period_of(anchor, end - 1) == (anchor, end)
    assert period_of(anchor, end) == (end, ms(2026, 3, 8, 12, 30))


@given(st.integers(0, ms(2060, 1, 1)), st.integers(0, 40 * 365 * 86_400_000))
def test_against_a_slow_calendar(anchor, after) -> None:
    now = anchor + after
    start, end = period_of(anchor, now)
    assert start <= now < end
    assert start >= anchor
    assert 28 * 86_400_000 <= end - start <= 31 * 86_400_000
    assert period_of(anchor, start) == (start, end)
    assert period_of(anchor, end - 1) == (start, end)
    assert period_of(anchor, end)[0] == end
    first = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=anchor)
    for moment in (start, end):
        day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment)
        assert day.timetz() == first.timetz()
        is_last = (day + timedelta(days=1)).day == 1
        assert day.day == first.day or (is_last and day.day < first.day)


@pytest.mark.parametrize(
    ("anchor", "now"), [(5, 4), (-1, 4), (0, END_MS), (0, 1.0), (0, True), (0, None), ("0", 1), (0, float("nan"))]
)
def test_impossible_times(anchor, now) -> None:
    with pytest.raises(ClockError, match="allowed"):
        period_of(anchor, now)


def test_the_far_end_is_still_a_month() -> None:
    start, end = period_of(ms(1970, 1, 31), END_MS - 1)
    assert start < END_MS <= end


def test_spans_in_words_are_exact() -> None:
    spans = {
        0: "0 min", 60_000: "1 min", 54_000: "54 s", 250: "0.25 s", 12_000_000: "3 h 20 min", 60_001: "1 min 0.001 s",
    }  # fmt: skip
    assert {span: spoken(span) for span in spans} == spans
