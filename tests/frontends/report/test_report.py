"""The report of a taste as a page and as a sheet."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from salon.frontends.report.data import ROWS, VERDICTS, share, sure, told
from salon.frontends.report.page import html
from salon.frontends.report.sheet import GAP, SIDE, png


@dataclass(frozen=True)
class Share:
    value: float = 0.0
    low: float = 0.0
    high: float = 0.0
    count: int = 0


@dataclass(frozen=True)
class Liked:
    factor: str
    name: str
    utility: float
    deviation: float = 0.5


@dataclass(frozen=True)
class Event:
    event: int
    kind: str = "pair"
    at_ms: int = 1_764_000_000_000
    choice: str = "left"
    pull: float = 0.034


@dataclass(frozen=True)
class Profile:
    profile: str = "p1"
    account: str = "ann"
    name: str = "ink <b>& sepia</b>"
    kind: str = "profile"
    events: int = 212


@dataclass(frozen=True)
class Report:
    profile: Profile = Profile()
    verdict: str = "strong"
    held_out: Share = Share(0.84, 0.78, 0.89, 212)
    consistency: float = 0.9
    effect: float = 0.93
    calibration: float = 0.04
    liked: tuple[Liked, ...] = (
        Liked("style", "woodcut", 2.5),
        Liked("palette", "sepia <tones>", 1.2),
        Liked("finish", "mosaic", 0.3),
        Liked("background", "pink", -1.0),
    )
    pulls: tuple[Event, ...] = field(default_factory=lambda: (Event(17), Event(3, "grid", choice="")))
    missing: int = 0
    code: str = "abcdefgh234567ab"
    anti_code: str = "bbcdefgh234567ab"
    random_code: str = ""
    algorithm: int = 1
    model_name: str = "salon-mini 1"
    made_ms: int = 1_764_000_000_000


EMPTY = Report(
    Profile(name="", kind="moodboard", events=0), "", Share(), 0.5, 0.5, 0.0, (), (), code="", anti_code="",
)  # fmt: skip


def picture(form: str, colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (128, 96)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, form)
    return buffer.getvalue()


def rows(form: str = "PNG", count: int = 3) -> dict[str, list[bytes]]:
    return {row: [picture(form)] * count for row in ROWS}


class Reader(HTMLParser):
    """Collects what a page is made of; counts tags that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.images: list[Mapping[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_page_is_whole_and_fetches_nothing() -> None:
    page = html(Report(), rows())
    read = Reader(page)
    assert read.open == []
    assert "script" not in read.tags
    assert "link" not in read.tags
    assert not re.search(r"(?:src|href)=\"(?!data:)|url\(|@import|https?://", page)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_a_page_says_what_the_report_says() -> None:
    text = " ".join(Reader(html(Report(), rows())).text)
    for part in ("strong", "84 % (78 to 89)", "212", "90 %", "93 %", "abcdefgh234567ab", "salon-mini 1"):
        assert part in text
    assert "ink <b>& sepia</b>" in text  # as it was typed: nothing of a name is markup
    assert "picks of a grid" in text
    assert VERDICTS["strong"] in text
    assert "more say nothing" not in text
    assert "7 more say nothing" in html(replace(Report(), missing=7), {})


def test_a_page_names_what_is_liked_for_sure() -> None:
    page = html(Report(), {})
    liked, disliked = page.index("<h3>liked</h3>"), page.index("<h3>disliked</h3>")
    assert liked < page.index("woodcut") < page.index("sepia &lt;tones&gt;") < disliked < page.index("pink")
    assert "mosaic" not in page  # that is not sure
    assert [each.name for each in sure(Report())[1]] == ["pink"]


@pytest.mark.parametrize(("form", "kind"), [("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "webp")])
def test_pictures_stand_in_the_page_as_they_are(form: str, kind: str) -> None:
    given = rows(form, 2)
    images = Reader(html(Report(), given)).images
    assert len(images) == 2 * len(ROWS)
    for image in images:
        head, _, data = str(image["src"]).partition(",")
        assert head == f"data:image/{kind};base64"
        assert base64.b64decode(data) == given["none"][0]
        assert image["alt"]


def test_what_is_not_known_is_said_or_left_out() -> None:
    read = Reader(html(EMPTY, {"none": [], "else": [picture("PNG")]}))
    text = " ".join(read.text)
    assert "goes by" not in text
    assert "predicted" not in text
    assert not set(VERDICTS.values()) & set(read.text)
    assert "Codes" not in text
    assert "hardest" not in text
    assert read.images == []
    assert "Moodboard" in text


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="want a PNG, JPEG or WebP file"):
        html(Report(), {"none": [picture("GIF")]})


def test_a_sheet_has_a_row_for_each_that_has_pictures() -> None:
    colours = {"none": (10, 200, 10), "profile": (10, 10, 200), "anti": (200, 10, 10), "random": (200, 200, 10)}
    given = {row: [picture("PNG", colour, (256, 128))] * 6 for row, colour in colours.items()}
    whole, fewer = (Image.open(io.BytesIO(png(Report(), each))) for each in (given, {"none": given["none"]}))
    assert whole.format == "PNG"
    assert whole.height - fewer.height == 3 * (SIDE + GAP)
    seen = {colour for _, colour in whole.convert("RGB").getcolors(1 << 24) or ()}
    assert set(colours.values()) <= seen
    assert not set(colours.values()) - {colours["none"]} & {c for _, c in fewer.convert("RGB").getcolors(1 << 24) or ()}


def test_a_sheet_of_nothing_and_of_much() -> None:
    assert Image.open(io.BytesIO(png(EMPTY, {}))).width > 600
    many = Image.open(io.BytesIO(png(Report(), rows(count=9))))
    assert many.width > 9 * SIDE
    long = replace(Report(), liked=tuple(Liked("style", f"a long name {n}", 2.0) for n in range(9)))
    none = replace(Report(), liked=())
    assert Image.open(io.BytesIO(png(long, {}))).height > Image.open(io.BytesIO(png(none, {}))).height


def test_words() -> None:
    assert share(Share()) == "not known"
    assert told(Event(1)) == "pair, left"
    assert told(Event(1, "like", choice="")) == "like"
