"""Describe and shorten in the service: asked of any picture, priced, stored, told, redacted, deleted, taken back."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from salon.engine import inquiries
from salon.engine.engine import Engine
from salon.engine.errors import PromptError, SpecError
from salon.engine.info import ModelInfo
from salon.parameters.job_request import JobRequest, Source
from salon.parameters.known import parameters
from salon.scheduler.plans import load_plans
from salon.scheduler.prices import Kind
from salon.scheduler.tickets import Lane
from salon.studio import kinds
from salon.studio.kinds import Asked, Input, kind_of
from salon.studio.references import digest_of
from salon.studio.service.embedded import DurableStudio
from salon.studio.service.job_record import redacted
from salon.studio.service.service import Service
from salon.studio.workers.worker import info_of

from ...engine.conftest import THINGS, write_asked
from ..conftest import BACKEND, TIMEOUT
from .conftest import Serve, ended
from .conftest import request as small

OPTIONS: dict[str, Any] = {"backend": BACKEND, "threads": 1}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_asked(tmp_path_factory.mktemp("asked"))


@pytest.fixture(scope="module")
def model(asked: Path) -> ModelInfo:
    return info_of(Engine.load(asked, backend=BACKEND, threads=1))


def photo(width: int = 20, height: int = 20) -> bytes:
    """A picture that Salon never saw."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def describing(key: str = "d", digest: str = "", prompt: str = "", **fields: Any) -> JobRequest:
    sources = (Source(digest=digest or digest_of(photo())),)
    return JobRequest(key=key, prompt=prompt, kind="describe", parameters={}, **({"sources": sources} | fields))


def shortening(key: str = "s", prompt: str = "a red apple, on teal", **fields: Any) -> JobRequest:
    return JobRequest(key=key, prompt=prompt, kind="shorten", **({"parameters": {}} | fields))


def test_what_they_ask_of_the_engine(model: ModelInfo) -> None:
    picture = Input(source=Source(digest="ab" * 32), digest="ab" * 32, width=640, height=160)
    request = describing(digest="ab" * 32)
    found = kind_of(request)
    made = found.spec(Asked(request=request, lane=Lane.FAST, inputs=(picture,)), model)
    assert (made.inquiry, made.prompt, made.width, made.height) == ("describe", "", 32, 8)
    assert made.start is not None
    assert (made.start.picture, made.start.strength, made.seed) == ("ab" * 32, 0.0, 0xABABABAB)
    assert found.stages(made, model) == ()
    request = shortening(parameters={"aspect": (2, 1)})
    short = kind_of(request).spec(Asked(request=request, lane=Lane.FAST), model)
    assert (short.inquiry, short.prompt, short.images) == ("shorten", "a red apple, on teal", 1)
    assert short.width > short.height
    assert [name for name in kinds.names() if not kinds.draws(name)] == ["describe", "shorten"]
    assert kinds.draws("nosuch")


