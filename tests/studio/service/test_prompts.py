"""Prompts of the language at the service: once for each key, several jobs of one prompt or none, settings, plans."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from salon.parameters.errors import ParameterError, PromptRefused
from salon.parameters.job_request import JobRequest
from salon.scheduler.errors import Refused
from salon.scheduler.plans import DEFAULT_FILE
from salon.studio.service.errors import KeyReused
from salon.studio.service.service import Service

from .conftest import Serve, ended

SMALL = {"width": 16, "height": 16, "steps": 2, "images": 2}


def prompt(key: str, text: str, **said: Any) -> JobRequest:
    return JobRequest(key=key, prompt=text, parameters={**SMALL, **said}, language=True)


def test_what_is_said_in_the_prompt_or_beside_it_is_one_request(serve: Serve) -> None:
    async def work(service: Service) -> None:
        (first,) = await service.submit_all("local", prompt("k", "cat --seed 7 --guidance 2.5"))
        (again,) = await service.submit_all("local", prompt("k", "cat", seed=7, guidance_scale=2.5))
        assert (again.job.job, again.existing) == (first.job.job, True)
        (other,) = await service.submit_all("local", prompt("l", "cat --guidance 2.5", seed=7))
        with pytest.raises(KeyReused):
            await service.submit_all("local", prompt("k", "cat --seed 8"))
        record = await ended(service, first.job.job)
        assert (record.state, record.prompt, record.seed, record.guidance_scale) == ("done", "cat", 7, 2.5)
        theirs = await ended(service, other.job.job)
        assert [each.digest for each in record.pictures] == [each.digest for each in theirs.pictures]

    serve(work)


def test_dashes_of_an_old_request_are_words(serve: Serve) -> None:
    async def work(service: Service) -> None:
        old = JobRequest(key="k", prompt="cat --ar 3:2", parameters={**SMALL, "stylize": 0.0})
        (one,) = await service.submit_all("local", old)
        assert (one.job.prompt, one.job.width, one.job.height) == ("cat --ar 3:2", 16, 16)

    serve(work, paused=True)


def test_several_jobs_of_one_prompt(serve: Serve) -> None:
    async def work(service: Service) -> list[str]:
        found = await service.submit_all("local", prompt("k", "{cat, dog} --repeat 2 --steps 2"))
        assert [one.job.prompt for one in found] == ["cat", "cat", "dog", "dog"]
        assert len({one.job.seed for one in found}) == 4
        keys = [service.context.store.job(one.job.job) for one in found]
        assert [row.key for row in keys if row is not None] == ["k.0", "k.1", "k.2", "k.3"]
        again = await service.submit_all("local", prompt("k", "{cat, dog} --repeat 2 --steps 2"))
        assert [one.job.job for one in again] == [one.job.job for one in found]
        assert all(one.existing for one in again)
        assert service.accepted == 4
        for other in ("{cat, dog} --steps 2", "cat"):
            with pytest.raises(KeyReused):
                await service.submit_all("local", prompt("k", other))
        states = [(await ended(service, one.job.job)).state for one in found]
        assert states == ["done"] * 4
        return [one.job.job for one in found]

    jobs = serve(work)

    async def after(service: Service) -> None:
        again = await service.submit_all("local", prompt("k", "{cat, dog} --repeat 2 --steps 2"))
        assert [one.job.job for one in again] == jobs
        assert service.accepted == 0

    serve(after)


def test_two_submits_with_one_key_at_a_time_are_one(serve: Serve) -> None:
    async def work(service: Service) -> None:
        both = await asyncio.gather(*(service.submit_all("local", prompt("k", "{cat, dog}")) for _ in range(2)))
        assert [one.job.job for one in both[0]] == [one.job.job for one in both[1]]
        assert service.accepted == 2

    serve(work, paused=True)


def test_several_jobs_go_on_after_a_restart(serve: Serve) -> None:
    async def accept(service: Service) -> list[str]:
        return [one.job.job for one in await service.submit_all("local", prompt("k", "{cat, dog}"))]

    jobs = serve(accept, paused=True)

    async def finish(service: Service) -> None:
        assert [(await ended(service, job)).state for job in jobs] == ["done", "done"]
        assert service.context.ledger.open_jobs() == ()

    serve(finish)


def test_all_or_none(serve: Serve) -> None:
    """One that cannot be done: no job is there, nothing is set aside, and the key is free."""

    async def work(service: Service) -> None:
        for text, error in (
            ("{cat, dog --ar 99:1}", PromptRefused),
            ("cat {--fast, --relax}", PromptRefused),
            ("cat {--private, --public}", PromptRefused),
            ("{cat, dog --sref 1}", Exception),  # a model without styles
        ):
            with pytest.raises(error):
                await service.submit_all("local", prompt("k", text))
        with pytest.raises(ParameterError, match="key: got 64 characters"):
            await service.submit_all("local", prompt("k" * 64, "{cat, dog}"))
        assert (await service.page("local", viewer="local")).jobs == ()
        assert service.context.ledger.open_jobs() == ()
        assert len(await service.submit_all("local", prompt("k", "{cat, dog}"))) == 2

    serve(work, paused=True)


def plans(folder: Path, text: str = "") -> Path:
    """The usual plans, with Basic as the default."""
    path = folder / "plans.toml"
    path.write_text(DEFAULT_FILE.read_text().replace('default_plan = "unlimited"', 'default_plan = "basic"') + text)
    return path


def test_the_limit_of_the_plan_refuses_the_whole(serve: Serve, tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        with pytest.raises(Refused, match="permutations: got 5 jobs in one submit, allowed 4 on the basic plan"):
            await service.submit_all("local", prompt("k", "cat --repeat 5"))
        with pytest.raises(Refused, match="permutations: got 5 jobs"):
            await service.plan("local", prompt("k", "cat --repeat 5"))
        book = service.context.ledger.book("local")
        assert (book.held, (await service.page("local", viewer="local")).jobs) == (0, ())
        found = await service.submit_all("local", prompt("k", "cat --repeat 4"))
        held = service.context.ledger.book("local").held
        planned = await service.plan("local", prompt("l", "cat --repeat 4"))
        assert held == planned.total_cost_ms == sum(job.cost_ms for job in planned.jobs) > 0
        service.context.studio.loop.release()
        for one in found:
            await ended(service, one.job.job)
        book = service.context.ledger.book("local")
        assert (book.held, book.lifetime_jobs) == (0, 4)
        charged = [(await service.find(one.job.job, "local")).charged_ms for one in found]
        assert charged == [job.cost_ms for job in planned.jobs]

    serve(work, paused=True, plans=plans(tmp_path))


def test_jobs_of_one_prompt_may_cost_different_amounts(serve: Serve, tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        said = {name: value for name, value in SMALL.items() if name != "images"}
        request = JobRequest(key="k", prompt="cat {--n 1, --n 4}", parameters=said, language=True)
        planned = await service.plan("local", request)
        small, large = (job.cost_ms for job in planned.jobs)
        assert 0 < small < large
        found = await service.submit_all("local", request)
        assert service.context.ledger.book("local").held == small + large
        service.context.studio.loop.release()
        assert [(await ended(service, one.job.job)).charged_ms for one in found] == [small, large]

    serve(work, paused=True, plans=plans(tmp_path))


def test_a_plan_makes_and_charges_nothing(serve: Serve) -> None:
    async def work(service: Service) -> None:
        found = await service.plan("local", prompt("k", "{cat, dog} --seed 7 --relax"))
        assert [job.prompt for job in found.jobs] == [
            f"{word} --lane relax --seed 7 --n 2 --steps 2" for word in ("cat", "dog")
        ]
        first = found.jobs[0]
        assert (first.lane, first.parameters["seed"], first.sources["seed"]) == ("relax", 7, "typed")
        assert (first.parameters["solver"], first.sources["solver"]) == ("euler", "model")
        assert (found.total_cost_ms, found.queue_position) == (0, 0)
        assert (await service.page("local", viewer="local")).jobs == ()
        await service.submit_all("local", prompt("k", "cat --relax"))
        assert (await service.plan("local", prompt("l", "cat --relax"))).queue_position == 1
        with pytest.raises(PromptRefused):
            await service.plan("local", prompt("k", "cat --foo"))

    serve(work, paused=True)


def test_settings_hold_where_the_prompt_says_nothing(serve: Serve) -> None:
    async def change(service: Service) -> None:
        await service.prompts.change_settings(
            "local", {"guidance_scale": 2, "lane": "relax", "private": True}, "--guidance 3", reset=False
        )
        (one,) = await service.submit_all("local", prompt("k", "cat"))
        assert (one.job.guidance_scale, one.job.asked_lane, one.job.private) == (3.0, "relax", True)
        (typed,) = await service.submit_all("local", prompt("l", "cat --guidance 4 --fast --public"))
        assert (typed.job.guidance_scale, typed.job.asked_lane, typed.job.private) == (4.0, "fast", False)
        old = JobRequest(key="old", prompt="cat", parameters={**SMALL, "stylize": 0.0})
        (before,) = await service.submit_all("local", old)
        assert before.job.asked_lane == "fast"

    serve(change, paused=True)

    async def after(service: Service) -> None:
        kept = await service.prompts.settings("local")
        assert (kept.parameters, kept.suffix) == (
            {"guidance_scale": 2.0, "lane": "relax", "private": True},
            "--guidance 3",
        )
        (again,) = await service.submit_all("local", prompt("k", "cat"))
        assert again.existing
        await service.prompts.change_settings("local", {}, None, reset=True)
        (same,) = await service.submit_all("local", prompt("k", "cat"))  # whatever became of settings
        assert (same.job.job, same.existing) == (again.job.job, True)
        assert (await service.prompts.settings("local")).parameters == {}

    serve(after, paused=True)


def test_settings_that_two_pages_change_at_a_time_are_both_kept(serve: Serve) -> None:
    async def change(service: Service) -> None:
        change = service.prompts.change_settings
        await asyncio.gather(
            change("local", {"guidance_scale": 2}, None, reset=False), change("local", {}, "--fast", reset=False)
        )

    async def after(service: Service) -> None:
        kept = await service.prompts.settings("local")
        assert (kept.parameters, kept.suffix) == ({"guidance_scale": 2.0}, "--fast")

    serve(change, paused=True)
    serve(after, paused=True)


def test_random_numbers_are_the_same_for_the_same_key(serve: Serve) -> None:
    async def work(service: Service) -> None:
        numbers = [
            service.prompts.children("local", prompt(key, "cat --sref random --repeat 2")).requests for key in "kkl"
        ]
        found = [[request.parameters["style_references"] for request in each] for each in numbers]  # type: ignore[index]
        assert found[0] == found[1]
        assert found[0] != found[2]
        assert found[0][0] != found[0][1]

    serve(work, paused=True)
