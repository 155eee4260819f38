"""A language model that rewrites prompts: what it is asked, and which of its answers are taken."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from salon.parameters.job_request import Source
from salon.parameters.language.printing import printed
from salon.parameters.language.reading import parse_one
from salon.studio.chat.model import ModelRewriter
from salon.studio.chat.types import Scene
from salon.studio.errors import EndpointError

SCENE = Scene(prompt=parse_one("a red apple, 3d --ar 2:1 --no hat --seed 7 --n 2 --relax"), job="j", pictures=2)


class Completions(BaseHTTPRequestHandler):
    """Answers as an API of OpenAI's does, with what the test wants said."""

    said: Any = ""
    asked: dict[str, Any] = {}
    headers_seen: dict[str, str] = {}

    def do_POST(self) -> None:
        Completions.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Completions.headers_seen = {"path": self.path, "authorization": self.headers.get("Authorization", "")}
        content = self.said if isinstance(self.said, str) else json.dumps(self.said)
        body = json.dumps({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def model() -> Iterator[ModelRewriter]:
    with HTTPServer(("127.0.0.1", 0), Completions) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield ModelRewriter(f"http://127.0.0.1:{server.server_port}/v1/", "small", key="secret", timeout_s=60)
        server.shutdown()
        thread.join()


def test_what_it_is_asked_and_what_it_may_change(model: ModelRewriter) -> None:
    Completions.said = {
        "action": "draw",
        "prompt": "a blue apple, 3d --ar 1:1 --turbo --n 8 --seed 9",
        "note": " Done. ",
    }
    found = model.rewrite(SCENE, "make it blue, and square")
    assert printed(found.prompt) == "a blue apple, 3d --lane relax --ar 1:1 --seed 7 --n 2"
    assert (found.source, found.notes) == (None, ("Done.",))
    assert Completions.headers_seen == {"path": "/v1/chat/completions", "authorization": "Bearer secret"}
    assert Completions.asked["model"] == "small"
    assert json.loads(Completions.asked["messages"][1]["content"]) == {
        "prompt": "a red apple, 3d --no hat --ar 2:1", "pictures": 2, "said": "make it blue, and square",
    }  # fmt: skip


def test_again_and_more_like_one(model: ModelRewriter) -> None:
    Completions.said = (
        "```json\n" + json.dumps({"action": "again", "prompt": "a red apple, 3d --ar 2:1 --no hat"}) + "```"
    )
    assert printed(model.rewrite(SCENE, "again").prompt) == "a red apple, 3d --no hat --lane relax --ar 2:1 --n 2"
    Completions.said = {"action": "vary", "picture": 2, "prompt": "a red apple"}
    found = model.rewrite(SCENE, "more like the second")
    assert found.source == Source(job="j", index=1)
    assert printed(found.prompt) == "a red apple --lane relax --n 2"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("Sure! Here is your prompt: a blue apple", "not the JSON"),
        ({"prompt": 3}, "not the JSON"),
        ({"prompt": "x", "action": "dance"}, "not the JSON"),
        ({"prompt": " "}, "a prompt of 1 characters"),
        ({"prompt": "x" * 2001}, "a prompt of 2,001 characters"),
        ({"prompt": "a {cat, dog}"}, "a prompt that cannot be drawn"),
        ({"prompt": "a cat --ar wide"}, "a prompt that cannot be drawn"),
        ({"prompt": "a cat", "action": "vary", "picture": 3}, "picture 3 of 2"),
        ({"prompt": "a cat", "action": "vary"}, "picture None of 2"),
    ],
)
def test_answers_that_are_not_taken(model: ModelRewriter, answer: Any, message: str) -> None:
    Completions.said = answer
    with pytest.raises(EndpointError, match=message):
        model.rewrite(SCENE, "make it blue")


def test_an_address_that_cannot_be_read() -> None:
    with pytest.raises(EndpointError, match="address"):
        ModelRewriter("localhost:11434", "small")
