"""Organize and Explore in a browser: filters, choosing by mouse and by keys, folders, changes of many, a zip."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salon.frontends.client.client import Client
from salon.frontends.zmq.background import BackgroundServer

from .conftest import Open, axe, expect, fits, told, until

# Whether the page knows that a job has ended.
KNOWN = """async job => {
    const { known } = await import(new URL("lib/store.js", document.querySelector("script[type=module]").src));
    return known.get(job)?.ended;
}"""


@pytest.fixture(scope="module")
def jobs(server: BackgroundServer) -> Iterator[list[str]]:
    """Six jobs of two pictures; the last one is private."""
    with Client(server.address) as client:
        made = [
            client.imagine(f"a {thing} on a hill", images=2, steps=1, seed=70 + number, private=thing == "secret")
            for number, thing in enumerate(("cat", "house", "red apple", "lighthouse", "boat", "secret"))
        ]
        for job in made:
            job.wait(timeout_s=60)
        yield [job.id for job in made]


def test_organize(open_page: Open, jobs: list[str], server: BackgroundServer, tmp_path: Path) -> None:
    page = open_page("organize", viewport={"width": 1280, "height": 800})
    count, cells, keys = page.locator(".organize-count"), page.locator(".cell-open"), page.keyboard
    expect(count).to_have_text("12 pictures in 6 jobs")
    expect(cells).to_have_count(12)
    expect(cells.first).to_have_attribute("aria-label", "Picture 1 of 2: a secret on a hill, private")
    assert axe(page) == []

    search = page.get_by_label("Search")
    search.fill("hous")  # words by their beginnings: not the lighthouse
    expect(count).to_have_text("2 pictures in 1 job")
    search.fill("72")  # a seed
    expect(cells.first).to_have_attribute("aria-label", "Picture 1 of 2: a red apple on a hill")
    search.fill("")
    expect(count).to_have_text("12 pictures in 6 jobs")
    page.get_by_role("button", name="Private", exact=True).click()
    expect(cells).to_have_count(2)
    page.get_by_role("button", name="Private", exact=True).click()
    expect(cells).to_have_count(12)
    page.get_by_label("To", exact=True).fill("2001-01-01")
    expect(count).to_have_text("No pictures fit.")
    page.get_by_label("To", exact=True).fill("")
    expect(count).to_have_text("12 pictures in 6 jobs")
    page.get_by_role("button", name="Newest first").click()
    expect(cells.first).to_have_attribute("data-job", jobs[0])

    page.get_by_label("Name of a folder").fill("Best")
    page.get_by_role("button", name="Make the folder").click()
    expect(page.get_by_role("button", name="Best 0")).to_be_visible()
    cells.nth(0).click(modifiers=["Control"])
    cells.nth(5).click(modifiers=["Shift"])
    chosen = page.get_by_role("toolbar")
    expect(chosen).to_contain_text("3 jobs with 6 pictures chosen")
    assert axe(page) == []
    chosen.get_by_role("button", name="Folder").click()
    page.get_by_role("menuitem", name="Best").click()
    expect(chosen).to_have_count(0)
    page.get_by_role("button", name="Folder Best").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_label("New name").fill("Very best")
    keys.press("Enter")
    page.get_by_role("button", name="Very best 3").click()
    expect(count).to_have_text("6 pictures in 3 jobs")
    page.get_by_role("button", name="All pictures").click()
    expect(count).to_have_text("12 pictures in 6 jobs")

    cells.nth(11).click(modifiers=["Control"])
    with page.expect_download() as download:
        chosen.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as packed:
        assert packed.testzip() is None
        lines = [json.loads(line) for line in packed.read("manifest.jsonl").splitlines()]
    assert [(line["job"], line["picture"]) for line in lines] == [(jobs[5], 1), (jobs[5], 2)]
    assert page.request.get(f"{page.url.partition('#')[0]}api/zip/never.zip").status == 404
    chosen.get_by_role("button", name="Publish").click()
    told(page, "1 job published")
    with Client(server.address) as client:
        assert not client.job(jobs[5]).info.private
        assert [one.jobs for one in client.organize.folders()] == [3]

    page.get_by_role("button", name="Oldest first").click()
    expect(cells.first).to_have_attribute("data-job", jobs[5])
    with Client(server.address) as client:  # what is drawn meanwhile comes in front, and nothing is asked again
        client.imagine("a late bird", images=2, steps=1).wait(timeout_s=60)
        late = client.jobs(1).jobs[0].job
    expect(count).to_have_text("14 pictures in 7 jobs")
    expect(cells.first).to_have_attribute("aria-label", "Picture 1 of 2: a late bird")
    with Client(server.address) as client:
        client.organize.delete([late])
    page.get_by_role("button", name="Newest first").click()
    expect(count).to_have_text("12 pictures in 6 jobs")
    expect(cells.first).to_have_attribute("data-job", jobs[0])  # asked for again, in the other order

    cells.first.focus()  # by keys alone
    keys.press("ArrowRight")
    expect(page.locator(".cell-open:focus")).to_have_attribute("data-cell", "1")
    keys.press("End")
    expect(page.locator(".cell-open:focus")).to_have_attribute("data-cell", "11")
    keys.press("Space")
    expect(chosen).to_contain_text("1 job with 2 pictures chosen")
    keys.press("Shift+ArrowLeft")
    keys.press("Shift+ArrowLeft")
    expect(chosen).to_contain_text("2 jobs with 4 pictures chosen")
    keys.press("Escape")
    expect(chosen).to_have_count(0)
    keys.press("Control+a")
    expect(chosen).to_contain_text("6 jobs with 12 pictures chosen")
    keys.press("Escape")
    cells.nth(0).focus()
    keys.press("Enter")
    expect(page.locator(".lightbox")).to_contain_text("Picture 1 of 2")
    keys.press("ArrowRight")
    expect(page.locator(".lightbox")).to_contain_text("Picture 2 of 2")
    keys.press("Escape")
    expect(page.locator(".lightbox")).to_have_count(0)
    cells.nth(2).click(modifiers=["Control"])
    expect(chosen).to_contain_text("1 job")
    keys.press("Delete")
    expect(page.get_by_role("dialog")).to_contain_text("for good")
    keys.press("Enter")
    expect(count).to_have_text("10 pictures in 5 jobs")
    expect(chosen).to_have_count(0)
    page.set_viewport_size({"width": 390, "height": 844})  # a phone: what the menu says is seen, too
    cells.nth(0).click(modifiers=["Control"])
    chosen.get_by_role("button", name="Folder").click()
    anew = page.get_by_role("menuitem", name="A new folder")
    assert anew.locator("span").bounding_box()["width"] > 40
    anew.click()
    page.get_by_label("Its name").fill("Phones")
    keys.press("Enter")
    expect(page.get_by_role("button", name="Phones 1")).to_be_visible()
    expect(chosen).to_have_count(0)
    page.set_viewport_size({"width": 1280, "height": 800})
    cells.nth(0).click(modifiers=["Control"])
    chosen.get_by_role("button", name="Hide").click()
    expect(count).to_have_text("8 pictures in 4 jobs")


def test_filters_are_folded_where_there_is_little_room(open_page: Open, jobs: list[str]) -> None:
    """By mouse and by keys; how many are set is said, and they hold while they are folded."""
    page = open_page("organize", viewport={"width": 390, "height": 844})
    button, kind = page.get_by_role("button", name="Filters"), page.get_by_label("Kind")
    expect(page.locator(".cell-open").first).to_be_visible()
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(kind).to_have_count(0)
    few = page.locator(".organize-filters").bounding_box()["height"]
    assert few < 60, "one line"
    fits(page)
    page.get_by_label("Search").focus()
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    assert page.locator(f"#{button.get_attribute('aria-controls')}").is_visible()
    kind.select_option("upscale")
    page.get_by_role("button", name="Private", exact=True).click()
    expect(page.get_by_role("button", name="Filters 2 set", exact=True)).to_be_visible()
    expect(page.locator(".organize-count")).to_have_text("No pictures fit.")
    fits(page)
    assert page.get_by_text("From", exact=True).evaluate("label => label.offsetHeight") < 40, "one line"
    assert axe(page) == []
    button.click()
    expect(kind).to_have_count(0)
    expect(button).to_contain_text("2")
    expect(page.locator(".organize-count")).to_have_text("No pictures fit.")
    assert axe(page) == []
    page.set_viewport_size({"width": 1280, "height": 800})  # as it was folded by hand
    expect(button).to_have_attribute("aria-expanded", "false")
    page.reload()
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(kind).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    expect(button).to_have_attribute("aria-expanded", "false")


def test_what_comes_while_names_are_on_their_way(open_page: Open, server: BackgroundServer) -> None:
    """Names that were asked for before a job ended do not take its place when they come after its news."""
    page = open_page("organize", viewport={"width": 1280, "height": 800})
    with Client(server.address) as client:
        client.imagine("overtaken 0", images=1, steps=1).wait(timeout_s=60)
        search, cells = page.get_by_label("Search"), page.locator(".cell-open")
        expect(cells.first).to_have_attribute("aria-label", "Picture 1 of 1: overtaken 0")

        def late(route: Any) -> None:
            answer = route.fetch()
            if "overtaken" in (route.request.post_data or "") and not came:
                came.append(client.imagine("overtaken 1", images=1, steps=1).wait(timeout_s=60))
                until(page, KNOWN, client.jobs(1).jobs[0].job)
            route.fulfill(response=answer)

        came: list[Any] = []
        page.route("**/api/organize.names", late)
        search.fill("overtaken")
        expect(page.locator(".organize-count")).to_have_text("2 pictures in 2 jobs")
        expect(cells.first).to_have_attribute("aria-label", "Picture 1 of 1: overtaken 1")


def test_explore(open_page: Open, server: BackgroundServer) -> None:
    with Client(server.address) as client:
        for number in range(2):
            client.imagine(f"a hill for all {number}", images=2, steps=1).wait(timeout_s=60)
        page = open_page("explore", viewport={"width": 390, "height": 844})
        cells = page.locator(".cell-open")
        expect(cells.first).to_have_attribute("aria-label", "Picture 1 of 2: a hill for all 1")
        page.get_by_label("Search").fill("for all")
        expect(page.locator(".organize-count")).to_have_text("4 pictures")
        expect(cells).to_have_count(4)
        cells.first.focus()
        page.keyboard.press("l")
        expect(page.locator(".cell-mark").first).to_have_attribute("aria-pressed", "true")
        page.locator(".cell-mark").nth(2).click()
        expect(page.locator(".cell-mark:not(.off)")).to_have_count(2)
        page.locator(".cell-mark").nth(2).click()
        expect(page.locator(".cell-mark:not(.off)")).to_have_count(1)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert axe(page) == []
        page.get_by_role("button", name="What I like").click()
        expect(page.locator(".organize-count")).to_have_text("1 picture")  # of the two of its job


def test_what_is_deleted_elsewhere_goes(open_page: Open, server: BackgroundServer) -> None:
    page = open_page("organize", viewport={"width": 1280, "height": 800})
    with Client(server.address) as client:
        made = [client.imagine(f"gone {number}", images=2, steps=1) for number in range(2)]
        for job in made:
            job.wait(timeout_s=60)
        here = page.locator(f'.cell-open[data-job="{made[0].id}"]')
        expect(here).to_have_count(2)
        client.organize.delete([made[0].id])
        expect(here).to_have_count(0)
        expect(page.locator(f'.cell-open[data-job="{made[1].id}"]')).to_have_count(2)


def test_what_is_deleted_before_the_page_listens_goes(open_page: Open, server: BackgroundServer) -> None:
    """The page's stream opens behind its first pictures, and tells what happened before."""
    page = open_page("create")
    page.goto(page.url.partition("#")[0] + "#/organize")
    with Client(server.address) as client:
        made = [client.imagine(f"soon gone {number}", images=1, steps=1) for number in range(2)]
        for job in made:
            job.wait(timeout_s=60)
        here = page.locator(f'.cell-open[data-job="{made[0].id}"]')
        gone: list[Any] = []

        def late(route: Any) -> None:
            if not gone:
                expect(here).to_have_count(1)
                gone.append(client.organize.delete([made[0].id]))
            route.continue_()

        page.route("**/api/events?*", late)
        page.reload(wait_until="commit")
        until(page, lambda: gone)
        expect(here).to_have_count(0)
        expect(page.locator(f'.cell-open[data-job="{made[1].id}"]')).to_have_count(1)


