"""The page in a browser, over very many pictures: paints, frames, nodes, memory, weight; and many streams of events."""

from __future__ import annotations

import gzip
import importlib
import shutil
from pathlib import Path
from typing import Any, Final

from ...frontends.client.client import Client
from ..measure import quantile
from ..report import Goal
from ..runner import Bench
from . import streams
from .many import EACH, fill, served

STATIC: Final = Path(__file__).resolve().parents[2] / "frontends" / "web" / "static"
SENT: Final = {".js", ".css", ".html", ".svg"}
ARGUMENTS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZE: Final = {"width": 1280, "height": 800}
COLUMNS: Final = [["page", "value", "unit", "least", "p90", "most", "samples"]]
BUSY: Final = 0.1  # share of the cores that others may use; above it goals of time say so
WAIT_MS: Final = 60_000
LOOK_MS: Final = (100, 300, 500)  # that one looks at a pair: tiny, quick, full
BY: Final = {"leafing": 40, "flying": 240}  # pixels a frame; at the first every picture is asked for as it comes
STREAMS: Final = 200
# What is to be reached: ms, nodes, bytes.
PAINT_MS, FRAME_MS, KEY_MS, NODES, HEAP, WEIGHT, TOLD_S = 1000.0, 50.0, 50.0, 2_000, 150e6, 150e3, 1.0

FIRST: Final = """(() => {
  const found = window.salonBench = {};
  const look = () => {
    const seen = (image) => image.getBoundingClientRect().top < innerHeight;
    const images = [...document.querySelectorAll(".cell img")].filter(seen);
    const there = images.filter((image) => image.complete && image.naturalWidth);
    if (images.length) found.cells ??= performance.now();
    if (there.length) found.first ??= performance.now();
    if (images.length && there.length === images.length) {
      found.all = performance.now();
      document.documentElement.dataset.painted = "all";
    } else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})()"""
