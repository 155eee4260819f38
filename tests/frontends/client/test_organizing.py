"""Many jobs at once, by both flavours of the client: names, changes, folders, presets, zips; two accounts."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salon.engine.errors import OutputError
from salon.frontends.client.errors import Invalid, NotFound, Unsupported
from salon.frontends.client.fake import FakeServer
from salon.frontends.wire import messages as m
from salon.frontends.wire.keys import KeyPair, make_pair
from salon.frontends.wire.version import negotiate

from .helpers import DONE_S, Connect

SMALL: dict[str, Any] = {"images": 2, "width": 16, "height": 16, "steps": 1}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(drawn=True) as server:
        yield server


@pytest.fixture
def client(connect: Connect, server: FakeServer) -> Any:
    return connect(server.address)


def draw(client: Any, prompt: str, **options: Any) -> str:
    job = client.imagine(prompt, **(SMALL | options))
    job.wait(timeout_s=DONE_S)
    return str(job.id)


def names(client: Any, search: str = "", **wanted: Any) -> list[str]:
    return list(client.organize.names(search, **wanted).jobs)


def test_find(client: Any) -> None:
    apple = draw(client, "A red apple", seed=4711, style_references=[8093])
    whale = draw(client, "Großer Wal", private=True, images=1)
    more = client.organize
    assert names(client) == [whale, apple]
    assert names(client, "APPLE re") == names(client, "4711") == names(client, apple, private=False) == [apple]
    assert names(client, "8093") == [apple], "a style's number"
    assert names(client, "grosser") == [whale], "as people write it"
    assert names(client, kinds=["imagine"], states=["done"], lanes=["fast"], oldest=True) == [apple, whale]
    assert names(client, states=["running"]) == names(client, until_ms=1) == names(client, model="other") == []
    model = client.server.model
    assert names(client, model=model) == [whale, apple]
    page = more.names(limit=1)
    assert (page.jobs, page.pictures, page.total, page.total_pictures) == ((whale,), (1,), 2, 3)
    assert more.names(limit=1, after=page.next).jobs == (apple,)
    assert list(more.all_names(limit=1)) == [(whale, 1), (apple, 2)]
    assert [info.prompt for info in more.show([apple, "never", whale])] == ["A red apple", "Großer Wal"]
    client.like(apple, 1)
    client.taste.pick(apple, [0])
    assert names(client, liked=True) == names(client, rated=True, liked=True) == [apple]
    client.like(apple, 1, on=False)
    assert (names(client, liked=True), names(client, rated=True)) == ([], [apple])
    for wrong, told in (
        ({"whose": "mine"}, "whose"), ({"limit": 0}, "limit"), ({"limit": 20_001}, "limit"),
        ({"folder": "x"}, "folder"),
        ({"search": "a b c d e f g h i j k l m n o p q"}, "17 words"), ({"kinds": ["NO"]}, "kinds"),
    ):  # fmt: skip
        with pytest.raises(Invalid, match=told):
            more.names(**wrong)
    with pytest.raises(TypeError):
        more.names(wish=1)


def test_change(client: Any, server: FakeServer) -> None:
    first, second = draw(client, "one"), draw(client, "two")
    more = client.organize
    done = more.unpublish([first, second, "never"])
    assert (done.changed, [(one.job, one.kind) for one in done.refused]) == (2, [("never", "UnknownJob")])
    assert more.unpublish([first]) == m.JobsChanged(), "it was so before"
    assert client.job(first).info.private
    assert more.publish(client.job(first)).changed == 1
    assert not client.job(first).info.private
    assert names(client, private=True) == [second]
    assert more.hide([first, "never"]).changed == more.hide(second).changed == 1
    assert names(client) == []
    assert (more.marks([first]).hidden, names(client, hidden=True)) == ((first,), [second, first])
    assert more.unhide([first, second]).changed == 2
    server.hold = True
    waits = client.imagine("three", **SMALL).id
    assert more.unpublish([waits]).changed == 1
    assert client.job(waits).info.private
    done = more.delete([first, waits])
    assert (done.changed, [(one.job, one.kind) for one in done.refused]) == (1, [(waits, "NotEnded")])
    with pytest.raises(NotFound):
        client.job(first)
    server.hold = False
    client.job(waits).wait(timeout_s=DONE_S)
    assert client.job(waits).info.private, "also when it ends later"
    assert names(client) == [waits, second]
    with pytest.raises(Invalid, match="jobs"):
        client.organize.publish(["a b"])


def test_folders(client: Any) -> None:
    first, second = draw(client, "one"), draw(client, "two")
    more = client.organize
    folder = more.new_folder(" Best of ")
    assert more.new_folder("Best of") == folder, "one of that name"
    assert more.add("Best of", [first, second, "never"]).changed == 2
    assert more.add(folder.folder, [first]).changed == 0
    assert names(client, folder="Best of") == [second, first]
    assert more.marks([first, second]).folders == {first: (folder.folder,), second: (folder.folder,)}
    more.delete([second])
    assert [(one.name, one.jobs) for one in more.folders()] == [("Best of", 1)]
    other = more.new_folder("other")
    assert more.rename_folder(folder.folder, "Worst").name == "Worst"
    assert more.remove("Worst", [first]).changed == 1
    for wrong in (lambda: more.rename_folder("other", "Worst"), lambda: more.add("nope", [first]),
                  lambda: more.new_folder("\n"), lambda: more.new_folder(" ")):  # fmt: skip
        with pytest.raises(Invalid, match="folder|name"):
            wrong()
    assert (more.delete_folder(other.folder), more.delete_folder("other")) == (True, False)
    assert [one.name for one in more.folders()] == ["Worst"]
    assert names(client) == [first]


def test_presets(client: Any) -> None:
    more = client.organize
    more.put_preset("wide", "--ar 2:1 --n 1 --private")
    assert client.plan("a cat --preset wide --n 2").jobs[0].sources["images"] == "typed"
    plan = client.plan("a cat", preset="wide").jobs[0]
    assert (plan.parameters["aspect"], plan.sources["aspect"]) == ([2.0, 1.0], "preset")
    assert "--preset" not in plan.prompt
    client.settings.change("--ar 1:2")
    assert client.plan("a cat --preset wide").jobs[0].sources["aspect"] == "preset"
    info = client.imagine("a cat --preset wide").info
    assert (info.images, info.private) == (1, True)
    assert [(one.name, one.parameters) for one in more.presets()] == [("wide", "--ar 2:1 --n 1 --private")]
    for text, told in (("a cat", "preset"), ("--n 99", "--n"), ("--preset wide", "--preset"), ("", "no parameters")):
        with pytest.raises(Invalid, match=told):
            more.put_preset("other", text)
    with pytest.raises(Invalid, match="name"):
        more.put_preset("two words", "--n 1")
    with pytest.raises(Invalid, match=r"--preset: got 'none', allowed one of yours \(wide\)"):
        client.imagine("a cat --preset none")
    assert (more.delete_preset("wide"), more.delete_preset("wide")) == (True, False)
    kept = more.put_preset(
        "named", "--n 2", aspect=(3, 2), raw=True, lane="relax"
    )  # by their names, as a page has them
    assert kept.parameters == "--n 2 --ar 3:2 --raw --lane relax"
    with pytest.raises(Invalid, match="twice"):
        more.put_preset("named", "--n 2", images=3)
    more.delete_preset("named")


def test_download(client: Any, tmp_path: Path) -> None:
    first, second = draw(client, "A red/apple?"), draw(client, "two", images=1)
    file = tmp_path / "all.zip"
    told = client.organize.download(file, [first, "never", second])
    assert told == {"pictures": 3, "missing": 1, "bytes": file.stat().st_size}
    with zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None
        lines = [json.loads(line) for line in packed.read("manifest.jsonl").splitlines()]
        assert [line["file"] for line in lines if "file" in line] == packed.namelist()[:-1]
        assert packed.read(lines[0]["file"]) == client.job(first).picture(0)
        assert lines[0]["file"].partition("/")[2] == f"a-red-apple-{first}-1.png"
    assert [line["job"] for line in lines if "missing" in line] == ["never"]
    with pytest.raises(OutputError, match="exists"):
        client.organize.download(file, [first])
    with pytest.raises(OutputError, match="cannot be written"):
        client.organize.download(tmp_path / "none" / "x.zip", [first])
    assert client.organize.download(file, [second], force=True)["pictures"] == 1
    assert [one.name for one in tmp_path.iterdir()] == ["all.zip"]


def test_two_accounts(connect: Connect) -> None:
    """What is private is nowhere, and nobody changes what is another's."""
    ann, ben = make_pair(), make_pair()
    with FakeServer(pair=make_pair(), role="user") as server:

        def as_(pair: KeyPair) -> Any:
            return connect(server.address, key=pair)

        a, b = as_(ann), as_(ben)
        shown, secret = draw(a, "a shown thing"), draw(a, "a secret thing", private=True)
        folder = b.organize.new_folder("kept")
        b.organize.add("kept", [shown])
        b.like(shown)
        assert names(b) == names(b, "secret", whose="all") == []
        assert names(b, "thing", whose="public") == names(b, whose="public", owner=ann.public) == [shown]
        assert names(b, whose="all", liked=True) == names(b, whose="all", folder="kept") == [shown]
        assert b.organize.show([secret, shown])[0].job == shown
        for act in (b.organize.publish, b.organize.unpublish, b.organize.delete, b.organize.hide):
            done = act([secret])
            assert (done.changed, done.refused[0].text) == (0, act(["x" + secret[1:]]).refused[0].text.replace(
                "x" + secret[1:], secret))  # fmt: skip
        assert b.organize.unpublish([shown]).refused[0].kind == "UnknownJob"
        assert b.organize.hide([shown]).changed == 1
        assert (names(b, whose="public"), names(a)) == ([], [secret, shown])
        b.organize.unhide([shown])
        a.organize.unpublish([shown])
        assert (
            names(b, whose="public") == names(b, whose="all", liked=True) == names(b, whose="all", folder="kept") == []
        )
        assert b.organize.show([shown]) == ()
        assert b.organize.folders() == (m.Folder(folder=folder.folder, name="kept", made_ms=folder.made_ms),)
        with pytest.raises(NotFound):
            b.job(shown)
        assert a.organize.folders() == a.organize.presets() == ()
        a.organize.publish([secret])
        assert names(b, "secret", whose="public") == [secret]


