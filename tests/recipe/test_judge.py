"""What the judge's figures mean. Needs the `train` extra."""

import numpy as np
import pytest

pytest.importorskip("torch")

from salon.models.mini.recipe.judge import HEADS, accuracy


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
