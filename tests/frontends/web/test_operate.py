"""Operate: pausing, other accounts' jobs, grants and the ledger."""

from __future__ import annotations

from salon.frontends.client.client import Client
from salon.frontends.zmq.background import BackgroundServer

from .conftest import Open, axe, expect, in_both_themes


def test_operate(open_page: Open, server: BackgroundServer, job: str) -> None:
    page = open_page()
    expect(page.locator("#prompt")).to_be_visible()  # and so its keys are heard
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
    expect(page.get_by_role("cell", name="The house").first).to_be_visible()
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("row", name="a held apple")).to_contain_text("The house")
    page.get_by_role("link", name="Blocked").click()
    expect(page.get_by_text("No policy has blocked anything.")).to_be_visible()
    assert axe(page) == []


def test_one_name_of_an_account_everywhere(open_page: Open, server: BackgroundServer) -> None:
    """Also of the server's own account, whose jobs are the pictures of pairs."""
    with Client(server.address) as client:
        client.taste.pair()
        own = next(one for one in client.ops.accounts().accounts if one.account == "salon.taste")
        page = open_page("operate/jobs")
        expect(page.locator(f'td[title="{own.account}"]').first).to_have_text(own.name)
        page.get_by_role("link", name="Accounts").click()
        expect(page.locator(f'th[title="{own.account}"]')).to_have_text(own.name)
        page.get_by_role("button", name=f"Account {own.name}").click()
        page.get_by_role("menuitem", name="Ledger").click()
        expect(page.locator(f'b[title="{own.account}"]')).to_have_text(own.name)
        page.get_by_role("link", name="all accounts").click()
        expect(page.get_by_role("table")).to_be_visible()
        assert page.get_by_text(own.account, exact=True).count() == 0


def test_what_is_typed_stays_while_the_list_is_asked_for_anew(open_page: Open) -> None:
    page = open_page("operate/accounts")
    page.locator("main").get_by_role("button", name="Account").first.click()
    page.get_by_role("menuitem", name="Change").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("half a na")
    dialog.get_by_label("Plan").fill("a plan")
    dialog.get_by_label("Role").select_option("operator")
    for _ in range(2):  # the first answer may have been on its way
        with page.expect_response("**/api/ops.accounts"):
            pass
    expect(dialog.get_by_label("Name", exact=True)).to_have_value("half a na")
    expect(dialog.get_by_label("Plan")).to_have_value("a plan")
    expect(dialog.get_by_label("Role")).to_have_value("operator")
    page.keyboard.press("Escape")
