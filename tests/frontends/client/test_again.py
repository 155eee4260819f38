"""A job once more, whatever its kind and style: by both flavours of the client, on the command line, in a program."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salon.engine.errors import OutputError, SpecError
from salon.frontends import cli
from salon.frontends.client.errors import Invalid, JobFailed, NotFound, Unsupported
from salon.frontends.client.fake import FakeServer
from salon.frontends.fake.worker import Behaviour, FakeWorker
from salon.frontends.wire import messages as m
from salon.frontends.wire.keys import make_pair
from salon.frontends.wire.version import negotiate
from salon.parameters.errors import ParameterError
from salon.studio.service.embedded import DurableStudio
from salon.studio.service.errors import UnknownJob
from salon.studio.studio import Studio

from .helpers import DONE_S, Connect

SMALL: dict[str, Any] = {"images": 2, "width": 16, "height": 16, "steps": 2}
NEW = ("job", "seed", "made_ms", "started_ms", "ended_ms", "pictures", "state", "step", "last_event")


@pytest.fixture
def server() -> Any:
    with FakeServer(drawn=True) as server:
        yield server


@pytest.fixture
def one() -> Iterator[Connect]:
    """Makes clients of one flavour alone."""
    connect = Connect("blocking")
    yield connect
    connect.close()


def same(info: m.JobInfo, other: m.JobInfo) -> bool:
    """Whether two jobs were asked for alike, but for their seeds."""
    return all(getattr(info, name) == getattr(other, name) for name in info.__struct_fields__ if name not in NEW)


def test_every_kind_and_style(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    said = {"style_references": [(4093, 2.0)], "lane": "relax", "private": True, **SMALL}
    first = client.imagine("a cat::2 dog --no rain", **said)
    first.wait(timeout_s=DONE_S)
    texts = [client.describe((first.id, 0)), client.shorten("a red apple")]
    drawn = [first, first[0].vary("strong", images=1), first[1].zoom(1.5), first.reroll("a hat"), first[0].upscale()]
    fixed = [client.make("take", sources=[(first.id, 1)]), *texts]
    for job in (*drawn, *fixed):
        before = job.wait(timeout_s=DONE_S)
        more = job.again()
        info = more.wait(timeout_s=DONE_S)
        assert more.id != job.id
        assert same(info, before), job
        assert (info.seed == before.seed) == (job in fixed)
        if job in fixed:
            assert ([each.digest for each in info.pictures], info.texts) == (
                [each.digest for each in before.pictures], before.texts,
            )  # fmt: skip
    assert client.again(first.id, seed=first.info.seed).result(timeout_s=DONE_S)[0] == first.result()[0], "to the bit"
    with pytest.raises(Invalid, match=r"seed: got 7 for 'take', allowed none there: the same comes of it each time"):
        fixed[0].again(seed=7)


def test_of_one_that_failed_the_very_same(server: FakeServer, one: Connect) -> None:
    client = one(server.address)
    server.fail = "out of memory"
    failed = client.imagine("a cat", previews=1, **SMALL)
    with pytest.raises(JobFailed):
        failed.wait(timeout_s=DONE_S)
    server.fail = ""
    more = failed.again(key="again-1")
    assert more.wait(timeout_s=DONE_S).state == "done"
    assert (more.info.seed, more.info.prompt) == (failed.info.seed, "a cat")
    assert client.again(failed.id, key="again-1").id == more.id, "once for each key"
    with pytest.raises(Invalid, match="'again-1' again, with another request"):
        client.again(failed.id, key="again-1", seed=1)
    with pytest.raises(Invalid, match="'again-1' again"):
        client.imagine("a cat", key="again-1", **SMALL)
    server.hold = True
    waits = client.imagine("a dog", **SMALL)
    assert waits.again().info.seed != waits.info.seed, "of one that goes on another"
    server.hold = False


def test_what_is_refused(server: FakeServer, one: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    client = one(server.address)
    base = client.imagine("a cat", **SMALL)
    base.wait(timeout_s=DONE_S)
    varied = base[0].vary(images=1)
    varied.wait(timeout_s=DONE_S)
    base.delete()
    for job in (base.id, "never"):
        with pytest.raises(NotFound, match="allowed a job of yours"):
            client.again(job)
    with pytest.raises(Invalid, match="picture .* which is not here"):
        varied.again()
    for wrong in ({"seed": -1}, {"seed": "a"}, {"previews": 1001}, {"key": "a b"}):
        with pytest.raises(Invalid):
            client.again(varied.id, **wrong)

    def older(hello: m.Hello) -> tuple[int, tuple[str, ...]]:
        return negotiate(hello)[0], ("parameters", "language")

    monkeypatch.setattr("salon.frontends.zmq.server.negotiate", older)
    with pytest.raises(Unsupported, match="older"):
        one(server.address).again(varied.id)


def test_only_its_owner(one: Connect) -> None:
    pairs = [make_pair() for _ in range(2)]
    with FakeServer(pair=make_pair()) as server:
        ann, ben = (one(server.address, key=pair) for pair in pairs)
        job = ann.imagine("a cat", **SMALL)  # public, so that others see it; still it is not theirs to make again
        job.wait(timeout_s=DONE_S)
        with pytest.raises(NotFound):
            ben.again(job.id)
        assert ann.again(job.id).wait(timeout_s=DONE_S).account == job.info.account


def test_on_the_command_line(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SALON_SERVER", server.address)

    def salon(*words: str) -> tuple[int, str, str]:
        return cli.main(words), *capsys.readouterr()

    assert salon("imagine", "a cat", "--n", "1", "--seed", "5", "--quiet", "-o", "cat.png")[0] == 0
    assert salon("again", "job-1", "--seed", "5", "-o", "again.png", "--quiet") == (0, "", "")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "cat.png").read_bytes()
    code, out, err = salon("again", "job-1", "--json", "--quiet")
    told = json.loads(out)
    assert (code, err, told["job"]["job"], len(told["files"])) == (0, "", "job-3", 1)
    assert told["seed"] != 5
    assert salon("again", "job-1", "--detach")[:2] == (0, "job-4\n")
    assert salon("shorten", "a red apple", "--quiet")[0] == 0
    code, out, err = salon("again", "job-5")
    assert (code, "apple" in out, "shorten, job job-6, lane fast" in err) == (0, True, True)
    for words, line in (
        (("nope",), "job: got 'nope', allowed a job of yours"),
        (("job-1", "--seed", "-1"), "--seed: got '-1'"),
        (("job-1", "-o", "again.png"), "a file that exists"),
        (("job-1", "--force"), "--force: got it without -o"),
        (("job-1", "--detach", "-o", "x"), "-o: got it with --detach"),
        (("job-1", "--preview", "no/x.jpg"), "in a folder that does not exist"),
        (("job-5", "-o", "x.png"), "-o: got it for 'shorten', which answers with texts, allowed it for jobs that draw"),
    ):
        code, out, err = salon("again", *words)
        assert (code, out, line in err, err.count("\n")) == (2, "", True, 1), err
    assert len(server.jobs) == 6, "what is refused makes nothing"


def test_in_a_program(tmp_path: Path) -> None:
    def open_studio(_: Any, billing: Any) -> Studio:
        return Studio.over([FakeWorker(Behaviour(drawn=True))], accounts=billing)

    with DurableStudio(tmp_path / "data", studio=open_studio) as studio:
        job = studio.imagine("a cat", images=1)
        before = job.wait(timeout_s=DONE_S)
        more = job.again(seed=before.seed, key="k").wait(timeout_s=DONE_S)
        assert (more.seed, more.prompt, more.styles) == (before.seed, "a cat", before.styles)
        assert studio.again(job.id).record().seed != before.seed
        with pytest.raises(UnknownJob):
            studio.again("never")
        for name, wrong in (("key", ""), ("key", 5), ("seed", 2**70), ("preview_every", "x"), ("preview_every", 2**70)):
            with pytest.raises((SpecError, ParameterError), match=f"^{name}: got"):
                job.again(**{name: wrong})


def test_a_zip_in_a_program(tmp_path: Path) -> None:
    def open_studio(_: Any, billing: Any) -> Studio:
        return Studio.over([FakeWorker(Behaviour(drawn=True))], accounts=billing)

    with DurableStudio(tmp_path / "data", studio=open_studio) as studio:
        jobs = [studio.imagine(prompt, images=2) for prompt in ("a cat", "a dog")]
        files = [job.pictures(DONE_S) for job in jobs]
        jobs[1].delete()
        target = tmp_path / "two.zip"
        told = studio.organize.download(target, [job.id for job in jobs])
        assert told == {"pictures": 2, "missing": 1, "bytes": target.stat().st_size}
        with pytest.raises(OutputError, match="a file that exists"):
            studio.organize.download(target, [jobs[0].id])
    with zipfile.ZipFile(target) as found:
        assert [found.read(name) for name in found.namelist()[:2]] == list(files[0])
        lines = [json.loads(line) for line in found.read("manifest.jsonl").splitlines()]
    assert [line.get("missing") for line in lines] == [None, None, "it was deleted"]
