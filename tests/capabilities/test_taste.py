"""T1 to T13 by the command line and the client, against a real server with the shipped model.

`tests/studio/service/test_taste.py` has what takes several accounts, several models or a restart.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.taste.space import ALGORITHM
from salon.frontends.client.client import Client
from salon.frontends.client.errors import Invalid
from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions
from salon.studio.service import taste_pool

from .conftest import Salon, file_of, pixels_of

NEEDED = 4
Draw = Callable[..., list[np.ndarray]]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on which as few answers unlock a profile, and on which they were given."""
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=tmp_path_factory.mktemp("taste"), metrics=None, grace_s=0.2, threads=1,
        taste_unlock=NEEDED,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, BackgroundServer(options) as server:
        patch.setattr(taste_pool, "STEPS", 1)  # what is in the pictures to rank does not matter here
        with Client(server.address) as client:
            rate(client, NEEDED)
        yield server.address


def rate(client: Client, count: int, profile: str = "") -> None:
    for pair in itertools.islice(client.rank(profile), count):
        pair.choose("left" if pair.left.info.digest < pair.right.info.digest else "right")


def code_of(salon: Salon, *name: str) -> str:
    found: Any = salon("profile", "codes", *name, "--json").json
    return str(found[0]["code"])


def job_of(salon: Salon, *words: str) -> str:
    """Draw in one step, and return the id of the job."""
    return str(salon("imagine", *words, "--steps", "1", "--json").json["job"]["job"])


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all((a == b).all() for a, b in zip(one, other, strict=True))


def test_t1_pairs_and_grids_are_events_and_a_skip_is_neutral(salon: Salon, client: Client) -> None:
    before = client.taste.profiles()[0].events
    pair = next(iter(client.rank()))
    assert pixels_of(pair.left.picture()).shape == pixels_of(pair.right.picture()).shape
    assert pair.left.info.prompt == pair.right.info.prompt
    assert not pair.skip().teaches
    grid = job_of(salon, "a cat", "--n", "3")
    assert salon("pick", grid, "2", "--json").json["teaches"]
    shown: Any = salon("profile", "events", "--limit", "2", "--json").json
    assert [(one["kind"], one["teaches"]) for one in shown] == [("grid", True), ("pair", False)]
    assert [one["picked"] for one in shown[0]["pictures"]] == [False, True, False]
    assert client.taste.profiles()[0].events == before + 1
    assert salon("profile", "undo").code == 0
    assert client.taste.profiles()[0].events == before


def test_t2_likes_of_others_teach_and_can_be_switched_and_own_ones_never(salon: Salon, client: Client) -> None:
    before = client.taste.profiles()[0].events
    theirs = next(iter(client.rank())).left.info
    liked: Any = salon("like", theirs.job, str(theirs.index + 1), "--json").json
    assert (liked["teaches"], liked["events"]) == (True, before + 1)
    assert salon("profile", "switch", str(liked["event"]), "off").code == 0
    assert client.taste.profiles()[0].events == before
    mine = job_of(salon, "a cat", "--n", "1")
    own: Any = salon("like", mine, "1", "--json").json
    assert (own["teaches"], own["events"]) == (False, before)
    assert [one["on"] for one in salon("profile", "events", "--limit", "2", "--json").json] == [True, False]


def test_t2_public_pictures_are_listed(salon: Salon) -> None:
    shown, hidden = job_of(salon, "a dog", "--n", "1"), job_of(salon, "a dog --stealth", "--n", "1")
    listed: Any = salon("jobs", "--public", "--limit", "200", "--json").json
    assert shown in [one["job"] for one in listed]
    assert hidden not in [one["job"] for one in listed]
    assert not any(one["private"] for one in listed)
    assert "ACCOUNT" in salon("jobs", "--public").out.splitlines()[0]
    assert hidden in salon("jobs").out


