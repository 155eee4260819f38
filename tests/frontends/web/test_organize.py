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

from .conftest import Open, axe, sync


def expect(what: Any) -> Any:
    return sync.expect(what)


@pytest.fixture(scope="module")
def jobs(server: BackgroundServer) -> Iterator[list[str]]:
    """Six jobs of two pictures; the last one is private."""
    with Client(server.address) as client:
        made = [
            client.imagine(f"a {thing} on a hill", images=2, steps=1, seed=70 + number, private=thing == "secret")
            for number, thing in enumerate(("cat", "house", "red apple", "lighthouse", "boat", "secret"))
        ]
        for job in made:
            job.wait(timeout_s=20)
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
    page.get_by_role("button", name="Private", exact=True).click()
    expect(cells).to_have_count(2)
    page.get_by_role("button", name="Private", exact=True).click()
    page.get_by_label("To", exact=True).fill("2001-01-01")
    expect(count).to_have_text("No pictures fit.")
    page.get_by_label("To", exact=True).fill("")
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

    cells.nth(11).click(modifiers=["Control"])
    with page.expect_download() as download:
        chosen.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as packed:
        assert packed.testzip() is None
        told = [json.loads(line) for line in packed.read("manifest.jsonl").splitlines()]
    assert [(line["job"], line["picture"]) for line in told] == [(jobs[5], 1), (jobs[5], 2)]
    assert page.request.get(f"{page.url.partition('#')[0]}api/zip/never.zip").status == 404
    chosen.get_by_role("button", name="Publish").click()
    expect(page.locator(".toast").last).to_contain_text("1 job published")
    with Client(server.address) as client:
        assert not client.job(jobs[5]).info.private
        assert [one.jobs for one in client.organize.folders()] == [3]

    page.get_by_role("button", name="Oldest first").click()
    with Client(server.address) as client:  # what is drawn meanwhile comes in front, and nothing is asked again
        client.imagine("a late bird", images=2, steps=1).wait(timeout_s=20)
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
    cells.nth(2).click(modifiers=["Control"])
    keys.press("Delete")
    expect(page.locator("dialog[open]")).to_be_visible()
    keys.press("Enter")
    expect(count).to_have_text("10 pictures in 5 jobs")
    page.set_viewport_size({"width": 390, "height": 844})  # a phone: what the menu says is seen, too
    cells.nth(0).click(modifiers=["Control"])
    chosen.get_by_role("button", name="Folder").click()
    anew = page.get_by_role("menuitem", name="A new folder")
    assert anew.locator("span").bounding_box()["width"] > 40
    anew.click()
    page.get_by_label("Its name").fill("Phones")
    keys.press("Enter")
    expect(page.get_by_role("button", name="Phones 1")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 800})
    cells.nth(0).click(modifiers=["Control"])
    chosen.get_by_role("button", name="Hide").click()
    expect(count).to_have_text("8 pictures in 4 jobs")


def test_explore(open_page: Open, jobs: list[str]) -> None:
    page = open_page("explore", viewport={"width": 390, "height": 844})
    cells = page.locator(".cell-open")
    expect(page.locator(".organize-count")).to_have_text("8 pictures")
    expect(cells.first).to_have_attribute("aria-label", "Picture 1 of 2: a secret on a hill")
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
            job.wait(timeout_s=20)
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
            job.wait(timeout_s=20)
        with page.expect_request("**/api/events?*"):
            page.route("**/api/thumbnails/**", lambda route: None)  # the stream opens two seconds later
            page.reload()
            here = page.locator(f'.cell-open[data-job="{made[0].id}"]')
            expect(here).to_have_count(1)
            client.organize.delete([made[0].id])
        expect(here).to_have_count(0)
        expect(page.locator(f'.cell-open[data-job="{made[1].id}"]')).to_have_count(1)


def test_an_old_answer_brings_no_deleted_picture_back(open_page: Open, server: BackgroundServer) -> None:
    """Names that were on their way when a job was deleted are taken without it."""
    page = open_page("organize", viewport={"width": 1280, "height": 800})
    with Client(server.address) as client:
        made = [client.imagine(f"late answer {number}", images=1, steps=1) for number in range(2)]
        for job in made:
            job.wait(timeout_s=20)
        here = page.locator(f'.cell-open[data-job="{made[0].id}"]')
        expect(here).to_have_count(1)

        def late(route: Any) -> None:
            answer = route.fetch()
            client.organize.delete([made[0].id])
            expect(here).to_have_count(0)
            route.fulfill(response=answer)

        page.route("**/api/organize.names", late)
        page.get_by_label("Search").fill("late")
        expect(page.locator(".organize-count")).to_have_text("1 picture in 1 job")
        expect(here).to_have_count(0)


def test_what_is_not_seen_waits_for_the_first_picture(open_page: Open, jobs: list[str]) -> None:
    """Or for two seconds, where none comes; a picture that comes later begins nothing a second time."""
    page = open_page("create", viewport={"width": 1280, "height": 800})
    more: list[str] = []
    page.evaluate("location.hash = '#/organize'")
    page.route("**/api/thumbnails/**", lambda route: None)
    with page.expect_request("**/api/events?*"):
        page.reload()
    assert page.evaluate("performance.now()") > 1_900
    page.on("request", lambda request: more.append(request.url) if "/api/events" in request.url else None)
    page.evaluate("document.body.append(Object.assign(new Image(), { src: 'web/icon.svg' }))")
    page.wait_for_function("document.images[document.images.length - 1].complete")
    page.wait_for_timeout(400)
    assert more == []
