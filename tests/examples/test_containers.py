"""The Dockerfile and the compose example, compared with the command line. No container engine runs them here."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from salon.frontends.arguments import parse
from salon.frontends.commands.serve import options_of

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = ROOT / "examples" / "compose.yaml"
KNOWN = {
    *("FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"),
    *("ENTRYPOINT", "CMD"),
}


def instructions() -> list[tuple[str, str]]:
    """(instruction, what follows) of the Dockerfile, in order."""
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in whole.splitlines())]


def last(name: str) -> str:
    return next(rest for word, rest in reversed(instructions()) if word == name)


def test_the_dockerfile_does_what_linters_ask_for() -> None:
    found = instructions()
    assert {word for word, _ in found} <= KNOWN
    assert all(re.fullmatch(r"\S+:[\w.-]+( AS \w+)?", rest) for word, rest in found if word == "FROM"), "pinned tags"
    stages = [rest.rpartition(" AS ")[2] for word, rest in found if word == "FROM" and " AS " in rest]
    copied = re.findall(r"--from=(\w+)", DOCKERFILE)
    assert copied
    assert set(copied) <= set(stages)
    for word, rest in found:
        if word == "RUN" and "apt-get install" in rest:
            assert "apt-get update" in rest
            assert "--no-install-recommends" in rest
            assert rest.endswith("rm -rf /var/lib/apt/lists/*")
        if word == "RUN" and "pip install" in rest:
            assert "--no-cache-dir" in rest
        assert "sudo" not in rest
        assert word != "ADD"
    assert last("USER").isdecimal(), "not root, by a number that every engine can check"
    for word in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(last(word)), list), "no shell between the engine's signals and the server"
    extras = re.findall(r'"\.\[(\w+)\]"', DOCKERFILE)
    project = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in project for extra in extras)


def test_the_image_starts_a_server_that_can_be_reached() -> None:
    words = [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]
    options = options_of(parse(words[1:], "0"))
    assert (options.listen, str(options.data), options.log_json) == (("tcp://0.0.0.0:5599",), last("VOLUME"), True)
    assert last("EXPOSE") == "5599"
    assert f"http://{options.metrics}/metrics" in last("HEALTHCHECK")


def test_the_compose_example() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the site's tools (extra docs)")
    compose: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    services = compose["services"]
    salon, database = services["salon"], services["database"]
    assert (COMPOSE.parent / salon["build"] / "Dockerfile").is_file()
    words = [*json.loads(last("ENTRYPOINT"))[1:], *salon["command"]]
    options = options_of(parse(words, "0"))
    place = re.fullmatch(r"postgresql://(\w+):\$\{POSTGRES_PASSWORD:\?set it\}@(\w+)/(\w+)", options.database or "")
    assert place is not None
    environment = database["environment"]
    assert place.groups() == (environment["POSTGRES_USER"], "database", environment["POSTGRES_DB"])
    used = {each.partition(":")[0] for service in services.values() for each in service["volumes"]}
    assert {name for name in used if not name.startswith(".")} == set(compose["volumes"])
    (policy,) = options.policy
    mounts = dict(each.split(":")[:2] for each in salon["volumes"])
    assert mounts["./words.txt"] == policy.removeprefix("words:")
    assert (COMPOSE.parent / "words.txt").is_file()
    assert salon["depends_on"]["database"]["condition"] == "service_healthy"
    assert shlex.join(database["healthcheck"]["test"]).startswith("CMD pg_isready")
