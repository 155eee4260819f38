"""Policies in a service: what they block is never made or never seen, costs nothing, and is kept."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from salon.frontends.fake.worker import Behaviour, FakeWorker
from salon.parameters.job_request import JobRequest, Source
from salon.scheduler.entries import EntryKind
from salon.studio.errors import JobBlocked
from salon.studio.moderation.types import ALLOW, Decision, PolicyRequest, block
from salon.studio.references import digest_of
from salon.studio.service.context import ServiceContext
from salon.studio.service.embedded import DurableStudio
from salon.studio.service.errors import NoSuchAccount, PolicyBlocked, PolicyDown, PolicyTimeout
from salon.studio.service.moderation import PLANNED, WITHHELD, Strikes
from salon.studio.service.options import ServiceOptions
from salon.studio.service.service import Service
from salon.studio.store.blobs import Blobs
from salon.studio.store.rows import AccountRow
from salon.studio.studio import Studio

from ..conftest import TIMEOUT
from .conftest import ended

EXAMPLE = Path(__file__).parents[3] / "examples" / "policy.py"
Work = Callable[[Service], Awaitable[Any]]
Run = Callable[..., Any]
NOTHING: set[str] = set()


def open_studio(options: ServiceOptions, billing: Any) -> Studio:
    return Studio.over([FakeWorker(Behaviour())], accounts=billing)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Opens a service without a model, has something done with it, and closes it."""

    def go(work: Work, policy: Any, **options: Any) -> Any:
        made = ServiceOptions(data=tmp_path / "data", policy=policy, **options)

        async def main() -> Any:
            service = Service(ServiceContext(made, open_studio))
            try:
                service.restore()
                service.context.studio.loop.release()
                return await asyncio.wait_for(work(service), 2 * TIMEOUT)
            finally:
                await service.leave(0.0)
                await service.close()

        return asyncio.run(main())

    return go


def wanted(key: str, prompt: str, **fields: Any) -> JobRequest:
    return JobRequest(key=key, prompt=prompt, **({"language": True} | fields))


def picture(shade: int = 200) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


class NoCats:
    """Blocks what is called a cat, and notes what it is asked."""

    def __init__(self, *stages: str) -> None:
        self.stages = stages or ("prompt", "upload", "pictures")
        self.asked: list[PolicyRequest] = []
        self.word = "cat"

    def __call__(self, request: PolicyRequest) -> Decision:
        self.asked.append(request)
        texts = (request.prompt, *request.texts)
        return block("no-cats", "Cats are not drawn here.") if any(self.word in text for text in texts) else ALLOW


def digests(blobs: Blobs) -> set[str]:
    return set(blobs.digests())


def test_a_blocked_prompt_is_no_job(run: Run) -> None:
    policy = NoCats("prompt")

    async def work(service: Service) -> None:
        service.context.accounts.open(AccountRow(account="ann", plan="basic"))
        before = service.context.ledger.balance("ann")
        await service.prompts.change_settings("ann", {}, "--no rain", reset=False)
        text = r"prompt: Cats are not drawn here \(rule no-cats\); say something else"
        for prompt in ("a cat", "{a dog, a cat} --n 1", "a dog:: a cat::0.5"):
            with pytest.raises(PolicyBlocked, match=text) as caught:
                await service.submit_all("ann", wanted("k", prompt, parameters={"private": True}))
            assert caught.value.rule == "no-cats"
        assert (await service.page("ann")).jobs == ()
        assert service.context.ledger.balance("ann") == before
        done = await service.submit_all("ann", wanted("k", "a dog --no cats"))  # the key was never used
        assert (await ended(service, done[0].job.job, "ann")).state == "done"
        kept = (await service.jobs.moderator.page("ann")).blocks
        assert [(row.number, row.stage, row.rule, row.job) for row in kept] == [
            (number, "prompt", "no-cats", "") for number in (3, 2, 1)
        ]
        assert (await service.jobs.moderator.page("bob")).blocks == ()
        page = await service.jobs.moderator.page(before=3, limit=1)
        assert [row.number for row in page.blocks] == [2]
        assert page.next == 2
        assert service.jobs.moderator.answers == {("prompt", "block"): 3, ("prompt", "allow"): 2}

    run(work, policy)
    last = policy.asked[-1]
    assert (last.stage, last.account, last.kind, last.prompt) == ("prompt", "ann", "imagine", "a dog")
    assert last.negative_texts == ("cats",)
    assert policy.asked[0].private


