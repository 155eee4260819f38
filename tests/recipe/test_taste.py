"""What is measured of tastes, in its tiniest form, and what a prior is learned of. Needs the `train` extra."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("torch")

from salon.bench.facts import SHIPPED, digests
from salon.bench.report import problems
from salon.bench.taste.users import CONSISTENT, FACTORS, FILTER, FILTERS, RANDOM, Looks, User
from salon.engine.safetensors_file import SafetensorsFile
from salon.engine.taste.colours import colour_rows
from salon.engine.taste.preference import Comparison
from salon.engine.taste.space import TasteSpace, space_of
from salon.models.mini.recipe import taste, taste_pictures, taste_prior
from salon.models.mini.recipe.taste_effects import ANTI, EARLY, NONE, OTHER, OWN
from salon.models.mini.recipe.taste_painter import main_met, met, preferred, threshold, wins
from salon.models.mini.recipe.taste_set import asked
from salon.models.mini.recipe.taste_sheets import GAP, SIDE, sheet

pytestmark = pytest.mark.usefixtures("embedded_once")

KEPT = Path(__file__).parents[2] / "bench" / "judge"
WITH = ["--judge", str(KEPT)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def measured(module: Any, name: str, work: Path, out: Path, *more: str) -> dict[str, Any]:
    """Run a benchmark in its tiniest form; its result."""
    arguments = ["--tiny", "--threads", "1", "--out", str(out), "--work", str(work), *WITH, *more]
    with open("/dev/null", "w") as nowhere:
        assert module.main(argv=arguments, console=Console(file=nowhere)) == 0
    document: dict[str, Any] = json.loads((out / f"{name}.json").read_text())
    assert problems(document) == []
    assert document["model"] == digests(SHIPPED)
    assert not any("cut short" in note for note in document["notes"])
    return document


def test_learning_is_measured(work: Path, tmp_path: Path) -> None:
    document = measured(taste, "taste", work, tmp_path)
    curves = {(row["pairs"], row["learner"]) for row in document["rows"] if "learner" in row}
    assert len(curves) == 8
    (named,) = (row for row in document["rows"] if "named" in row)
    assert 4 <= named["pictures"] <= 24
    assert all(0 <= named[key] <= 1 for key in ("by_encoder", "by_judge", "alike"))
    assert {row["verdicts_of"] for row in document["rows"] if "verdicts_of" in row} == {RANDOM, CONSISTENT}
    (kept,) = work.glob("taste-set-*.npz")
    with np.load(kept) as arrays:
        assert len(arrays["pictures"]) == len(arrays["vectors"]) == 24
        np.testing.assert_allclose(arrays["tone"].sum(1), 1, atol=1e-9)


def test_pictures_are_measured(work: Path, tmp_path: Path) -> None:
    """Those that are ranked are there from the test before, and are not drawn again."""
    before = {path.name: path.stat().st_mtime_ns for path in work.iterdir()}
    document = measured(taste_pictures, "taste_pictures", work, tmp_path)
    assert {row["drawn"] for row in document["rows"] if "drawn" in row} == {NONE, OWN, EARLY, ANTI, OTHER}
    assert [row["found_among"] for row in document["rows"] if "found_among" in row] == [3]
    goals = {goal["goal"]: goal for goal in document["goals"]}
    assert goals["pixels that a profile changes at --s 0"]["met"]
    assert {path.name: path.stat().st_mtime_ns for path in work.iterdir()} == before


def test_a_prior_is_learned_and_written(tmp_path: Path) -> None:
    arguments = ["--tiny", "--work", str(tmp_path), "--out", str(tmp_path), *WITH]
    assert taste_prior.main(arguments) == 0
    file = SafetensorsFile(tmp_path / "taste.safetensors")
    prior = file.array("prior")
    assert file.array("classes").shape == (43, 256)
    assert prior.ndim == 3
    assert prior.shape[1:] == (51, 51)
    (kept,) = tmp_path.glob("taste-set-*.npz")
    with np.load(kept) as arrays:
        assert np.array_equal(file.array("colours"), colour_rows(arrays["vectors"], arrays["pictures"]))
    for each in prior.astype(np.float64):
        np.testing.assert_allclose(each, each.T, atol=1e-4)
        assert np.linalg.eigvalsh(each).min() > -1e-4


@pytest.fixture(scope="module")
def space() -> TasteSpace:
    return space_of(np.eye(4, dtype=np.float32), ["a"] * 4, {}, {})


def test_the_likeliest_covariance_is_that_of_the_users(space: TasteSpace) -> None:
    """Users who go by the first coordinate, and like the second if they like the first."""
    draw = np.random.default_rng(3)
    told = []
    for _ in range(60):
        one = 3 * draw.standard_normal()
        utilities = np.array([one, one, 0, 0])
        pairs = draw.standard_normal((60, 2, 4))
        chances = 1 / (1 + np.exp(-(pairs[:, 0] - pairs[:, 1]) @ utilities))
        left = draw.random(60) < chances
        told.append([Comparison(*(pair if first else pair[::-1])) for pair, first in zip(pairs, left, strict=True)])
    found = taste_prior.covariance(space, told, np.eye(4), 15)
    assert 4 < found[0, 0] < 16
    assert found[0, 1] > 0.8 * np.sqrt(found[0, 0] * found[1, 1])
    assert found[2, 2] < 0.1 * found[0, 0]


def test_groups_have_words_numbers_and_the_models_own_style() -> None:
    requests = asked(["cat", "owl"], 8, 1)
    assert len(requests) == 16
    assert [each["prompt"].startswith("a cat") for each in requests] == [True] * 8 + [False] * 8
    assert sum("style_references" in each for each in requests) == 4
    assert sum("stylize" in each for each in requests) == 2
    assert len({each["seed"] for each in requests}) == 16
    assert requests == asked(["cat", "owl"], 8, 1)


def test_what_is_liked_of_pictures_is_counted() -> None:
    shares = {factor: np.eye(4)[[0, 0, 1, 2]] for factor in FACTORS}
    looks = Looks(shares, np.zeros((4, len(FILTERS))))
    weights = {factor: np.array([1.0, 0.5, 0.0, 0.0]) for factor in FACTORS}
    liked = {"style": (0,), "palette": (1,), "tone": (0,), "finish": (3,)}
    importance = {"style": 0.5, "palette": 0.2, "tone": 0.2, "finish": 0.1}
    user = User(1, CONSISTENT, weights, np.zeros(len(FILTERS)), importance, liked, 1.0)
    assert user.utilities(looks).tolist() == [4, 4, 2, 0]
    assert met(user, looks) == pytest.approx((0.7 + 0.7 + 0.2 + 0) / 4)
    assert main_met(user, looks) == 0.5
    assert preferred(user, looks, 2.0) == 0.75
    assert threshold(user, looks) == pytest.approx(4)
    others = Looks({factor: each[[2, 0, 0, 3]] for factor, each in shares.items()}, looks.pixels)
    assert wins(user, looks, others) == (1 + 0.5 + 0 + 0.5) / 4
    stranger = User(1, FILTER, {}, np.ones(len(FILTERS)), {}, {}, 1.0)
    assert np.isnan(met(stranger, looks))


def test_a_sheet_has_a_block_for_each_way() -> None:
    picture = np.full((64, 64, 3), 200, np.uint8)
    small = sheet([[[picture] * 2, [picture]]], ["a", "b"], ["likes this and that " * 3])
    large = sheet([[[picture] * 2, [picture] * 3]] * 2, ["a", "b"], ["one", "two"])
    assert large.width - small.width == 2 * (SIDE + GAP)
    assert large.height - small.height == SIDE + GAP
