"""Conversations by both clients, over the wire, and on the command line."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from salon.frontends import cli
from salon.frontends.client.aio import AsyncClient
from salon.frontends.client.client import Client
from salon.frontends.client.errors import Invalid, NotFound
from salon.frontends.client.fake import FakeServer


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer() as started:
        yield started


def test_both_clients(server: FakeServer) -> None:
    with Client(server.address) as client:
        said = client.chat.say("a red apple --seed 4 --n 2", key="one")
        again = client.chat.say("a red apple --seed 4 --n 2", key="one")
        assert (again.existing, again.turn, again.chat) == (True, said.turn, said.chat)
        assert client.job(said.turn.job).wait().state == "done"
        near = client.chat.say("more like the second", chat=said.chat)
        assert near.turn.source is not None
        assert (near.turn.source.job, near.turn.source.index) == (said.turn.job, 1)
        dry = client.chat.say("make it blue", chat=said.chat, turn=1, run=False)
        assert (dry.turn.prompt, dry.turn.job, dry.turn.by) == ("a blue apple --seed 4 --n 2", "", "rules")
        shown = client.chat.show(said.chat, limit=1)
        assert (shown.turns, shown.more, shown.chat.turns) == ((said.turn,), True, 2)
        with pytest.raises(Invalid, match="chat: got nothing"):
            client.chat.say("")
        with pytest.raises(NotFound, match="number 77"):
            client.chat.say("again", chat=77)

    async def other() -> None:
        async with AsyncClient(server.address) as client:
            assert (await client.chat.say("make it blue", chat=said.chat)).turn.number == 3
            assert [each.chat for each in (await client.chat.list()).chats] == [said.chat]
            assert await client.chat.delete(said.chat)
            with pytest.raises(NotFound):
                await client.chat.delete(said.chat)

    asyncio.run(other())


def test_the_command_line(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SALON_SERVER", server.address)
    monkeypatch.chdir(tmp_path)

    def salon(*words: str, code: int = 0) -> str:
        assert cli.main(["chat", *words]) == code
        return capsys.readouterr().out

    first = salon("a", "red", "apple", "--quiet", "-o", "apple.png").splitlines()
    assert first[0] == "a red apple"
    assert "apple.png" in first[1]
    chat = int(first[-1].split()[1].rstrip(","))
    told = json.loads(salon("make it blue", "--chat", str(chat), "--json"))
    assert told["turn"]["prompt"].startswith("a blue apple --seed ")
    assert told["job"]["state"] == "done"
    job = told["job"]["job"]
    assert salon("add a hat", "--job", job, "--dry").startswith("a blue apple with a hat --ar 1:1 --seed ")
    monkeypatch.setattr("sys.stdin", io.StringIO("a pear\nmake it green\n\nat night\nq\nnever\n"))
    lines = salon("--quiet").splitlines()
    assert [line.partition(" --seed")[0] for line in lines[::2]] == ["a pear", "a green pear", "a green pear, at night"]
    assert len({line.split()[1] for line in lines[1::2]}) == 1, "one conversation"
    shown = salon("--show", str(chat))
    assert "make it blue" in shown
    assert json.loads(salon("--list", "--json"))[0]["turns"] == 3
    assert f"conversation {chat} is deleted" in salon("--delete", str(chat))
    for words, message in (
        (["--list", "again"], "--list: got it with something to say"),
        (["again", "--turn", "2"], "--turn: got it without --chat"),
        (["again", "--force"], "--force: got it without -o"),
        (["again", "--chat", str(chat)], f"chat: got number {chat}, allowed one of yours"),
    ):
        assert cli.main(["chat", *words]) == 2
        assert message in capsys.readouterr().err
