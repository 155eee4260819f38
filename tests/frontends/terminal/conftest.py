"""Commands in a terminal, with the fake server that they ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salon.frontends.client.client import Client
from salon.frontends.client.fake import FakeServer

from .screen import Screen

Start = Callable[..., Screen]


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer(drawn=True) as server:
        yield server


@pytest.fixture
def start(tmp_path: Path, fake: FakeServer) -> Iterator[Start]:
    screens: list[Screen] = []

    def begin(*words: str, env: dict[str, str] | None = None, **options: Any) -> Screen:
        screens.append(Screen(words, tmp_path, {"SALON_SERVER": fake.address, **(env or {})}, **options))
        return screens[-1]

    yield begin
    for screen in screens:
        screen.close()


def choices(fake: FakeServer) -> list[str]:
    """What was answered, the first answer first."""
    with Client(fake.address) as client:
        return [event.choice for event in reversed(client.taste.events().events)]
