"""Personalize: pairs by keys, the next one ready, undo; profiles and their report."""

from __future__ import annotations

from pathlib import Path

from salon.frontends.client.client import Client
from salon.frontends.zmq.background import BackgroundServer

from .conftest import Open, axe, expect, in_both_themes, told, until

DRAWN_MS = 120_000  # for the first pictures to rank, which are drawn when somebody asks
# How many pairs have come. The page asks for the one after the next when the answer before has been taken.
PAIRS = """many => performance.getEntriesByType("resource")
    .filter(each => each.name.endsWith("/api/taste.next") && each.responseEnd > 0).length === many"""
APPLE = Path(__file__).parents[3] / "docs" / "images" / "red-apple.png"


def test_personalize(open_page: Open, server: BackgroundServer, job: str) -> None:
    page = open_page("personalize", expect=("ERR_FAILED",))
    left = page.locator(".choice img").first
    expect(page.locator(".choice img")).to_have_count(2, timeout=DRAWN_MS)
    seen = {left.get_attribute("src")}
    for key in ("ArrowLeft", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
        expect(left).not_to_have_attribute("src", seen.pop() or "")
        seen.add(left.get_attribute("src"))
    expect(page.locator(".learned")).to_contain_text("2 of 200 choices")  # the third says nothing
    until(page, PAIRS, 5)  # three that were answered, the one that is shown, and the next
    page.route("**/api/taste.next", lambda route: route.abort())  # the next pair is there already
    undone = left.get_attribute("src")
    page.keyboard.press("ArrowLeft")
    expect(left).not_to_have_attribute("src", seen.pop() or "")
    after = left.get_attribute("src")
    expect(page.locator(".learned")).to_contain_text("3 of 200 choices")
    until(page, PAIRS, 6)  # also those that do not come
    page.unroute("**/api/taste.next")
    page.keyboard.press("z")
    expect(page.locator(".learned")).to_contain_text("2 of 200 choices")
    expect(left).to_have_attribute("src", undone)  # to be chosen anew
    page.keyboard.press("ArrowRight")
    expect(left).to_have_attribute("src", after)
    expect(page.locator(".learned")).to_contain_text("3 of 200 choices")
    page.keyboard.press("z")
    expect(left).to_have_attribute("src", undone)
    with Client(server.address) as client:
        client.like(job, 0)
        page.keyboard.press("z")
        told(page, "is a like, and no choice between two")
        assert client.taste.events(limit=1).events[0].on
        client.like(job, 0, on=False)
    page.keyboard.press("Alt+ArrowRight")  # the browser's key, and no choice
    expect(page.locator(".learned")).to_contain_text("2 of 200 choices")
    in_both_themes(page)

    page.get_by_role("link", name="Grids").click()
    page.get_by_role("button", name="Picture 2 of a red apple").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Saved")).to_be_disabled()
    page.get_by_role("link", name="Likes").click()
    expect(page.get_by_text("You have liked no picture yet")).to_be_visible()
    page.get_by_role("link", name="History").click()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(7)  # three pairs, two answers and a like that were taken back, and a grid
    switch = rows.first.get_by_role("switch")
    page.route("**/api/taste.switch", lambda route: route.abort(), times=1)
    switch.click()
    told(page, "does not answer")
    expect(switch).to_be_checked()  # as it is on the server
    switch.uncheck()
    expect(rows.first).to_have_class("off")
    switch.check()
    expect(rows.first).not_to_have_class("off")

    page.get_by_role("link", name="Profiles").click()
    expect(page.locator(".card")).to_contain_text("3 of 200 choices")
    page.get_by_label("Name of a new profile").fill("evenings")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="evenings")).to_be_visible()
    page.get_by_role("button", name="Report").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("Choices that it predicts")
    assert axe(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="More for evenings").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", name="evenings")).to_have_count(0)
    with Client(server.address) as client:
        assert [each.kind for each in client.taste.profiles()] == ["global"]

    page.get_by_role("link", name="Moodboards").click()
    page.get_by_label("Drop pictures here for a new moodboard").set_input_files(APPLE)
    picture = page.locator(".board-picture img")
    expect(picture).to_have_count(1)
    page.get_by_role("button", name="Rename moodboard").click()
    page.get_by_label("New name").fill("reds")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="reds")).to_be_visible()
    page.reload()  # and it is seen again
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 256
    page.get_by_role("button", name="Delete reds").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(".card")).to_have_count(0)
