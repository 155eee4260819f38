"""Compiled code that computes something else is not believed. Needs the `train` extra."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from salon.models.mini.recipe.checked import Checked


class Layer(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.inner(x) + 0.0


def wrong_at(length: int, gm: Any, inputs: Any) -> Any:
    """A compiler whose code is twice the right value for inputs of one length."""

    def run(*arguments: Any) -> Any:
        bad = any(isinstance(a, torch.Tensor) and a.ndim == 2 and len(a) == length for a in arguments)
        return tuple(out * (2 if bad else 1) for out in gm(*arguments))

    return run


@pytest.fixture
def checked() -> Checked:
    torch._dynamo.reset()
    torch.manual_seed(0)
    layer = Layer()
    layer.compile(backend=lambda gm, inputs: wrong_at(3, gm, inputs), dynamic=False)
    return Checked(lambda x: layer(x).square().mean(), list(layer.parameters()))


def test_a_shape_whose_compiled_code_agrees_is_run_compiled(checked: Checked) -> None:
    x = torch.randn(5, 4)
    loss = checked(x)
    loss.backward()
    assert checked.trusted == {x.shape: True}
    assert all(p.grad is not None for p in checked.weights)


def test_a_shape_whose_compiled_code_does_not_is_run_plain(
    checked: Checked, capsys: pytest.CaptureFixture[str]
) -> None:
    x = torch.randn(3, 4)
    weight, bias = checked.weights
    right = torch.nn.functional.linear(x, weight, bias).square().mean().item()
    assert checked.loss(x).item() == pytest.approx(4 * right)
    assert checked(x).item() == pytest.approx(right)
    assert checked(x).item() == pytest.approx(right)
    assert checked.trusted == {x.shape: False}
    assert capsys.readouterr().out.count("disagrees") == 1


def test_gradients_that_are_no_numbers_are_not_believed() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    checked = Checked(lambda x: (weight * x).sum() * float("nan"), [weight])
    checked(torch.ones(2))
    assert checked.trusted == {torch.Size([2]): False}


def test_only_the_shape_of_most_steps_is_compiled_if_one_is_named(checked: Checked) -> None:
    only = Checked(checked.loss, checked.weights, torch.Size([4]))
    only(torch.randn(5, 4))
    assert only.trusted == {torch.Size([5, 4]): True}
    weight, bias = only.weights
    x = torch.randn(2, 3, 4)  # what is not compiled is not wrong, either
    right = torch.nn.functional.linear(x, weight, bias).square().mean().item()
    assert only(x).item() == pytest.approx(right)
    assert only.trusted[x.shape] is False
