"""The judge that is kept beside the benchmarks, and what says what it sees. Needs the `train` extra."""

from __future__ import annotations

import io
import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

pytest.importorskip("torch")

from salon.bench.facts import SHIPPED, digests
from salon.bench.report import problems
from salon.engine.engine import Engine
from salon.engine.text.pipelines.clauses import ClausePipeline
from salon.frontends import cli
from salon.models.mini.recipe import guidance, guidance_sheets, kinds, knobs, references, step_caches, style_sheets
from salon.models.mini.recipe.guidance import CAPTIONS, Wish, paint, wishes
from salon.models.mini.recipe.judge_file import KeptJudge
from salon.models.mini.recipe.judged import main
from salon.models.mini.recipe.looks import BACKGROUNDS, FINISHES, PALETTES
from salon.models.mini.recipe.sets import STYLES

pytestmark = pytest.mark.usefixtures("embedded_once")

KEPT = Path(__file__).parents[2] / "bench" / "judge"  # not in an installed package
WITH = ["--judge", str(KEPT)]
THINGS = ("a red apple", "a sunflower", "an umbrella", "a rocket", "a cactus", "a guitar", "an anchor", "a key")


@pytest.fixture(scope="module")
def judge() -> KeptJudge:
    return KeptJudge.read(KEPT)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """The shipped model's, of `THINGS`."""
    asked = [Wish(prompt, 3, {}) for prompt in THINGS]
    return paint(Engine.load(backend="cpu", threads=1), asked, steps=8)


def test_its_classes_are_what_the_model_draws(judge: KeptJudge) -> None:
    classes = judge.card["classes"]
    known = json.loads((SHIPPED / "salon.json").read_text())["vocabulary"]["concepts"]
    assert set(classes["concept"]) == {concept["name"] for concept in known}
    assert classes["style"] == list(STYLES)
    assert classes["palette"] == list(PALETTES)
    assert classes["background"] == list(BACKGROUNDS)
    assert classes["finish"] == list(FINISHES)


def test_its_card_says_how_good_it_is_on_pictures_that_it_never_saw(judge: KeptJudge) -> None:
    accuracy, split = judge.card["accuracy"], judge.card["split"]
    assert accuracy["unseen"]["pictures"] == split["pictures"]["unseen"]
    for part in ("unseen", "held"):
        assert accuracy[part]["pictures"] > 1000
        assert accuracy[part]["concept5"] > accuracy[part]["concept"] > 100 / len(judge.card["classes"]["concept"])
        assert accuracy[part]["style"] > 5 / len(STYLES)
    assert judge.card["bytes"] == (KEPT / "judge.safetensors").stat().st_size < 20e6


def test_it_names_what_the_shipped_model_draws(judge: KeptJudge, pictures: np.ndarray) -> None:
    named = [seen["concept"] for seen in judge.names(pictures)]
    right = [name for name, prompt in zip(named, THINGS, strict=True) if prompt.split(" ", 1)[1] == name]
    assert len(right) >= 5, named


