"""What accounts like, at the service, over the shipped model: pairs, likes, profiles, codes, and what they draw.

Long because it is one subject: every test asks one running service, which the makers at the top start.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from salon.engine.checkpoint import EMBEDDED
from salon.engine.engine import Engine
from salon.engine.errors import SpecError
from salon.engine.styles.names import taste_of
from salon.engine.words import Words
from salon.parameters.errors import ParameterError
from salon.parameters.job_request import JobRequest, Source
from salon.studio.errors import TasteRefused
from salon.studio.references import digest_of
from salon.studio.scheduling.billing import Billing
from salon.studio.service import taste_pool
from salon.studio.service.context import ServiceContext, open_studio
from salon.studio.service.errors import UnknownJob
from salon.studio.service.job_record import JobRecord
from salon.studio.service.options import ServiceOptions
from salon.studio.service.service import Service
from salon.studio.service.taste_account import ACCOUNT
from salon.studio.store.domains.taste import TasteCodeRow, TasteEventRow, TasteUseRow
from salon.studio.store.rows import AccountRow
from salon.studio.store.writes import Put
from salon.studio.studio import Studio
from salon.studio.taste.pool import PoolPicture
from salon.studio.taste.types import TasteEvent, Taught
from salon.studio.workers.thread import ThreadWorker

from .conftest import ended

pytestmark = pytest.mark.usefixtures("embedded_once")

NEEDED = 4  # events that unlock a profile here
WAIT_S = 600.0
SMALL: dict[str, Any] = {"images": 1, "steps": 1, "seed": 5, "width": 64, "height": 64}
Serve = Callable[..., Any]


def run(folder: Path, work: Callable[[Service], Awaitable[Any]], engine: Engine | None = None, **options: Any) -> Any:
    """Open a service over the shipped model with accounts ann and bob, have something done with it, and close it.

    `engine`: serves, in place of one that knows nothing yet.
    """
    values: dict[str, Any] = {"threads": 1, "process": False, "taste_unlock": NEEDED}
    made = ServiceOptions(data=folder, **(values | options))

    def over(options: ServiceOptions, billing: Billing) -> Studio:
        if engine is None:
            return open_studio(options, billing)
        words = Words(reader=engine.reader)
        return Studio.over([ThreadWorker(engine)], accounts=billing, reader=engine.reader, vocabulary=words)

    async def main() -> Any:
        service = Service(ServiceContext(made, over))
        for account in ("ann", "bob"):
            if account not in service.context.accounts.rows:
                service.context.accounts.open(AccountRow(account=account))
        try:
            service.restore()
            service.context.studio.loop.release()
            return await asyncio.wait_for(work(service), WAIT_S)
        finally:
            await service.leave(0.0)
            await service.close()

    return asyncio.run(main())


async def answer(service: Service, account: str, count: int, profile: str = "") -> Taught:
    """Answer pairs, always for the picture whose digest is smaller."""
    for _ in range(count):
        pair = await service.taste.next_pair(account, profile)
        choice = "left" if pair.left.digest < pair.right.digest else "right"
        taught = await service.taste.rank(account, pair.pair, choice)
    return taught


async def drawn(service: Service, account: str, prompt: str, key: str, **said: Any) -> JobRecord:
    request = JobRequest(key=key, prompt=prompt, parameters={**SMALL, **said}, language=True)
    (found,) = await service.submit_all(account, request)
    record = await ended(service, found.job.job, account)
    assert record.state == "done", record.reason
    return record


def codes_of(record: JobRecord) -> dict[str, float]:
    return {code: weight for name, weight in record.styles.items() if (code := taste_of(name)) is not None}


def kept(events: tuple[TasteEvent, ...]) -> list[TasteEvent]:
    """Return events as the log has them: how hard they pull is known only once they were learned."""
    return [msgspec.structs.replace(event, pull=0.0) for event in events]


def picture(record: JobRecord) -> str:
    return next(each.digest for each in record.pictures if each.index == 0)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Draw the pictures to rank in one step: what is in them does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taste_pool, "STEPS", 1)
        yield


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(threads=1)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """A folder in which ann has answered as many pairs as unlock a profile."""
    folder = tmp_path_factory.mktemp("taste") / "data"

    async def work(service: Service) -> None:
        assert ACCOUNT not in service.context.accounts.rows, "nothing is drawn before somebody ranks"
        await answer(service, "ann", NEEDED)
        pool = service.taste.pool
        while pool._filling is None or not pool._filling.done() or pool._drawn or pool._ready != pool._pictures:
            await asyncio.sleep(0.01)  # the pictures to rank are drawn, then their style vectors are asked for
        await service.jobs.idle.wait()

    run(folder, work, engine)
    return folder


@pytest.fixture
def serve(ranked: Path, tmp_path: Path, engine: Engine) -> Serve:
    """Have something done with a copy of that folder; a second call goes on with the same copy. With `fresh` the engine
    knows nothing yet of what other tests drew."""
    folder = tmp_path / "data"
    shutil.copytree(ranked, folder)

    def call(work: Callable[[Service], Awaitable[Any]], *, fresh: bool = False, **options: Any) -> Any:
        return run(folder, work, None if fresh else engine, **options)

    return call


# ---- pairs -----------------------------------------------------------------------------------------------------------


def test_two_pairs_may_be_open_and_each_is_answered_once(serve: Serve) -> None:
    async def work(service: Service) -> None:
        taste = service.taste
        first, second = await taste.next_pair("bob"), await taste.next_pair("bob")
        assert first.pair != second.pair
        assert (first.events, first.needed, first.profile) == (0, NEEDED, "")
        for picture in (first.left, first.right):
            record = await service.find(picture.job, "bob")  # anybody may fetch it
            assert (record.account, record.private, record.charged_ms) == (ACCOUNT, False, 0)
        assert (await service.find(first.left.job, "bob")).prompt == (await service.find(first.right.job, "bob")).prompt
        assert [(await taste.next_pair("bob")).pair for _ in range(3)] == [first.pair, second.pair, first.pair]
        taught = await taste.rank("bob", first.pair, "left")
        assert (taught.event, taught.events, taught.teaches) == (1, 1, True)
        assert await taste.rank("bob", first.pair, "left") == taught
        with pytest.raises(TasteRefused, match="pair: got right after left, allowed one answer"):
            await taste.rank("bob", first.pair, "right")
        with pytest.raises(TasteRefused, match="choice: got 'up', allowed left, right, skip"):
            await taste.rank("bob", second.pair, "up")
        with pytest.raises(TasteRefused, match="allowed one that you were given"):
            await taste.rank("ann", second.pair, "left")
        third = await taste.next_pair("bob")
        assert third.pair not in (first.pair, second.pair)
        assert third.profile == taught.profile
        seen = [frozenset((each.left.digest, each.right.digest)) for each in (first, second, third)]
        assert len(set(seen)) == 3

    serve(work)


def test_a_pair_whose_answer_is_undone_is_given_again_and_counts_once(serve: Serve) -> None:
    async def work(service: Service) -> None:
        taste = service.taste
        first = await taste.next_pair("bob")
        left = await taste.rank("bob", first.pair, "left")
        undone = await taste.undo("bob")
        assert (undone.event, undone.on) == (left.event, False)
        assert (await taste.next_pair("bob")).pair == first.pair, "before a new one is made"
        second = await taste.next_pair("bob")
        assert second.pair != first.pair
        skip, other = await taste.rank("bob", first.pair, "skip"), await taste.rank("bob", second.pair, "right")
        for event in (other.event, skip.event):
            assert (await taste.undo("bob")).event == event
        assert [(await taste.next_pair("bob")).pair for _ in range(2)] == [first.pair, second.pair]
        right = await taste.rank("bob", first.pair, "right")
        assert right.events == 1
        assert (await taste.switch("bob", left.event, True)).on, "and its pair's other answer is off"
        assert {each.event for each in await taste.events("bob") if each.on} == {left.event}
        assert (await taste.rank("bob", first.pair, "left")).event == left.event
        await taste.undo("bob")
        await taste.switch("bob", left.event, True)  # as if it had never been undone
        assert first.pair not in {(await taste.next_pair("bob")).pair for _ in range(3)}

    serve(work)


def test_no_picture_stays_on_its_side_in_the_next_pair(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = taste_pool.TastePool.ready

    async def few(pool: taste_pool.TastePool, answered: int) -> list[PoolPicture]:
        return (await ready(pool, answered))[:4]  # as while the others are being drawn: pairs share pictures

    monkeypatch.setattr(taste_pool.TastePool, "ready", few)

    async def work(service: Service) -> None:
        taste = service.taste
        shown = await taste.next_pair("bob")
        for _ in range(5):
            after = await taste.next_pair("bob")
            assert shown.left.digest != after.left.digest
            assert shown.right.digest != after.right.digest
            await taste.rank("bob", shown.pair, "skip")
            shown = after

    serve(work)


def test_many_requests_at_a_time_are_one_answer_and_two_pairs(serve: Serve) -> None:
    async def work(service: Service) -> None:
        taste = service.taste
        pairs = await asyncio.gather(*(taste.next_pair("bob") for _ in range(6)))
        assert len({each.pair for each in pairs}) == 2
        answers = (taste.rank("bob", each.pair, "left") for each in pairs)
        taught = await asyncio.gather(*answers)
        assert {each.event for each in taught} == {1, 2}
        assert [each.event for each in await taste.events("bob")] == [2, 1]
        assert len({each.profile for each in taught}) == 1, "one global profile"
        mixed = await asyncio.gather(
            taste.new_profile("bob", "same"), taste.new_profile("bob", "same"), return_exceptions=True
        )
        assert sorted(type(each).__name__ for each in mixed) == ["TasteProfile", "TasteRefused"]

    serve(work)


def test_pairs_of_deleted_pictures_are_given_no_more(serve: Serve) -> None:
    async def work(service: Service) -> None:
        taste = service.taste
        first, second = await taste.next_pair("bob"), await taste.next_pair("bob")
        await service.delete(first.left.job, ACCOUNT)
        taste.sweep()
        shown = {(await taste.next_pair("bob")).pair for _ in range(5)}
        assert first.pair not in shown
        assert len(shown) == 2
        assert (second.pair in shown) == (first.left.job not in (second.left.job, second.right.job))
        with pytest.raises(TasteRefused, match="one of which a picture was deleted"):
            await taste.rank("bob", first.pair, "left")

    serve(work)


def test_a_skip_is_kept_and_says_nothing(serve: Serve) -> None:
    async def work(service: Service) -> None:
        before = await service.taste.profile("ann")
        code = await service.taste.resolve("ann", ())
        pair = await service.taste.next_pair("ann")
        taught = await service.taste.rank("ann", pair.pair, "skip")
        assert (taught.teaches, taught.events) == (False, before.events)
        (event,) = await service.taste.events("ann", limit=1)
        assert (event.choice, event.teaches, [each.picked for each in event.pictures]) == ("skip", False, [False] * 2)
        vectors = [
            service.context.store.row(TasteCodeRow, name)
            for ((name, _),) in (code, await service.taste.resolve("ann", ()))
        ]
        assert vectors[0] is not None
        assert vectors[1] is not None
        assert vectors[0].vector == vectors[1].vector

    serve(work)


def test_a_service_opened_again_goes_on_where_it_was(serve: Serve) -> None:
    async def before(service: Service) -> tuple[Any, ...]:
        pair = await service.taste.next_pair("ann")
        return pair, await service.taste.resolve("ann", ()), kept(await service.taste.events("ann"))

    async def after(service: Service) -> tuple[Any, ...]:
        code, events = await service.taste.resolve("ann", ()), kept(await service.taste.events("ann"))
        taught = await service.taste.rank("ann", pair.pair, "left")
        assert taught.event == NEEDED + 1
        return code, events

    pair, code, events = serve(before)
    assert serve(after) == (code, events)


def test_a_state_of_a_log_has_one_code_also_if_arithmetic_differs_elsewhere(serve: Serve) -> None:
    async def work(service: Service) -> None:
        model, space = service.context.studio.loop.model.identity, service.context.studio.loop.model.taste
        assert space is not None
        row = TasteCodeRow(
            code="c" * 16, profile=(await service.taste.profile("ann")).profile, account="ann", name="", kind="global",
            shows="profile", made_ms=1, algorithm=space.algorithm, model=model.digest, model_name=str(model),
            events=NEEDED, last_event=NEEDED, vector=space.number_vector(1).tobytes(),
        )  # fmt: skip
        await service.waits.stored([Put(row)])
        assert await service.taste.resolve("ann", ()) == (("c" * 16, 1.0),)
        await answer(service, "ann", 1)
        assert await service.taste.resolve("ann", ()) != (("c" * 16, 1.0),)

    serve(work)


# ---- unlock, codes ---------------------------------------------------------------------------------------------------


def test_too_few_ratings_are_told_in_these_words(serve: Serve) -> None:
    async def work(service: Service) -> None:
        for account, have in (("bob", 0), ("bob", 1)):
            if have:
                await answer(service, account, have)
            with pytest.raises(TasteRefused) as caught:
                await drawn(service, account, "a cat --p", f"k{have}")
            assert str(caught.value) == f"Not enough ratings ({have}/{NEEDED})"
        assert not (await service.page("bob")).jobs
        (event,) = await service.taste.events("ann", limit=1)
        await service.taste.switch("ann", event.event, False)
        with pytest.raises(TasteRefused, match=rf"^Not enough ratings \({NEEDED - 1}/{NEEDED}\)$"):
            await service.taste.resolve("ann", ())
        await service.taste.switch("ann", event.event, True)
        assert await service.taste.resolve("ann", ())

    serve(work)


def test_a_profile_draws_by_its_code_and_the_code_draws_the_same(serve: Serve) -> None:
    async def work(service: Service) -> None:
        plain = await drawn(service, "ann", "a cat --s 0", "plain")
        taste = await drawn(service, "ann", "a cat --p", "taste")
        (code,) = codes_of(taste)
        assert codes_of(taste) == {code: 0.7}
        assert picture(taste) != picture(plain)
        assert picture(await drawn(service, "bob", f"a cat --p {code}", "shared")) == picture(taste)
        assert picture(await drawn(service, "ann", "a cat --p --s 0", "none")) == picture(plain)
        strong = await drawn(service, "ann", "a cat --p --s 1000", "strong")
        assert codes_of(strong)[code] > 0.7
        plan = await service.plan("ann", JobRequest(key="p", prompt="a cat --p", parameters=SMALL, language=True))
        assert f"--p {code}" in plan.jobs[0].prompt
        assert plan.jobs[0].parameters["profile"] == ((code, 1.0),)
        assert plan.jobs[0].sources["profile"] == "typed"
        (told,) = await service.taste.codes("ann")
        model = service.context.studio.loop.model.identity
        assert (told.code, told.kind, told.events, told.last_event) == (code, "global", NEEDED, NEEDED)
        assert (told.model, told.model_name, told.shows) == (model.digest, str(model), "profile")
        assert told.made_ms > 0

    serve(work)


def test_blends_have_weights_and_stand_beside_style_references(serve: Serve) -> None:
    async def work(service: Service) -> None:
        await service.taste.new_profile("ann", "ink", "tuner", styles=[7, (8, 2.0)])
        both = await drawn(service, "ann", "a cat --p ink::3 --sref 4093", "sref")
        assert len(both.styles) == 2
        assert list(codes_of(both).values()) == [0.7]
        own = (await service.taste.profile("ann")).profile
        blend = await drawn(service, "ann", f"a cat --p ink::3 {own}", "blend")
        assert sorted(codes_of(blend).values()) == pytest.approx([0.175, 0.525])
        twice = await drawn(service, "ann", f"a cat --p {own} {own}::2", "twice")
        assert list(codes_of(twice).values()) == [0.7]
        with pytest.raises(TasteRefused, match="up to 4"):
            await service.taste.resolve("ann", ["ink"] * 5)
        with pytest.raises(SpecError, match="--sw: got it with a taste profile alone, allowed it with --sref; use --s"):
            await drawn(service, "ann", "a cat --p ink --sw 50", "sw")

    serve(work)


def test_settings_hold_a_profile(serve: Serve) -> None:
    async def work(service: Service) -> None:
        await service.prompts.change_settings("ann", {"profile": ()}, None, reset=False)
        found = await drawn(service, "ann", "a cat", "settings")
        assert len(codes_of(found)) == 1
        plan = await service.plan("ann", JobRequest(key="p", prompt="a cat", parameters=SMALL, language=True))
        assert plan.jobs[0].sources["profile"] == "settings"
        assert f"--p {next(iter(codes_of(found)))}" in plan.jobs[0].prompt
        assert (await service.taste.delete_profile("ann", "")).settings == ("ann",)
        await service.prompts.change_settings("ann", {}, "--p ink", reset=True)
        assert (await service.taste.delete_profile("ann", "")).settings == ()

    serve(work)


def test_several_jobs_of_one_prompt_each_name_a_profile(serve: Serve) -> None:
    async def work(service: Service) -> None:
        await service.taste.new_profile("ann", "ink", "tuner", styles=[7])
        request = JobRequest(key="k", prompt="a cat {--p, --p ink}", parameters=SMALL, language=True)
        found = await service.submit_all("ann", request)
        made = [await ended(service, each.job.job, "ann") for each in found]
        assert len({tuple(codes_of(each)) for each in made}) == 2
        assert (await service.taste.delete_profile("ann", "ink")).jobs == (made[1].job,)
        again = await service.submit_all("ann", request)
        assert [each.job.job for each in again] == [each.job for each in made], "one key, the same jobs"

    serve(work)


def test_what_is_made_of_pictures_takes_profiles_too(serve: Serve) -> None:
    async def work(service: Service) -> None:
        plain = await drawn(service, "ann", "a cat", "plain")
        request = JobRequest(
            key="vary", prompt="", kind="vary", sources=(Source(job=plain.job, index=0),), language=True,
            parameters={"images": 1, "profile": ()},
        )  # fmt: skip
        (found,) = await service.submit_all("ann", request)
        varied = await ended(service, found.job.job, "ann")
        (code,) = varied.styles
        assert taste_of(code) is not None, "in place of the default style"

    serve(work)


def test_what_was_accepted_is_drawn_though_its_code_is_revoked_before_a_restart(serve: Serve) -> None:
    async def before(service: Service) -> tuple[str, str]:
        service.context.studio.loop.hold()
        request = JobRequest(key="k", prompt="a cat --p", parameters=SMALL, language=True)
        (found,) = await service.submit_all("ann", request)
        ((code, _),) = await service.taste.resolve("ann", ())
        await service.taste.revoke("ann", code)
        return found.job.job, code

    async def after(service: Service) -> None:
        record = await ended(service, job, "ann")
        assert (record.state, list(codes_of(record))) == ("done", [code])

    job, code = serve(before)
    serve(after, fresh=True)


def test_a_recipe_names_the_code_and_is_made_again_by_anybody(serve: Serve) -> None:
    async def work(service: Service) -> None:
        made = await drawn(service, "ann", "a cat --p", "made")
        file = service.jobs.references.stored(picture(made))
        assert file is not None
        await service.jobs.references.add("bob", digest_of(file), file)
        request = JobRequest(key="again", prompt="", kind="reproduce", sources=(Source(digest=digest_of(file)),))
        found = await service.submit("bob", request)
        again = await ended(service, found.job.job, "bob")
        assert picture(again) == picture(made)
        await service.taste.revoke("ann", next(iter(codes_of(made))))
        with pytest.raises(TasteRefused, match="which its owner has revoked"):
            await service.submit("bob", msgspec.structs.replace(request, key="third"))

    serve(work, fresh=True)


@pytest.mark.parametrize("codes", ["keep", "revoke"])
def test_deleting_asks_and_keeps_or_revokes(serve: Serve, codes: str) -> None:
    async def work(service: Service) -> str:
        taste = service.taste
        first = await drawn(service, "ann", "a cat --p", "one")
        (code,) = codes_of(first)
        other = await drawn(service, "bob", f"a cat --p {code}", "two")
        extra = await drawn(service, "ann", "a dog --p", "extra")
        await service.delete(extra.job, "ann")
        asked = await taste.delete_profile("ann", "")
        assert (asked.deleted, asked.jobs, asked.num_jobs) == (False, (first.job,), 3)
        assert [each.code for each in asked.codes] == [code]
        assert await taste.resolve("ann", ()) == ((code, 1.0),)
        with pytest.raises(TasteRefused, match="codes: got 'burn', allowed keep or revoke"):
            await taste.delete_profile("ann", "", "burn")
        gone = await taste.delete_profile("ann", "", codes)
        assert (gone.deleted, [each.revoked for each in gone.codes]) == (True, [codes == "revoke"])
        with pytest.raises(TasteRefused, match=rf"Not enough ratings \(0/{NEEDED}\)"):
            await taste.resolve("ann", ())
        if codes == "keep":
            assert picture(await drawn(service, "bob", f"a cat --p {code}", "again")) == picture(other)
        else:
            for account in ("ann", "bob"):
                with pytest.raises(TasteRefused, match=f"{code}, which its owner has revoked"):
                    await drawn(service, account, f"a cat --p {code}", "again")
                with pytest.raises(TasteRefused, match="which its owner has revoked"):
                    await drawn(service, account, f"a cat --sref {code}", "sref")
        assert len(await taste.events("ann")) == NEEDED, "the log keeps what it had"
        assert service.context.store.row(TasteUseRow, code, first.job) is not None
        fresh = await answer(service, "ann", 1)
        assert (fresh.profile != asked.profile, fresh.events) == (True, 1)
        return code

    serve(work)


def test_one_code_is_revoked_by_its_owner_alone(serve: Serve) -> None:
    async def work(service: Service) -> None:
        ((code, _),) = await service.taste.resolve("ann", ())
        with pytest.raises(TasteRefused, match="allowed one of your own"):
            await service.taste.revoke("bob", code)
        assert (await service.taste.revoke("ann", code)).revoked
        with pytest.raises(TasteRefused, match="revoked"):
            await service.taste.resolve("ann", ())
        await answer(service, "ann", 1)
        assert (await service.taste.resolve("ann", ()))[0][0] != code
        assert [each.revoked for each in await service.taste.codes("ann")] == [False, True]

    serve(work)


def test_names_that_are_refused(serve: Serve) -> None:
    async def work(service: Service) -> None:
        taste, model = service.taste, service.context.studio.loop.model.identity
        mine = (await taste.profile("ann")).profile
        ((code, _),) = await taste.resolve("ann", ())
        row = service.context.store.row(TasteCodeRow, code)
        assert row is not None
        other = msgspec.structs.replace(row, code="a" * 16, model="f" * 64, model_name="other 1")
        await service.waits.stored([Put(other)])
        unknown = "profile: got .*, allowed your own by its name or id, a code, a public one by its id, or @"
        for account, name, message in (
            ("bob", "nobody", unknown),
            ("bob", mine, unknown),  # it is private
            ("bob", "@ann", unknown),
            ("bob", "@nobody", unknown),
            ("bob", "b" * 16, "taste code: got b{16}, which is not here"),
            ("ann", "a" * 16, f"which is of model other 1 f{{12}}, allowed one of model {model.digest[:12]}"),
        ):
            with pytest.raises(TasteRefused, match=message):
                await drawn(service, account, f"a cat --p {name}", "k")
        for name in ("@", "a b::x", "ink::0"):
            with pytest.raises((ParameterError, TasteRefused)):
                await service.plan("bob", JobRequest(key="p", prompt="a cat", parameters={"profile": [name]}))
        assert not (await service.page("bob")).jobs, "nothing was made"
        await taste.change_profile("ann", "", public=True)
        await service.accounts.set("ann", "local", keyed=False, name="Anna")
        for name in ("@ann", "@Anna", mine):
            assert await taste.resolve("bob", [name]) == ((code, 1.0),)
        await service.accounts.set("bob", "local", keyed=False, name="Anna")
        with pytest.raises(TasteRefused, match=unknown):  # which of them?
            await taste.resolve("bob", ["@Anna"])
        await taste.change_profile("ann", "", public=False)
        with pytest.raises(TasteRefused, match=unknown):
            await taste.resolve("bob", [mine])
        assert await taste.resolve("ann", ["@ann"]) == ((code, 1.0),), "one's own may be private"

    serve(work)


def linked_or_copied(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model with another digest."""
    folder = tmp_path_factory.mktemp("model") / "other"
    ignore = shutil.ignore_patterns("recipe", "__pycache__")
    shutil.copytree(EMBEDDED, folder, copy_function=linked_or_copied, ignore=ignore)
    text = (folder / "salon.json").read_text()
    (folder / "salon.json").unlink()  # it may be a link
    (folder / "salon.json").write_text(text + "\n")
    return folder


