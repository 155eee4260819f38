"""The prompt language from a client: prompts, plans, settings, and servers that are older."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.engine import solvers
from salon.frontends.client.errors import Invalid, RefusedByPlan, Unsupported
from salon.frontends.client.fake import FakeServer
from salon.frontends.wire import messages as m
from salon.frontends.wire import version
from salon.parameters.errors import PromptRefused
from salon.parameters.known import parameters

from .helpers import DONE_S, Connect


def test_parameters_in_the_prompt(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    job = client.imagine("a cat --ar 3:2 --seed 7 --n 1 --relax --private", key="k")
    info = job.info
    assert (info.prompt, info.seed, info.images, info.asked_lane, info.private) == ("a cat", 7, 1, "relax", True)
    again = client.imagine("a cat", aspect=(3, 2), seed=7, images=1, lane="relax", private=True, key="k")
    assert again.id == job.id
    for wrong in ("a cat --seed 8", "a dog"):
        with pytest.raises(Invalid, match="'k' again, with another request"):
            client.imagine(wrong, key="k")


def test_what_is_wrong_is_refused_before_it_is_sent(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    before = len(server.requests)
    for prompt, said, message in (
        ("a cat --foo", {}, "'--foo': got a name"),
        ("a cat --ar 3:2", {"aspect": (1, 1)}, "--ar: got another value than --ar beside the prompt"),
        ("a cat --sref poster.png", {}, "--sref: got the file"),  # of this machine, which no prompt may read
        ("{a, b}", {}, "got 2 prompts in one, allowed one; call imagine_all"),
        ("a cat --video", {}, "it needs video"),
    ):
        with pytest.raises(Invalid, match=message):
            client.imagine(prompt, **said)
    with pytest.raises(Invalid) as caught:
        client.imagine("a cat --foo")
    cause = caught.value.__cause__
    assert isinstance(cause, PromptRefused)
    assert (cause.prompt, cause.position) == ("a cat --foo", 6)
    assert not any(isinstance(request, m.Submit) for request in server.requests[before:])


def test_several_jobs_of_one_prompt(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    jobs = client.imagine_all("a {red, green} apple --n 1 --repeat 2", key="k")
    assert [job.info.prompt for job in jobs] == ["a red apple"] * 2 + ["a green apple"] * 2
    assert [job.wait(timeout_s=DONE_S).state for job in jobs] == ["done"] * 4
    assert [job.id for job in client.imagine_all("a {red, green} apple --n 1 --repeat 2", key="k")] == [
        job.id for job in jobs
    ]
    (one,) = client.imagine_all("a red apple --n 1")
    assert one.info.images == 1


def test_the_limit_of_a_plan_refuses_all_of_them(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    client.ops.set_account("local", plan="basic")
    with pytest.raises(RefusedByPlan, match="permutations: got 5 jobs in one submit, allowed 4 on the basic plan"):
        client.imagine_all("a cat --repeat 5")
    assert client.jobs().jobs == ()
    assert client.info().held_ms == 0
    with pytest.raises(RefusedByPlan, match="Relax queues are only available"):
        client.plan("a cat --relax")


def test_a_plan(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    client.ops.set_account("local", plan="basic")
    found = client.plan("a {red, green} apple --n 2", seed=7)
    assert [job.prompt for job in found.jobs] == [
        "a red apple --seed 7 --n 2", "a green apple --seed 7 --n 2"
    ]  # fmt: skip
    first = found.jobs[0]
    assert (first.lane, first.parameters["images"], first.sources["images"]) == ("fast", 2, "typed")
    assert (first.parameters["seed"], first.sources["steps"]) == (7, "model")
    assert found.total_cost_ms == 2 * first.cost_ms
    jobs = client.imagine_all("a {red, green} apple --n 2", seed=7)
    assert all(job.wait(timeout_s=DONE_S).state == "done" for job in jobs)
    assert [job.refresh().charged_ms for job in jobs] == [job.cost_ms for job in found.jobs]
    with pytest.raises(Invalid, match="'--foo'"):
        client.plan("a cat --foo")


def test_settings(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    assert client.settings.show() == m.SettingsInfo()
    kept = client.settings.change(suffix="--n 1", seed=None, guidance_scale=3)
    assert kept == m.SettingsInfo(parameters={"guidance_scale": 3.0}, suffix="--n 1")
    info = client.imagine("a cat").info
    assert (info.images, info.guidance_scale) == (1, 3.0)
    assert client.imagine("a cat --n 2").info.images == 2
    assert client.plan("a cat").jobs[0].sources["images"] == "suffix"
    with pytest.raises(Invalid, match="guidance_scale: got 200"):
        client.settings.change(guidance_scale=200)
    with pytest.raises(Invalid, match="suffix: got 'a dog'"):
        client.settings.change(suffix="a dog")
    assert client.settings.show() == kept
    assert client.settings.change(guidance_scale=None).parameters == {}
    assert client.settings.reset() == m.SettingsInfo()
    assert client.imagine("a cat").info.images == 4


def test_the_server_says_what_a_request_can_say(server: FakeServer, connect: Connect) -> None:
    found = {each.name: each for each in connect(server.address).parameters()}
    assert list(found) == list(parameters())
    assert (found["stylize"].kind, found["stylize"].low, found["stylize"].high) == ("number", 0.0, 1000.0)
    assert found["solver"].choices == solvers.names()
    assert found["lane"].values["--relax"] == "relax"
    assert (found["raw"].kind, found["raw"].conflicts) == ("switch", ("stylize",))
    assert found["video"].missing == "video"
    assert all(each.help and (each.allowed or each.kind == "switch") for each in found.values())


@pytest.mark.parametrize("features", [("parameters", "private", "kinds"), ("private",), ()])
def test_a_server_without_the_language(
    connect: Connect, features: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it can do it does: the client reads the prompt."""
    negotiate = version.negotiate
    monkeypatch.setattr("salon.frontends.zmq.server.negotiate", lambda hello: (negotiate(hello)[0], features))
    with FakeServer() as server:
        client = connect(server.address)
        info = client.imagine("a cat --ar 3:2 --seed 7 --n 1 --relax", steps=3).info
        assert (info.prompt, info.seed, info.images, info.asked_lane) == ("a cat", 7, 1, "relax")
        assert info.steps == 3
        with pytest.raises(Unsupported):
            client.imagine_all("{a, b}")
        (one,) = client.imagine_all("a dog --n 2")
        assert one.info.images == 2


def test_an_old_request_draws_its_dashes(server: FakeServer, connect: Connect, tmp_path: Path) -> None:
    """A record of the release: no field `language`."""
    from salon.frontends.wire.codec import decode_request, encode

    record = encode(m.Submit(key="k", prompt="a cat --ar 3:2"))
    assert b"language" not in record
    request = decode_request(record)
    assert isinstance(request, m.Submit)
    assert not request.language