def test_the_command_says_what_it_sees(pictures: np.ndarray, judge: KeptJudge, tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.fromarray((pictures[1] * 255).round().astype(np.uint8)).save(path)
    out = io.StringIO()
    assert main([*WITH, str(path)], Console(file=out, width=200)) == 0
    seen = judge.names(pictures[1:2])[0]
    assert all(name in out.getvalue() for name in seen.values())


def test_what_is_no_picture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "a.txt"
    text.write_text("no picture")
    assert main([*WITH, str(text)]) == 2
    assert "a.txt" in capsys.readouterr().err
    assert main([*WITH, str(tmp_path / "none.png")]) == 2
    assert "ENOENT" in capsys.readouterr().err
    assert main(["--judge", str(tmp_path), str(text)]) == 2
    assert "judge.safetensors is missing: a checkout has it" in capsys.readouterr().err


def test_captions_are_read_back_by_the_engine_as_they_were_put_together() -> None:
    engine = Engine.load(backend="cpu", threads=1)
    assert isinstance(engine.model.text, ClausePipeline)
    for wish in wishes(engine, 40)[CAPTIONS]:
        slots = engine.model.text.reader.read(wish.prompt).texts
        assert wish.wanted["concept"] in slots["subject"], wish
        assert slots.get("background"), wish
        assert ("palette" in slots) == (wish.wanted["palette"] != "natural"), wish


def test_guidance_is_compared_on_the_shipped_model(tmp_path: Path, judge: KeptJudge) -> None:
    with open("/dev/null", "w") as nowhere:
        argv = [*WITH, "--tiny", "--threads", "1", "--out", str(tmp_path)]
        assert guidance.main(argv=argv, console=Console(file=nowhere)) == 0
    document = json.loads((tmp_path / "guidance.json").read_text())
    assert problems(document) == []
    assert [row["asked"] for row in document["rows"]] == [*guidance.HEADS]
    assert all(0 <= row["concept"] <= 1 for row in document["rows"])
    assert (document["tied_to"], document["model"]) == ("digest", digests(SHIPPED))
    assert document["details"]["judge"]["sha256"] == judge.digest


def test_references_are_judged_on_the_shipped_model(tmp_path: Path, judge: KeptJudge) -> None:
    with open("/dev/null", "w") as nowhere:
        argv = [*WITH, "--tiny", "--threads", "1", "--out", str(tmp_path)]
        assert references.main(argv=argv, console=Console(file=nowhere)) == 0
    document = json.loads((tmp_path / "references.json").read_text())
    assert problems(document) == []
    kinds = [references.ALONE, references.WORDS, references.REFERENCE, references.BESIDE, references.NUMBER]
    assert [row["asked"] for row in document["rows"]] == kinds
    assert all(0 <= row[name] <= 1 for row in document["rows"] for name in ("concept", *references.FACTORS))
    assert document["details"]["judge"]["sha256"] == judge.digest


def test_ways_to_save_evaluations_are_judged_on_the_shipped_model(tmp_path: Path, judge: KeptJudge) -> None:
    with open("/dev/null", "w") as nowhere:
        argv = [*WITH, "--tiny", "--threads", "1", "--out", str(tmp_path)]
        assert step_caches.main(argv=argv, console=Console(file=nowhere)) == 0
    document = json.loads((tmp_path / "step_caches.json").read_text())
    assert problems(document) == []
    assert len(document["rows"]) == 15
    assert {row["part"].split()[0] for row in document["rows"]} == set(step_caches.PARTS)
    assert all(0 <= row[head] <= 1 for row in document["rows"] for head in step_caches.HEADS)
    assert (document["tied_to"], document["details"]["judge"]["sha256"]) == ("digest", judge.digest)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that were run, each with a single step."""
    lines: list[list[str]] = []
    real = cli.main

    def quick(words: list[str]) -> int:
        lines.append(words)
        return real([*words, "--steps", "1"])

    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the process is pytest's
    monkeypatch.setattr(cli, "main", quick)
    return lines


def test_a_sheet_of_guidance_is_drawn_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[list[str]]
) -> None:
    monkeypatch.setattr(guidance_sheets, "BESIDE", (-1.0, 2.0))
    monkeypatch.setattr(guidance_sheets, "SEEDS", (1,))
    monkeypatch.setattr(guidance_sheets, "MORE", (2,))
    assert guidance_sheets.main(["--out", str(tmp_path), "--threads", "1"]) == 0
    with Image.open(tmp_path / "weights.webp") as image:
        side = style_sheets.SIDE + style_sheets.GAP
        assert image.size == (150 + 2 * side, 2 * 16 + 4 * side)
    assert [line[1] for line in drawn] == [
        "a cat::1.01 a dog::-1", "a cat::1 a dog::2", "a balloon", "a balloon --no red", "a balloon:: red::-0.9"
    ]  # fmt: skip


def test_knobs_are_measured_on_the_shipped_model(tmp_path: Path, judge: KeptJudge) -> None:
    with open("/dev/null", "w") as nowhere:
        argv = [*WITH, "--tiny", "--threads", "1", "--out", str(tmp_path)]
        assert knobs.main(argv=argv, console=Console(file=nowhere)) == 0
    document = json.loads((tmp_path / "knobs.json").read_text())
    assert problems(document) == []
    assert {row["knob"] for row in document["rows"]} == {"chaos", "weird", "s", "exp", "draft", "q", "stop", "tile"}
    found = {(row["knob"], row["value"]): row for row in document["rows"]}
    assert found["chaos", 0.0]["style"] != found["chaos", 100.0]["style"]
    assert found["weird", 0.0]["style"] < found["weird", 3000.0]["style"]
    assert len(document["goals"]) == 6
    assert document["details"]["judge"]["sha256"] == judge.digest


def test_kinds_are_measured_on_the_shipped_model(tmp_path: Path, judge: KeptJudge) -> None:
    with open("/dev/null", "w") as nowhere:
        argv = [*WITH, "--tiny", "--threads", "1", "--out", str(tmp_path)]
        assert kinds.main(argv=argv, console=Console(file=nowhere)) == 0
    document = json.loads((tmp_path / "kinds.json").read_text())
    assert problems(document) == []
    made = [row for row in document["rows"] if "job" in row]
    assert {"imagine", "vary, subtle", "vary, strong", "reroll"} <= {row["job"] for row in made}
    assert all(0 <= row["concept"] <= 1 for row in made)
    assert {(row["flag"], row["value"]): row["pixels"] for row in document["rows"] if "flag" in row}["strength", 0] == 0
    assert document["details"]["judge"]["sha256"] == judge.digest


def test_what_kinds_are_measured_by() -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[4:12, 4:12] = 200
    assert kinds.correlation(picture, picture // 2) == pytest.approx(1)
    assert kinds.correlation(picture, np.roll(picture, 4, axis=1)) < 0.5
    assert kinds.edges(picture).shape == (14, 14)
    assert kinds.distance(np.array([[0.0, 0]]), np.array([[3.0, 4], [3, 4]])) == pytest.approx(np.sqrt(12.5))


def test_what_knobs_are_measured_by() -> None:
    flat, lines = np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 8, 8, 3), np.uint8)
    lines[:, :, ::2] = 255
    assert knobs.laplacian(flat) == 0 < knobs.laplacian(lines)
    ramp = np.tile(np.arange(8, dtype=np.uint8)[None, None, :, None] * 20, (1, 8, 1, 3))
    assert knobs.seam(ramp) == pytest.approx(7.0)
    assert knobs.seam(lines) == pytest.approx(1.0)
    features = np.array([[0.0, 0], [3, 4], [1, 1], [1, 1]])
    assert knobs.spread(features, 2) == pytest.approx(np.sqrt(12.5) / 2)
    assert knobs.away(features[1:2], np.zeros((1, 2))) == pytest.approx(np.sqrt(12.5))


def test_a_sheet_of_styles_is_drawn_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[list[str]]
) -> None:
    monkeypatch.setattr(style_sheets, "STRENGTHS", (0, 1000))
    monkeypatch.setattr(style_sheets, "SWEPT", ("a rocket",))
    assert style_sheets.main(["--out", str(tmp_path), "--only", "strength", "--threads", "1"]) == 0
    with Image.open(tmp_path / "strength.webp") as image:
        side = style_sheets.SIDE + style_sheets.GAP
        assert image.size == (100 + 2 * side, 16 + 3 * side)
    assert len(drawn) == 7
