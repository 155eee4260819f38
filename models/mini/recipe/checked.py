"""Compiled code is believed for a shape only after it has agreed with the plain code there.

Found on an H200 with torch 2.11: one of Inductor's optimisations gave wrong gradients, so that nothing was learned
until a kernel failed. With that one off the model learned, but at the two widest picture sizes it drew noise, and at no
other: most likely the blocks compiled for those sizes computed something else there, too.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .network import Velocity

TOLERANCE = 0.1  # of the gradients' norm; bfloat16 in another order makes some .02


class Checked:
    """A loss function over compiled modules that falls back to plain ones, shape by shape.

    `loss`: returns one tensor or several. `weights`: what it is differentiated by. `most`: what follows the batch in
    the shape that most steps have; if it is given, other shapes are not compiled, which takes half a minute each.
    """

    def __init__(self, loss: Callable[..., Any], weights: list[nn.Parameter], most: torch.Size | None = None) -> None:
        self.loss, self.weights, self.most = loss, weights, most
        self.trusted: dict[torch.Size, bool] = {}

    def __call__(self, *inputs: Any) -> Any:
        shape = inputs[0].shape
        if self.most is not None and shape[1:] != self.most:
            self.trusted[shape] = False
        if shape not in self.trusted:
            self.trusted[shape] = self._agrees(*inputs)
            if not self.trusted[shape]:
                print(f"compiled code disagrees with plain code at {tuple(shape)}: that size runs without", flush=True)
        if self.trusted[shape]:
            return self.loss(*inputs)
        with torch.compiler.set_stance("force_eager"):
            return self.loss(*inputs)

    def _agrees(self, *inputs: Any) -> bool:
        compiled = self._gradients(*inputs)
        with torch.compiler.set_stance("force_eager"):
            plain = self._gradients(*inputs)
        return bool((compiled - plain).norm() <= TOLERANCE * plain.norm())  # false of what is no number

    def _gradients(self, *inputs: Any) -> Tensor:
        parts = self.loss(*inputs)
        total = sum(parts) if isinstance(parts, tuple) else parts
        made = torch.autograd.grad(total, self.weights, allow_unused=True)
        return torch.cat([g.float().reshape(-1) for g in made if g is not None])


def compiled(
    step: Callable[..., Any], net: Velocity, weights: list[nn.Parameter], most: torch.Size | None = None
) -> Callable[..., Any]:
    """Compile a training step over `net`: as a whole on a CPU, block by block and checked (see there) on a GPU."""
    if weights[0].device.type == "cpu":
        return torch.compile(step, dynamic=False)
    net.compile_blocks()
    return Checked(step, weights, most)
