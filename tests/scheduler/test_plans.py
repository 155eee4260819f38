"""The plans file: the numbers it ships, and that nothing wrong in it goes unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.scheduler.errors import PlanFileError, Refused
from salon.scheduler.plans import DEFAULT_FILE, Kind, PlanBook, load_plans
from salon.scheduler.policy import Policy
from salon.scheduler.tickets import Lane

TEXT = DEFAULT_FILE.read_text()
BOOK = load_plans()
MIN, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def changed(old: str, new: str) -> PlanBook:
    """The shipped book with its first `old` written as `new`."""
    assert old in TEXT, old
    return load_plans(TEXT.replace(old, new, 1))


def test_the_shipped_plans() -> None:
    assert list(BOOK.plans) == ["basic", "standard", "pro", "mega", "unlimited"]
    basic, standard, pro, mega, unlimited = BOOK.plans.values()
    assert [plan.monthly_ms for plan in BOOK.plans.values()] == [200 * MIN, 15 * HOUR, 30 * HOUR, 60 * HOUR, None]
    assert [plan.relax for plan in BOOK.plans.values()] == [False, True, True, True, True]
    assert [plan.relax_video for plan in (basic, standard, pro, mega)] == [False, False, True, True]
    assert [plan.stealth for plan in (basic, standard, pro, mega)] == [False, False, True, True]
    assert [plan.max_running(Lane.FAST, Kind.GRID) for plan in (basic, standard, pro, mega)] == [3, 3, 12, 12]
    assert [plan.max_running(Lane.TURBO, Kind.GRID) for plan in (basic, standard, pro, mega)] == [3, 3, 12, 12]
    assert [plan.max_running(Lane.RELAX, Kind.GRID) for plan in (standard, pro, mega)] == [3, 3, 3]
    assert [plan.max_running(Lane.FAST, Kind.VIDEO) for plan in (basic, standard, pro, mega)] == [1, 3, 6, 12]
    assert [plan.max_running(Lane.RELAX, Kind.VIDEO) for plan in (pro, mega)] == [3, 3]
    assert {plan.queued for plan in (basic, standard, pro, mega)} == {10}
    assert [plan.permutations for plan in (basic, standard, pro, mega)] == [4, 10, 40, 40]
    assert not any(plan.permutations_in_relax for plan in (basic, standard, pro, mega))
    assert BOOK.plan() is unlimited
    assert (BOOK.bought_lifetime_ms, BOOK.bonus_lifetime_ms) == (60 * DAY, 30 * DAY)
    assert (BOOK.award_ms, BOOK.winners) == (HOUR, 2000)
    assert BOOK.policy == Policy()


def test_a_file_of_an_earlier_version_is_still_read():
    text = DEFAULT_FILE.read_text()
    assert text.count("max_floors = 2.0\n") == 1
    assert load_plans(text.replace("max_floors = 2.0\n", "")).policy == Policy()
    assert load_plans(text.replace("max_floors = 2.0", "max_floors = 3.0")).policy == Policy(max_floors=3.0)
    with pytest.raises(PlanFileError, match="max_floors"):
        load_plans(text.replace("max_floors = 2.0", "max_floors = -1.0"))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("monthly_ms = 12_000_000", "", "plans.basic.monthly_ms"),
        ("monthly_ms = 12_000_000", "monthly_ms = 200.0", "plans.basic.monthly_ms"),
        ("monthly_ms = 12_000_000", "monthly_ms = -1", "plans.basic.monthly_ms"),
        ("monthly_ms = 12_000_000", 'monthly_ms = "much"', "plans.basic.monthly_ms"),
        ("monthly_ms = 12_000_000", "monthly_ms = true", "plans.basic.monthly_ms"),
        ("relax = false", "relax = 0", "plans.basic.relax"),
        ("relax = false", "relax = true", "plans.basic.running_relax"),
        ("relax_video = false", "relax_video = true", "plans.basic.relax_video"),
        ("running_fast = 3", "running_fast = 0", "plans.basic.running_fast"),
        ("running_relax = 0", "running_relax = 3", "plans.basic.running_relax"),
        ("queued = 10", "queued = 10\nwaiting = 3", "plans.basic.waiting"),
        ("[plans.mega]", "[plans.Mega]", "plans.Mega"),
        ('default_plan = "unlimited"', 'default_plan = "free"', "default_plan"),
        ('default_plan = "unlimited"', "", "default_plan"),
        ("grid = { ms = 60_000, images = 4 }", "grid = 60_000", "prices.grid"),
        ("ms = 60_000, images = 4", "ms = 60_000", "prices.grid.images"),
        ("ms = 60_000, images = 4", "ms = 0.9, images = 4", "prices.grid.ms"),
        ("ms = 60_000, images = 4", "ms = 60_000, images = 4, each = 1", "prices.grid.each"),
        ("take_one", "take_two", "prices.take_one"),
        ("draft_percent = 50", "draft_percent = 0", "factors.draft_percent"),
        ("[1, 2, 4]", "[2, 4]", "factors.quality"),
        ("[1, 2, 4]", "[1, 2, 2]", "factors.quality"),
        ("[1, 2, 4]", "[1, 2.0]", "factors.quality"),
        ("[1, 2, 4]", "4", "factors.quality"),
        ("lifetime_ms = 5_184_000_000", "lifetime_ms = 0", "bought.lifetime_ms"),
        ("winners = 2_000", "winners = 2_000\nlosers = 1", "bonus.losers"),
        ("turbo_slack = 0.06", "turbo_slack = 1.5", "policy.turbo_slack"),
        ("turbo_slack = 0.06", "turbo_slack = nan", "policy.turbo_slack"),
        ("turbo_slack = 0.06", "", "policy.turbo_slack"),
        ("max_losses = 3", "max_losses = 2.5", "policy.max_losses"),
        ("[policy]", "[policy]\nspeed = 1", "policy.speed"),
        ("[policy]", "[politics]", "policy"),
        ("[plans.basic]", "[extra]\na = 1\n[plans.basic]", "extra"),
        ("[plans.standard]", "[plans.basic]", "basic"),  # twice
        ("stealth = false", "stealth = false\nstealth = true", "line"),
        ("[plans.basic]", "[plans.basic", "line"),
    ],
)
def test_what_is_wrong_is_named(old, new, key, tmp_path) -> None:
    file = tmp_path / "mine.toml"
    assert old in TEXT
    file.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(PlanFileError) as caught:
        load_plans(file)
    message = str(caught.value)
    assert str(file) in message
    assert key in message
    assert "allowed" in message


@pytest.mark.parametrize("source", [b"\xff\xfe", "a = " + "[" * 5000, "[plans]", 3, Path("/nowhere/plans.toml")])
def test_no_plans_file_at_all(source) -> None:
    with pytest.raises(PlanFileError, match="allowed"):
        load_plans(source)


@given(st.text(alphabet="[]{}=\"'.,#\n \t019aeinf_-", max_size=60))
def test_any_text_is_refused_politely(text) -> None:
    with pytest.raises(PlanFileError):
        load_plans(text)


def test_text_bytes_and_path_are_the_same() -> None:
    assert load_plans(TEXT) == load_plans(TEXT.encode()) == load_plans(DEFAULT_FILE) == BOOK


def test_an_unknown_plan_is_refused() -> None:
    with pytest.raises(Refused, match="basic, standard, pro, mega, unlimited"):
        BOOK.plan("gold")
