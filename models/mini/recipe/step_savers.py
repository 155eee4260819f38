"""Save evaluations of a model of FLUX.1's shape from outside, in ways that Salon does not have: caches and a gate."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class Saver:
    """What is changed at a model while pictures are drawn in lockstep. This one changes nothing.

    Attributes:
        at: number of the evaluation, from 0 on.
    """

    timed = True  # whether the work that it saves is really left out

    def __init__(self) -> None:
        self.at = -1

    def share(self, step: int) -> float:
        """Return which part of the evaluation of a step is computed."""
        return 1.0

    def velocity(self, call: Callable[[], Any], ops: Any, sigma: float) -> Any:
        """Return the velocity of an evaluation. `call` computes it."""
        return call()

    def enter(self, stack: ExitStack, denoiser: Any) -> None:
        """Put it around a denoiser, until the stack ends."""
        real = denoiser.velocity

        def velocity(ops: Any, layout: Any, latents: Any, times: Any, pages: Any = None) -> Any:
            self.at += 1
            call = partial(real, ops, layout, latents, times, pages=pages)
            return self.velocity(call, ops, float(np.asarray(times)[0]))

        stack.enter_context(patch.object(denoiser, "velocity", velocity))


def planned(steps: int, every: int) -> list[bool]:
    """Return which steps are computed: the first three and the last one, and between them every so many."""
    return [step < 3 or step == steps - 1 or (step - 2) % every == 0 for step in range(steps)]


class Known:
    """The last two values that were computed of an array, and what they say of the next."""

    def __init__(self, *, line: bool) -> None:
        self._line = line
        self._values: list[tuple[float, Float32]] = []

    def add(self, sigma: float, value: Any) -> None:
        self._values = [*self._values[-1:], (sigma, np.array(value, np.float32))]

    def at(self, sigma: float) -> Float32:
        """Return the last value, or what a straight line through the last two has at a level."""
        (before, first), (after, last) = self._values
        return last + (last - first) * np.float32((sigma - after) / (after - before)) if self._line else last


class Forecast(Saver):
    """Takes the velocities of steps that are not computed from those of earlier ones."""

    def __init__(self, steps: int, every: int, *, line: bool) -> None:
        super().__init__()
        self.plan = planned(steps, every)
        self.known = Known(line=line)

    def share(self, step: int) -> float:
        """See `Saver`."""
        return float(self.plan[step])

    def velocity(self, call: Callable[[], Any], ops: Any, sigma: float) -> Any:
        """See `Saver`."""
        if not self.plan[self.at]:
            return ops.array(self.known.at(sigma), "float32")
        made = call()
        self.known.add(sigma, ops.numpy(made))
        return made


class FirstBlock(Saver):
    """Computes the first block alone in some steps, and adds there what all others added to the image rows before."""

    def __init__(self, steps: int, every: int, blocks: int, *, line: bool) -> None:
        super().__init__()
        self.plan, self.blocks = planned(steps, every), blocks
        self.known = Known(line=line)
        self.sigma = 0.0
        self.first: Any = None  # the image rows behind the first block
        self._double: Any = None
        self._single: Any = None

    def share(self, step: int) -> float:
        """See `Saver`."""
        return 1.0 if self.plan[step] else 1.0 / self.blocks

    def velocity(self, call: Callable[[], Any], ops: Any, sigma: float) -> Any:
        """See `Saver`."""
        self.sigma = sigma
        return call()

    def enter(self, stack: ExitStack, denoiser: Any) -> None:
        """See `Saver`."""
        from ....engine.models import flux

        super().enter(stack, denoiser)
        self._double, self._single = flux._double_block, flux._single_block
        self._last = f"single.{len(denoiser.weights.single_blocks) - 1}"
        stack.enter_context(patch.object(flux, "_double_block", self._of_two_streams))
        stack.enter_context(patch.object(flux, "_single_block", self._of_one_stream))

    def _of_two_streams(self, ops: Any, at: str, block: Any, stream: Any, text: Any, image: Any, *rest: Any) -> None:
        if self.plan[self.at] or at == "double.0":
            self._double(ops, at, block, stream, text, image, *rest)
        else:
            rest[1].take(12)  # modulations, which blocks hand on in their order
        if at == "double.0":
            self.first = np.array(ops.numpy(image))

    def _of_one_stream(self, ops: Any, at: str, block: Any, stream: Any, layout: Any, *rest: Any) -> None:
        if self.plan[self.at]:
            self._single(ops, at, block, stream, layout, *rest)
        else:
            rest[0].take(3)
        if at == self._last:
            image = ops.rows(stream, layout.rows.text, layout.rows.total)
            if self.plan[self.at]:
                self.known.add(self.sigma, ops.numpy(image) - self.first)
            else:
                ops.add(image, ops.array(self.known.at(self.sigma), "float32"))


class Gate(Saver):
    """In the last steps takes the difference of guidance's two velocities from the step before them.

    The work that this would save is done here all the same, so its time says nothing.
    """

    timed = False

    def __init__(self, steps: int, gated: int) -> None:
        super().__init__()
        self.first_gated = steps - gated
        self.difference: Any = None

    def share(self, step: int) -> float:
        """See `Saver`."""
        return 1.0 if step < self.first_gated else 0.5

    def velocity(self, call: Callable[[], Any], ops: Any, sigma: float) -> Any:
        """See `Saver`."""
        prompted, unconditional = np.split(np.array(ops.numpy(made := call())), 2)
        if self.at < self.first_gated:
            self.difference = prompted - unconditional
            return made
        return ops.array(np.concatenate([prompted, prompted - self.difference]), "float32")
