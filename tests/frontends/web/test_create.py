"""The imagine bar and Create, in a browser, as a stranger uses them: by mouse, and by keys alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from salon.frontends.client.client import Client
from salon.frontends.client.errors import JobFailed
from salon.frontends.fake.worker import Behaviour
from salon.frontends.wire.keys import make_pair
from salon.frontends.zmq.background import BackgroundServer

from .conftest import Open, axe, expect, fits, listed, serve, told

APPLE = Path(__file__).parents[3] / "docs" / "images" / "red-apple.png"
REFUSED = "400 (Bad Request)"  # a browser logs it, whatever the page makes of it
MARKUP = "<img src=x onerror=alert(1)> <script>alert(2)</script> & a cat"


def loaded(page: Any, many: int) -> None:
    """Wait until so many pictures of the newest job are drawn and shown."""
    expect(page.locator(".job").first.locator(".tile.loaded")).to_have_count(many)


def test_a_stranger_draws(open_page: Open) -> None:
    page = open_page(expect=(REFUSED,))
    expect(page.get_by_role("heading", name="Nothing drawn yet")).to_be_visible()
    page.get_by_role("button", name="a red apple").click()
    prompt = page.get_by_label("Prompt", exact=True)
    expect(prompt).to_be_focused()
    expect(prompt).to_have_value("a red apple")
    expect(page.locator("#outcome")).to_contain_text("4 pictures")

    prompt.fill("a cat --ar 99:1 and more")  # what is wrong is marked where it stands, before it is sent
    expect(page.get_by_role("alert")).to_contain_text("--ar: got '99:1'")
    expect(page.locator(".mirror mark")).to_have_text("99:1")
    expect(page.get_by_role("button", name="Draw")).to_be_disabled()

    prompt.fill("a {red, green} apple --n 2")  # a prompt that stands for two is planned as two
    expect(page.locator("#outcome")).to_contain_text("4 pictures in 2 jobs")
    page.locator(".plan summary").click()
    expect(page.locator(".plan-prompt")).to_have_count(2)
    page.locator(".plan summary").click()
    page.get_by_role("button", name="Draw").click()
    expect(page.locator(".job")).to_have_count(2)
    loaded(page, 2)

    page.get_by_role("button", name="Vary picture 2").first.click()
    expect(page.locator(".job")).to_have_count(3)
    expect(page.locator(".job").first.locator(".facts")).to_contain_text("Variation")
    page.get_by_role("button", name="Upscale picture 1").last.click()
    expect(page.locator(".job")).to_have_count(4)
    expect(page.locator(".job").first.locator(".facts")).to_contain_text("Upscale")
    loaded(page, 1)
    page.reload()
    expect(page.locator(".job")).to_have_count(4)
    expect(prompt).to_have_value("a {red, green} apple --n 2")  # what was written is not lost


def test_controls_are_the_parameters(open_page: Open, server: BackgroundServer) -> None:
    page = open_page(expect=(REFUSED,))
    page.get_by_label("Prompt", exact=True).fill("a blue boat")
    page.get_by_role("button", name="Parameters", exact=True).click()
    panel = page.locator("#parameters")
    with Client(server.address) as client:
        known = client.parameters()
    panel.get_by_role("button", name="All parameters").click()
    drawn = {"whole", "number", "choice", "wholeof", "switch", "aspect", "text", "interval"}
    names = [one.name for one in known if one.kind in drawn and not one.missing and one.job_kinds in ((), ("imagine",))]
    assert len(names) > 25
    expect(panel.locator(".control")).to_have_count(len(names))

    panel.get_by_role("button", name="16:9").click()
    panel.get_by_label("Images", exact=True).last.fill("1")
    panel.get_by_label("Seed", exact=True).fill("7")
    panel.get_by_label("Draft", exact=True).check()
    page.get_by_label("Prompt", exact=True).focus()
    chips = page.locator(".chip")
    expect(chips).to_have_count(4)
    page.get_by_role("button", name="Leave out Draft").click()
    expect(chips).to_have_count(3)
    expect(page.locator("#outcome")).to_contain_text("1 picture ")
    page.get_by_label("Prompt", exact=True).press("Enter")
    expect(page.locator(".job").first).to_contain_text("a blue boat")
    loaded(page, 1)
    job = page.locator(".job").first.get_attribute("data-job")
    with Client(server.address) as client:
        info = client.job(job).info
    assert (info.images, info.seed, info.prompt) == (1, 7, "a blue boat")
    assert info.width / info.height == pytest.approx(16 / 9, rel=0.1)

    page.get_by_role("button", name="Settings").click()  # and what the account keeps, for all of its prompts
    dialog = page.get_by_role("dialog", name="Settings")
    dialog.get_by_label("Suffix").fill("--nonsense 3")
    dialog.get_by_label("Suffix").press("Tab")
    expect(dialog.get_by_role("alert")).to_contain_text("--nonsense")
    dialog.get_by_label("Suffix").fill("--n 3")
    dialog.get_by_label("Suffix").press("Tab")
    expect(dialog.get_by_role("alert")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Leave out Images").click()
    expect(page.locator("#outcome")).to_contain_text("3 pictures")
    with Client(server.address) as client:
        try:
            assert client.settings.show().suffix == "--n 3"
        finally:
            client.settings.reset()


def test_by_keys_alone(open_page: Open) -> None:
    page = open_page()
    listed(page)
    keys = page.keyboard
    keys.press("/")
    expect(page.locator("#prompt")).to_be_focused()
    keys.type("a small house --n 2")
    expect(page.locator("#outcome")).to_contain_text("2 pictures")
    before = page.locator(".job").count()
    keys.press("Enter")
    expect(page.locator(".job")).to_have_count(before + 1)
    loaded(page, 2)
    keys.press("Escape")
    keys.press("ArrowRight")
    expect(page.locator(".tile-open:focus")).to_have_attribute("data-index", "0")
    keys.press("ArrowRight")
    keys.press("Enter")
    lightbox = page.locator(".lightbox")
    expect(lightbox).to_contain_text("Picture 2 of 2")
    keys.press("ArrowLeft")
    expect(lightbox).to_contain_text("Picture 1 of 2")
    assert axe(page) == []
    keys.press("l")
    told(page, "Liked.")  # above the picture
    keys.press("l")
    told(page, "No longer liked.")
    keys.press("Escape")
    expect(lightbox).to_have_count(0)
    expect(page.locator(".tile-open:focus")).to_have_count(1)  # one is where one was
    keys.press("v")
    expect(page.locator(".job")).to_have_count(before + 2)
    page.locator(".job").nth(1).locator(".tile-open").first.focus()
    keys.press("Delete")
    expect(page.get_by_role("dialog")).to_contain_text("for good")
    keys.press("Enter")
    expect(page.locator(".job")).to_have_count(before + 1)
    keys.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    keys.press("Escape")


def test_a_job_on_its_way(open_page: Open, behaviour: Behaviour, server: BackgroundServer) -> None:
    """Previews in their places, steps counted, a second page that sees the same, cancelling, failing, trying again."""
    page, other = (open_page(expect=("404 (Not Found)",)) for _ in range(2))  # a preview may be replaced already
    listed(page)
    listed(other)
    many = page.locator(".job").count()
    behaviour.step_s = 0.4  # a minute for the whole job: what is looked at meanwhile may take its time
    try:
        page.get_by_label("Prompt", exact=True).fill(f"{MARKUP} --steps 150 --n 2")
        expect(page.locator("#outcome")).to_contain_text("2 pictures")
        page.keyboard.press("Enter")
        for each in (page, other):
            expect(each.locator(".job")).to_have_count(many + 1)
        card = other.locator(".job").first  # what is asked for in one window is seen in the other
        expect(card.get_by_text(re.compile(r"Step \d+ of 150"))).to_be_visible()
        expect(card.locator(".preview")).to_have_count(2)
        box = card.locator(".tile").first.bounding_box()
        assert box is not None
        expect(card.locator(".job-prompt")).to_have_text(MARKUP)  # as text
        assert page.locator(".job img[src=x], .job script").count() == 0
        page.locator(".job").first.get_by_role("button", name="What can be done with this job").click()
        page.get_by_role("menuitem", name="Cancel").click()
        expect(card.locator(".ended")).to_contain_text("Cancelled")
        behaviour.step_s, behaviour.fail = 0.0, "out of paint"
        card.get_by_role("button", name="Try again").click()
        expect(other.locator(".job")).to_have_count(many + 2)
        expect(card.locator(".ended")).to_contain_text("out of paint")
        behaviour.fail = ""
        expect(page.locator(".job")).to_have_count(many + 2)
        page.locator(".job").first.get_by_role("button", name="Try again").click()
        expect(page.locator(".job")).to_have_count(many + 3)
        loaded(page, 2)
        after = page.locator(".job").first.locator(".tile").first.bounding_box()
        assert (after["width"], after["height"]) == (box["width"], box["height"])  # nothing has jumped
    finally:
        behaviour.step_s, behaviour.fail = 0.0, ""


def test_pictures_in_the_bar(open_page: Open, tmp_path: Any) -> None:
    from PIL import Image

    page = open_page(expect=(REFUSED,))
    Image.new("RGB", (16, 16), "red").save(tmp_path / "red.png")
    (tmp_path / "no.png").write_text("<svg onload=alert(1)>")
    field = page.locator(".slots input[type=file]")
    field.set_input_files(tmp_path / "red.png")
    slot = page.locator(".slot")
    expect(slot).to_have_attribute("data-state", "ready")
    page.get_by_label("Prompt", exact=True).fill("a purple cat --n 1")
    slot.get_by_role("combobox").select_option("Style")
    expect(page.locator("#outcome")).to_contain_text("1 picture")
    page.get_by_role("button", name="Draw").click()
    expect(page.locator(".job").first).to_contain_text("a purple cat")
    loaded(page, 1)
    page.locator(".tile-open").first.drag_to(page.locator(".words"), target_position={"x": 2, "y": 10})  # of a job, too
    expect(page.locator(".slot[data-state=ready]")).to_have_count(2)
    expect(page.locator(".zone")).to_have_count(0)
    expect(page.locator(".slot").nth(1).get_by_role("button", name="Its recipe")).to_be_visible()
    field.set_input_files(APPLE)  # one of Salon's says what it was drawn of
    page.locator(".slot").nth(2).get_by_role("button", name="Its recipe").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red apple, 3d render, on a teal background")
    expect(page.locator(".chips")).to_contain_text("Seed 2")
    field.set_input_files(tmp_path / "no.png")
    expect(page.locator(".slot[data-state=failed] figcaption")).to_be_visible()
    page.get_by_role("button", name="Leave out no.png").click()
    expect(page.locator(".slot")).to_have_count(2)


def test_a_server_that_comes_back(open_page: Open, tmp_path: Path, behaviour: Behaviour) -> None:
    """The page says that it is gone, and goes on by itself, with what happened meanwhile."""
    first = serve(tmp_path, behaviour).start()
    assert first.server is not None
    page = open_page(url=first.server.http, expect=("ERR_",))  # which the browser logs while there is no server
    expect(page.get_by_role("heading", name="Nothing drawn yet")).to_be_visible()
    first.stop()
    expect(page.locator(".offline")).to_be_visible()
    with serve(tmp_path, behaviour, http=first.server.http.rpartition(":")[2]) as second:
        with Client(second.address) as client:
            client.imagine("an apple after a restart", images=1).wait(timeout_s=30)
        expect(page.locator(".offline")).to_have_count(0)
        loaded(page, 1)
        expect(page.locator(".job")).to_contain_text("an apple after a restart")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_axe_sees(open_page: Open, job: str, scheme: str) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": 1280, "height": 800})
    page.locator(f'.job[data-job="{job}"]').scroll_into_view_if_needed()  # others may have come, and pictures are lazy
    expect(page.locator(f'.job[data-job="{job}"] .tile.loaded')).to_have_count(2)
    page.get_by_role("button", name="Parameters", exact=True).click()
    expect(page.locator("#parameters .control").first).to_be_visible()
    if scheme == "dark":
        page.set_viewport_size({"width": 390, "height": 780})
    assert axe(page) == []
    page.set_viewport_size({"width": 390, "height": 780})
    fits(page)


def test_letters_begin_a_prompt(open_page: Open, job: str) -> None:
    """A letter that means nothing else in Create begins a prompt; keys of pictures and of dialogs stay theirs."""
    page = open_page(viewport={"width": 1280, "height": 2000})
    page.locator(f'.job[data-job="{job}"]').scroll_into_view_if_needed()
    expect(page.locator(f'.job[data-job="{job}"] .tile.loaded')).to_have_count(2)
    prompt, keys = page.locator("#prompt"), page.keyboard
    prompt.fill("")
    keys.press("Escape")
    keys.press("v")  # makes a variation, of a picture that has the focus
    keys.press("Control+a")
    keys.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    keys.press("a")
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(prompt).not_to_be_focused()
    expect(prompt).to_have_value("")
    keys.type("a fox")
    expect(prompt).to_be_focused()
    expect(prompt).to_have_value("a fox")
    prompt.fill("")


def test_less_than_a_screen(open_page: Open, tmp_path: Path, behaviour: Behaviour) -> None:
    """The end of the list is told where one has scrolled to it, not below a single job."""
    with serve(tmp_path, behaviour) as server, Client(server.address) as client:
        client.imagine("a red apple", images=1, steps=1).wait(timeout_s=30)
        assert server.server is not None
        page = open_page(url=server.server.http, viewport={"width": 1280, "height": 2000})
        expect(page.locator(".tile.loaded")).to_have_count(1)
        expect(page.locator(".more")).to_have_text("")
        page.set_viewport_size({"width": 1280, "height": 300})
        expect(page.locator(".more")).to_have_text("That is all.")
        page.goto("about:blank")  # before its server goes


def test_the_view_that_is_shown_fits_its_label(open_page: Open) -> None:
    page = open_page("personalize")
    label = page.locator(".rail li a[aria-current] span")
    expect(label).to_have_text("Personalize")
    inside = "span => span.getBoundingClientRect().width <= span.parentElement.clientWidth - 4"
    assert label.evaluate(inside)


def test_what_was_liked_is_known(open_page: Open, server: BackgroundServer, job: str) -> None:
    """Likes of before, and of elsewhere: they can be taken back on a page that has just been opened."""
    with Client(server.address) as client:
        client.like(job, 1)
        page = open_page("personalize/likes")
        expect(page.get_by_role("status").filter(has_text="that you like")).to_have_text("1 picture that you like")
        cell = page.locator(".cell-open")
        expect(cell).to_have_count(1)
        expect(cell).to_have_attribute("aria-label", "Picture 2 of 2: a red apple")  # and not its other one
        page.goto(page.url.replace("personalize/likes", "create"))
        expect(page.locator(".tile-mark")).to_have_count(1)
        page.locator(f'.tile-open[data-job="{job}"][data-index="1"]').click()
        page.get_by_role("button", name="Like no longer").click()
        told(page, "No longer liked.")
        with page.expect_response("**/api/organize.marks"):
            page.reload()
        page.locator(f'.tile-open[data-job="{job}"][data-index="1"]').click()
        expect(page.get_by_role("button", name="Like l")).to_be_visible()


def test_long_seeds(open_page: Open, server: BackgroundServer) -> None:
    """Seeds beyond 2^53 stay what they are, from a job's record to the next request."""
    seed = 2**64 - 3
    with Client(server.address) as client:
        made = client.imagine("a long seed", images=1, steps=1, seed=seed)
        made.wait(timeout_s=30)
        page = open_page()
        page.locator(f'.tile-open[data-job="{made.id}"]').click()
        expect(page.locator(".facts-table")).to_contain_text(str(seed))
        page.get_by_role("button", name="Use the seed").click()
        expect(page.locator(".chips")).to_contain_text(str(seed))
        page.locator("#prompt").fill("another --n 1")
        expect(page.locator("#outcome")).to_contain_text("1 picture")
        page.locator("#prompt").press("Enter")
        expect(page.locator(".job").first).to_contain_text("another")
        assert client.jobs(1).jobs[0].seed == seed


