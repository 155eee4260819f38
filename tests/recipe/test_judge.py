"""What the judge's figures mean. Needs the `train` extra."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from salon.models.mini.recipe.errors import CacheError
from salon.models.mini.recipe.judge import accuracy, cropped, middle
from salon.models.mini.recipe.judge_file import KeptJudge, write
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
    judge = Judge(4, 4, {"concept": 5, "style": 3, "palette": 2, "background": 2, "finish": 2}).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        scores, votes = judge(x, middle(x)), [tower(middle(x)) for tower in judge.texture]
        assert torch.allclose(scores["style"], sum(v["style"].log_softmax(1) for v in votes) / 2)
        assert not torch.allclose(scores["style"], judge(x)["style"])
        assert torch.equal(scores["concept"], judge(x)["concept"])


CLASSES = {head: [f"{head} {n}" for n in range(3 + number)] for number, head in enumerate(HEADS)}


def small(deep: int = 0) -> Judge:
    torch.manual_seed(1)
    judge: Judge = Judge(4, deep, {head: len(names) for head, names in CLASSES.items()}).eval()
    return judge


@pytest.mark.parametrize("deep", [0, 4])
def test_a_kept_judge_answers_as_it_did_up_to_its_precision(deep: int, tmp_path: Path) -> None:
    judge = small(deep)
    assert len(judge.texture) == (2 if deep else 1)
    card = write(tmp_path, judge, {"settings": {"width": 4, "deep": deep}, "classes": CLASSES, "side": 32})
    assert (tmp_path / "judge.safetensors").stat().st_size == card["bytes"]
    kept = KeptJudge.read(tmp_path)
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        scores = judge(x * 2 - 1, middle(x * 2 - 1))
    pictures = x.permute(0, 2, 3, 1).numpy()
    for head, got in kept.scores(pictures).items():
        assert got == pytest.approx(scores[head].numpy(), abs=2e-2)
    named = kept.names(pictures)
    assert [n["style"] for n in named] == [f"style {k}" for k in scores["style"].argmax(1).tolist()]
    twice = pictures.repeat(2, 1).repeat(2, 2)  # larger ones are averaged to the size that it knows
    assert kept.scores(twice)["concept"] == pytest.approx(kept.scores(pictures)["concept"], abs=1e-4)
    assert kept.names(np.pad(pictures, ((0, 0), (0, 0), (16, 16), (0, 0)))) == named  # of a wide one the middle


def test_a_judge_that_is_not_that_of_its_card_is_refused(tmp_path: Path) -> None:
    write(tmp_path, small(), {"settings": {"width": 4, "deep": 0}, "classes": CLASSES, "side": 32})
    path = tmp_path / "judge.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CacheError, match="its card says"):
        KeptJudge.read(tmp_path)
    path.unlink()
    with pytest.raises(CacheError, match="is missing"):
        KeptJudge.read(tmp_path)


def test_weights_that_half_precision_cannot_hold_are_not_written(tmp_path: Path) -> None:
    judge = small()
    with torch.no_grad():
        judge.concept.bias[0] = 1e6
    with pytest.raises(OverflowError, match=r"concept\.bias"):
        write(tmp_path, judge, {})
    assert not list(tmp_path.iterdir())
