"""Operate: pausing, other accounts' jobs, grants and the ledger."""

from __future__ import annotations

from salon.frontends.client.client import Client
from salon.frontends.zmq.background import BackgroundServer

from .conftest import Open, axe, expect, in_both_themes


def test_operate(open_page: Open, server: BackgroundServer, job: str) -> None:
    page = open_page()
    expect(page.locator("#prompt")).to_be_visible()
    page.keyboard.press("Shift+S")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", name="paused")).to_be_visible()
    with Client(server.address) as client:
        held = client.imagine("a held apple", images=1)
        page.get_by_role("link", name="Jobs").click()
        row = page.get_by_role("row", name="a held apple")
        expect(row).to_contain_text("queued")
        row.get_by_role("button", name=f"Job {held.id}").click()
        page.get_by_role("menuitem", name="Cancel").click()
        expect(row).to_contain_text("cancelled")
    page.get_by_role("link", name="Now").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name="running")).to_be_visible()
    expect(page.get_by_role("table").last).to_contain_text("worker-1")
    figures = page.locator(".figures")
    expect(figures).to_contain_text("Pages that listen1")  # this one; and the client has left
    assert int(figures.locator("div", has_text="Connections").locator("dd").inner_text()) >= 1
    in_both_themes(page)
    page.get_by_role("link", name="Accounts").click()
    page.get_by_role("button", name="Account local").click()
    page.get_by_role("menuitem", name="Change").click()
    page.get_by_label("Grant hours of GPU time").fill("2")
    page.get_by_label("Name", exact=True).fill("The house")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row", name="The house")).to_be_visible()
    page.get_by_role("button", name="Account The house").click()
    page.get_by_role("menuitem", name="Ledger").click()
    expect(page.get_by_role("table")).to_contain_text("2.0 h")
    page.get_by_role("link", name="Blocked").click()
    expect(page.get_by_text("No policy has blocked anything.")).to_be_visible()
    assert axe(page) == []
