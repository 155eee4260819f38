"""What the judge's figures mean. Needs the `train` extra."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from salon.models.mini.recipe.judge import accuracy, cropped, middle
from salon.models.mini.recipe.judge_network import HEADS, Judge


def scores_for(answers: dict[str, list[int]]) -> dict[str, np.ndarray]:
    return {head: np.eye(8, dtype=np.float32)[answers[head]] for head in HEADS}


def test_accuracy_counts_each_head_and_natural_colours_apart() -> None:
    labels = {head: np.zeros(4, int) for head in HEADS}
    labels["palette"] = np.array([0, 0, 2, 3])  # 0 is natural
    answers = {head: [0, 0, 0, 0] for head in HEADS} | {"style": [0, 1, 1, 1], "concept": [0, 0, 0, 7]}
    figures = accuracy(scores_for(answers), labels)
    assert figures["style"] == 0.25
    assert figures["style_natural"] == 0.5
    assert figures["palette"] == 0.5
    assert figures["concept"] == 0.75
    assert figures["background"] == figures["finish"] == 1.0


def test_without_natural_pictures_there_is_no_such_figure() -> None:
    labels = {head: np.ones(3, int) for head in HEADS}
    assert "style_natural" not in accuracy(scores_for({head: [1, 1, 0] for head in HEADS}), labels)


def test_the_texture_towers_see_windows_of_the_size_that_they_were_trained_on() -> None:
    x = torch.rand(2, 3, 128, 128)
    for seed in range(4):
        assert cropped(x, np.random.default_rng(seed)).shape == middle(x).shape
    x = torch.arange(16.0).expand(1, 1, 16, 16)
    assert middle(x)[0, 0, 0].tolist() == list(range(1, 15))


def test_the_texture_towers_vote() -> None:
    torch.manual_seed(0)
    judge = Judge(4, {"concept": 5, "style": 3, "palette": 2, "background": 2, "finish": 2}).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        scores, votes = judge(x, middle(x)), [tower(middle(x)) for tower in judge.texture]
        assert torch.allclose(scores["style"], sum(v["style"].log_softmax(1) for v in votes) / 2)
        assert not torch.allclose(scores["style"], judge(x)["style"])
        assert torch.equal(scores["concept"], judge(x)["concept"])