def test_a_profile_is_learned_anew_for_another_model_by_its_log(serve: Serve, other_model: Path) -> None:
    async def before(service: Service) -> str:
        ((code, _),) = await service.taste.resolve("ann", ())
        await service.taste.new_profile("ann", "ink", "tuner", styles=[7])
        return code

    async def after(service: Service) -> None:
        taste, model = service.taste, service.context.studio.loop.model.identity.digest
        with pytest.raises(
            TasteRefused, match="taste code: got .*, which is of model .*; name the profile in its place"
        ):
            await drawn(service, "ann", f"a cat --p {old}", "old")
        with pytest.raises(TasteRefused, match="which is of model"):
            await drawn(service, "ann", f"a cat --sref {old}", "old")
        made = await drawn(service, "ann", "a cat --p", "new")
        (code,) = codes_of(made)
        assert code != old
        assert [
            (each.code, each.model == model) for each in await taste.codes("ann", (await taste.profile("ann")).profile)
        ] == [
            (code, True),
            (old, False),
        ]
        assert len(codes_of(await drawn(service, "ann", "a cat --p ink", "ink"))) == 1
        assert (await answer(service, "ann", 1)).events == NEEDED + 1

    old = serve(before)
    serve(after, fresh=True, model=str(other_model))


# ---- grids, likes ----------------------------------------------------------------------------------------------------


