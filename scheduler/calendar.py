"""The monthly renewal, on the account's own day. All times are UTC, in whole milliseconds since 1970-01-01 00:00.

An account that began on the 31st renews on the last day of shorter months, and on the 31st again where there is one:
every renewal is counted from the first day, never from the one before. The hour of the day stays, too.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from typing import Any, Final

from ..errors import complaint
from .errors import ClockError

DAY_MS: Final = 86_400_000
EPOCH: Final = date(1970, 1, 1).toordinal()
END_MS: Final = (date(9990, 1, 1).toordinal() - EPOCH) * DAY_MS  # past this, months can no longer be counted


def period_of(anchor_ms: int, now_ms: int) -> tuple[int, int]:
    """Return the billing period that `now_ms` lies in, of an account that began at `anchor_ms`.

    Args:
        anchor_ms: when the account began, UTC ms.
        now_ms: any time from then on, UTC ms.

    Returns:
        (start, end) in UTC ms with start <= now_ms < end; end is the next period's start.

    Raises:
        ClockError: no whole number, before 1970 or past the year 9990, or `now_ms` before `anchor_ms`.
    """
    check_ms("anchor", anchor_ms)
    check_ms("clock", now_ms)
    if now_ms < anchor_ms:
        allowed = f"a time from the account's first day on, {stamp(anchor_ms)}"
        raise ClockError(complaint("clock", stamp(now_ms), allowed, "check the machine's clock"))
    first, today = _date(anchor_ms), _date(now_ms)
    months = 12 * (today.year - first.year) + today.month - first.month
    if _renewal(anchor_ms, months) > now_ms:
        months -= 1
    return _renewal(anchor_ms, months), _renewal(anchor_ms, months + 1)


def check_ms(what: str, value: Any, last: int = 0) -> int:
    """Return `value`. Raise ClockError unless it is a whole number of UTC ms from `last` on, before the year 9990."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < END_MS:
        allowed = f"whole milliseconds from 0 to {END_MS - 1} (UTC, since 1970)"
        raise ClockError(complaint(what, repr(value)[:80], allowed, "give the time as an integer"))
    if value < last:
        allowed = f"a time from {stamp(last)} on ({last} ms)"
        raise ClockError(complaint(what, f"{stamp(value)} ({value} ms)", allowed, "use a clock that never goes back"))
    return value


def stamp(ms: int) -> str:
    """Write a time for messages: `2026-01-31 12:00 UTC`."""
    minutes = ms % DAY_MS // 60_000
    return f"{_date(ms).isoformat()} {minutes // 60:02}:{minutes % 60:02} UTC"


def spoken(ms: int) -> str:
    """Write a span for messages, exactly: `3 h 20 min`, `54 s`, `1 min 0.25 s`, `0 min`."""
    hours, rest = divmod(ms, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    seconds = f"{rest // 1000}.{rest % 1000:03}".rstrip("0").rstrip(".")
    parts = (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{seconds} s" if rest else "")
    return " ".join(part for part in parts if part) or "0 min"


def _date(ms: int) -> date:
    return date.fromordinal(EPOCH + ms // DAY_MS)


def _renewal(anchor_ms: int, months: int) -> int:
    """Return the moment `months` months after the anchor, counted by the calendar."""
    first = _date(anchor_ms)
    years, month = divmod(first.month - 1 + months, 12)
    year, month = first.year + years, month + 1
    day = min(first.day, monthrange(year, month)[1])
    return (date(year, month, day).toordinal() - EPOCH) * DAY_MS + anchor_ms % DAY_MS
