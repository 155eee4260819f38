"""Kinds of jobs: what they start from, what they are refused for, and that one more is one more file."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salon.engine.errors import SpecError
from salon.parameters.errors import PromptRefused
from salon.parameters.job_request import JobRequest, Source
from salon.parameters.known import parameters
from salon.scheduler.plans import Kind
from salon.studio import jobs, kinds
from salon.studio.prompt import resolve as resolving
from salon.studio.references import digest_of
from salon.studio.service import packing
from salon.studio.service.errors import UnknownJob
from salon.studio.service.service import Service

from .conftest import Serve, ended
from .conftest import request as small

TWIN = '''
"""Twin: two pictures of a prompt, at the price of a variation."""
import dataclasses
from salon.parameters.request import fields_of
from salon.scheduler.admission import Work
from salon.scheduler.plans import Kind

HELP = "two of a kind"
SOURCES = (0, 1)
WHOLE = False
PARAMETERS = ("seed", "width", "height", "steps")

def spec(asked, model):
    given = fields_of(asked.request.parameters or {}, False)
    return model.make_spec(asked.request.prompt, **(given | {"images": 2}))

def work(asked, spec, model):
    return Work(kind=Kind.VARIATION, images=spec.images)

def stages(spec, model):
    return ()
'''
SMALL = {"width": 16, "height": 16, "steps": 2, "seed": 3}


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more kind, in a folder of its own."""
    folder = tmp_path / "kinds"
    folder.mkdir()
    (folder / "twin.py").write_text(TWIN)
    monkeypatch.setattr(jobs, "__path__", [*jobs.__path__, str(folder)])
    monkeypatch.setattr(kinds.PLUGINS, "_path", jobs.__path__)
    monkeypatch.setattr(kinds.PLUGINS, "_names", None)


@pytest.mark.usefixtures("twin")
def test_a_kind_is_one_file(serve: Serve) -> None:
    """It is listed, checked, priced, drawn, stored and told of, also after a restart in the middle."""
    assert "twin" in kinds.names()

    async def begin(service: Service) -> str:
        job, existing = await service.submit("local", small("t", kind="twin", parameters=SMALL))
        assert (job.kind, job.images, job.seed, existing) == ("twin", 2, 3, False)
        row = service.context.store.job(job.job)
        assert row is not None
        assert (row.kind, packing.work_of(row).kind) == ("twin", Kind.VARIATION)
        with pytest.raises(SpecError, match=r"--guidance: got one for 'twin', allowed --seed, .*steps there; leave it"):
            await service.submit("local", small("u", kind="twin", parameters={"guidance_scale": 2.0}))
        with pytest.raises(SpecError, match="sources: got 2 for 'twin', allowed 0 to 1; leave the others out"):
            await service.submit("local", small("u", kind="twin", sources=(Source(job="a"), Source(job="b"))))
        return job.job

    job = serve(begin, paused=True)

    async def end(service: Service) -> None:
        record = await ended(service, job)
        assert (record.state, record.kind, len(record.pictures)) == ("done", "twin", 3)
        assert [each.kind for each in (await service.page("local")).jobs] == ["twin"]

    serve(end)


def test_a_kind_that_is_gone_fails_its_jobs(serve: Serve) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds.PLUGINS, "_names", ("imagine", "reroll", "gone"))
        patch.setattr(kinds, "named", lambda name: kinds.PLUGINS.get("imagine"))
        job = serve(lambda service: service.submit("local", small("t", kind="gone")), paused=True).job.job

    async def look(service: Service) -> None:
        record = await ended(service, job)
        assert (record.state, record.failure) == ("failed", "SpecError")
        assert f"kind: got 'gone', allowed {', '.join(kinds.names())}; name one of these" in record.reason

    serve(look)


def test_an_unknown_kind_makes_no_job(serve: Serve) -> None:
    async def work(service: Service) -> None:
        with pytest.raises(SpecError, match="kind: got 'paint', allowed imagine, .*reroll, .*; name one of these"):
            await service.submit("local", small("k", kind="paint"))
        assert not (await service.page("local")).jobs

    serve(work)


