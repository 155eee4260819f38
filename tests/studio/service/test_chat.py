"""Conversations in a service: turns become jobs, are kept, and nothing is half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from salon.frontends.fake.worker import Behaviour, FakeWorker
from salon.parameters.errors import PromptRefused
from salon.parameters.job_request import JobRequest, Source
from salon.studio.chat.model import ModelRewriter
from salon.studio.chat.rules import rewrite
from salon.studio.chat.types import Rewrite, Scene
from salon.studio.errors import EndpointError
from salon.studio.moderation.types import ALLOW, Decision, PolicyRequest, block
from salon.studio.service import chat as chats
from salon.studio.service.chat import Said, Say
from salon.studio.service.context import ServiceContext
from salon.studio.service.embedded import DurableStudio
from salon.studio.service.errors import KeyReused, PolicyBlocked, TooMany, UnknownChat, UnknownJob, WrongValue
from salon.studio.service.options import ServiceOptions
from salon.studio.service.service import Service
from salon.studio.store.domains.chat import TurnRow
from salon.studio.store.rows import AccountRow
from salon.studio.store.writes import Put
from salon.studio.studio import Studio

from ..conftest import TIMEOUT
from .conftest import ended

Run = Callable[..., Any]


def open_studio(options: ServiceOptions, billing: Any) -> Studio:
    return Studio.over([FakeWorker(Behaviour())], accounts=billing)


def no_guns(request: PolicyRequest) -> Decision:
    return block("weapons", "No.") if "gun" in request.prompt else ALLOW


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Opens a service without a model for an account called ann, has something done with it, and closes it."""

    def go(work: Callable[[Service], Awaitable[Any]], **options: Any) -> Any:
        made = ServiceOptions(data=tmp_path / "data", **options)

        async def main() -> Any:
            service = Service(ServiceContext(made, open_studio))
            try:
                service.restore()
                service.context.studio.loop.release()
                if "ann" not in service.context.accounts.rows:
                    service.context.accounts.open(AccountRow(account="ann", plan="unlimited"))
                return await asyncio.wait_for(work(service), 2 * TIMEOUT)
            finally:
                await service.leave(0.0)
                await service.close()

        return asyncio.run(main())

    return go


def test_a_conversation(run: Run) -> None:
    async def work(service: Service) -> Said:
        async def say(key: str, text: str, **fields: Any) -> Said:
            said = await service.chat.say("ann", Say(key=key, text=text, **fields))
            if said.turn.job:
                assert (await ended(service, said.turn.job, "ann")).state == "done"
            return said

        first = await say("a", "a red apple, 3d --n 2")
        assert (first.chat, first.turn.number, first.turn.prompt, first.turn.by) == (
            1,
            1,
            "a red apple, 3d --n 2",
            "user",
        )
        job = await service.find(first.turn.job, "ann")
        assert (job.lane, job.kind, job.images) == ("draft", "imagine", 2)
        blue = await say("b", "make it blue", chat=1)
        assert blue.turn.prompt == f"a blue apple, 3d --seed {job.seed} --n 2"
        assert (blue.turn.number, blue.turn.behind, blue.turn.by, blue.turn.notes) == (2, 1, "rules", ())
        assert (await service.find(blue.turn.job, "ann")).seed == job.seed
        near = await say("c", "more like the second", chat=1)
        assert near.turn.source == Source(job=blue.turn.job, index=1)
        assert (await service.find(near.turn.job, "ann")).kind == "vary"
        hat = await say("d", "add a hat", chat=1)
        assert hat.turn.source == near.turn.source
        assert hat.turn.prompt.startswith("a blue apple with a hat, 3d --seed ")
        undone = await say("e", "undo", chat=1)
        assert undone.turn.prompt.startswith("a blue apple, 3d --seed ")
        branch = await say("f", "at night", chat=1, turn=1)
        assert branch.turn.prompt == f"a red apple, 3d, at night --seed {job.seed} --n 2"
        assert (branch.turn.number, branch.turn.behind) == (6, 1)
        own = await say("g", "", chat=1, prompt="a pear --n 1 --fast")
        assert (own.turn.by, (await service.find(own.turn.job, "ann")).lane) == ("user", "fast")
        dry = await say("h", "make it green", chat=1, run=False)
        assert (dry.turn.number, dry.turn.job) == (0, "")
        assert dry.turn.prompt.startswith("a green pear --lane fast --seed ")
        again = await say("a", "a red apple, 3d --n 2")
        assert (again.chat, again.turn, again.existing) == (1, first.turn, True)
        with pytest.raises(KeyReused):
            await say("a", "a red pear")
        with pytest.raises(UnknownChat, match="number 1"):
            await service.chat.say("bob", Say(key="x", text="make it blue", chat=1))
        other = await say("i", "make it blue", job=first.turn.job, private=True)
        assert other.turn.prompt == f"a blue apple, 3d --ar 1:1 --seed {job.seed}"
        assert other.chat == 2
        assert (await service.find(other.turn.job, "ann")).private
        more = await say("j", "again", chat=2)
        assert (await service.find(more.turn.job, "ann")).private, "as the turn before"
        return first

    first = run(work)

    async def later(service: Service) -> None:
        (two, one), next = await service.chat.page("ann")
        assert (one.chat, one.title, one.turns, two.title, next) == (1, "a red apple, 3d --n 2", 7, "make it blue", 0)
        assert one.prompt == "a pear --lane fast --n 1"
        assert (await service.chat.page("ann", limit=1))[1] == 2
        assert (await service.chat.page("bob"))[0] == ()
        chat, turns, more = await service.chat.show("ann", 1, after=1, limit=2)
        assert ([turn.number for turn in turns], more, chat) == ([2, 3], True, one)
        assert (await service.chat.show("ann", 1))[1][0] == first.turn
        await service.chat.delete("ann", 2)
        with pytest.raises(UnknownChat):
            await service.chat.show("ann", 2)
        assert (await service.find(first.turn.job, "ann")).state == "done"
        service.context._latest += 8 * 86_400_000
        await service.clean_up()
        assert (await service.chat.page("ann"))[0] == ()
        assert service.context.store.rows(TurnRow) == ()

    run(later, keep_days=7.0)


