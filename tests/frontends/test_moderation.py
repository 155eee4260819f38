"""What users and operators see of policies: over the wire, by both clients, and on the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from salon.frontends import cli
from salon.frontends.client.aio import AsyncClient
from salon.frontends.client.client import Client
from salon.frontends.client.errors import Blocked, JobBlocked
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


def test_http_says_it_as_openai_does() -> None:
    blocked = refusal_of(PolicyBlocked("prompt: no", "weapons"), {})
    assert (blocked.status, blocked.code, blocked.type) == (400, "moderation_blocked", "image_generation_user_error")
    waits = refusal_of(PolicyTimeout("account: wait", "repeated-blocks", 600_000), {})
    assert (waits.status, waits.code, waits.param) == (429, "moderation_blocked", None)
    assert headers_of(waits) == {"x-should-retry": "false", "retry-after": "600"}
