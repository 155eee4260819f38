"""The optimiser: orthogonal steps, alike in one process and in two; its state comes back. Needs the `train` extra."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from salon.models.mini.recipe.muon import Mixed, Muon, orthogonal, orthogonal_together
from salon.models.mini.recipe.parallel import rank, run_in


@pytest.mark.parametrize("shape", [(24, 24), (24, 96), (96, 24), (20, 30), (1, 7)])
def test_steps_are_about_orthogonal(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    x = torch.randn(shape)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    made = orthogonal(x)
    values = torch.linalg.svdvals(made)
    assert made.shape == x.shape
    assert float(values.max()) < 1.6
    assert float(values.median()) > 0.5
    inside = u.T @ made @ v.T  # diagonal: the singular vectors stay
    assert float((inside - torch.diag(inside.diagonal())).abs().max()) < 1e-3


@pytest.mark.parametrize("shape", [(160, 160), (160, 480), (480, 160), (160, 200)])
@pytest.mark.parametrize("falling", [0.5, 0.9, 0.99])
def test_steps_of_badly_conditioned_gradients_stay_small(shape: tuple[int, int], falling: float) -> None:
    """Large enough for half precision, whose rounding must not grow in directions that hardly occur."""
    torch.manual_seed(2)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    made = orthogonal(u @ torch.diag(falling ** torch.arange(float(u.shape[1]))) @ v)
    assert float(torch.linalg.svdvals(made).max()) < 1.7


@pytest.mark.parametrize("shape", [(3, 24, 24), (2, 24, 96), (4, 96, 24), (1, 20, 30)])
def test_steps_made_together_are_those_made_alone(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(3)
    x = torch.randn(shape)
    made = orthogonal_together(x)
    assert made.shape == x.shape
    assert made.dtype == torch.float32
    for one, alone in zip(made, map(orthogonal, x), strict=True):
        assert float((one - alone).norm() / alone.norm()) < 0.15  # bfloat16
        assert float(torch.linalg.svdvals(one).max()) < 1.6


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_gpus_step_is_the_cpus(momentum: float) -> None:
    torch.manual_seed(4)
    weights = [torch.nn.Parameter(torch.randn(shape)) for shape in ((16, 16), (16, 16), (8, 32), (32, 8))]
    others = [torch.nn.Parameter(w.detach().clone()) for w in weights]
    alone, together = (Muon(w, lr=0.1, momentum=momentum) for w in (weights, others))
    for _ in range(3):
        for w, other in zip(weights, others, strict=True):
            w.grad = torch.randn_like(w)
            other.grad = w.grad.clone()
        alone.step()
        with torch.no_grad():
            together._step_together(others, together.param_groups[0])
    for w, other in zip(weights, others, strict=True):
        assert torch.isfinite(other).all()
        assert float((w - other).detach().norm() / w.detach().norm()) < 0.02


def test_a_zero_gradient_is_no_step() -> None:
    assert torch.equal(orthogonal(torch.zeros(4, 8)), torch.zeros(4, 8))


class Toy(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Linear(6, 8)
        self.blocks = torch.nn.ModuleList(
            [torch.nn.ModuleDict({"norm": torch.nn.Linear(8, 8), "ff": torch.nn.Linear(8, 8)}) for _ in range(3)]
        )

    def forward(self, x: Any) -> Any:
        x = self.embed(x)
        for block in self.blocks:
            x = x + block["ff"](torch.tanh(block["norm"](x)))
        return x


def train(optimiser: Mixed, model: Toy, steps: int) -> list[float]:
    g, out = torch.Generator().manual_seed(3), []
    for _ in range(steps):
        x = torch.randn(16, 6, generator=g)
        loss = ((model(x)[:, :6] - x.flip(1)) ** 2).mean()
        loss.backward()
        optimiser.step(1.0)
        out.append(loss.item())
    return out


def toy(muon_rate: float) -> tuple[Toy, Mixed]:
    torch.manual_seed(0)
    model = Toy()
    return model, Mixed(model, 1e-2, muon_rate)


@pytest.mark.parametrize("muon_rate", [0.0, 2e-2])
def test_it_learns_and_goes_on_from_its_state(muon_rate: float) -> None:
    model, optimiser = toy(muon_rate)
    losses = train(optimiser, model, 80)
    assert losses[-1] < 0.3 * losses[0]
    assert len(optimiser.parts) == (2 if muon_rate else 1)
    again, other = toy(muon_rate)
    again.load_state_dict(model.state_dict())
    other.load_state_dict(deepcopy(optimiser.state_dict()))
    assert train(other, again, 5) == train(optimiser, model, 5)


def test_only_matrices_inside_blocks_get_orthogonal_steps() -> None:
    model, optimiser = toy(1e-2)
    muon = next(part for part in optimiser.parts if isinstance(part, Muon))
    mine = {id(p) for group in muon.param_groups for p in group["params"]}
    assert mine == {id(block["ff"].weight) for block in model.blocks}


def job(folder: Path) -> list[float]:
    torch.set_num_threads(1)
    model, optimiser = toy(1e-2)
    train(optimiser, model, 4)  # every process sees the same batches, so gradients are alike without averaging
    out = torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()
    (folder / f"{rank()}.txt").write_text(repr(out))
    return [float(x) for x in out]


def test_two_processes_share_the_work_and_agree(tmp_path: Path) -> None:
    alone = job(tmp_path)
    both = run_in(2, job, tmp_path)
    assert both == pytest.approx(alone, abs=1e-6)
    assert (tmp_path / "1.txt").read_text() == repr(both)