def test_what_is_refused_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(service: Service) -> None:
        async def refused(error: type[Exception], match: str, **fields: Any) -> None:
            with pytest.raises(error, match=match):
                await service.chat.say("ann", Say(**({"key": "r"} | fields)))

        await refused(WrongValue, "chat: got nothing", text=" ")
        await refused(PromptRefused, "got 2 prompts in one", text="a {cat, dog}")
        await refused(PromptRefused, "--n: got '9'", text="a cat --n 9")
        await refused(PolicyBlocked, "rule weapons", text="a gun")
        await refused(UnknownChat, "number 4", text="again", chat=4)
        await refused(UnknownJob, "job", text="again", job="nope")
        assert (await service.chat.page("ann"))[0] == ()
        said = await service.chat.say("ann", Say(key="r", text="a cat"))
        before = await service.chat.show("ann", said.chat)
        await refused(PolicyBlocked, "rule weapons", key="s", text="add a gun", chat=said.chat)
        await refused(UnknownChat, "turn 9", key="s", text="again", chat=said.chat, turn=9)
        await refused(WrongValue, "1,001 characters", key="s", text="x" * 1001, chat=said.chat)
        await refused(WrongValue, "a job and a conversation", key="s", text="x", chat=said.chat, job=said.turn.job)
        assert await service.chat.show("ann", said.chat) == before
        monkeypatch.setattr(chats, "MAX_TURNS", 1)
        await refused(TooMany, "begin a new conversation", key="s", text="again", chat=said.chat)
        monkeypatch.setattr(chats, "MAX_CHATS", 1)
        await refused(TooMany, "delete some", key="s", text="a dog")

    run(work, policy=no_guns)


def test_a_turn_whose_job_was_not_accepted_before_a_crash(run: Run) -> None:
    """The row was on disk, and the job was not: the same key has it made."""

    async def work(service: Service) -> None:
        said = await service.chat.say("ann", Say(key="k", text="a cat --seed 3"))
        (row,) = service.context.store.rows(TurnRow)
        lost = msgspec.structs.replace(
            row, key="l", number=2, text="make it blue", prompt="a blue cat --seed 3", job=""
        )
        await service.waits.stored([Put(lost)])
        again = await service.chat.say("ann", Say(key="l", text="make it blue", chat=said.chat))
        assert again.existing
        assert (await ended(service, again.turn.job, "ann")).prompt == "a blue cat"
        assert (await service.chat.show("ann", 1))[1][-1].job == again.turn.job

    run(work)