def test_of_a_grid_the_last_picks_count(serve: Serve) -> None:
    async def work(service: Service) -> None:
        taste = service.taste
        job = await drawn(service, "bob", "a cat --chaos 50", "grid", images=4)
        for picked, message in (([], "0 of 4"), ([0, 1, 2, 3], "4 of 4"), ([4], "got 4, allowed 0 to 3")):
            with pytest.raises(TasteRefused, match=message):
                await taste.pick("bob", job.job, picked)
        first = await taste.pick("bob", job.job, [0, 2])
        assert first.events == 1
        assert await taste.pick("bob", job.job, [2, 0]) == first
        second = await taste.pick("bob", job.job, [1])
        assert (second.events, second.event) == (1, first.event + 2)
        events = await taste.events("bob")
        assert [(each.event, each.on) for each in events] == [(second.event, True), (first.event, False)]
        assert [each.picked for each in events[0].pictures] == [False, True, False, False]
        single = await drawn(service, "bob", "a cat", "one")
        with pytest.raises(TasteRefused, match="salon like"):
            await taste.pick("bob", single.job, [0])
        hidden = await drawn(service, "ann", "a cat", "hidden", images=2, private=True)
        with pytest.raises(UnknownJob):
            await taste.pick("bob", hidden.job, [0])

    serve(work)


