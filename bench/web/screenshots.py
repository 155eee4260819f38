"""Draw the pictures of docs/images/web: every view of the page, over a server with the embedded model, at two widths.

    python -m salon.bench.web.screenshots [FOLDER]

Wants Playwright and Debian's chromium. It takes some minutes: the pictures on the page are really drawn.
"""

from __future__ import annotations

import importlib
import io
import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from PIL import Image

from ...frontends.client.client import Client
from ...frontends.zmq.background import BackgroundServer
from ...frontends.zmq.options import ServeOptions

ROOT: Final = Path(__file__).parents[2]
SIZES: Final = {"wide": (1440, 900), "phone": (390, 844)}
PROMPTS: Final = (
    "a red apple, 3d render, on a teal background",
    "a castle, woodcut, sepia tones --ar 3:2 --n 2",
    "a fox, watercolor, pastel tones --c 30",
    "a rocket, retro poster",
    "a cactus, storybook --ar 2:3",
)
PRESETS: Final = {"wide": "--ar 21:9 --s 250", "wild": "--c 60 --w 400 --n 4"}
WAIT_MS: Final = 120_000
MOST: Final = 120_000  # bytes of a file
ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
Act = Callable[[Any], None]


def main(folder: Path) -> None:
    """Draw all of them into a folder."""
    sync = importlib.import_module("playwright.sync_api")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data:
        options = ServeOptions(
            listen=("tcp://127.0.0.1:0",), data=Path(data), metrics=None, http="127.0.0.1:0", grace_s=0.2, threads=2
        )
        with BackgroundServer(options) as server, sync.sync_playwright() as playwright:
            jobs = draw(server)
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
            assert server.server is not None
            for view, (path, theme, act) in views(jobs).items():
                for name, (width, height) in SIZES.items():
                    context = browser.new_context(
                        viewport={"width": width, "height": height}, color_scheme=theme, has_touch=name == "phone",
                        is_mobile=name == "phone",
                    )  # fmt: skip
                    page = context.new_page()
                    page.set_default_timeout(WAIT_MS)
                    page.goto(f"{server.server.http}/#/{path}")
                    page.wait_for_timeout(2500)
                    act(page)
                    page.wait_for_timeout(1000)
                    keep(page.screenshot(), folder / f"{view}-{name}.webp")
                    context.close()
            browser.close()


def draw(server: BackgroundServer) -> list[str]:
    """Have the server draw the prompts, and return the ids of their jobs."""
    with Client(server.address) as client:
        jobs = [client.imagine(prompt, seed=seed) for seed, prompt in enumerate(PROMPTS, 5)]
        jobs[0].wait(timeout_s=WAIT_MS / 1000)
        jobs.append(jobs[0][1].vary())
        for job in jobs:
            job.wait(timeout_s=WAIT_MS / 1000)
        chat = client.chat.say("a red apple, 3d, on a teal background")
        client.chat.say("make it blue", chat=chat.chat)
        for name, parameters in PRESETS.items():
            client.organize.put_preset(name, parameters)
        client.organize.add(client.organize.new_folder("Best of the year").folder, [jobs[0].id])
        for pair in itertools.islice(client.rank(), 3):
            pair.choose("left")
        return [job.id for job in jobs]


def views(jobs: list[str]) -> dict[str, tuple[str, str, Act]]:
    """Return each view's path, theme, and what is done there first."""

    def nothing(page: Any) -> None:
        page.wait_for_selector("main *")

    def write(page: Any) -> None:
        page.locator("#prompt").fill("a {red, blue} boat at night --ar 3:2")
        page.get_by_role("button", name="Parameters").click()
        page.wait_for_timeout(1500)

    def enlarge(page: Any) -> None:
        page.locator(".job").nth(1).locator(".tile-open").first.click()

    def rank(page: Any) -> None:
        page.wait_for_selector(".choice img")

    def erase(page: Any) -> None:
        canvas = page.get_by_role("application")
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.4, steps=8)
        page.mouse.up()

    def choose(page: Any) -> None:
        page.wait_for_selector(".cell img")
        cells = page.locator(".cell-open")
        cells.nth(1).click(modifiers=["Control"])
        cells.nth(8).click(modifiers=["Control"])

    def look_at_presets(page: Any) -> None:
        page.locator("#prompt").fill("a red apple --ar 3:2 --c 30")
        page.get_by_role("button", name="Presets").click()

    return {
        "create": ("create", "light", nothing),
        "bar": ("create", "dark", write),
        "lightbox": ("create", "dark", enlarge),
        "personalize": ("personalize", "light", rank),
        "organize": ("organize", "light", choose),
        "explore": ("explore", "dark", nothing),
        "presets": ("create", "light", look_at_presets),
        "chat": ("chat/1", "light", nothing),
        "editor": (f"edit/{jobs[0]}/0", "light", erase),
        "operate": ("operate", "dark", nothing),
    }


def keep(png: bytes, path: Path) -> None:
    """Write a picture as WebP, as well as its size allows."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in (88, 80, 70, 60, 50):
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality, method=6)
        if buffer.tell() <= MOST:
            break
    path.write_bytes(buffer.getvalue())
    print(f"{path.name}: {buffer.tell():,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "web")