def test_who_watches_what_becomes_private_sees_no_more(connect: Connect) -> None:
    with FakeServer(pair=make_pair(), role="user", hold=True) as server:
        ann, ben = (connect(server.address, key=make_pair()) for _ in range(2))
        job = ann.imagine("a cat", **SMALL)
        seen, own = (iter(client.job(job.id).events(timeout_s=DONE_S)) for client in (ben, ann))
        assert next(seen).kind == next(own).kind == "queued"
        assert ann.organize.unpublish([job.id]).changed == 1
        with pytest.raises(NotFound):
            next(seen)
        server.release()
        assert [event.kind for event in own][-1] == "done"


def test_an_older_server(connect: Connect, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def older(hello: m.Hello) -> tuple[int, tuple[str, ...]]:
        return negotiate(hello)[0], features

    monkeypatch.setattr("salon.frontends.zmq.server.negotiate", older)
    features: tuple[str, ...] = ("parameters", "language", "taste")
    with pytest.raises(Unsupported, match="older"):
        connect(server.address).organize.folders()
    features += ("organize",)
    more = connect(server.address).organize
    with pytest.raises(Unsupported, match="got values"):  # which it would leave out without a word
        more.put_preset("wide", "--n 2", aspect=(3, 2))
    assert more.presets() == ()


def test_a_zip_is_read_as_it_comes() -> None:
    from salon.zips import ZipPieces

    pieces, job = ZipPieces(), m.JobInfo(job="j", prompt="x" * 99, made_ms=-5)
    parts = [pieces.add(job, m.Picture(index=i, digest="", size=3, width=1, height=1), b"abc") for i in (0, 1)]
    assert all(b"abc" in part for part in parts), "not kept until the end"
    pieces.leave_out("k", "gone", 1)
    with zipfile.ZipFile(io.BytesIO(b"".join([*parts, pieces.end()]))) as packed:
        assert len(packed.namelist()) == 3
        assert {entry.compress_type for entry in packed.infolist()} == {zipfile.ZIP_STORED}
