"""Where accounts have keys: a link lets a browser in, and nobody sees what is another's."""

from __future__ import annotations

from pathlib import Path

from salon.frontends.client.client import Client
from salon.frontends.fake.worker import Behaviour
from salon.frontends.wire.keys import make_pair

from .conftest import Open, axe, expect, serve


def test_two_accounts_at_once(open_page: Open, behaviour: Behaviour, tmp_path: Path) -> None:
    with serve(tmp_path, behaviour, curve=True, open=True, open_plan="unlimited") as keyed:
        assert keyed.server is not None
        with Client(keyed.address, key=make_pair()) as one, Client(keyed.address, key=make_pair()) as two:
            expected = ("401 (Unauthorized)", "404 (Not Found)")
            first = open_page(url=keyed.server.http, expect=expected)
            expect(first.get_by_role("heading", name="Salon")).to_be_visible()
            assert axe(first) == []
            link = first.get_by_label("Link")
            link.fill("nonsense")
            first.keyboard.press("Enter")
            expect(first.get_by_role("alert")).not_to_be_empty()
            link.fill(one.entry.link().url)  # pasted; or opened, which leaves no trace in the address
            first.keyboard.press("Enter")
            expect(first.get_by_label("Prompt", exact=True)).to_be_visible()
            second = open_page(url=two.entry.link().url, expect=expected)
            expect(second.get_by_label("Prompt", exact=True)).to_be_visible()
            expect(second).to_have_url(f"{keyed.server.http}/")

            first.get_by_label("Prompt", exact=True).fill("a secret apple --private --n 1")
            expect(first.locator("#outcome")).to_contain_text("1 picture")
            first.keyboard.press("Enter")
            expect(first.locator(".tile.loaded")).to_have_count(1)
            expect(second.get_by_role("heading", name="Nothing drawn yet")).to_be_visible()
            second.get_by_label("Prompt", exact=True).fill("words of the second")
            second.goto(f"{keyed.server.http}/#/edit/{one.jobs().jobs[0].job}/0")
            expect(second.get_by_role("alert")).to_contain_text("allowed a job of yours")
            assert second.get_by_role("link", name="Operate").count() == 0
            second.get_by_role("button", name="Your account").click()
            second.get_by_role("menuitem", name="Sign out").click()
            second.get_by_label("Link").fill(one.entry.link().url)
            second.keyboard.press("Enter")
            expect(second.locator(".editor")).to_be_visible()  # of one's own picture; and nothing of the other is left
            second.get_by_role("link", name="Create").click()
            expect(second.locator(".tile.loaded")).to_have_count(1)
            expect(second.get_by_label("Prompt", exact=True)).to_have_value("")
            for page in (first, second):
                page.goto("about:blank")  # before their server goes