def test_a_negative_prompt_that_is_drawn_is_looked_at(run: Run) -> None:
    """Guidance below 1 follows the negative prompt, and at 0 nothing else is drawn."""

    async def work(service: Service) -> None:
        service.context.accounts.open(AccountRow(account="ann", plan="basic"))
        for number, guidance in enumerate((0.0, 0.5)):
            said = {"negative_prompt": "a cat", "guidance_scale": guidance}
            with pytest.raises(PolicyBlocked, match="rule no-cats"):
                await service.submit_all("ann", wanted(f"k{number}", "a dog", parameters=said))
        said = {"negative_prompt": "a cat", "guidance_scale": 4.0}
        (one,) = await service.submit_all("ann", wanted("k", "a dog", parameters=said))
        assert (await ended(service, one.job.job, "ann")).state == "done"

    policy = NoCats("prompt")
    run(work, policy)
    assert [(asked.texts, asked.negative_texts) for asked in policy.asked] == [
        (("a cat",), ()), (("a cat",), ()), ((), ("a cat",)),
    ]  # fmt: skip


def test_blocked_pictures_are_seen_nowhere_and_free(run: Run) -> None:
    policy = NoCats("pictures")

    async def work(service: Service) -> tuple[str, int]:
        service.context.accounts.open(AccountRow(account="ann", plan="pro"))
        before = service.context.ledger.balance("ann")
        (one,) = await service.submit_all("ann", wanted("k", "a cat --n 2 --private", preview_every=1))
        record = await ended(service, one.job.job, "ann")
        assert (record.state, record.failure, record.charged_ms) == ("blocked", "no-cats", 0)
        assert record.reason == "Cats are not drawn here. (rule no-cats; nothing was charged)"
        assert WITHHELD in record.notes
        log = await service.log(one.job.job, "ann")
        assert not {"preview", "image"} & {event.kind for event in log.events}
        assert log.events[-1].kind == "blocked"
        assert digests(service.context.blobs) == NOTHING
        assert service.context.ledger.balance("ann") == before
        entries = (await service.accounts.entries("ann")).entries
        charges = [entry.amount_ms for entry in entries if entry.kind is EntryKind.CHARGE]
        assert len(charges) == 1
        assert -charges[0] in [entry.amount_ms for entry in entries if entry.kind is EntryKind.GRANT], "given back"
        (fine,) = await service.submit_all("ann", wanted("k2", "a dog --n 2"))
        assert (await ended(service, fine.job.job, "ann")).state == "done"
        assert len(digests(service.context.blobs)) == 3
        return one.job.job, before

    job, _ = run(work, policy)
    request = policy.asked[0]
    assert (request.stage, request.job, request.private, len(request.pictures)) == ("pictures", job, True, 2)
    assert all(Image.open(io.BytesIO(data)).size == (8, 8) for data in request.pictures)

    async def later(service: Service) -> None:
        record = await service.find(job, "ann")
        assert (record.state, record.failure, record.pictures) == ("blocked", "no-cats", ())
        (row,) = (await service.jobs.moderator.page()).blocks
        assert (row.stage, row.job, row.account) == ("pictures", job, "ann")

    run(later, None)


def test_a_restart_while_a_policy_looks_does_not_skip_it(run: Run) -> None:
    """The job is drawn and charged once, and its pictures are judged after the next start."""
    inside, answer = threading.Event(), threading.Event()

    def slow(request: PolicyRequest) -> Decision:
        inside.set()
        answer.wait(TIMEOUT)
        return ALLOW

    slow.stages = ("pictures",)  # type: ignore[attr-defined]

    async def work(service: Service) -> str:
        service.context.accounts.open(AccountRow(account="ann", plan="basic"))
        (one,) = await service.submit_all("ann", wanted("k", "a cat --n 1"))
        await asyncio.to_thread(inside.wait, TIMEOUT)
        assert (await service.find(one.job.job, "ann")).state == "running"
        return one.job.job

    job = run(work, slow, policy_timeout_s=TIMEOUT)
    answer.set()

    async def later(service: Service) -> None:
        assert (await ended(service, job, "ann")).state == "blocked"
        entries = (await service.accounts.entries("ann")).entries
        assert digests(service.context.blobs) == NOTHING
        assert [entry.kind for entry in entries].count(EntryKind.CHARGE) == 1

    run(later, NoCats("pictures"))


def test_files_that_are_brought(run: Run) -> None:
    found = importlib.util.spec_from_file_location("salon_example_policy", EXAMPLE)
    assert found is not None
    assert found.loader is not None
    example = importlib.util.module_from_spec(found)
    found.loader.exec_module(example)
    dark, light = picture(0), picture()

    async def work(service: Service) -> None:
        references = service.jobs.references
        with pytest.raises(PolicyBlocked, match=r"picture: A picture is almost black \(rule dark\); bring another"):
            await references.upload("local", digest_of(dark), len(dark), 0, dark)
        assert not await references.has("local", digest_of(dark))
        assert digests(service.context.references) == NOTHING
        assert await references.upload("local", digest_of(light), len(light), 0, light) == len(light)
        assert digests(service.context.references) == {digest_of(light)}

    run(work, example.DarkPictures())