def test_t3_named_profiles_and_moodboards(salon: Salon, client: Client, tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(file_of(np.full((64, 64, 3), 60 * i, np.uint8)))
    (tmp_path / "broken.png").write_bytes(b"none")
    made = salon("moodboard", "new", "walls", "0.png", "1.png", "broken.png", "2.png", "--json")
    assert len(made.json["pictures"]) == 3
    assert "broken.png" in made.err + made.out
    assert salon("profile", "new", "work").code == 0
    rate(client, 1, "work")
    listed: Any = salon("profile", "list", "--json").json
    assert [(one["name"], one["kind"], one["events"]) for one in listed if one["name"] == "work"] == [
        ("work", "profile", 1)
    ]
    assert len({one["profile"] for one in listed}) == len(listed)


def test_t4_too_few_ratings(salon: Salon) -> None:
    salon("profile", "new", "young")
    refused = salon("imagine", "a cat --p young")
    assert (refused.code, refused.err) == (2, f"salon: error: Not enough ratings (0/{NEEDED})\n")


def test_t5_a_code_is_labelled_and_draws_the_same_for_ever(salon: Salon, client: Client, draw: Draw) -> None:
    before, own = draw("a cat --p"), client.taste.profiles()[0].profile
    code = code_of(salon, own)
    (told,) = [one for one in client.taste.codes() if one.code == code]
    assert (told.kind, told.events, told.shows, told.algorithm) == ("global", NEEDED, "profile", ALGORITHM)
    assert told.made_ms > 0
    assert told.model_name
    rate(client, 1)
    assert code_of(salon, own) != code
    assert same(draw(f"a cat --p {code}"), before)


def test_t6_strength(salon: Salon, client: Client, draw: Draw) -> None:
    plain, usual = draw("a cat --s 0"), draw("a cat --p")
    assert same(draw("a cat --p --s 0"), plain)
    assert same(draw("a cat --p --s 100"), usual)
    weights, made = [], [plain]
    for strength in (20, 100, 400, 1000):
        words = f"a cat --p --s {strength}"
        (weight,) = client.job(job_of(salon, words, "--n", "1")).info.styles.values()
        weights.append(weight)
        made.append(draw(words))
    assert weights == sorted(set(weights))
    assert not any(same(one, other) for one, other in itertools.pairwise(made))


def test_t7_blends_have_weights(salon: Salon, client: Client, draw: Draw) -> None:
    for number in (7, 11):
        client.taste.new(f"n{number}", "tuner", styles=[number])
    first, second = (code_of(salon, f"n{number}") for number in (7, 11))
    styles = client.job(job_of(salon, f"a cat --p n7::3 {second}", "--n", "1")).info.styles
    assert styles[f"style:taste:{first}"] == pytest.approx(3 * styles[f"style:taste:{second}"])
    ends = [draw(f"a cat --p {name} --steps 6")[0].astype(int) for name in ("n7", "n11")]
    middle = draw("a cat --p n7 n11 --steps 6")[0].astype(int)
    whole = np.abs(ends[0] - ends[1]).mean()
    assert all(np.abs(middle - end).mean() < whole for end in ends)


def test_t8_deleting_keeps_or_revokes_codes(salon: Salon, client: Client, draw: Draw) -> None:
    for name in ("kept", "burnt"):
        client.taste.new(name, "tuner", styles=[21])
    kept, burnt = code_of(salon, "kept"), code_of(salon, "burnt")
    before = draw(f"a cat --p {kept}")
    assert salon("profile", "delete", "kept").code == 2, "it asks, and there is no terminal"
    deleted: Any = salon("profile", "delete", "kept", "--keep-codes", "--json").json
    assert [(one["code"], one["revoked"]) for one in deleted["codes"]] == [(kept, False)]
    assert salon("profile", "delete", "burnt", "--revoke-codes").code == 0
    assert same(draw(f"a cat --p {kept}"), before)
    for words in (f"a cat --p {burnt}", f"a cat --sref {burnt}"):
        refused = salon("imagine", words)
        assert refused.code == 2
        assert "which its owner has revoked" in refused.err


def test_t9_a_report(salon: Salon) -> None:
    report: Any = salon("profile", "report", "--json").json
    assert report["verdict"] == "does nothing", "a few choices prove nothing"
    assert 0 <= report["held_out"]["low"] <= report["held_out"]["value"] <= report["held_out"]["high"] <= 1
    assert report["pulls"][0]["pull"] >= report["pulls"][-1]["pull"] > 0
    assert len({report["code"], report["anti_code"], report["random_code"]}) == 3


def test_t12_numbers_are_styles_of_a_tuner(salon: Salon, client: Client, draw: Draw) -> None:
    client.taste.new("one", "tuner", styles=[4093])
    code = code_of(salon, "one")
    number = draw("a cat --sref 4093")
    assert same(draw(f"a cat --sref {code}"), number)
    assert len(client.job(job_of(salon, f"a cat --sref {code}::2 7", "--n", "1")).info.styles) == 2


def test_t13_what_is_refused_makes_no_job(salon: Salon, client: Client) -> None:
    before = client.jobs(limit=1)
    for words, told in (
        ("--p nobody", "profile: got 'nobody', allowed"),
        ("--p @nobody", "profile: got '@nobody', allowed"),
        ("--p aaaaaaaaaaaaaaaa", "taste code: got aaaaaaaaaaaaaaaa, which is not here"),
        ("--sref aaaaaaaaaaaaaaaa", "taste code: got aaaaaaaaaaaaaaaa, which is not here"),
        ("--p one two three four five", "got 5 of them, allowed up to 4"),
        ("--p one --sw 50", "--sw: got it with a taste profile alone, allowed it with --sref; use --s"),
    ):
        refused = salon("imagine", f"a cat {words}")
        assert refused.code == 2, refused.err
        assert told in refused.err
    with pytest.raises(Invalid, match="choice: got 'up'"):
        next(iter(client.rank())).choose("up")
    assert client.jobs(limit=1) == before