NAMED: Final = """(count) => {
  const row = document.querySelector(".virtual-row");
  const wall = document.querySelector(".virtual");
  return row && wall.offsetHeight / row.offsetHeight * row.querySelectorAll(".cell").length >= count;
}"""
SCROLL: Final = """({ frames, by }) => new Promise((done) => {
  const gaps = [];
  let nodes = 0;
  let before = 0;
  const count = () => {
    const walk = document.createTreeWalker(document, NodeFilter.SHOW_ALL);
    let found = 1;
    while (walk.nextNode()) found += 1;
    return found;
  };
  const step = (now) => {
    if (before) gaps.push(now - before);
    before = now;
    if (gaps.length >= frames) return done({ gaps, nodes: Math.max(nodes, count()), far: scrollY });
    scrollBy(0, by);
    if (gaps.length % 50 === 25) nodes = Math.max(nodes, count());
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
PAIRS: Final = """() => {
  const taken = window.salonPairs = [];
  const images = () => [...document.querySelectorAll(".choice img")];
  const sources = () => images().map((each) => each.src).join();
  addEventListener("keydown", (event) => {
    const before = sources();
    const look = () => {
      const ready = sources() !== before && images().every((each) => each.complete && each.naturalWidth);
      if (!ready || images().length < 2) return requestAnimationFrame(look);
      const { port1, port2 } = new MessageChannel(); // its message comes behind the paint
      port1.onmessage = () => {
        document.documentElement.dataset.pairs = taken.push(performance.now() - event.timeStamp);
      };
      port2.postMessage(0);
    };
    requestAnimationFrame(look);
  }, true);
}"""


def chromium() -> str | None:
    """Return where chromium is; None: it, or Playwright, is not there."""
    try:
        importlib.import_module("playwright.sync_api")
    except ImportError:
        return None
    return shutil.which("chromium") or shutil.which("chromium-browser")


def measure(bench: Bench, folder: Path) -> None:
    """Fill a store, and measure the page over it."""
    weight = sum(len(gzip.compress(each.read_bytes(), 9)) for each in STATIC.rglob("*") if each.suffix in SENT)
    _row(bench, "all files of the page in gzip", "kB", [weight / 1e3])
    bench.goal(Goal.at_most("the page's weight in gzip", WEIGHT / 1e3, weight / 1e3, " kB"))
    path = chromium()
    if path is None:
        bench.note("no browser: apt-get install chromium, and pip's playwright; what it shows was not measured")
        return
    load = bench.other_load()  # before the browser, whose processes are nobody's children when they have ended
    busy = f"others used {load:.0%} of the cores just before" if load > BUSY else ""
    count = bench.pick(400, 20_000, 100_000)
    fill(folder, count)
    sync = importlib.import_module("playwright.sync_api")
    with served(folder) as server:
        assert server.server is not None
        address = server.server.http
        _streams(bench, address, server.address, busy)
        with sync.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
            bench.report.versions["chromium"] = browser.version
            visit = _Visit(browser, address)
            _wall(bench, visit, count, busy)
            _pairs(bench, visit, busy)
            browser.close()
    bench.note(f"the page over {count:,} pictures, {EACH} a job, in a window of {SIZE['width']} x {SIZE['height']}")


class _Visit:
    """Pages of one browser; what one of them raises is an error here.

    Args:
        browser: of Playwright.
        address: of the page.
    """

    def __init__(self, browser: Any, address: str) -> None:
        self._browser, self._address = browser, address
        self._wrong: list[str] = []

    def open(self, view: str, script: str = "") -> Any:
        """Return a page in a browser that has nothing of it yet."""
        page = self._browser.new_context(viewport=SIZE).new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self._wrong.append(str(error)))
        if script:
            page.add_init_script(script)
        page.goto(f"{self._address}/#/{view}")
        return page

    def close(self, page: Any) -> None:
        """Close a page. Raise RuntimeError if there was an error in it."""
        page.context.close()
        if self._wrong:
            raise RuntimeError(f"the page: {self._wrong[0]}")


def _wall(bench: Bench, visit: _Visit, count: int, busy: str) -> None:
    """Measure Organize: its first paint, then how it scrolls, and what it takes."""
    first, every = list[float](), list[float]()
    rounds = bench.pick(1, 4, 10)
    for number in range(rounds + 1):
        page = visit.open("organize", FIRST)
        page.wait_for_selector("html[data-painted=all]", state="attached")
        found = page.evaluate("window.salonBench")
        if number or bench.tiny:  # the first visit makes the thumbnails
            first.append(found["first"])
            every.append(found["all"])
        if number == rounds or bench.tiny:
            break
        visit.close(page)
    paint = _row(bench, "first paint of Organize", "ms", first)
    _row(bench, "all pictures in sight are there", "ms", every)
    bench.goal(Goal.at_most(f"first paint of Organize, {count:,} pictures", PAINT_MS, paint, " ms", busy))

    while not page.evaluate(NAMED, count):  # the names of all
        page.wait_for_timeout(100)
    nodes, far = 0, 0
    for how, by in BY.items():
        told = page.evaluate(SCROLL, {"frames": bench.pick(20, 300, 1200), "by": by})
        if told["far"] <= far:
            raise RuntimeError("wrong: the wall does not scroll")
        gaps, far, nodes = told["gaps"], told["far"], max(nodes, told["nodes"])
        _row(bench, f"a frame, {how}: {by} px each", "ms", gaps)
        high, longest = quantile(gaps, 0.99), max(gaps)
        _row(bench, f"99th percentile of frames, {how}", "ms", [high])
        bench.goal(Goal.at_most(f"99th percentile of frames, {how}", FRAME_MS, high, " ms", busy))
        bench.goal(Goal.at_most(f"the longest frame, {how}", FRAME_MS, longest, " ms", busy))
    _row(bench, "DOM nodes, at most", "", [nodes])
    bench.goal(Goal.at_most("DOM nodes while scrolling", NODES, nodes))
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    heap = metrics["JSHeapUsedSize"] / 1e6
    _row(bench, "JS heap with the names of all", "MB", [heap])
    bench.goal(Goal.at_most("JS heap of Organize", HEAP / 1e6, heap, " MB"))
    visit.close(page)


def _pairs(bench: Bench, visit: _Visit, busy: str) -> None:
    """Measure Personalize: from a key to the next pair."""
    page = visit.open("personalize")
    page.locator(".choice img").nth(1).wait_for()
    page.evaluate(PAIRS)
    choices = bench.pick(2, 12, 40)
    for number in range(choices):
        page.wait_for_timeout(bench.pick(*LOOK_MS))
        page.keyboard.press("ArrowLeft" if number % 2 else "ArrowRight")
        page.wait_for_selector(f'html[data-pairs="{number + 1}"]', state="attached")
    taken = page.evaluate("window.salonPairs")
    visit.close(page)
    value = _row(bench, "from a key to the next pair", "ms", taken)
    bench.goal(Goal.at_most("from a key to the paint of the next pair", KEY_MS, value, " ms", busy))


def _streams(bench: Bench, http: str, address: str, busy: str) -> None:
    """Measure many streams at once."""
    count = bench.pick(20, STREAMS, STREAMS)
    with Client(address) as client:
        told = streams.seconds_until_told(
            http, count, bench.pick(1, 3, 10), lambda prompt: client.imagine(prompt, images=1, steps=1)
        )
    value = _row(bench, f"seconds until a job's end reaches {count} streams", "s", told)
    bench.goal(Goal.at_most(f"a job's end reaches {count} event streams in", TOLD_S, value, " s", busy))


def _row(bench: Bench, page: str, unit: str, values: list[float]) -> float | None:
    """Add a row of what was measured; its median is returned."""
    if not values:
        return None
    value = quantile(values, 0.5)
    several = {"least": min(values), "p90": quantile(values, 0.9), "most": max(values)} if len(values) > 1 else {}
    bench.row(page=page, value=value, unit=unit, **several, samples=len(values))
    return value
