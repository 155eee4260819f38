"""What a client asks and is answered with texts: `client.describe`, `client.shorten` and `job.texts`."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from salon.engine import inquiries
from salon.frontends.client.errors import Invalid, JobCancelled, JobFailed, NotFound
from salon.frontends.client.fake import FakeServer
from salon.frontends.client.steps import Steps
from salon.frontends.wire import messages as m

from .helpers import DONE_S, Connect

THINGS = ["thing 1", "thing 2", "thing 3", "thing 4"]


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def test_describe_takes_a_picture_in_any_form(server: FakeServer, connect: Connect, tmp_path: Path) -> None:
    client = connect(server.address)
    drawn = client.imagine("a cat", images=2)
    drawn.wait(timeout_s=DONE_S)
    file = tmp_path / "photo.jpg"
    file.write_bytes(photo())
    brought = client.add_reference(photo())
    for picture in (photo(), file, str(file), brought, (drawn.id, 1), drawn[1], m.Source(digest=brought)):
        job = client.describe(getattr(picture, "_inner", picture))
        texts = job.texts(timeout_s=DONE_S)
        assert [text.text for text in texts] == THINGS
        assert (job.info.kind, job.info.texts, job.info.pictures) == ("describe", texts, ())
        assert (job.info.step, job.info.steps) == (job.info.steps, job.info.steps)
        assert job.result(timeout_s=DONE_S) == []
    one = client.describe(photo(), key="k", lane="relax", private=True)
    assert client.describe(photo(), key="k", lane="relax", private=True).id == one.id
    assert (one.info.asked_lane, one.info.private) == ("relax", True)


def test_shorten(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    job = client.shorten("a red apple --ar 2:1")
    words = [text for text in job.texts(timeout_s=DONE_S) if text.role == "word"]
    assert [text.text for text in words] == ["a", "red", "apple"]
    sized = client.inquire("shorten", "a cat", width=16, height=8)
    assert (sized.info.width, sized.info.height, len(sized.texts(timeout_s=DONE_S))) == (16, 8, 3)
    assert client.job(job.id).info.texts == job.info.texts
    assert client.jobs().jobs[-1].texts or client.jobs().jobs[0].texts


def test_what_is_wrong_makes_no_job(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    for message, call in (
        ("No such file", lambda: client.describe("no-such-file.png")),
        ("picture: got 0 bytes", lambda: client.describe(b"")),
        ("no picture", lambda: client.describe(b"plain words")),
        ("prompt: got ''", lambda: client.shorten("")),
        ("got one for 'shorten', allowed", lambda: client.shorten("a cat", stylize=3)),
        ("kind: got 'guess'", lambda: client.inquire("guess", "a cat")),
    ):
        with pytest.raises(Invalid, match=message):
            call()
    with pytest.raises(NotFound):
        client.describe(("nosuch", 0))
    assert client.jobs().jobs == ()


def test_one_that_ends_without_texts(server: FakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiries, "PIECE_ROWS", 10)  # several pieces, between which it is cancelled
    client = connect(server.address)
    server.fail = "it broke"
    with pytest.raises(JobFailed, match="it broke"):
        client.shorten("a cat").texts(timeout_s=DONE_S)
    server.fail, server.step_s = "", 0.3
    job = client.describe(photo())
    assert job.cancel()
    with pytest.raises(JobCancelled):
        job.texts(timeout_s=DONE_S)


def test_an_older_server_is_told_apart(server: FakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(server.address)
    monkeypatch.setattr(client._inner if hasattr(client, "_inner") else client, "_welcome", _older)
    with pytest.raises(Exception, match="jobs of the kind 'shorten'.*older than this client"):
        client.shorten("a cat")


def _older() -> Steps[m.Welcome]:
    yield from ()
    return m.Welcome(version=1, features=("kinds", "language", "parameters"))