def test_turns_at_the_same_time_come_one_after_another(run: Run) -> None:
    async def work(service: Service) -> None:
        said = await service.chat.say("ann", Say(key="k", text="a cat --n 1"))
        each = [service.chat.say("ann", Say(key=f"k{i}", text="again", chat=said.chat)) for i in range(6)]
        again = [service.chat.say("ann", Say(key="k0", text="again", chat=said.chat)) for _ in range(2)]
        done = await asyncio.gather(*each, *again)
        assert sorted(one.turn.number for one in done[:6]) == [2, 3, 4, 5, 6, 7]
        assert {one.turn.job for one in done[6:]} == {done[0].turn.job}
        assert len((await service.chat.show("ann", said.chat))[1]) == 7

    run(work)


def test_a_conversation_that_is_deleted_while_a_turn_is_taken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of it: a turn would have been another's in the next conversation of that number."""

    async def work(service: Service) -> None:
        said = await service.chat.say("ann", Say(key="k", text="a cat --n 1"))
        submit, begun, free = service.submit_all, asyncio.Event(), asyncio.Event()

        async def slowly(account: str, request: JobRequest) -> Any:
            begun.set()
            await free.wait()
            return await submit(account, request)

        monkeypatch.setattr(service, "submit_all", slowly)
        saying = asyncio.create_task(service.chat.say("ann", Say(key="k2", text="again", chat=said.chat)))
        await begun.wait()
        deleting = asyncio.create_task(service.chat.delete("ann", said.chat))
        await asyncio.wait({deleting}, timeout=0.1)
        free.set()
        await asyncio.gather(saying, deleting)
        with pytest.raises(UnknownChat):
            await service.chat.show("ann", said.chat)
        assert service.context.store.rows(TurnRow, limit=9, account="ann") == ()

    run(work)


def test_a_model_answers_or_rules_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = []

    def by_model(self: ModelRewriter, scene: Scene, sentence: str) -> Rewrite:
        if not answers:
            raise EndpointError("https://model.example: got no answer, allowed one; look after that service")
        return rewrite(scene, answers.pop())

    monkeypatch.setattr(ModelRewriter, "rewrite", by_model)

    async def work(service: Service) -> None:
        async def say(key: str, text: str, **fields: Any) -> Any:
            return (await service.chat.say("ann", Say(key=key, text=text, chat=1, **fields))).turn

        await service.chat.say("ann", Say(key="a", text="a red apple --seed 1"))
        answers.append("make it blue")
        blue = await say("b", "the colour of the sky, please")
        assert (blue.prompt, blue.by, blue.notes) == ("a blue apple --seed 1", "model", ())
        fallback = await say("c", "make it green")
        note = "the language model gave no answer that can be used, so rules wrote this prompt"
        assert (fallback.prompt, fallback.by, fallback.notes) == ("a green apple --seed 1", "rules", (note,))
        answers.append("make it pink")
        assert (await say("d", "make it gold", rules=True)).prompt == "a gold apple --seed 1"
        assert (await say("e", "--n 1")).by == "rules"
        monkeypatch.setattr(chats, "WAITING", 0)
        assert "too much to do" in (await say("f", "make it red")).notes[0]
        assert answers == ["make it pink"]

    run(work, chat_endpoint="https://model.example/v1", chat_model="small")


def test_a_studio_in_a_program(tmp_path: Path) -> None:
    with DurableStudio(tmp_path / "data", studio=open_studio) as studio:
        said = studio.chat.say("a red apple --n 1 --seed 5")
        said = studio.chat.say("make it blue", chat=said.chat, private=True)
        assert len(studio.job(said.turn.job).pictures(TIMEOUT)) == 1
        assert [turn.prompt for turn in studio.chat.turns(1, after=1)] == ["a blue apple --seed 5 --n 1"]
        assert [chat.turns for chat in studio.chat.list()] == [2]
        studio.chat.delete(1)
        assert studio.chat.list() == ()


def test_a_job_of_its_own_prompt_language(run: Run) -> None:
    """A conversation can begin with any job that the account may see, also one of several texts."""

    async def work(service: Service) -> None:
        request = JobRequest(key="k", prompt="a cat:: a dog::0.5 --ar 2:1 --seed 4 --n 1", language=True)
        (one,) = await service.submit_all("ann", request)
        said = await service.chat.say("ann", Say(key="l", text="make it blue", job=one.job.job))
        assert said.turn.prompt == "a blue cat::0.6667 a dog::0.3333 --ar 1:1 --seed 4"

    run(work)
