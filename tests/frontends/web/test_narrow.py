"""A phone: no word that people or servers write is wider than its place, and nothing jumps when it comes."""

from __future__ import annotations

from typing import Any

import pytest

from salon.frontends.client.client import Client
from salon.frontends.client.errors import JobFailed
from salon.frontends.fake.worker import Behaviour
from salon.frontends.zmq.background import BackgroundServer

from .conftest import Open, expect, fits, told

WORD = "x" * 90  # without a place to break it: more than twice as wide as a phone
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}}
REFUSED = ("400 (Bad Request)", "404 (Not Found)")


@pytest.fixture
def long(server: BackgroundServer, behaviour: Behaviour) -> str:
    """A job with a long word as its prompt; after it one that failed for a long reason."""
    with Client(server.address) as client:
        made = client.imagine(WORD, images=2, steps=1)
        made.wait(timeout_s=60)
        behaviour.fail = WORD
        try:
            with pytest.raises(JobFailed):
                client.imagine("it fails", images=1, steps=1).wait(timeout_s=60)
        finally:
            behaviour.fail = ""
        return made.id


def test_prompts_and_errors(open_page: Open, long: str) -> None:
    page = open_page(expect=REFUSED, **PHONE)
    expect(page.locator(".ended")).to_contain_text(WORD)
    page.locator(f'.job[data-job="{long}"]').scroll_into_view_if_needed()
    expect(page.locator(f'.job[data-job="{long}"] .tile.loaded')).to_have_count(2)
    fits(page)
    own = page.locator(".rail li a[aria-current] span")
    assert own.bounding_box()["height"] < 24, "our own words are not broken"
    page.evaluate("scrollTo(0, 0)")
    prompt, first = page.locator("#prompt"), page.locator(".day").first
    prompt.fill("a cat")
    expect(page.locator("#outcome")).to_contain_text("4 pictures")
    place = first.bounding_box()
    prompt.fill(f"a cat --{WORD[:60]}")
    expect(page.get_by_role("alert")).to_contain_text(WORD[:30])
    fits(page)
    prompt.fill("a cat --nope")  # in one line, as before: what is below stays where it was, however long the error is
    expect(page.get_by_role("alert")).to_contain_text("--nope")
    assert page.get_by_role("alert").locator("span").bounding_box()["height"] > 20
    assert first.bounding_box() == place
    prompt.fill(WORD)
    expect(page.locator("#outcome")).to_contain_text("4 pictures")
    fits(page)
    page.locator(".plan summary").click()
    expect(page.locator(".plan-prompt")).to_be_visible()
    fits(page)
    page.keyboard.press("Escape")
    prompt.fill("")
    page.locator(f'.tile-open[data-job="{long}"]').first.click()
    expect(page.locator(".lightbox .details-prompt")).to_have_text(WORD)
    fits(page)


def test_messages_and_questions(open_page: Open, server: BackgroundServer, long: str) -> None:
    with Client(server.address) as client:
        folder = client.organize.new_folder(WORD).folder
        client.organize.put_preset(WORD[:64], "--ar 3:2")
    page = open_page("organize", expect=REFUSED, **PHONE)
    expect(page.get_by_role("button", name=f"Folder {WORD}")).to_be_visible()
    fits(page)
    page.get_by_role("button", name=f"Folder {WORD}").click()
    page.get_by_role("menuitem", name="Rename").click()
    expect(page.get_by_label("New name")).to_be_visible()
    fits(page)
    page.keyboard.press("Escape")
    page.locator(f'.cell-open[data-job="{long}"]').first.click(modifiers=["Control"])
    page.get_by_role("toolbar").get_by_role("button", name="Folder").click()
    expect(page.get_by_role("menuitem", name=WORD)).to_be_visible()
    fits(page)
    page.get_by_role("menuitem", name=WORD).click()
    told(page, f"1 job in {WORD}.")
    fits(page)
    page.get_by_role("button", name="Presets of parameters").click()
    dialog = page.get_by_role("dialog", name="Presets")
    expect(dialog.locator(".presets strong")).to_have_text(WORD[:64])
    fits(page)
    dialog.get_by_role("button", name=f"Delete {WORD[:64]}").click()
    expect(page.get_by_role("button", name="Delete", exact=True)).to_be_visible()
    fits(page)
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(dialog).to_contain_text("There is none yet")
    with Client(server.address) as client:
        client.organize.delete_folder(folder)


def test_chat_taste_editor_and_accounts(open_page: Open, server: BackgroundServer, long: str) -> None:
    with Client(server.address) as client:
        chat = client.chat.say(WORD).chat
        client.taste.new(WORD[:60])
        client.ops.set_account("local", name=WORD)
        page = open_page(f"chat/{chat}", expect=REFUSED, **PHONE)
        expect(page.locator(".said")).to_contain_text(WORD)
        expect(page.locator(".turn .tile").first).to_be_visible()
        fits(page)
        page.get_by_label("Say what shall be different").fill(f"--{WORD}")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text(WORD[:30])
        fits(page)
        for view, seen in (
            (f"edit/{long}/0", ".editor .canvas"),
            (f"edit/{WORD}/0", "[role=alert]"),
            (f"chat/{WORD}", "[role=alert]"),
            ("personalize/profiles", f"h2:text('{WORD[:60]}')"),
            ("personalize/grids", f"h2:text('{WORD}')"),
            ("explore", ".cell-open"),
            ("operate/jobs", f"td:text('{WORD}')"),
            ("operate/accounts", f"th:has-text('{WORD}')"),
            ("operate/ledger/local", f"b:text('{WORD}')"),
            ("operate/blocked/local", f"b:text('{WORD}')"),
        ):
            page.goto(f"{page.url.partition('#')[0]}#/{view}")
            expect(page.locator(seen).first).to_be_visible()
            fits(page)
        page.get_by_role("button", name="Your account").click()
        expect(page.get_by_role("menuitem", name=WORD)).to_be_visible()
        fits(page)
        client.ops.set_account("local", name="")
        client.chat.delete(chat)