def test_again_of_any_kind_and_style(open_page: Open, tmp_path: Path, behaviour: Behaviour) -> None:
    """A job that failed, was asked for elsewhere and by nobody who operates, is made once more with all that it had."""
    with serve(tmp_path, behaviour, curve=True, open=True, open_plan="unlimited") as keyed:
        assert keyed.server is not None
        with Client(keyed.address, key=make_pair()), Client(keyed.address, key=make_pair()) as client:
            source = client.imagine("a barn", images=1, steps=1)
            source.wait(timeout_s=30)
            behaviour.fail = "out of paint"
            try:
                failed = source[0].vary("strong", images=1)
                with pytest.raises(JobFailed):
                    failed.wait(timeout_s=30)
            finally:
                behaviour.fail = ""
            page = open_page(url=client.entry.link().url, expect=("401 (Unauthorized)",))
            card = page.locator(f'.job[data-job="{failed.id}"]')
            expect(card.locator(".ended")).to_contain_text("out of paint")
            card.get_by_role("button", name="Try again").click()
            expect(page.locator(".job").first.locator(".tile.loaded")).to_have_count(1)
            info = client.jobs(1).jobs[0]
            assert (info.kind, info.seed, info.knobs) == ("vary", failed.info.seed, failed.info.knobs)
            assert info.sources[0].job == source.id
            page.goto("about:blank")  # before its server goes


