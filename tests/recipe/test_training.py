"""The trainers' common parts: schedules, averages, resumable state. Needs the `train` extra."""

from pathlib import Path

import numpy as np
import pytest

from salon.models.mini.recipe.errors import CacheError

torch = pytest.importorskip("torch")

from salon.models.mini.recipe.course import Course, Losses
from salon.models.mini.recipe.progress import Progress
from salon.models.mini.recipe.torch_tools import Average, schedule


def test_schedule_warms_up_and_falls() -> None:
    factors = [schedule(n / 100, n, warmup=10, decay_from=0.5) for n in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10:50] == [1.0] * 40
    assert all(a >= b for a, b in zip(factors[50:], factors[51:], strict=False))
    assert factors[-1] == pytest.approx(0.02)
    assert schedule(0.0, 0, warmup=0, decay_from=1.0) == 1.0


def test_a_course_ends_at_its_budget_or_when_its_time_is_over(tmp_path: Path) -> None:
    course = Course(tmp_path / "state.pt", {}, np.random.default_rng(0))
    course.advance(30)
    assert course.share(100, 0.0) == pytest.approx(0.3)
    assert course.share(100, 1e9) == pytest.approx(0.3)
    assert course.share(100, 1e-9) == 1.0
    course.advance(80)
    assert course.share(100, 0.0) == 1.0


def test_a_last_step_that_is_too_large_does_not_run_over_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    Progress("crops", 1).step(16)
    text = capsys.readouterr().err
    assert text.count("#") == 24
    assert " 0s left" in text


def test_losses_are_means_of_the_last_steps() -> None:
    losses = Losses()
    assert losses.mean() == []
    losses.fetch()
    for n in range(Losses.MEMORY + 50):
        losses.add(torch.tensor(float(n)), torch.tensor(1.0))
    assert len(losses.values) == Losses.MEMORY
    assert losses.mean(2) == [Losses.MEMORY + 48.5, 1.0]


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    losses = Losses()
    losses.add(torch.tensor(1.0))
    with pytest.raises(FloatingPointError, match="diverged"):
        losses.add(torch.tensor(float("nan")))


def test_average_follows_and_swaps_back() -> None:
    p = torch.nn.Parameter(torch.zeros(3))
    average = Average([p], 0.9)
    with torch.no_grad():
        p.fill_(1.0)
    for _ in range(200):
        average.update()
    with average.applied():
        assert torch.allclose(p, torch.ones(3), atol=1e-3)
        inside = p.detach().clone()
    with torch.no_grad():
        p.fill_(5.0)
    with average.applied():
        assert torch.equal(p, inside)
    assert torch.equal(p, torch.full((3,), 5.0))


def test_average_is_restored_after_an_error() -> None:
    p = torch.nn.Parameter(torch.ones(2))
    average = Average([p], 0.9)
    with torch.no_grad():
        p.fill_(3.0)

    def fail() -> None:
        with average.applied():
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert torch.equal(p, torch.full((2,), 3.0))


def test_a_course_comes_back_and_is_checked(tmp_path: Path) -> None:
    path, rng = tmp_path / "resume" / "state.pt", np.random.default_rng(3)
    layer = torch.nn.Linear(2, 2)
    average = Average(list(layer.parameters()), 0.9)
    course = Course(path, {"a": 1}, rng, average, model=layer)
    assert not course.resume()
    with torch.no_grad():
        layer.weight.fill_(2.0)
    average.update()
    rng.random(5)
    course.advance(7)
    course.curve.append({"samples": 7})
    course.keep()
    drawn = rng.random(4), torch.rand(4)

    other, fresh = np.random.default_rng(0), torch.nn.Linear(2, 2)
    again = Course(path, {"a": 1}, other, Average(list(fresh.parameters()), 0.9), model=fresh)
    assert again.resume()
    assert (again.done, again.step, again.curve) == (7, 1, [{"samples": 7}])
    assert torch.equal(fresh.weight, layer.weight)
    assert again.average is not None
    assert torch.equal(again.average.mean[0], average.mean[0])
    assert again.average.updates == 1
    assert np.array_equal(other.random(4), drawn[0])
    assert torch.equal(torch.rand(4), drawn[1])

    with pytest.raises(CacheError, match="another configuration"):
        Course(path, {"a": 2}, rng, average, model=layer).resume()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CacheError, match=r"state\.pt is damaged"):
        Course(path, {"a": 1}, rng, average, model=layer).resume()