def test_who_is_blocked_again_and_again_has_to_wait_also_after_a_restart(run: Run) -> None:
    async def work(service: Service) -> None:
        for number in range(3):
            with pytest.raises(PolicyBlocked):
                await service.submit_all("ann", wanted(f"k{number}", "a cat"))
        with pytest.raises(PolicyTimeout, match="got 3 blocked requests within 10 min, allowed fewer; wait until 20"):
            await service.submit_all("ann", wanted("k", "a dog"))
        with pytest.raises(PolicyTimeout):
            await service.jobs.references.add("ann", digest_of(picture()), picture())
        await service.submit_all("bob", wanted("k", "a dog"))

    async def first(service: Service) -> None:
        for name in ("ann", "bob"):
            service.context.accounts.open(AccountRow(account=name, plan="basic"))
        await work(service)

    async def later(service: Service) -> None:
        with pytest.raises(PolicyTimeout) as caught:
            await service.submit_all("ann", wanted("k", "a dog"))
        assert caught.value.rule == "repeated-blocks"
        assert 500_000 < caught.value.retry_after_ms <= 600_000
        service.context._latest += 600_001  # as if it were later
        await service.submit_all("ann", wanted("k", "a dog"))
        service.context._latest += 40 * 86_400_000
        await service.clean_up()
        assert (await service.jobs.moderator.page()).blocks == ()

    run(first, NoCats(), policy_blocks=3)
    run(later, NoCats(), policy_blocks=3)


def test_an_operator_ends_a_timeout_also_for_the_next_start(run: Run) -> None:
    async def first(service: Service) -> None:
        service.context.accounts.open(AccountRow(account="ann", plan="basic"))
        for number in range(2):
            with pytest.raises(PolicyBlocked):
                await service.submit_all("ann", wanted(f"k{number}", "a cat"))
        left_ms = (await service.accounts.show("ann")).timeout_ms - service.context.now_ms()
        assert 500_000 < left_ms <= 600_000
        assert await service.accounts.lift("ann")
        assert not await service.accounts.lift("ann")
        with pytest.raises(NoSuchAccount):
            await service.accounts.lift("eve")

    async def later(service: Service) -> None:
        assert (await service.accounts.show("ann")).timeout_ms == 0
        await service.submit_all("ann", wanted("k", "a dog"))
        with pytest.raises(PolicyBlocked):  # one strike, and not three
            await service.submit_all("ann", wanted("k2", "a cat"))
        await service.submit_all("ann", wanted("k3", "a dog"))
        assert len((await service.jobs.moderator.page("ann")).blocks) == 3, "the decisions stay"

    run(first, NoCats("prompt"), policy_blocks=2)
    run(later, NoCats("prompt"), policy_blocks=2)


def test_a_plan_says_what_would_be_blocked_and_counts_for_nothing(run: Run) -> None:
    async def work(service: Service) -> None:
        service.context.accounts.open(AccountRow(account="ann", plan="basic"))
        for _ in range(3):
            with pytest.raises(PolicyBlocked, match=r"prompt: Cats are not drawn here \(rule no-cats\)"):
                await service.plan("ann", wanted("k", "a {dog, cat}"))
        assert (await service.jobs.moderator.page()).blocks == ()
        assert (await service.plan("ann", wanted("k", "a dog"))).total_cost_ms > 0
        await service.submit_all("ann", wanted("k", "a dog"))

    run(work, NoCats("prompt"), policy_blocks=2)


def test_plans_keep_no_job_waiting(run: Run) -> None:
    going_on, all_ask, asked = threading.Event(), threading.Event(), list[str]()

    def slow(request: PolicyRequest) -> Decision:
        if "cat" in request.prompt:
            asked.append(request.prompt)
            if len(asked) == PLANNED:
                all_ask.set()
            assert going_on.wait(TIMEOUT)
        return ALLOW

    async def work(service: Service) -> None:
        words = "a {red, blue, green, white, black, brown, pink, grey} cat"
        plans = [asyncio.ensure_future(service.plan("local", wanted("k", words))) for _ in range(2)]
        try:
            assert await asyncio.to_thread(all_ask.wait, TIMEOUT)
            await asyncio.wait_for(service.submit_all("local", wanted("k", "a dog")), TIMEOUT / 2)
            assert len(asked) == PLANNED
        finally:
            going_on.set()
            found = await asyncio.gather(*plans)
        assert [len(plan.jobs) for plan in found] == [8, 8]

    run(work, slow, policy_timeout_s=TIMEOUT)


