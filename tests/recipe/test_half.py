"""Half-precision products of the trainers: against float32, and scaled gradients. Needs the `train` extra.

Where MKL or AVX512-FP16 is missing, `product` is torch's own float16 product and the same bounds hold."""

import math

import pytest

torch = pytest.importorskip("torch")

from salon.models.mini.recipe import half
from salon.models.mini.recipe.half import HalfLinear, LossScale, halve, multiply, product


@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (5, 1, 3), (1, 9, 4), (33, 70, 17), (200, 129, 96)])
@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)])
def test_product(m: int, k: int, n: int, turned: tuple[bool, bool]) -> None:
    g = torch.Generator().manual_seed(m * k + n)
    a = torch.randn((k, m) if turned[0] else (m, k), generator=g).half()
    b = torch.randn((n, k) if turned[1] else (k, n), generator=g).half()
    a, b = a.t() if turned[0] else a, b.t() if turned[1] else b
    out, true = product(a, b), a.float() @ b.float()
    assert (out.dtype, out.shape) == (torch.float16, (m, n))
    assert (out.float() - true).norm() <= 0.004 * true.norm() + 1e-6


def test_product_of_a_slice_reads_only_the_slice() -> None:
    x = torch.full((8, 12), torch.nan).half()
    x[:, :4] = 1
    assert torch.equal(product(x[:, :4], torch.ones(4, 3).half()), torch.full((8, 3), 4.0).half())


def test_multiply_large_and_small() -> None:
    for size in (16, 160):
        x = torch.randn(size, size, generator=torch.Generator().manual_seed(1))
        assert torch.allclose(multiply(x, x.t()), x @ x.t(), atol=0.01 * size**0.5, rtol=0.01)


def test_half_linear_has_the_gradients_of_a_linear() -> None:
    torch.manual_seed(3)
    plain = torch.nn.Linear(24, 40)
    halved = torch.nn.Linear(24, 40)
    halved.load_state_dict(plain.state_dict())
    halved.__class__ = HalfLinear
    x = torch.randn(3, 7, 24)
    target, grads = torch.randn(3, 7, 40), []
    for layer in (plain, halved):
        mine = x.clone().requires_grad_()
        y = layer(mine)
        assert y.dtype == torch.float32
        (y * target).sum().backward()
        grads.append([y.detach(), mine.grad, layer.weight.grad, layer.bias.grad])
    for a, b in zip(*grads, strict=True):
        assert (a - b).norm() < 0.004 * a.norm()
    assert not torch.equal(grads[0][0], grads[1][0])  # it is not float32 in disguise


def test_halve_takes_only_the_blocks_products(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.ModuleDict(
        {
            "blocks": torch.nn.ModuleDict({"to_q": torch.nn.Linear(4, 4), "norm": torch.nn.Linear(4, 8)}),
            "proj_out": torch.nn.Linear(4, 2),
        }
    )
    monkeypatch.setattr(half, "library", lambda: None)
    assert not halve(model, torch.device("cpu"))
    assert type(model["blocks"]["to_q"]) is torch.nn.Linear
    monkeypatch.setattr(half, "library", lambda: object())
    assert halve(model, torch.device("cpu"))
    assert type(model["blocks"]["to_q"]) is HalfLinear
    assert type(model["blocks"]["norm"]) is type(model["proj_out"]) is torch.nn.Linear


def test_loss_scale_unscales_clips_and_leaves_out_overflows() -> None:
    p = torch.nn.Parameter(torch.zeros(2))
    scale = LossScale(True, start=8.0, patience=2)
    p.grad = torch.tensor([24.0, 32.0])  # norm 5 behind the scale
    assert scale.apply([p], 1.0)
    assert torch.allclose(p.grad, torch.tensor([0.6, 0.8]))
    p.grad = torch.tensor([math.inf, 0.0])
    assert not scale.apply([p], 1.0)
    assert scale.factor == 4.0
    for _ in range(2):
        p.grad = torch.tensor([0.04, 0.0])
        assert scale.apply([p], 1.0)
        assert torch.allclose(p.grad, torch.tensor([0.01, 0.0]))
    assert scale.factor == 8.0


def test_a_kept_loss_scale_goes_on() -> None:
    scale, other, off = LossScale(True, start=8.0), LossScale(True), LossScale(False)
    scale.calm = 3
    for each in (other, off):
        each.load_state_dict(scale.state_dict())
    assert (other.factor, other.calm) == (8.0, 3)
    assert off.factor == 1.0, "a machine that computes in float32 has nothing to scale"


def test_divergence_is_an_error() -> None:
    p = torch.nn.Parameter(torch.zeros(1))
    p.grad = torch.tensor([math.nan])
    with pytest.raises(FloatingPointError, match="diverged"):
        LossScale(False).apply([p], 1.0)