def test_an_old_answer_brings_no_deleted_picture_back(open_page: Open, server: BackgroundServer) -> None:
    """Names that were on their way when a job was deleted are taken without it."""
    page = open_page("organize", viewport={"width": 1280, "height": 800})
    with Client(server.address) as client:
        made = [client.imagine(f"tardy answer {number}", images=1, steps=1) for number in range(2)]
        for job in made:
            job.wait(timeout_s=60)
        here = page.locator(f'.cell-open[data-job="{made[0].id}"]')
        expect(here).to_have_count(1)

        def late(route: Any) -> None:
            answer = route.fetch()
            if "tardy" in (route.request.post_data or "") and not gone:
                gone.append(client.organize.delete([made[0].id]))
                expect(here).to_have_count(0)
            route.fulfill(response=answer)

        gone: list[Any] = []
        page.route("**/api/organize.names", late)
        page.get_by_label("Search").fill("tardy")
        expect(page.locator(".organize-count")).to_have_text("1 picture in 1 job")
        expect(here).to_have_count(0)
        assert gone


def test_what_is_not_seen_waits_for_the_first_picture(open_page: Open, jobs: list[str]) -> None:
    """Or for two seconds, where none comes; a picture that comes later begins nothing a second time."""
    page = open_page("create", viewport={"width": 1280, "height": 800})
    more: list[str] = []
    page.evaluate("location.hash = '#/organize'")
    page.route("**/api/thumbnails/**", lambda route: None)
    with page.expect_request("**/api/events?*"):
        page.reload(wait_until="commit")  # pictures that do not come may keep it from being loaded
    assert page.evaluate("performance.now()") > 1_900
    page.on("request", lambda request: more.append(request.url) if "/api/events" in request.url else None)
    page.evaluate("document.body.append(Object.assign(new Image(), { src: 'web/icon.svg' }))")
    until(page, "() => [...document.images].at(-1).complete")
    page.evaluate("new Promise(resolve => setTimeout(resolve, 400))")  # behind whatever the page would do by then
    assert more == []