def test_likes_of_others_teach_and_own_ones_never(serve: Serve) -> None:
    async def work(service: Service) -> None:
        taste = service.taste
        own, theirs = await drawn(service, "bob", "a cat", "own"), await drawn(service, "ann", "a dog", "theirs")
        hidden = await drawn(service, "ann", "a cat", "hidden", private=True)
        liked = await taste.like("bob", theirs.job, 0)
        assert (liked.teaches, liked.events) == (True, 1)
        assert await taste.like("bob", theirs.job, 0) == liked
        mine = await taste.like("bob", own.job, 0)
        assert (mine.teaches, mine.events) == (False, 1)
        assert [(each.kind, each.teaches) for each in await taste.events("bob")] == [("like", False), ("like", True)]
        assert (await taste.like("bob", theirs.job, 0, on=False)).events == 0
        assert (await taste.switch("bob", liked.event, True)).on
        assert (await taste.undo("bob")).event == mine.event
        assert (await taste.undo("bob")).event == liked.event
        with pytest.raises(TasteRefused, match="none of your own"):
            await taste.undo("bob")
        with pytest.raises(UnknownJob):
            await taste.like("bob", hidden.job, 0)
        with pytest.raises(TasteRefused, match="picture: got 7, allowed 0 to 0"):
            await taste.like("bob", theirs.job, 7)
        with pytest.raises(TasteRefused, match="which you do not like"):
            await taste.like("ann", theirs.job, 0, on=False)
        await service.taste.undo("ann")

    serve(work)


