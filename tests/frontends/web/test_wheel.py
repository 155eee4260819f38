"""The page is tested as it is installed: `SALON_WHEEL` names the wheel that the tests' Salon has to be of (.ci/run)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import salon

from ...engine.conftest import write_tiny
from .conftest import WAIT_MS, expect

WHEEL = os.environ.get("SALON_WHEEL", "")
CHECKOUT = Path(__file__).parents[3]
INSTALLED = Path(salon.__file__).parent
WAIT_S = 60
pytestmark = pytest.mark.skipif(not WHEEL, reason="SALON_WHEEL names no wheel that is installed here")


def test_what_all_tests_of_the_page_drive_is_the_wheel() -> None:
    assert not INSTALLED.samefile(CHECKOUT)
    with zipfile.ZipFile(WHEEL) as wheel:
        names = [name for name in wheel.namelist() if name.startswith("salon/frontends/")]
        other = [name for name in names if (INSTALLED.parent / name).read_bytes() != wheel.read(name)]
    assert "salon/frontends/web/static/app.js" in names
    assert other == []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    """The address of the page of `salon serve`, as it is installed, outside the checkout."""
    words = ["--data", "data", "--listen", "tcp://127.0.0.1:0", "--metrics", "off", "--http", "127.0.0.1:0", "--json"]
    words += ["--model", str(write_tiny(tmp_path / "tiny")), "--in-process", "--threads", "1"]
    command = [str(Path(sys.prefix, "bin", "salon")), "serve", *words]
    with (
        open(tmp_path / "log", "w") as log,
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log) as server,
    ):
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line, (tmp_path / "log").read_text()
            yield json.loads(line)["http"]
            server.terminate()
            assert server.wait(WAIT_S) == 0, (tmp_path / "log").read_text()
        finally:
            server.kill()


def test_a_stranger_draws_with_the_installed_command(browser: Any, place: str) -> None:
    with zipfile.ZipFile(WHEEL) as wheel:
        assert httpx.get(f"{place}/web/app.js").content == wheel.read("salon/frontends/web/static/app.js")
    context = browser.new_context(reduced_motion="reduce")
    try:
        page, wrong = context.new_page(), list[str]()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(place)
        page.get_by_label("Prompt", exact=True).fill("a red apple --n 1")
        page.get_by_role("button", name="Draw").click()
        expect(page.locator(".job .tile.loaded")).to_have_count(1)
        sizes = page.locator(".job .tile.loaded img.thumbnail").evaluate_all("all => all.map(one => one.naturalWidth)")
        assert [size > 0 for size in sizes] == [True]
        assert not wrong
    finally:
        context.close()
