"""The page of jobs: every kind has a section, and every line of it does what it says."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from salon.frontends.arguments import parse
from salon.frontends.client.client import Client
from salon.studio.kinds import PLUGINS

from .conftest import Salon
from .test_jobs import DONE_S

PAGE = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()
SECTIONS: dict[str, str] = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
LINES = [
    (kind, line.strip()) for kind, text in SECTIONS.items() for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE)
]

OF_JOB = {"again": "imagine"}  # commands that make a job of the kind that another one is of


def test_every_kind_has_a_section_with_both() -> None:
    assert set(PLUGINS.names()) <= set(SECTIONS)
    for kind in SECTIONS:
        lines = [line for each, line in LINES if each == kind]
        assert any(line.startswith(f"salon {kind} ") for line in lines), kind
        assert any(line.startswith(("job", "client", "photo", "draft")) for line in lines), kind


@pytest.fixture(scope="module")
def parents(address: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """Ids of a job and of a draft, and a folder with the files that the page names."""
    folder = tmp_path_factory.mktemp("page")
    with Client(address) as client:
        job = client.imagine("a cat, flat cartoon", images=2, steps=1, seed=7)
        draft = client.imagine("a cat, flat cartoon", images=1, seed=7, draft=True)
        for each in (job, draft):
            each.wait(timeout_s=DONE_S)
        (folder / "cat.png").write_bytes(job.picture(0))
        Image.new("L", (128, 128), 255).save(folder / "mask.png")
        Image.new("RGB", (150, 100), "orange").save(folder / "photo.jpg")
        return job.id, draft.id, folder


@pytest.mark.parametrize(("kind", "line"), LINES)
def test_every_line_does_what_it_says(
    salon: Salon, client: Client, parents: tuple[str, str, Path], kind: str, line: str, tmp_path: Path
) -> None:
    job, draft, folder = parents
    client.settings.change(steps=2)  # of as many as are usual nothing more is seen
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    if line.startswith("salon describe"):  # seconds of work, which the test of its id does
        assert parse(shlex.split(line)[1:], "").command == kind
        return
    if line.startswith("salon"):
        words = [{"JOB": job, "DRAFT": draft}.get(word, word) for word in shlex.split(line)[1:]]
        said = salon(*words, "--json").json
        told = said["job"]["kind"] if "job" in said else kind
        assert told == OF_JOB.get(kind, kind)
        return
    names: dict[str, Any] = {"client": client, "job": client.job(job), "draft": client.job(draft)}
    names["photo"] = client.picture("photo.jpg")
    made = eval(line, names)
    if kind == "describe":
        assert made.info.kind == kind
        made.cancel()  # seconds of work; it may be done by now
        return
    if hasattr(made, "wait"):
        assert made.wait(timeout_s=DONE_S).kind == OF_JOB.get(kind, kind)
    else:
        assert made