def test_they_cost_in_proportion_to_a_grid(model: ModelInfo) -> None:
    """Two probes read as much text as an evaluation of the grid, which has guidance, and count as one."""
    prices = load_plans().prices
    picture = Input(source=Source(digest="ab" * 32), digest="ab" * 32, width=16, height=16)
    for request, inputs in ((describing(digest="ab" * 32), (picture,)), (shortening(), ())):
        asked = Asked(request=request, lane=Lane.FAST, inputs=inputs)
        found = kind_of(request)
        made = found.spec(asked, model)
        work = found.work(asked, made, model)
        assert work.kind is Kind.GRID
        probes = model.course(made).probes
        a_picture = prices.prices[Kind.GRID].ms / prices.prices[Kind.GRID].images
        expected = a_picture * -(-probes // 2) / model.default_job.evaluations
        assert prices.charge(work, Lane.FAST) == pytest.approx(expected, abs=1)
        assert prices.charge(work, Lane.RELAX) == 0


def test_every_parameter_is_heeded_or_refused(model: ModelInfo) -> None:
    for name in parameters():
        for request in (describing, shortening):
            asks = request(parameters={name: 1}) if request is shortening else None
            if asks is None or name in ("aspect", "width", "height"):
                continue
            with pytest.raises(SpecError, match="one for 'shorten'"):
                kind_of(asks)
    with pytest.raises(SpecError, match="--s: got one for 'describe', allowed none there; leave it out"):
        kind_of(msgspec.structs.replace(describing(), parameters={"stylize": 3}))


def test_from_the_request_to_the_record(serve: Serve, asked: Path) -> None:
    async def work(service: Service) -> None:
        await service.jobs.references.add("local", digest_of(photo()), photo())
        job, existing = await service.submit("local", describing())
        assert not existing
        assert (job.kind, job.prompt, job.texts, job.sources) == ("describe", "", (), describing().sources)
        record = await ended(service, job.job)
        assert (record.state, record.pictures, len(record.texts)) == ("done", (), 4)
        assert all(text.text.split(",")[0] in THINGS for text in record.texts)
        assert record.step == record.steps > 0
        events = list((await service.log(job.job, "local")).since(0))
        assert [event.kind for event in events if event.kind != "step"] == ["queued", "started", "done"]
        again, existing = await service.submit("local", describing())
        assert (existing, again.texts) == (True, record.texts)
        same = await ended(service, (await service.submit("local", describing("other"))).job.job)
        assert same.texts == record.texts
        short = await ended(service, (await service.submit("local", shortening())).job.job)
        assert {text.role for text in short.texts} == {"word", "prompt"}
        page = await service.page("local")
        assert {one.job: one.texts for one in page.jobs}[job.job] == record.texts
        assert redacted(msgspec.structs.replace(record, private=True)).texts == ()
        assert await service.delete(short.job, "local")
        row = service.context.store.job(short.job)
        assert row is not None
        assert (row.deleted, row.texts, row.prompt) == (True, "", "")

    serve(work, model=str(asked))

    async def later(service: Service) -> None:
        """What was stored is told by the next start."""
        page = await service.page("local")
        assert [len(one.texts) for one in page.jobs if one.kind == "describe"] == [4, 4]

    serve(later, model=str(asked))


def test_it_is_charged_once_and_what_is_cancelled_is_free(serve: Serve, asked: Path) -> None:
    async def work(service: Service) -> None:
        service.context.accounts.enter("ben")
        await service.jobs.references.add("ben", digest_of(photo()), photo())
        job, _ = await service.submit("ben", describing())
        record = await ended(service, job.job)
        assert record.charged_ms > 0
        service.context.studio.loop.hold()
        other, _ = await service.submit("ben", describing("two"))
        assert await service.cancel(other.job, "ben")
        stopped = await ended(service, other.job)
        assert (stopped.state, stopped.texts, stopped.charged_ms) == ("cancelled", (), 0)
        entries = [entry for entry in service.context.store.entries("ben") if entry.job in (job.job, other.job)]
        assert sum(entry.amount_ms for entry in entries) == -record.charged_ms

    serve(work, model=str(asked), open=True, open_accounts=3, open_plan="pro")


def test_a_picture_of_a_job_and_what_is_refused(serve: Serve, asked: Path) -> None:
    async def work(service: Service) -> None:
        drawn = await ended(service, (await service.submit("local", small("a", "a red apple"))).job.job)
        job, _ = await service.submit("local", describing(sources=(Source(job=drawn.job, index=1),)))
        assert len((await ended(service, job.job)).texts) == 4
        before = len((await service.page("local")).jobs)
        whole, picture = (Source(job=drawn.job),), (Source(job=drawn.job, index=1),)
        for request, message in (
            (describing("x", sources=()), "sources: got 0 for 'describe', allowed 1; name the pictures"),
            (describing("x", sources=whole), "as a whole, allowed one of its pictures"),
            (describing("x", digest="0" * 64), "which is not here"),
            (describing("x", sources=(Source(job=job.job, index=0),)), "picture 0 of job"),
            (
                describing("x", prompt="a cat", sources=picture),
                "prompt: got 'a cat', allowed",
            ),
            (shortening("x", ""), "prompt: got '', allowed some words"),
            (shortening("x", ","), "prompt: got ',', allowed some words"),
            (shortening("x", sources=picture), "sources: got 1 for 'shorten', allowed 0"),
        ):
            with pytest.raises((SpecError, PromptError), match=message):
                await service.submit("local", request)
        assert len((await service.page("local")).jobs) == before

    serve(work, model=str(asked))


def test_a_model_without_a_list_of_its_words(serve: Serve) -> None:
    async def work(service: Service) -> None:
        with pytest.raises(SpecError, match="shorten: got a model without a list of its words, .*vocabulary.concepts"):
            await service.submit("local", shortening())
        assert not (await service.page("local")).jobs

    serve(work)


def test_settings_of_the_account_say_nothing_of_texts(serve: Serve, asked: Path) -> None:
    async def work(service: Service) -> None:
        await service.prompts.change_settings("local", {"stylize": 250.0}, "--q 2", reset=False)
        request = msgspec.structs.replace(shortening(), language=True, prompt="a red apple --ar 2:1")
        (submitted,) = await service.submit_all("local", request)
        record = await ended(service, submitted.job.job)
        assert (record.state, record.width > record.height) == ("done", True)
        plan = await service.plan("local", msgspec.structs.replace(request, key="p"))
        assert plan.jobs[0].cost_ms == record.charged_ms or plan.jobs[0].list_ms > 0

    serve(work, model=str(asked))


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Cut inquiries into pieces of two probes, of which the fourth and later ones wait until this is set."""
    inquire, calls, release = Engine.inquire, iter(range(1_000_000)), threading.Event()

    def held(engine: Engine, generation: Any) -> None:
        if next(calls) >= 3:
            assert release.wait(TIMEOUT)
        inquire(engine, generation)

    monkeypatch.setattr(Engine, "inquire", held)
    monkeypatch.setattr(inquiries, "PIECE_ROWS", 60)
    return release


def test_taken_back_after_a_restart_in_the_middle(serve: Serve, asked: Path, release: threading.Event) -> None:
    async def first(service: Service) -> str:
        await service.jobs.references.add("local", digest_of(photo()), photo())
        job, _ = await service.submit("local", describing())
        log = await service.log(job.job, "local")
        while log.step < 2:
            await asyncio.sleep(0.005)
        assert not log.final
        service.context.studio.loop.hold()  # what is under way ends, and nothing more begins in this life
        release.set()
        return job.job

    async def second(service: Service) -> None:
        record = await ended(service, name)
        assert (record.state, len(record.texts)) == ("done", 4)
        same = await ended(service, (await service.submit("local", describing("again"))).job.job)
        assert same.texts == record.texts

    options = {"open": True, "open_accounts": 3, "open_plan": "pro", "model": str(asked)}
    name = serve(first, **options)
    serve(second, **options)


def test_a_durable_studio(asked: Path, tmp_path: Path) -> None:
    with DurableStudio(tmp_path / "data", model=str(asked), **OPTIONS) as studio:
        job = studio.describe(photo())
        texts = job.texts(TIMEOUT)
        assert [text.text.split(",")[0] in THINGS for text in texts] == [True] * 4
        assert job.record().texts == texts
        file = tmp_path / "photo.png"
        file.write_bytes(photo())
        assert studio.describe(file, key="f").texts(TIMEOUT) == texts
        drawn = studio.imagine("cat", images=1, width=16, height=16, steps=2, seed=3)
        drawn.wait(TIMEOUT)
        assert studio.describe((drawn.id, 0)).texts(TIMEOUT)
        assert {text.role for text in studio.shorten("a red apple").texts(TIMEOUT)} == {"word", "prompt"}
        assert drawn.texts(TIMEOUT) == ()