def test_texts_that_a_job_makes_pass_as_prompts_do(run: Run) -> None:
    policy = NoCats("prompt")

    async def work(service: Service) -> None:
        service.context.accounts.open(AccountRow(account="ann", plan="pro"))
        before = service.context.ledger.balance("ann")
        digest = digest_of(picture())
        await service.jobs.references.add("ann", digest, picture())
        asked: dict[str, Any] = {"kind": "describe", "sources": (Source(digest=digest),), "parameters": {}}
        one = await service.submit("ann", wanted("k", "", language=False, **asked))
        record = await ended(service, one.job.job, "ann")
        assert (record.state, len(record.texts)) == ("done", 4)
        assert policy.asked[-1].texts == ("thing 1", "thing 2", "thing 3", "thing 4")
        assert (policy.asked[-1].job, policy.asked[-1].kind) == (one.job.job, "describe")
        policy.word = "thing"
        spent = service.context.ledger.balance("ann")
        two = await service.submit("ann", wanted("k2", "", language=False, **asked))
        record = await ended(service, two.job.job, "ann")
        assert (record.state, record.failure, record.texts, record.charged_ms) == ("blocked", "no-cats", (), 0)
        assert service.context.ledger.balance("ann") == spent < before
        (row,) = (await service.jobs.moderator.page()).blocks
        assert (row.stage, row.job) == ("prompt", two.job.job)
        assert service.jobs.moderator.timeout_of("ann") == 0, "the words were the model's own"

    async def later(service: Service) -> None:
        assert service.jobs.moderator.timeout_of("ann") == 0
        with pytest.raises(PolicyBlocked):  # what she says herself counts
            await service.submit_all("ann", wanted("k3", "a thing"))
        assert service.jobs.moderator.timeout_of("ann") > 0

    run(work, policy, policy_blocks=1)
    run(later, policy, policy_blocks=1)


def test_strikes_count_within_a_window() -> None:
    strikes = Strikes(2, 100, 1_000)
    strikes.add("a", 0)
    strikes.add("a", 100)
    assert strikes.until("a", 101) == 0
    strikes.add("b", 101)
    strikes.add("a", 150)
    assert strikes.until("a", 151) == 1_150
    assert strikes.until("b", 151) == 0
    assert strikes.until("a", 1_150) == 0
    never = Strikes(0, 100, 1_000)
    for at in range(50):
        never.add("a", at)
    assert never.until("a", 50) == 0


def broken(request: PolicyRequest) -> Decision:
    raise ValueError("a fault of the operator's")


def nothing(request: PolicyRequest) -> Any:
    return None


def test_a_policy_that_is_down(run: Run) -> None:
    release = threading.Event()

    def hangs(request: PolicyRequest) -> Decision:
        release.wait(TIMEOUT)
        return ALLOW

    async def refused(service: Service) -> None:
        with pytest.raises(PolicyDown, match="policy: got no answer, allowed one; try again later"):
            await service.submit_all("local", wanted("k", "a dog"))
        assert (await service.page("local")).jobs == ()
        assert (await service.jobs.moderator.page()).blocks == ()
        assert service.jobs.moderator.answers["prompt", "down"] == 1

    for policy in (hangs, broken, nothing):
        run(refused, policy, open=True, policy_timeout_s=0.1)
    release.set()

    async def made(service: Service) -> str:
        (one,) = await service.submit_all("local", wanted("k", "a dog"))
        return (await ended(service, one.job.job)).state

    assert run(made, broken, policy_down="allow") == "done"


def test_pictures_that_no_policy_looks_at_are_not_shown(run: Run) -> None:
    def picky(request: PolicyRequest) -> Decision:
        if request.stage == "pictures":
            raise ValueError("no model")
        return ALLOW

    async def work(service: Service) -> None:
        (one,) = await service.submit_all("local", wanted("k", "a dog"))
        record = await ended(service, one.job.job)
        assert (record.state, record.failure) == ("blocked", "policy-down")
        assert (await service.jobs.moderator.page()).blocks == ()

    run(work, picky)


def test_a_studio_in_a_program_has_its_policy(tmp_path: Path) -> None:
    with DurableStudio(tmp_path / "data", policy=NoCats("prompt"), studio=open_studio) as studio:
        for _ in range(5):
            with pytest.raises(PolicyBlocked, match="rule no-cats"):
                studio.imagine("a cat")
        with pytest.raises(PolicyTimeout):
            studio.plan("a dog")
        assert (studio.lift_timeout(), studio.lift_timeout()) == (True, False)
        assert len(studio.imagine("a dog", images=1).pictures(TIMEOUT)) == 1
        assert studio.jobs()[0].state == "done"
    with DurableStudio(tmp_path / "data", policy=NoCats("pictures"), studio=open_studio) as studio:
        with pytest.raises(JobBlocked, match="Cats are not drawn here") as caught:
            studio.imagine("a cat").pictures(TIMEOUT)
        assert caught.value.kind == "no-cats"
