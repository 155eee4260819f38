"""The editor: a mask by keys, undo, comparing, another canvas."""

from __future__ import annotations

from pathlib import Path

from salon.frontends.client.client import Client
from salon.frontends.zmq.background import BackgroundServer

from .conftest import Open, expect, in_both_themes

APPLE = Path(__file__).parents[3] / "docs" / "images" / "red-apple.png"


def test_editor(open_page: Open, server: BackgroundServer, job: str) -> None:
    page = open_page(f"edit/{job}/1", expect=("404 (Not Found)",))
    canvas = page.get_by_role("application")
    draw = page.get_by_role("button", name="Draw it")
    expect(draw).to_be_disabled()
    canvas.focus()
    for key in ("Space", "ArrowLeft", "Space"):  # by keys: paint, move the brush, paint
        page.keyboard.press(key)
    expect(draw).to_be_enabled()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect(draw).to_be_disabled()
    page.keyboard.press("Control+Shift+z")
    expect(draw).to_be_enabled()
    draw.click()
    expect(page.locator(".result").first.locator(".tile.loaded")).to_have_count(2)
    page.get_by_role("button", name="Compare").first.click()
    slider = page.get_by_role("slider", name="How much of the picture before")
    slider.press("ArrowLeft")
    expect(slider).to_have_value("49")
    page.get_by_role("button", name="Back to the canvas").click()

    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="16:9").click()
    expect(page.get_by_role("heading", name="Canvas, ")).not_to_have_text("Canvas, 64 × 64")
    ratios = """async sizes => {
        const module = new URL("lib/format.js", document.querySelector("script[type=module]").src);
        const { ratio } = await import(module);
        return sizes.map(size => ratio(...size));
    }"""  # as they were asked for: sizes are whole steps of the model's
    found = page.evaluate(ratios, [[160, 112], [112, 160], [144, 112], [64, 64]])
    assert found == ["3:2", "2:3", "4:3", "1:1"]
    page.get_by_label("What it shows").fill("a green apple")
    draw.click()
    expect(page.locator(".result")).to_have_count(2)
    expect(page.locator(".result").first.locator(".tile.loaded")).to_have_count(2)
    in_both_themes(page)
    page.get_by_role("link", name="Editor").click()  # a file, too
    page.get_by_label("Drop a picture here, or choose a file").set_input_files(APPLE)
    expect(page.get_by_role("heading", name="Canvas, 256 × 256")).to_be_visible()
    canvas.focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("What it shows")).to_have_value("a red apple, 3d render, on a teal background")
    page.get_by_label("What it shows").fill("a blue apple")
    draw.click()
    expect(page.locator(".result .tile.loaded")).to_have_count(4)
    with Client(server.address) as client:
        of_file, edited, region = client.jobs(limit=3).jobs
        assert (region.kind, region.prompt) == ("region", "a red apple")
        assert (edited.kind, edited.prompt) == ("edit", "a green apple")
        assert (of_file.kind, of_file.prompt) == ("region", "a blue apple")
        assert edited.width > edited.height
        assert region.sources[0].job == edited.sources[0].job == job