def test_a_reroll_is_the_same_with_another_seed(serve: Serve) -> None:
    """And with what it says anew; it knows where it comes from, also after a restart."""

    async def work(service: Service) -> tuple[str, str]:
        first, _ = await service.submit("local", small("a", "a red apple", guidance_scale=2.0))
        await ended(service, first.job)
        source = Source(job=first.job, index=1)
        again, _ = await service.submit("local", small("b", "", kind="reroll", sources=(source,), parameters={}))
        same = ("prompt", "width", "height", "steps", "images", "guidance_scale", "solver", "styles")
        assert [getattr(again, name) for name in same] == [getattr(first, name) for name in same]
        assert again.seed != first.seed
        assert (again.kind, again.sources) == ("reroll", (source,))
        said = {"images": 1, "steps": 3, "seed": 5}
        other, _ = await service.submit(
            "local", small("c", "a blue apple", kind="reroll", sources=(source,), parameters=said)
        )
        assert (other.prompt, other.images, other.steps, other.seed) == ("a blue apple", 1, 3, 5)
        for job in (again, other):
            assert (await ended(service, job.job)).state == "done"
        return first.job, again.job

    first, again = serve(work)

    async def look(service: Service) -> None:
        record = await service.find(again, "local")
        assert (record.kind, record.sources) == ("reroll", (Source(job=first, index=1),))
        await service.delete(again, "local")
        row = service.context.store.job(again)
        assert row is not None
        assert (row.kind, row.sources, row.spec) == ("reroll", "", b"")

    serve(look)


@pytest.mark.usefixtures("twin")
def test_what_a_job_cannot_start_from(serve: Serve) -> None:
    """Others' private pictures are as if they were not there."""

    async def work(service: Service) -> None:
        service.context.accounts.enter("ben")
        hidden, _ = await service.submit("local", small("a", private=True))
        await ended(service, hidden.job)

        async def refused(words: str, *sources: Source, error: type[Exception] = SpecError) -> None:
            with pytest.raises(error, match=words):
                await service.submit("local", small("b", "", kind="reroll", sources=sources, parameters={}))

        await refused("sources: got 0 for 'reroll', allowed 1; name the pictures to start from")
        await refused("source: got neither a job nor a digest", Source())
        await refused("source: got a job and a digest", Source(job=hidden.job, digest="0" * 64))
        await refused(f"source: got picture 2 of job '{hidden.job}', allowed 0 to 1", Source(job=hidden.job, index=2))
        with pytest.raises(SpecError, match=f"source: got job '{hidden.job}' as a whole, allowed one of its pictures"):
            await service.submit("local", small("b", kind="twin", sources=(Source(job=hidden.job),), parameters={}))
        await refused("job: got 'nosuch'", Source(job="nosuch"), error=UnknownJob)
        await refused("picture 000.*which is not here", Source(digest="0" * 64))
        with pytest.raises(UnknownJob):
            await service.submit("ben", small("b", "", kind="reroll", sources=(Source(job=hidden.job),), parameters={}))
        service.context.studio.loop.hold()
        waits, _ = await service.submit("local", small("w"))
        await refused(
            f"source: got job '{waits.job}', which is queued, allowed one that is done", Source(job=waits.job)
        )

    serve(work, open=True, open_accounts=3, open_plan="pro")


def test_a_file_with_its_recipe_inside_is_a_source(serve: Serve) -> None:
    """One without is none: nobody knows how it was drawn."""

    async def work(service: Service) -> None:
        first, _ = await service.submit("local", small("a", "a red apple"))
        record = await ended(service, first.job)
        data = service.context.blobs.get(record.pictures[1].digest)
        await service.jobs.references.add("local", digest_of(data), data)
        source = Source(digest=digest_of(data))
        again, _ = await service.submit("local", small("b", "", kind="reroll", sources=(source,), parameters={}))
        assert (again.prompt, again.sources) == ("a red apple", (source,))
        buffer = io.BytesIO()
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(buffer, "PNG")
        plain = buffer.getvalue()
        await service.jobs.references.add("local", digest_of(plain), plain)
        source = Source(digest=digest_of(plain))
        with pytest.raises(SpecError, match="without a word of how it was drawn, allowed a picture that Salon"):
            await service.submit("local", small("c", "", kind="reroll", sources=(source,), parameters={}))

    serve(work)


def test_parameters_of_another_family_are_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in a prompt with its place, or as data; nothing is accepted."""
    table = {**parameters(), "chaos": replace(parameters()["chaos"], families=("other", "another"))}
    for module in (kinds, resolving):
        monkeypatch.setattr(module, "parameters", lambda: table)

    async def work(service: Service) -> None:
        assert service.context.studio.loop.model.family == "flux"
        told = "it for a model of family flux, allowed other or another; leave it out"
        said = JobRequest(key="a", prompt="a cat --n 1 --c 20", language=True)
        with pytest.raises(PromptRefused, match=told):
            await service.submit_all("local", said)
        with pytest.raises(SpecError, match=told):
            await service.submit("local", small("b", parameters={**SMALL, "chaos": 20}))
        assert service.accepted == 0
        await service.submit("local", small("c", parameters=SMALL))
        assert service.accepted == 1

    serve(work)