def test_public_pictures_of_all_are_listed_to_be_liked(serve: Serve) -> None:
    async def work(service: Service) -> None:
        own, theirs = await drawn(service, "bob", "a cat", "own"), await drawn(service, "ann", "a dog", "theirs")
        hidden = await drawn(service, "ann", "a cat", "hidden", private=True)
        page = await service.page(None, viewer="bob", public=True)
        assert [each.job for each in page.jobs] == [theirs.job, own.job], "none that the server draws to be ranked"
        assert [each.job for each in (await service.page("ann", viewer="bob", public=True)).jobs] == [theirs.job]
        mine = await service.page("ann", viewer="ann", states=("done",))
        assert {each.job for each in mine.jobs} == {theirs.job, hidden.job}
        only = await service.page(None, viewer="bob", public=True, states=("done",), limit=1)
        assert [each.job for each in only.jobs] == [theirs.job]
        last = await service.page(None, viewer="bob", public=True, before=only.next)
        assert ([each.job for each in last.jobs], last.next) == ([own.job], 0)

    serve(work)


def test_a_like_of_another_model_does_not_teach_this_ones_profile(serve: Serve) -> None:
    async def work(service: Service) -> None:
        theirs = await drawn(service, "ann", "a dog", "theirs")
        liked = await service.taste.like("bob", theirs.job, 0)
        row = service.context.store.row(TasteEventRow, "bob", liked.event)
        assert row is not None
        assert row.model == service.context.studio.loop.model.identity.digest
        await service.waits.stored([Put(msgspec.structs.replace(row, model="f" * 64))])

    async def after(service: Service) -> None:
        assert (await service.taste.profile("bob")).events == 0
        assert len(await service.taste.events("bob")) == 1

    serve(work)
    serve(after)


