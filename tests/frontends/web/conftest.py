"""A server over a worker without a model, and a browser that opens its page. Without chromium the tests are skipped."""

from __future__ import annotations

import importlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from salon.frontends.client.client import Client
from salon.frontends.fake.worker import Behaviour, FakeWorker
from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions
from salon.studio.studio import Studio

from .slowed import slow

try:
    sync: Any = importlib.import_module("playwright.sync_api")
except ImportError:
    sync = None
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WAIT_MS = 60_000  # for an event that comes in milliseconds, and on a starved machine much later
SIDE = 64  # pixels of a picture, so that aspects differ
Open = Callable[..., Any]
WIDER = """() => {
    const MEANT = ".scroll, .panel, .codes, .tabs, .chips, .aspects, .rail ul"; // moved by hand: tables, rows
    const moves = one => ["auto", "scroll"].includes(getComputedStyle(one).overflowX) && !one.matches(MEANT);
    return [document.documentElement, ...[...document.querySelectorAll("body *")].filter(moves)]
        .filter(one => one.scrollWidth > one.clientWidth).flatMap(one => [one, ...one.querySelectorAll("*")]
            .filter(each => each.getBoundingClientRect().right > one.getBoundingClientRect().left + one.clientWidth))
        .map(one => `${one.tagName} ${one.className}`);
}"""
TOLD = """window.told = [];
new MutationObserver(changes => {
    for (const node of changes.flatMap(change => [...change.addedNodes])) {
        if (node.nodeType !== Node.ELEMENT_NODE) continue;
        for (const toast of [node, ...node.querySelectorAll(".toast")]) {
            if (toast.matches(".toasts:popover-open .toast")) told.push(toast.textContent);
        }
    }
}).observe(document, { childList: true, subtree: true })"""


class Worker(FakeWorker):
    """A worker whose model draws larger pictures than the fake one's."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(behaviour)
        defaults = {**self._info.defaults, "width": SIDE, "height": SIDE}
        self._info = msgspec.structs.replace(self._info, defaults=defaults)


def serve(data: Path, behaviour: Behaviour, *, http: str = "0", **more: Any) -> BackgroundServer:
    """Return a server that is not started, with its HTTP at a port; 0: any. `more`: of `ServeOptions`."""
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=data, metrics=None, http=f"127.0.0.1:{http}", grace_s=0.2, **more
    )  # fmt: skip
    return BackgroundServer(options, lambda _, billing: Studio.over([Worker(behaviour)], accounts=billing))


@pytest.fixture(scope="module")
def behaviour() -> Behaviour:
    """What the worker does; a test may change it, and changes it back."""
    return Behaviour(drawn=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, behaviour: Behaviour) -> Iterator[BackgroundServer]:
    if CHROMIUM is None or sync is None:
        pytest.skip("the page is tested in a browser: `apt-get install chromium`, and pip's playwright")
    with serve(tmp_path_factory.mktemp("page"), behaviour) as made:
        yield made


@pytest.fixture(scope="module")
def job(server: BackgroundServer) -> str:
    """A job with two pictures."""
    with Client(server.address) as client:
        made = client.imagine("a red apple", images=2, seed=7)
        made.wait(timeout_s=30)
        return made.id


@pytest.fixture(scope="module")
def browser(server: BackgroundServer) -> Iterator[Any]:
    sync.expect.set_options(timeout=WAIT_MS)
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(server: BackgroundServer, browser: Any) -> Iterator[Open]:
    """A function that opens a view, or another address; what the page logs as an error, or raises, fails the test."""
    wrong: list[str] = []
    contexts: list[Any] = []
    assert server.server is not None
    address = server.server.http

    def open(view: str = "create", *, expect: tuple[str, ...] = (), url: str = "", **options: Any) -> Any:
        context = browser.new_context(reduced_motion="reduce", **options)  # axe sees no colours on their way
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))

        def logged(line: Any) -> None:
            if line.type == "error" and not any(each in line.text for each in expect):
                wrong.append(line.text)

        page.on("console", logged)
        page.add_init_script(TOLD)
        slow(page)
        page.goto(url or f"{address}/#/{view}")
        return page

    yield open
    for context in contexts:
        context.close()
    assert not wrong


def expect(what: Any) -> Any:
    """Return Playwright's assertions about a part of a page."""
    return sync.expect(what)


def listed(page: Any) -> None:
    """Wait until Create has all jobs that there are."""
    expect(page.locator('.feed[aria-busy="false"], .welcome')).to_be_visible()


def until(page: Any, holds: str | Callable[[], object], arg: Any = None) -> None:
    """Wait until a function, of the page's or of the test's, says that something holds.

    Playwright's own way evaluates text inside the page, which the page's policy forbids but for the first look.
    """
    end = time.monotonic() + WAIT_MS / 1000
    while not (page.evaluate(holds, arg) if isinstance(holds, str) else holds()):
        assert time.monotonic() < end, holds
        page.wait_for_timeout(20)


def told(page: Any, words: str) -> None:
    """Wait until the page has told something above all else, also if the message has left by now."""
    until(page, "words => told.some(text => text.includes(words))", words)


def fits(page: Any) -> None:
    """Check that nothing sticks out of a page or of a dialog, so that it does not move sideways."""
    until(page, "wide => innerWidth === wide", page.viewport_size["width"])
    assert page.evaluate(WIDER) == [], page.url


def axe(page: Any) -> list[str]:
    """Return what axe finds wrong with a page, as `rule: element`."""
    axe = importlib.import_module("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:160]}" for each in found for node in each["nodes"]]


def in_both_themes(page: Any) -> None:
    """Have axe look at a page, light and dark."""
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        assert axe(page) == [], theme
