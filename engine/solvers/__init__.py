"""Define diffusion solvers as data: a list of model evaluations, each with the linear update that follows it.

A flow-matching model predicts the velocity v = dx/dsigma along x = (1 - sigma) data + sigma noise, so sampling is the
solution of that differential equation from sigma = 1 to 0. A solver here is not a loop but a table: for every model
evaluation its sigma and the numbers a, b of

    latents = scale base + aside before + a v + b previous + noise n + past kept

(`Ops.solver_step`). Plain solvers have scale 1 and neither aside, noise nor past. Each image of a batch reads its own
row of its own table, so images at different steps, of different solvers and step counts, take one step together.

Every module of this folder is a solver, and its name is the solver's. To add one is to add a module with

    HELP: str                                              # describes the solver in a few words
    def table(sigmas: Float32) -> tuple[Evaluation, ...]   # of sigmas [steps + 1], falling to 0

and, if models that were trained on discrete noise levels (`trained.py`) are solved in another way, one of

    def exploding(sigmas: Float32) -> tuple[Evaluation, ...]  # the solver as latents data + sigma / (1 - sigma) noise
    def trained(sigmas: Float32, schedule: TrainedSigmas) -> tuple[Evaluation, ...]  # as the scheduler's config says

This module loads no solver when it is imported, because `salon --help` lists the solvers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...plugins import Plugins, folder

if TYPE_CHECKING:
    from ..sigmas import Float32, SigmaConfig
    from ..trained import TrainedSigmas

DEFAULT = "euler"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One call of the model and the update after it:
    latents = scale base + aside before + a v + b previous + noise n + past kept.

    n is normal noise of (seed, image, step + 1), see `noise.normal`: the same in any company, and after a restart.

    Attributes:
        sigma: the noise level that the model reads.
        next_sigma: noise level of the latents afterwards; latents - next_sigma * v estimates the clean ones.
        a, b: factors of this velocity and of the one before (b = 0: the one before does not count).
        from_base: whether base is the latents that the evaluation before set aside, not the present ones.
        keeps_base: whether the latents before this update are set aside for the next evaluation.
        step: index of the solver step that this evaluation belongs to, from 0.
        scale: factor of base.
        aside: factor of the latents that the evaluation before set aside; not together with `from_base`.
        noise: factor of n.
        past: factors of what evaluations before kept by `keeps`, the newest first.
        keeps: (p, q): p latents + q v, with the latents before this update, is kept in front of the others, for as long
            as there are so many in `past`; None: nothing new is kept.
    """

    sigma: float
    next_sigma: float
    a: float
    b: float
    from_base: bool
    keeps_base: bool
    step: int
    scale: float = 1.0
    aside: float = 0.0
    noise: float = 0.0
    past: tuple[float, ...] = ()
    keeps: tuple[float, float] | None = None

    def clean(self, latents: Float32, velocity: Float32, noise: Float32 | None) -> Float32:
        """Return the estimate of the clean latents after this evaluation, float32 like its arguments.

        Args:
            latents, velocity: what it left, and the velocity that it took.
            noise: n, which the estimate does not have; None without `noise`.
        """
        if noise is None:
            return latents - self.next_sigma * velocity
        before = (latents - self.noise * noise) / self.scale
        return before - (self.a / self.scale + self.sigma) * velocity


class Solver(Protocol):
    """The names that a module of this folder defines."""

    HELP: str

    def table(self, sigmas: Any) -> tuple[Evaluation, ...]:
        """Return the evaluations that lead through float32 [steps + 1] sigmas."""


PLUGINS: Plugins[Solver] = folder("solver", __name__, DEFAULT)
names = PLUGINS.names


def evaluations(
    solver: str,
    config: SigmaConfig | TrainedSigmas,
    steps: int,
    image_tokens: int,
    shift: float | None = None,
    *,
    skip: int = 0,
) -> tuple[Evaluation, ...]:
    """Return the table of `solver` for an image of `image_tokens` tokens, from sigma number `skip` on.

    Raises:
        ValueError: the solver is unknown, or `steps` is below 1.
    """
    config = config.of(solver)
    sigmas = config.sigmas(steps, image_tokens, shift)[skip:]
    return config.table(PLUGINS.get(solver), sigmas) if len(sigmas) > 1 else ()
