"""Figures in the README and the docs are those of their result files, and those are of the model that ships."""

import json
from pathlib import Path

import pytest

from salon.bench import quotes
from salon.bench.facts import SHIPPED, digests
from salon.bench.quotes import QuoteError, complaints, evaluate, render, shown, written

ROOT = Path(__file__).parents[2]
MODEL = {"name": "m", "digest": "d", "shapes": "s"}
RESULT = {
    "date": "2026-01-02T03:04:05+00:00", "commit": "abc1234", "tied_to": "shapes", "model": MODEL, "quick": False,
    "rows": [{"who": "a b", "n": 4, "ms": 18.66}, {"who": "c", "n": 5, "ms": 27.0}, {"who": "d", "ms": None}],
    "goals": [{"goal": "faster", "value": 1.447}],
}  # fmt: skip
PAGE = """Text.
<!-- quote demo
A step takes {demo: rows[who=a b].ms | .1f} ms ([demo.json](bench/results/demo.json)).
-->
A step takes 18.7 ms ([demo.json](bench/results/demo.json)).
<!-- end of quote -->
More.
"""


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    quotes.result.cache_clear()
    real = "real" in request.function.__name__  # of the checkout: an installed package has no pages
    monkeypatch.setattr(quotes, "ROOT", ROOT if real else tmp_path)
    monkeypatch.setattr(quotes, "RESULTS", ROOT / "bench" / "results" if real else tmp_path)
    (tmp_path / "demo.json").write_text(json.dumps(RESULT))
    return tmp_path


def test_the_real_pages_quote_the_real_results() -> None:
    """house, drift 5: the README's figures were those of weights that had gone for two days, and no test knew."""
    assert ROOT / "README.md" in quotes.pages()
    assert quotes.BLOCK.search((ROOT / "README.md").read_text())
    model = digests(SHIPPED)
    wrong = [f"{page.name}: {text}" for page in quotes.pages() for text in complaints(page.read_text(), model)]
    assert wrong == []


def test_a_page_that_says_what_its_result_says() -> None:
    assert complaints(PAGE, MODEL) == []
    assert written(PAGE) == PAGE


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("takes 18.7", "takes 18.6", "says otherwise"),
        ("<!-- quote demo", "<!-- quote other", "figures of demo"),
        ("<!-- end of quote -->", "", "not closed"),
        ("| .1f", "| .1x", "[Uu]nknown format|Invalid format"),
        ("who=a b", "who=nobody", "0 values"),
        ("rows[who=a b]", "rows", "2 values"),
        ("rows[who=a b]", "rows[who]", r"want \[key=value\]"),
        ("More.", "As [demo.json](bench/results/demo.json) says.", "outside of a quote"),
        ("<!-- quote demo", "<!-- quote, kept: demo", "commit and date"),
        ("{demo: rows", "{absent: rows", "no result absent.json"),
    ],
)
def test_what_is_wrong_is_said(before: str, after: str, word: str) -> None:
    import re

    found = " / ".join(complaints(PAGE.replace(before, after, 1), MODEL))
    assert re.search(word, found), found


@pytest.mark.parametrize(
    ("change", "fresh"),
    [
        ({}, True),
        ({"model": {**MODEL, "digest": "other"}}, True),  # speed is of the shapes
        ({"model": {**MODEL, "shapes": "other"}}, False),
        ({"tied_to": "digest", "model": {**MODEL, "shapes": "other"}}, True),
        ({"tied_to": "digest", "model": {**MODEL, "digest": "other"}}, False),
        ({"tied_to": "nothing", "model": {}}, True),
        ({"quick": True}, False),
    ],
)
def test_a_result_of_another_model_may_not_be_quoted(results: Path, change: dict[str, object], fresh: bool) -> None:
    (results / "demo.json").write_text(json.dumps({**RESULT, **change}))
    found = complaints(PAGE, MODEL)
    assert found == ([] if fresh else ["demo is of another model, or of a quick run: measure it again"])
    kept = PAGE.replace("quote demo", "quote, kept: demo").replace("demo.json))", "demo.json), {demo})", 1)
    assert complaints(written(kept), MODEL) == []
    assert "demo.json), abc1234, 2026-01-02)" in written(kept)


def test_expressions() -> None:
    assert evaluate(RESULT, "rows[n=5].ms / rows[who~a].ms * 100") == pytest.approx(144.69, abs=0.01)
    assert evaluate(RESULT, "min rows.ms") == 18.66
    assert evaluate(RESULT, "max rows[who!c].ms - 8") == pytest.approx(10.66)
    assert evaluate(RESULT, "count rows.ms + 1") == 3
    assert evaluate(RESULT, "goals[goal=faster].value") == 1.447
    with pytest.raises(QuoteError, match="no path"):
        evaluate(RESULT, "rows]")


def test_formats() -> None:
    assert [shown(value, "2s") for value in (80757, 0.2346, 22.4, 3.4501, 0)] == ["81,000", "0.23", "22", "3.5", "0"]
    assert render("{demo: rows[n=4].ms | .0f} {demo}") == "19 abc1234, 2026-01-02"