def test_what_fails_at_first_is_asked_again(open_page: Open, job: str) -> None:
    """Lists of jobs and of parameters, and a check that did not reach the server. What is written meanwhile stays."""
    page = open_page(expect=("ERR_FAILED",))
    listed(page)
    page.locator("#prompt").fill("words of before")
    expect(page.locator("#outcome")).to_contain_text("4 pictures")
    paths = ("**/api/list", "**/api/parameters", "**/api/plan")
    for path in paths:
        page.route(path, lambda route: route.abort())
    page.reload()
    expect(page.locator("#prompt")).to_have_value("words of before")
    page.locator("#prompt").fill("a lamp --n 1")
    told(page, "does not answer")
    for path in paths[:2]:
        page.unroute(path)
    page.locator(f'.job[data-job="{job}"]').scroll_into_view_if_needed()
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    page.unroute(paths[2])
    expect(page.locator("#outcome")).to_contain_text("1 picture")
    expect(page.locator("#prompt")).to_have_value("a lamp --n 1")
    page.locator("#prompt").fill("")


def test_presets(open_page: Open, server: BackgroundServer) -> None:
    """What the bar says, in words and by controls, is kept under a name, said by it, renamed, and forgotten."""
    page = open_page(expect=(REFUSED,))
    page.locator("#prompt").fill("a lamp --ar 3:2")
    page.get_by_role("button", name="Parameters", exact=True).click()
    page.get_by_label("Images", exact=True).last.fill("1")
    page.get_by_role("button", name="Presets").click()
    dialog = page.get_by_role("dialog", name="Presets")
    dialog.get_by_label("Name of a new preset").fill("two words")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("letters, digits")
    dialog.get_by_label("Name of a new preset").fill("single")
    page.keyboard.press("Enter")
    expect(dialog.locator(".presets li")).to_contain_text("single--ar 3:2 --n 1")
    dialog.get_by_role("button", name="Rename single").click()
    page.get_by_label("New name").fill("alone")
    page.keyboard.press("Enter")
    expect(dialog.locator(".presets strong")).to_have_text("alone")
    assert axe(page) == []
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name="Leave out Images").click()
    page.locator("#prompt").fill("a lamp")
    page.get_by_role("button", name="Presets").click()
    dialog.get_by_role("button", name="Use").click()
    expect(page.locator(".chips")).to_contain_text("Preset alone")
    expect(page.locator("#outcome")).to_contain_text("1 picture ")
    page.get_by_role("button", name="Presets").click()
    dialog.get_by_role("button", name="Delete alone").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(dialog).to_contain_text("There is none yet")
    expect(page.locator(".chips li")).to_have_count(0)
    page.keyboard.press("Escape")
    page.locator("#prompt").fill("")
    with Client(server.address) as client:
        assert client.organize.presets() == ()
