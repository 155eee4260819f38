"""What users and operators see of policies: over the wire, by both clients, and on the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from salon.frontends import cli
from salon.frontends.client.aio import AsyncClient
from salon.frontends.client.client import Client
from salon.frontends.client.errors import Blocked, JobBlocked, NotFound
from salon.frontends.client.fake import FakeServer
from salon.frontends.http.errors import headers_of, refusal_of
from salon.studio.moderation.types import ALLOW, Decision, PolicyRequest, block
from salon.studio.service.errors import PolicyBlocked, PolicyTimeout


def judge(request: PolicyRequest) -> Decision:
    """Block prompts with a gun, and pictures of cats."""
    if request.stage == "prompt" and "gun" in request.prompt:
        return block("weapons", "Weapons are not drawn here.")
    if request.stage == "pictures" and "cat" in request.prompt:
        return block("cats", "No cats.")
    return ALLOW


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer(policy=judge) as started:
        yield started


def test_clients_get_the_rule(server: FakeServer) -> None:
    with Client(server.address) as client:
        with pytest.raises(Blocked, match="Weapons are not drawn here") as caught:
            client.imagine("a gun")
        error = caught.value
        assert (error.rule, error.code, error.kind, error.retry_after_s) == ("weapons", "blocked", "PolicyBlocked", 0)
        job = client.imagine("a cat")
        with pytest.raises(JobBlocked, match="was blocked: No cats") as seen:
            job.wait()
        assert seen.value.rule == "cats"
        first, second = client.ops.blocks(limit=1), client.ops.blocks("local", limit=50)
        assert [(each.rule, each.stage, each.job) for each in first.blocks] == [("cats", "pictures", job.id)]
        assert [each.rule for each in second.blocks] == ["cats", "weapons"]
        assert (first.next, second.next) == (second.blocks[0].number, 0)

    async def both() -> str:
        async with AsyncClient(server.address) as client:
            with pytest.raises(Blocked) as caught:
                await client.imagine("a gun")
            assert len((await client.ops.blocks()).blocks) == 3
            return caught.value.rule

    assert asyncio.run(both()) == "weapons"


def test_the_command_line(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["imagine", "a gun", "--server", server.address]) == 2
    told = capsys.readouterr()
    assert told.err == ("salon: error: prompt: Weapons are not drawn here (rule weapons); say something else\n")
    assert cli.main(["imagine", "a cat", "--server", server.address, "--quiet"]) == 1
    assert "blocked: No cats. (rule cats; nothing was charged)" in capsys.readouterr().err
    assert cli.main(["ops", "blocks", "--server", server.address, "--all-pages"]) == 0
    shown = capsys.readouterr().out
    assert "weapons" in shown
    assert "Weapons are not drawn here." in shown
    assert cli.main(["ops", "blocks", "--server", server.address, "--json"]) == 0
    assert {"cats", "weapons"} == {each["rule"] for each in json.loads(capsys.readouterr().out)}


def test_a_timeout_is_seen_and_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(policy=judge) as server, Client(server.address) as client:
        for _ in range(5):
            with pytest.raises(Blocked):
                client.imagine("a gun")
        with pytest.raises(Blocked, match="got 5 blocked requests") as caught:
            client.plan("a dog")
        assert (caught.value.kind, caught.value.rule) == ("PolicyTimeout", "repeated-blocks")
        assert client.info().timeout_ms == client.ops.accounts().accounts[0].timeout_ms > 0

        def salon(*words: str) -> str:
            assert cli.main([*words, "--server", server.address]) == 0
            return capsys.readouterr().out

        assert "blocked too often" in salon("info")
        assert salon("ops", "lift", "local") == "lifted\n"
        assert salon("ops", "lift", "local", "--json") == '{"lifted": false}\n'
        assert "blocked too often" not in salon("info")
        assert client.plan("a dog").jobs
        with pytest.raises(Blocked, match="Weapons"):
            client.plan("a gun")
        assert len(client.ops.blocks().blocks) == 5
        assert client.ops.lift("local") is False
        with pytest.raises(NotFound):
            client.ops.lift("f" * 64)


def test_http_says_it_as_openai_does() -> None:
    blocked = refusal_of(PolicyBlocked("prompt: no", "weapons"), {})
    assert (blocked.status, blocked.code, blocked.type) == (400, "moderation_blocked", "image_generation_user_error")
    waits = refusal_of(PolicyTimeout("account: wait", "repeated-blocks", 600_000), {})
    assert (waits.status, waits.code, waits.param) == (429, "moderation_blocked", None)
    assert headers_of(waits) == {"x-should-retry": "false", "retry-after": "600"}
