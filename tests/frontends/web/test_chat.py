"""Chat: what shall be different is said, and the prompt that it became is shown and can be changed."""

from __future__ import annotations

import re
from typing import Any

from salon.frontends.client.client import Client
from salon.frontends.zmq.background import BackgroundServer

from .conftest import Open, axe, expect, in_both_themes


def test_chat(open_page: Open, server: BackgroundServer) -> None:
    page = open_page("chat", expect=("404 (Not Found)", "400 (Bad Request)"))
    page.get_by_label("Say what shall be different").fill("a red apple")
    page.keyboard.press("Enter")
    turns = page.locator(".turn")
    expect(turns.locator(".tile.loaded")).to_have_count(4)
    page.get_by_label("Say what shall be different").fill("make it blue")
    page.keyboard.press("Enter")
    expect(turns).to_have_count(2)
    prompt = turns.last.get_by_label("The prompt that it became")
    expect(prompt).to_have_value(re.compile("blue"))
    prompt.fill("a gold apple --n 1")
    page.get_by_role("button", name="Draw this instead").click()
    expect(turns).to_have_count(3)
    expect(turns.last.locator(".tile.loaded")).to_have_count(1)
    page.get_by_label("Say what shall be different").fill("--nonsense 3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("--nonsense")
    in_both_themes(page)
    page.reload()
    expect(turns).to_have_count(3)
    with Client(server.address) as client:
        assert client.chat.show(int(page.url.rpartition("/")[2])).turns[2].prompt == "a gold apple --n 1"
    page.get_by_role("button", name="Delete a red apple").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(turns).to_have_count(0)
    expect(page.locator(".chats li")).to_have_count(0)


def test_what_is_written_while_a_turn_is_made(open_page: Open) -> None:
    """It stays in the field, and so does the focus, also where a conversation has just begun."""
    page = open_page("chat", expect=("404 (Not Found)",))
    field, turns = page.get_by_label("Say what shall be different"), page.locator(".turn")

    def meanwhile(route: Any) -> None:
        field.fill("and now something else")
        route.continue_()

    page.route("**/api/chat.say", meanwhile)
    for number, words in enumerate(("a yellow tent", "make it red"), 1):
        field.fill(words)
        page.keyboard.press("Enter")
        expect(turns).to_have_count(number)
        expect(page.get_by_role("button", name="Say", exact=True)).to_be_enabled()
        expect(field).to_have_value("and now something else")
        expect(field).to_be_focused()
    page.get_by_role("button", name="Delete a yellow tent").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(".chats li")).to_have_count(0)


def test_conversations_on_a_phone(open_page: Open, server: BackgroundServer) -> None:
    """The list lies behind a button, and goes when one is chosen, or by Escape; the focus is not lost."""
    with Client(server.address) as client:
        chat = client.chat.say("a green boat").chat
        page = open_page("chat", viewport={"width": 390, "height": 844})
        button, lists = page.get_by_role("button", name="Conversations"), page.locator(".chats")
        expect(button).to_have_attribute("aria-expanded", "false")
        expect(lists).to_be_hidden()
        button.click()
        expect(lists.get_by_role("link", name="a green boat")).to_be_visible()
        assert axe(page) == []
        page.keyboard.press("Escape")
        expect(lists).to_be_hidden()
        expect(button).to_be_focused()
        button.click()
        lists.get_by_role("link", name="a green boat").click()
        expect(lists).to_be_hidden()
        expect(page.locator(".turn")).to_have_count(1)
        assert page.url.endswith(f"#/chat/{chat}")
        page.set_viewport_size({"width": 1280, "height": 800})
        expect(button).to_be_hidden()
        expect(lists).to_be_visible()
        client.chat.delete(chat)
