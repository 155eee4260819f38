"""Files that come in parts, and the pictures that are kept of them."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from salon.engine.errors import SpecError
from salon.engine.start import PictureForm, PictureUse, Start
from salon.parameters.job_request import JobRequest
from salon.studio.errors import ReferenceRefused
from salon.studio.references import digest_of
from salon.studio.service import packing, uploads
from salon.studio.service import references as module
from salon.studio.service.errors import TooMany, UnknownJob, WrongValue
from salon.studio.service.request import fingerprint
from salon.studio.service.service import Service
from salon.studio.service.uploads import Uploads
from salon.studio.store.domains.references import ReferenceRow

from .conftest import Serve, ended

SHIPPED: dict[str, Any] = {"model": None, "backend": "cpu", "dtype": "float32"}


def picture(seed: int = 0) -> bytes:
    """A picture's file."""
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    image = Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8))
    image.resize((96, 96), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def asking(key: str, **parameters: Any) -> JobRequest:
    """A small request, drawn without the default style unless it says otherwise."""
    values: dict[str, Any] = {"images": 1, "steps": 1, "seed": 3, "width": 64, "height": 64}
    return JobRequest(key=key, prompt="a red apple", parameters=values | parameters)


async def bring(service: Service, data: bytes, account: str = "local", part: int = 100) -> str:
    """Upload a file as clients do; its digest."""
    digest, there = digest_of(data), 0
    there = await service.jobs.references.upload(account, digest, len(data), 0, b"")
    while there < len(data):
        there = await service.jobs.references.upload(account, digest, len(data), there, data[there : there + part])
    return digest


# ---- parts -----------------------------------------------------------------------------------------------------------


def test_parts_follow_on_and_the_last_makes_it_whole() -> None:
    parts = Uploads()
    assert parts.add("a", "d", 5, 0, b"") == 0
    assert parts.add("a", "d", 5, 0, b"he") == 2
    assert parts.add("a", "d", 5, 0, b"he") == 2, "the same again changes nothing"
    assert parts.add("a", "d", 5, 3, b"lo") == 2, "nor does one that does not follow on"
    assert parts.add("b", "d", 5, 0, b"") == 0, "another account's is another's"
    assert parts.add("a", "d", 5, 2, b"llo") == b"hello"
    assert parts.add("a", "d", 5, 0, b"") == 0, "and then it is forgotten here"


def test_more_than_was_said_and_another_size() -> None:
    parts = Uploads()
    with pytest.raises(WrongValue, match="upload: got 6 bytes, allowed 5, as was said"):
        parts.add("a", "d", 5, 0, b"hello!")
    assert parts.add("a", "d", 5, 0, b"he") == 2
    assert parts.add("a", "d", 9, 0, b"he") == 2, "from the beginning, in the new size"
    assert parts.add("a", "d", 9, 2, b"x") == 3


def test_what_does_not_go_on_is_forgotten() -> None:
    now = [0.0]
    parts = Uploads(lambda: now[0])
    assert parts.add("a", "d", 5, 0, b"he") == 2
    now[0] = uploads.PATIENCE_S
    assert parts.add("a", "d", 5, 2, b"l") == 3
    now[0] += uploads.PATIENCE_S + 1
    assert parts.add("a", "d", 5, 3, b"lo") == 0


def test_not_too_many_and_not_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Uploads()
    for number in range(uploads.OPEN):
        assert parts.add("a", str(number), 5, 0, b"x") == 1
    with pytest.raises(TooMany, match=f"got {uploads.OPEN + 1} files at a time, allowed {uploads.OPEN}"):
        parts.add("a", "more", 5, 0, b"x")
    assert parts.add("b", "more", 5, 0, b"x") == 1
    monkeypatch.setattr(uploads, "TOTAL", 5 * uploads.OPEN + 9)
    with pytest.raises(TooMany, match="got more than everybody together"):
        parts.add("c", "more", 5, 0, b"x")
    assert parts.add("c", "small", 4, 0, b"x") == 1


def test_fingerprints_of_requests_from_before_stay() -> None:
    plain = JobRequest(key="a", prompt="cat")
    assert fingerprint(plain) == fingerprint(JobRequest(key="b", prompt="cat"))
    assert fingerprint(plain).hex() == BEFORE
    said = [None, {}, {"stylize": 0.0, "raw": True}]
    assert len({fingerprint(JobRequest(key="a", prompt="cat", parameters=each)) for each in said}) == 3
    turned = JobRequest(key="b", prompt="cat", parameters={"raw": True, "stylize": 0.0})
    assert fingerprint(turned) == fingerprint(JobRequest(key="a", prompt="cat", parameters=said[2]))


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_jobs_in_the_style_of_a_picture_go_on_after_a_restart(serve: Serve) -> None:
    data = picture()

    async def submit(service: Service) -> str:
        digest = await bring(service, data)
        assert await service.jobs.references.upload("local", digest, len(data), 0, b"") == len(data), "it is there"
        job, _ = await service.submit("local", asking("k", style_references=[[digest, 1.0]]))
        assert job.styles == {f"style:picture:{digest}": 1.0}
        return job.job

    async def finish(service: Service) -> Any:
        return [await ended(service, job) for job in jobs]

    async def again(service: Service) -> Any:
        digest = digest_of(data)
        asked = [asking("again", style_references=[digest]), asking("none", stylize=0.0), asking("own")]
        return [await ended(service, (await service.submit("local", one)).job.job) for one in asked]

    jobs = [serve(submit, paused=True, **SHIPPED)]
    (late,) = serve(finish, **SHIPPED)
    same, plain, own = serve(again, **SHIPPED)
    assert [record.state for record in (late, same, plain, own)] == ["done"] * 4
    pixels = [record.pictures[-1].digest for record in (late, same, plain, own)]
    assert late.pictures[0].width == same.pictures[0].width == 64
    assert pixels[0] == pixels[1]
    assert len(set(pixels)) == 3
    assert (plain.styles, own.styles) == ({}, {"style:default": 0.4})


def test_who_has_not_brought_a_picture_cannot_refer_to_it(serve: Serve) -> None:
    async def work(service: Service) -> None:
        digest = await bring(service, picture())
        references = service.jobs.references
        spec = service.context.studio.make_spec("cat", style_references=[digest])
        assert list(await references.needed("local", spec)) == [PictureForm(digest, PictureUse.STYLE)]
        with pytest.raises(SpecError, match=f"picture {digest}, which is not here.*bring the picture again"):
            await references.needed("ff" * 32, spec)
        before = len(service.jobs.live)
        with pytest.raises(SpecError, match="which is not here"):
            await service.submit("local", asking("k", style_references=["ab" * 32]))
        assert len(service.jobs.live) == before
        assert service.context.store.job_by_key("local", "k") is None

    serve(work, paused=True, **SHIPPED)


def test_what_is_no_picture_is_refused_and_not_kept(serve: Serve) -> None:
    async def work(service: Service) -> None:
        with pytest.raises(ReferenceRefused, match="upload: got no picture"):
            await bring(service, b"hello" * 50)
        references, data = service.jobs.references, picture()
        with pytest.raises(WrongValue, match="upload: got a file with sha256 .*, as was said"):
            await references.upload("local", "ab" * 32, len(data), 0, data)
        assert service.context.store.rows(ReferenceRow) == ()
        assert list(service.context.references.digests()) == []

    serve(work, paused=True, **SHIPPED)


def test_a_picture_that_is_gone_fails_its_job_and_says_so(serve: Serve, tmp_path: Path) -> None:
    async def submit(service: Service) -> str:
        digest = await bring(service, picture())
        return (await service.submit("local", asking("k", style_references=[digest]))).job.job

    async def look(service: Service) -> Any:
        return await ended(service, job)

    job = serve(submit, paused=True, **SHIPPED)
    shutil.rmtree(tmp_path / "data" / "references")
    record = serve(look, **SHIPPED)
    assert record.state == "failed"
    assert f"after a restart: style reference: got picture {digest_of(picture())}, which is not here" in record.reason
    assert record.failure == "SpecError"


def test_the_least_recently_used_go(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [picture(seed) for seed in range(4)]
    monkeypatch.setattr(module, "KEPT_BYTES", sum(map(len, files[:3])) + 10)

    async def work(service: Service) -> None:
        digests = [await bring(service, data) for data in files]
        kept = {row.digest for row in service.context.store.rows(ReferenceRow)}
        assert digests[-1] in kept
        assert len(kept) == 3
        references, store = service.jobs.references, service.context.store
        monkeypatch.setattr(module, "KEEP_MS", -1)
        assert references.sweep({digests[-1]}) == 0, "files of the last hour may be on their way"
        assert {row.digest for row in store.rows(ReferenceRow)} == {digests[-1]}, "what a job needs stays"

    serve(work, paused=True, **SHIPPED)


# ---- pictures of jobs ------------------------------------------------------------------------------------------------


def test_a_job_starts_from_a_picture_of_an_earlier_one(serve: Serve) -> None:
    """Without bringing it, also after a restart; in its size, and with a mask that was brought."""
    black_left = io.BytesIO()
    mask = Image.new("L", (96, 64), 255)
    mask.paste(0, (0, 0, 48, 64))
    mask.save(black_left, "PNG")

    async def first(service: Service) -> Any:
        job = (await service.submit("local", asking("k", width=96, height=64))).job.job
        return await ended(service, job)

    async def submit(service: Service) -> Any:
        digest = await bring(service, black_left.getvalue())
        asked = [
            asking("same", image=parent, image_strength=0.0, width=96, height=64),
            asking("half", image=parent, mask=digest, feather=0, width=96, height=64),
        ]
        return [(await service.submit("local", one)).job for one in asked]

    async def look(service: Service) -> Any:
        records = [await ended(service, job.job) for job in accepted]
        files = [service.context.blobs.get(record.pictures[-1].digest) for record in records]
        files.append(service.context.blobs.get(parent))
        return records, [np.asarray(Image.open(io.BytesIO(data))) for data in files]

    parent = serve(first, **SHIPPED).pictures[-1].digest
    accepted = serve(submit, paused=True, **SHIPPED)
    records, (same, half, picture) = serve(look, **SHIPPED)
    assert [(record.state, record.steps, record.step) for record in records] == [("done", 0, 0), ("done", 1, 1)]
    np.testing.assert_array_equal(same, picture)
    np.testing.assert_array_equal(half[:, :48], picture[:, :48])
    assert (half[:, 48:] != picture[:, 48:]).any()


def test_nobody_starts_from_another_accounts_private_picture(serve: Serve) -> None:
    other = "ab" * 32

    async def work(service: Service) -> None:
        await service.accounts.set(other, "local", keyed=False)
        digests = []
        for key, private in (("shown", False), ("hidden", True)):
            request = msgspec.structs.replace(asking(key, seed=len(key)), private=private)
            job = await ended(service, (await service.submit("local", request)).job.job)
            digests.append(job.pictures[-1].digest)
        shown, hidden = digests
        for digest in (hidden, "cd" * 32):
            with pytest.raises(SpecError, match=f"start picture: got picture {digest}, which is not here"):
                await service.submit(other, asking("k", image=digest))
        assert service.context.store.job_by_key(other, "k") is None
        for account, digest in ((other, shown), ("local", hidden)):
            found = await ended(service, (await service.submit(account, asking("ok", image=digest))).job.job, account)
            assert found.state == "done"

    serve(work, **SHIPPED)


def test_a_picture_is_named_by_its_job_and_number(serve: Serve) -> None:
    async def work(service: Service) -> None:
        await service.accounts.set("ab" * 32, "local", keyed=False)
        request = msgspec.structs.replace(asking("k", images=2), private=True)
        parent = await ended(service, (await service.submit("local", request)).job.job)
        request = asking("again", image=f"{parent.job}:2", image_strength=0.0)
        found = await ended(service, (await service.submit("local", request)).job.job)
        assert (await service.submit("local", request)).existing
        row = service.context.store.job(found.job)
        assert row is not None
        assert packing.spec_of(row).start == Start(parent.pictures[2].digest, 0.0)
        with pytest.raises(SpecError, match=f"image: got picture 3 of job {parent.job}, allowed 1 to 2"):
            await service.submit("local", asking("third", image=f"{parent.job}:3"))
        for account, job in (("local", "nothing"), ("ab" * 32, parent.job)):
            with pytest.raises(UnknownJob):
                await service.submit(account, asking("other", image=f"{job}:1"))

    serve(work, **SHIPPED)


def test_a_picture_that_was_deleted_is_no_start(serve: Serve) -> None:
    async def work(service: Service) -> None:
        parent = await ended(service, (await service.submit("local", asking("k"))).job.job)
        digest = parent.pictures[-1].digest
        await service.delete(parent.job, "local")
        with pytest.raises(SpecError, match="start picture: got picture .*, which is not here"):
            await service.submit("local", asking("again", image=digest))

    serve(work, **SHIPPED)


def test_a_request_has_the_proportions_of_its_picture(serve: Serve) -> None:
    async def work(service: Service) -> None:
        wide = io.BytesIO()
        Image.new("RGB", (300, 200), "teal").save(wide, "PNG")
        digest = await bring(service, wide.getvalue())
        request = JobRequest(key="k", prompt="cat", parameters={"image": digest, "images": 1, "steps": 1})
        job = (await service.submit("local", request)).job
        assert (job.width, job.height) == (160, 112)
        square = JobRequest(key="l", prompt="cat", parameters={"image": digest, "images": 1, "aspect": (1, 1)})
        assert (await service.submit("local", square)).job.width == 128

    serve(work, paused=True, **SHIPPED)


BEFORE = "f9c49d4d767c566325744b2d03e1460960de593546f77a0dbd4993031d8bf66a"


def test_image_prompts_are_those_of_the_account(serve: Serve) -> None:
    """In the language, as data, and by a job's number they are one request; others' pictures are not there."""

    async def work(service: Service) -> None:
        await service.accounts.set("ab" * 32, "local", keyed=False)
        one, two = await bring(service, picture(1)), await bring(service, picture(2))
        said = {"images": 1, "steps": 4, "seed": 3}
        requests = [
            JobRequest(key="a", prompt=f"{one} {two} a red apple --iw 2", parameters=said, language=True),
            JobRequest(
                key="b", prompt="a red apple", parameters={**said, "image_prompts": (one, two), "image_weight": 2},
                language=True,
            ),
        ]  # fmt: skip
        digests = []
        for request in requests:
            (submitted,) = await service.submit_all("local", request)
            found = await ended(service, submitted.job.job)
            row = service.context.store.job(found.job)
            assert row is not None
            start = packing.spec_of(row).start
            assert start is not None
            assert (start.pictures, start.strength) == ((one, two), 0.75)
            digests.append(found.pictures[-1].digest)
        before = service.accepted
        for request in requests:
            with pytest.raises(SpecError, match="which is not here"):
                await service.submit_all("ab" * 32, request)
        text = f"{found.job}:4 {one} a cat"
        with pytest.raises(SpecError, match=f"image prompt: got picture 4 of job {found.job}, allowed 1 to 1"):
            await service.submit_all("local", JobRequest(key="c", prompt=text, parameters=said, language=True))
        assert service.accepted == before

    serve(work, **SHIPPED)
