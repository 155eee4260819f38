"""Policies by themselves: lists of words, services, and how an operator names them."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from salon.studio.errors import EndpointError, PolicyError
from salon.studio.moderation.http_policy import HttpPolicy
from salon.studio.moderation.opening import KEY, open_policies
from salon.studio.moderation.types import ALLOW, STAGES, BroughtLora, PolicyRequest, block, checked
from salon.studio.moderation.word_list import MESSAGE, RULE, WordList, words_of

EXAMPLES = Path(__file__).parents[3] / "examples"


def asked(prompt: str = "", **fields: Any) -> PolicyRequest:
    return PolicyRequest(**({"stage": "prompt", "account": "local", "prompt": prompt} | fields))


@pytest.fixture
def listed(tmp_path: Path) -> Callable[[str], WordList]:
    def make(text: str) -> WordList:
        path = tmp_path / "words.txt"
        path.write_text(text)
        return WordList(path)

    return make


def test_words_are_compared_whole_and_say_their_rule(listed: Callable[[str], WordList]) -> None:
    policy = listed("# a remark\nspam # another\n[weapons]  Not here.\ngun\nmachine  Gun-fire\nrifle*\n[x]\nÉclair\n")
    weapons = block("weapons", "Not here.")
    blocked = {
        "SPAM": block(RULE, MESSAGE),
        "a Gun, on a table": weapons,
        "ma\u200bchine gun-fire": weapons,
        "two rifles": weapons,
        "an e\u0301clair": block("x", MESSAGE),
        "\uff47\uff55\uff4e": weapons,  # wide letters
    }
    assert {text: policy(asked(text)) for text in blocked} == blocked
    for text in ("begun", "guns", "spammer", "machine", "gun\u0131", "fire machine", ""):
        assert policy(asked(text)) == ALLOW
    assert policy(asked("a cat", texts=("a dog", "a gun"))) == weapons
    assert policy(asked("a cat", negative_texts=("a gun",))) == ALLOW


def test_a_long_prompt_takes_no_time_however_long_the_list(listed: Callable[[str], WordList]) -> None:
    policy = listed("\n".join(f"word{i} more{i}\nother{i}*" for i in range(4_000)))
    start = time.thread_time()
    assert policy(asked("word1 " * 300)) == ALLOW
    assert time.thread_time() - start < 0.5
    assert words_of("A_b-c") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got no words"),
        ("[a] B.\n", "got no words"),
        ("cat\n...\n", r"line 2: word: got '\.\.\.'"),
        ("two words*\n", "line 1: word"),
        ("a*b\n", "line 1: word"),
        ("[no rule!] X\nx\n", "line 1: policy: got a rule called 'no rule!'"),
        (f"[a] {'x' * 301}\nx\n", "a message of 301 characters"),
    ],
)
def test_lists_that_are_refused(listed: Callable[[str], WordList], text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        listed(text)


def test_lists_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    for name, message in (("latin", "not UTF-8"), ("none", "No such file"), ("", "Is a directory")):
        with pytest.raises(PolicyError, match=message):
            open_policies(f"words:{tmp_path / name}", stages=STAGES, timeout_s=1)


def test_what_an_operator_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
from salon.studio.moderation.types import ALLOW
def judge(request): return ALLOW
class Judge:
    stages = "pictures"
    def __call__(self, request): return ALLOW
class Broken:
    def __init__(self): raise RuntimeError("no model here")
def odd(request): return ALLOW
odd.stages = ("prompts",)
number = 3
"""
    (tmp_path / "house_rules_of_a_test.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "house_rules_of_a_test"

    def opened(named: Any, stages: tuple[str, ...] = STAGES) -> list[tuple[str, tuple[str, ...]]]:
        return [(each.name, each.stages) for each in open_policies(named, stages=stages, timeout_s=1)]

    assert opened(None) == []
    assert opened([f"{name}:judge", f"{name}:Judge"]) == [(f"{name}:judge", STAGES), (f"{name}:Judge", ("pictures",))]
    assert opened(f"{name}:judge", ("upload", "prompt")) == [(f"{name}:judge", ("prompt", "upload"))]
    assert opened("https://me.example/x?secret=1", ("prompt",)) == [("https://me.example", ("prompt",))]
    assert opened(f"words:{EXAMPLES / 'words.txt'}") == [(f"words:{EXAMPLES / 'words.txt'}", ("prompt",))]
    assert opened(lambda request: ALLOW) == [("<lambda>", STAGES)]
    for named, message in {
        "judge": "got 'judge', allowed words:FILE, http",
        f"{name}:none": "has no attribute 'none'",
        "no_such_module_here:x": "ModuleNotFoundError",
        f"{name}:Broken": "RuntimeError: no model here",
        f"{name}:number": "which is a int",
        f"{name}:odd": "got 'prompts', allowed some of prompt, upload, pictures",
        "http://": "policy address: got 'http://'",
    }.items():
        with pytest.raises(PolicyError, match=message):
            opened(named)
    with pytest.raises(PolicyError, match="an object of type int"):
        opened([3])
    with pytest.raises(PolicyError, match="stages: got 'x'"):
        opened("https://a.example", ("x",))
    sys.modules.pop(name, None)


@pytest.mark.parametrize("answer", [None, True, "allow", object()])
def test_only_decisions_are_answers(answer: Any) -> None:
    with pytest.raises(PolicyError, match="the answer"):
        checked(answer)


class Answers(BaseHTTPRequestHandler):
    """Answers with what the path names, and notes what it was asked."""

    bodies: list[tuple[dict[str, Any], str]] = []
    over = threading.Event()  # what takes long has been given up
    texts = {
        "/allow": b'{"decision": "allow"}',
        "/block": b'{"decision": "block", "rule": "dark", "message": "Too\\ndark."}',
        "/odd": b'{"decision": "maybe"}',
        "/nameless": b'{"decision": "block"}',
        "/latin": b'{"decision": "bl\xe9"}',
        "/long": b" " * 70_000,
        "/lost": b"",
    }

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append((json.loads(body), self.headers.get("Authorization", "")))
        if self.path == "/slow":
            assert self.over.wait(60)
        if self.path == "/drops":
            self.connection.close()
            return
        self.send_response(200 if self.path in self.texts else 307)
        self.send_header("Location", "/allow")
        self.end_headers()
        self.wfile.write(self.texts.get(self.path, b""))

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_service_is_asked_by_json(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "secret")
    (policy,) = open_policies(f"{service}/allow", stages=("prompt", "pictures"), timeout_s=60)
    request = asked("a cat", stage="pictures", job="j", texts=("a dog",), pictures=(b"\x89PNG",), private=True)
    assert policy.ask(request) == ALLOW
    body, authorization = Answers.bodies[-1]
    assert body == {
        "stage": "pictures", "account": "local", "private": True, "kind": "", "job": "j", "prompt": "a cat",
        "texts": ["a dog"], "negative_texts": [], "pictures": ["iVBORw=="],
    }  # fmt: skip
    assert authorization == "Bearer secret"
    lora = BroughtLora(digest="ab" * 32, size=7, metadata=(("tags", "cats"),), path="/here/it/lies")
    assert policy.ask(asked(stage="upload", lora=lora)) == ALLOW
    said = Answers.bodies[-1][0]["lora"]
    assert said == {"digest": "ab" * 32, "size": 7, "metadata": [["tags", "cats"]], "path": ""}
    assert HttpPolicy(f"{service}/block")(asked()) == block("dark", "Too dark.")


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("odd", PolicyError, "no decision"),
        ("nameless", PolicyError, "a rule called ''"),
        ("latin", PolicyError, "no decision"),
        ("lost", PolicyError, "an answer of 0 bytes"),
        ("long", EndpointError, "more than 65,536 bytes"),
        ("moved", EndpointError, "the status 307"),
        ("slow", EndpointError, r"no answer within 0\.2 s"),
        ("drops", EndpointError, "allowed an answer"),
    ],
)
def test_a_service_that_answers_nothing_useful(service: str, path: str, error: type[Exception], message: str) -> None:
    Answers.over.clear()
    try:
        with pytest.raises(error, match=message):
            HttpPolicy(f"{service}/{path}", timeout_s=0.2 if path == "slow" else 60.0)(asked())
    finally:
        Answers.over.set()


def test_a_service_that_is_not_there() -> None:
    with pytest.raises(EndpointError, match="Connection refused|no answer"):
        HttpPolicy("http://127.0.0.1:9", timeout_s=1)(asked())
    for url in ("ftp://a/", "http://u:p@a/", "http://a:0/", "http://a b/", f"http://{'a' * 70}.example/"):
        with pytest.raises(EndpointError, match="address"):
            HttpPolicy(url)
