"""What an account likes, by both flavours of the client: pairs, likes, profiles, codes."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from salon.frontends.client.errors import BadAnswer, Disconnected, Invalid, NotFound, RequestFailed, Unsupported
from salon.frontends.client.fake import FakeServer
from salon.frontends.wire import messages as m
from salon.frontends.wire.keys import make_pair
from salon.frontends.wire.version import negotiate

from .helpers import Connect, until


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(drawn=True) as server:
        yield server


@pytest.fixture
def client(connect: Connect, server: FakeServer) -> Any:
    return connect(server.address)


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, "PNG")
    return file.getvalue()


def test_pairs(client: Any) -> None:
    seen = []
    for pair, choice in zip(client.rank(), ["left", "right", "skip"], strict=False):
        files = pair.left.picture(), pair.right.picture()
        assert [Image.open(io.BytesIO(file)).size for file in files] == [(8, 8), (8, 8)]
        assert files[0] != files[1]
        assert pair.left.info.prompt == pair.right.info.prompt, "one thing, in two styles"
        assert pair.left.file() == files[0]
        taught = pair.skip() if choice == "skip" else pair.choose(choice)
        assert taught.teaches is (choice != "skip")
        assert pair.choose(choice) == taught, "the same answer again"
        seen.append((pair.info.pair, taught.event, taught.events))
    assert len({pair for pair, _, _ in seen}) == 3
    assert [(event, events) for _, event, events in seen] == [(1, 1), (2, 2), (3, 2)]
    events = client.taste.events().events
    assert [(one.event, one.kind, one.choice) for one in events] == [
        (3, "pair", "skip"), (2, "pair", "right"), (1, "pair", "left"),
    ]  # fmt: skip
    assert [[picture.picked for picture in one.pictures] for one in reversed(events)] == [
        [True, False], [False, True], [False, False],
    ]  # fmt: skip


def test_the_next_pair_is_asked_for_while_one_is_shown(client: Any, server: FakeServer) -> None:
    pairs = client.rank()
    first = next(pairs)
    until(lambda: sum(isinstance(one, m.TasteNext) for one in server.requests) == 2)
    first.choose("left")
    server.delay_s = 0.5
    second = next(pairs)  # is there already
    server.delay_s = 0.0
    assert second.info.pair != first.info.pair
    pairs.close()


def test_another_answer_to_the_same_pair(client: Any) -> None:
    pair = client.taste.pair()
    pair.choose("left")
    with pytest.raises(Invalid, match="left"):
        pair.choose("right")
    with pytest.raises(Invalid, match="choice: got 'both', allowed 'left' or 'right' or 'skip'"):
        pair.choose("both")


def test_an_answer_that_is_lost_counts_once(client: Any, server: FakeServer) -> None:
    pair = client.taste.pair()
    server.lose("taste.rank")
    assert pair.choose("left").events == 1
    assert len(client.taste.events().events) == 1


def test_an_undo_is_not_sent_twice(client: Any, server: FakeServer) -> None:
    for pair in itertools.islice(client.rank(), 2):
        pair.choose("left")
    server.lose("taste.undo")
    with pytest.raises(Disconnected, match="look whether it was done"):
        client.taste.undo()
    assert [one.on for one in client.taste.events().events] == [False, True]


def test_pages_switches_and_undo(client: Any) -> None:
    for pair in itertools.islice(client.rank(), 5):
        pair.choose("right")
    page = client.taste.events(limit=2)
    assert [one.event for one in page.events] == [5, 4]
    page = client.taste.events(limit=3, before=page.next)
    assert ([one.event for one in page.events], page.next) == ([3, 2, 1], 0)
    assert client.taste.events(before=1).events == ()
    assert client.taste.undo().event == 5
    assert client.taste.undo().event == 4
    assert client.taste.switch(5, True).on
    assert not client.taste.switch(1).on
    assert client.taste.profiles()[0].events == 3
    with pytest.raises(RequestFailed, match="99"):
        client.taste.switch(99)


def test_likes_and_picks(client: Any) -> None:
    job = client.imagine("a red apple", images=4)
    job.wait()
    assert client.like(job, 1).teaches is False, "one's own picture"
    assert job[0].like().teaches is False
    assert job[0].like(on=False).event
    taught = client.taste.pick(job, [0, 2])
    assert (taught.teaches, taught.events) == (True, 1)
    kinds = [(one.kind, [picture.picked for picture in one.pictures]) for one in client.taste.events().events]
    assert kinds[0] == ("grid", [True, False, True, False])
    for bad in ([], [0, 1, 2, 3], [7]):
        with pytest.raises(Invalid):
            client.taste.pick(job, bad)
    with pytest.raises(NotFound):
        client.like("nothing", 0)
    with pytest.raises(Invalid, match="one that was brought"):
        client.picture(png("red")).like()


def test_pictures_of_others(connect: Connect) -> None:
    """They are found among the public jobs, and liking them teaches; what is private is not there."""
    ada, bob = make_pair(), make_pair()
    with FakeServer(drawn=True, role="user", pair=make_pair()) as server:
        one, other = connect(server.address, key=ada), connect(server.address, key=bob)
        other.imagine("a secret", private=True).wait()
        other.imagine("a dog", images=2).wait()
        one.taste.pair()  # what is drawn to be ranked is not listed
        (found,) = one.jobs(public=True).jobs
        assert (found.prompt, found.account) == ("a dog", bob.account)
        assert one.like(found.job, 1).teaches
        assert [event.kind for event in one.taste.events().events] == ["like"]
        assert other.taste.events().events == (), "everybody has a log of one's own"
        pair = other.taste.pair()
        with pytest.raises(RequestFailed):
            one._pair(pair.info).choose("left")  # somebody else's
        secret = other.taste.new("secret").profile
        with pytest.raises(RequestFailed):
            one.taste.profile(secret)
        with pytest.raises(RequestFailed):
            one.imagine(f"a cat --p {secret}")


def test_profiles(client: Any) -> None:
    made = client.taste.new("pastel", public=True)
    assert (made.name, made.kind, made.public, made.needed) == ("pastel", "profile", True, 200)
    for pair in itertools.islice(client.rank("pastel"), 2):
        pair.choose("left")
    assert client.taste.profile("pastel").events == 2
    assert client.taste.change("pastel", name="soft", public=False).name == "soft"
    with pytest.raises(RequestFailed, match="pastel"):
        client.taste.profile("pastel")
    with pytest.raises(RequestFailed, match="soft"):
        client.taste.new("soft")
    found = client.taste.delete("soft")
    assert (found.profile, found.deleted) == (made.profile, False)
    assert client.taste.delete("soft", "revoke").deleted
    assert [one.name for one in client.taste.profiles()] == []


def test_a_moodboard_of_ten_files_of_which_one_is_broken(client: Any, tmp_path: Path) -> None:
    files: list[Any] = []
    for number, colour in enumerate(["red", "green", "blue", "white", "black", "pink", "navy", "gold", "grey"]):
        files.append(tmp_path / f"{number}.png")
        files[-1].write_bytes(png(colour))
    files.insert(3, tmp_path / "broken.png")
    files[3].write_bytes(b"this is no picture")
    board = client.taste.new("sky", "moodboard", pictures=[*files, png("red"), tmp_path / "missing.png"])
    assert len(board.pictures) == 9
    assert [one.digest for one in board.left_out] == [str(files[3]), str(tmp_path / "missing.png")]
    assert all(one.reason for one in board.left_out)
    assert board.profile.startswith("m")
    board = client.taste.change("sky", add=[png("tan"), b"nothing"], remove=board.pictures[:2])
    assert len(board.pictures) == 8
    assert [one.digest for one in board.left_out] == ["picture 2"]
    code = client.taste.codes("sky")[0]
    assert re.fullmatch("[a-z2-7]{16}", code.code)
    client.taste.revoke(code.code)
    assert client.taste.codes("sky")[0].revoked
    with pytest.raises(Invalid):
        client.taste.new("none", "moodboard", pictures=[b"nothing"])


def test_a_tuner_and_its_code(client: Any) -> None:
    made = client.taste.new("bold", "tuner", styles={4093: 2.0, 7: 1.0})
    assert [(style.number, style.weight) for style in made.styles] == [(4093, 2.0), (7, 1.0)]
    code = client.taste.codes("bold")[0].code
    job = client.imagine(f"a cat --p {code}", images=1)
    assert f"style:taste:{code}" in job.wait().styles


def test_too_few_events(client: Any) -> None:
    next(client.rank()).choose("left")
    with pytest.raises(RequestFailed, match=r"Not enough ratings \(1/200\)"):
        client.imagine("a cat --p")
    report = client.taste.report()
    assert (report.profile.events, report.code) == (1, "")


@pytest.mark.parametrize("features", [("parameters", "private", "kinds", "language"), ()])
def test_a_server_from_before(
    connect: Connect, server: FakeServer, features: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not even asked."""
    monkeypatch.setattr("salon.frontends.zmq.server.negotiate", lambda hello: (negotiate(hello)[0], features))
    client = connect(server.address)
    job = client.imagine("a cat")
    job.wait()
    for ask in (
        lambda: next(client.rank()),
        lambda: client.like(job, 0),
        lambda: job[0].like(),
        lambda: client.taste.pair(),
        lambda: client.taste.events(),
        lambda: client.taste.undo(),
        lambda: client.taste.new("a"),
        lambda: client.taste.report(),
        lambda: client.jobs(public=True),
    ):
        with pytest.raises(Unsupported, match="server: got (taste|public), allowed what it knows"):
            ask()
    assert not [one for one in server.requests if str(type(one).__struct_config__.tag).startswith("taste.")]


def test_answers_that_do_not_fit(client: Any, server: FakeServer) -> None:
    server.answer("taste.next", m.Done())
    with pytest.raises(BadAnswer):
        next(client.rank())
    server.answer("taste.next", m.Failure(code="invalid", kind="TasteRefused", text="no"))
    with pytest.raises(Invalid, match="no"):
        next(client.rank())


def test_what_is_wrong_is_refused_here(client: Any, server: FakeServer) -> None:
    for ask in (
        lambda: client.taste.pick("job-1", ["one"]),
        lambda: client.taste.new("a", "tuner", styles=["x"]),
        lambda: client.taste.events(limit=2.5),
        lambda: client.taste.new("many", "moodboard", pictures=[png("red")] * 201),
    ):
        with pytest.raises(Invalid, match="got .*, allowed .*; "):
            ask()
    assert not [one for one in server.requests if str(type(one).__struct_config__.tag).startswith("taste.")]
