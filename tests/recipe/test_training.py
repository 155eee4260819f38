"""The trainers' common parts: schedules, averages, resumable state. Needs the `train` extra."""

from pathlib import Path

import numpy as np
import pytest

from salon.models.mini.recipe.errors import CacheError

torch = pytest.importorskip("torch")

from salon.models.mini.recipe.torch_tools import (  # noqa: E402
    Average,
    generator_state,
    load_state,
    restore_generator,
    save_state,
    schedule,
)


def test_schedule_warms_up_and_falls() -> None:
    factors = [schedule(n, 100, n, warmup=10, decay_from=0.5) for n in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10:50] == [1.0] * 40
    assert all(a >= b for a, b in zip(factors[50:], factors[51:], strict=False))
    assert factors[-1] == pytest.approx(0.02)
    assert schedule(0, 0, 0, warmup=0, decay_from=1.0) == 1.0


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


def test_state_comes_back_and_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "resume" / "state.pt"
    assert load_state(path, {"a": 1}) is None
    rng = np.random.default_rng(3)
    rng.random(5)
    save_state(path, {"a": 1}, x=torch.arange(3), numpy=generator_state(rng), done=7)
    state = load_state(path, {"a": 1})
    assert state is not None
    assert torch.equal(state["x"], torch.arange(3))
    other = np.random.default_rng(0)
    restore_generator(other, state["numpy"])
    assert np.array_equal(other.random(4), rng.random(4))
    with pytest.raises(CacheError, match="another configuration"):
        load_state(path, {"a": 2})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CacheError, match=r"state\.pt is damaged"):
        load_state(path, {"a": 1})