# ---- profiles of other kinds -----------------------------------------------------------------------------------------


def png(colour: tuple[int, int, int], size: tuple[int, int] = (96, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size[::-1], 3), colour, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_moodboard_keeps_what_can_be_read_and_names_the_rest(serve: Serve) -> None:
    async def work(service: Service) -> None:
        taste, references = service.taste, service.jobs.references
        files = [png((20 * i, 255 - 20 * i, 90)) for i in range(9)]
        for file in files:
            await references.add("bob", digest_of(file), file)
        digests = [digest_of(file) for file in files]
        board = await taste.new_profile("bob", "walls", "moodboard", [*digests, "e" * 64])
        assert board.profile.startswith("m")
        assert (board.pictures, board.events, board.needed) == (tuple(digests), 0, 0)
        assert [each.digest for each in board.left_out] == ["e" * 64]
        made = await drawn(service, "bob", f"a cat --p {board.profile}", "one")
        (code,) = codes_of(made)
        assert codes_of(await drawn(service, "bob", "a cat --p walls", "two")) == {code: 0.7}
        less = await taste.change_profile("bob", "walls", remove=digests[4:])
        assert less.pictures == tuple(digests[:4])
        assert codes_of(await drawn(service, "bob", "a cat --p walls", "three")) != {code: 0.7}
        assert picture(await drawn(service, "ann", f"a cat --p {code}", "old")) == picture(made)
        for changes, message in (
            ({"remove": digests[:4]}, "pictures: got 0, allowed 1 to 100"),
            ({"remove": digests[8:]}, "which is not in it"),
            ({"name": "two words"}, "name: got 'two words'"),
        ):
            with pytest.raises(TasteRefused, match=message):
                await taste.change_profile("bob", "walls", **changes)
        with pytest.raises(TasteRefused, match="at least one that can be read"):
            await taste.new_profile("ann", "stolen", "moodboard", digests)  # ann has not brought them
        with pytest.raises(TasteRefused, match="name: got 'walls' again"):
            await taste.new_profile("bob", "walls", "tuner", styles=[1])
        with pytest.raises(TasteRefused, match="pictures of a tuner"):
            await taste.new_profile("bob", "other", "tuner", digests, [1])
        with pytest.raises(TasteRefused, match="a moodboard, allowed a profile that is learned"):
            await taste.next_pair("bob", "walls")
        assert taste.in_use() == set(digests[:4])
        report = await taste.report("bob", "walls")
        assert (report.verdict, report.held_out.count, report.anti_code) == ("", 0, "")
        assert report.code == (await taste.resolve("bob", ["walls"]))[0][0]

    serve(work)


def test_a_tuner_is_styles_by_number(serve: Serve) -> None:
    async def work(service: Service) -> None:
        taste = service.taste
        await taste.new_profile("bob", "one", "tuner", styles=[4093])
        number = await drawn(service, "bob", "a cat --sref 4093", "number")
        (code, _), *_ = await taste.resolve("bob", ["one"])
        tuned = await drawn(service, "bob", f"a cat --sref {code}", "tuned")
        pixels = []
        for made in (number, tuned):
            file = service.jobs.references.stored(picture(made))
            assert file is not None
            pixels.append(Image.open(io.BytesIO(file)).tobytes())
        assert pixels[0] == pixels[1], "one style alone is that style"
        for styles, message in (
            ([], "styles: got 0"),
            ([1, 1], "1 twice"),
            ([-1], "a style number from 0"),
            ([(1, 0.0)], "weight of a style"),
            (["x"], "style: got 'x'"),
        ):
            with pytest.raises(TasteRefused, match=message):
                await taste.new_profile("bob", "two", "tuner", styles=styles)

    serve(work)


def test_a_named_profile_has_events_of_its_own(serve: Serve) -> None:
    async def work(service: Service) -> None:
        taste = service.taste
        made = await taste.new_profile("ann", "work")
        taught = await answer(service, "ann", 1, "work")
        assert (taught.profile, taught.events) == (made.profile, 1)
        assert (await taste.profile("ann")).events == NEEDED
        assert [each.profile for each in await taste.events("ann", "work")] == [made.profile]
        with pytest.raises(TasteRefused, match=rf"Not enough ratings \(1/{NEEDED}\)"):
            await taste.resolve("ann", ["work"])
        assert [each.name for each in await taste.profiles("ann")] == ["", "work"]
        await taste.delete_profile("ann", "work", "keep")
        with pytest.raises(TasteRefused):
            await taste.next_pair("ann", "work")
        assert [each.name for each in await taste.profiles("ann")] == [""]

    serve(work)


# ---- report, bonus ---------------------------------------------------------------------------------------------------


def test_a_report_has_numbers_and_codes(serve: Serve) -> None:
    async def work(service: Service) -> None:
        report = await service.taste.report("ann")
        assert report.held_out.count == NEEDED
        assert 0 <= report.held_out.low <= report.held_out.value <= report.held_out.high <= 1
        assert report.verdict == "does nothing", "four choices prove nothing"
        assert len(report.pulls) == NEEDED
        assert [each.pull for each in report.pulls] == sorted((each.pull for each in report.pulls), reverse=True)
        assert report.liked
        codes = [report.code, report.anti_code, report.random_code]
        assert len(set(codes)) == 3
        made = [picture(await drawn(service, "bob", f"a cat --p {code}", f"k{i}")) for i, code in enumerate(codes)]
        assert len(set(made)) == 3
        assert (await service.taste.report("ann", report.code)).profile.profile == report.profile.profile
        assert {each.shows for each in await service.taste.codes("ann")} == {"profile", "anti", "random"}
        await answer(service, "bob", 1)
        early = await service.taste.report("bob")
        assert (early.code, early.held_out.count) == ("", 1)
        with pytest.raises(TasteRefused):
            await service.taste.report("bob", report.code)

    serve(work)


def test_who_ranked_most_gets_the_bonus_once(serve: Serve) -> None:
    from salon.scheduler.entries import EntryKind, Source

    async def work(service: Service) -> None:
        context = service.context
        for account in ("ann", "bob"):
            await service.accounts.set(account, "local", keyed=False, plan="basic")
        now = context.now_ms()
        yesterday = now // 86_400_000 - 1
        rows = [
            TasteEventRow(
                account=account, event=1000 + i, kind="pair", profile="p", day=yesterday, at_ms=now, teaches=on
            )
            for account, count, on in (("ann", 5, True), ("bob", 3, True), ("local", 9, True), ("cy", 9, False))
            for i in range(count)
        ]
        await service.waits.stored(list(map(Put, rows)))
        assert await service.taste.bonus.give() == 1
        assert await service.taste.bonus.give() == 0
        bonus = [each for each in context.store.all_entries() if each.source is Source.BONUS]
        assert [(each.account, each.amount_ms) for each in bonus if each.kind is EntryKind.GRANT] == [
            ("ann", 3_600_000)
        ]

    async def again(service: Service) -> None:
        assert await service.taste.bonus.give() == 0

    serve(work, bonus_events=3, bonus_rankers=1)
    serve(again, bonus_events=3, bonus_rankers=1)
