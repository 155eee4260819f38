"""Diffusion solvers as data: a list of model evaluations, each with the linear update that follows it.

A flow-matching model predicts the velocity v = dx/dsigma along x = (1 - sigma) data + sigma noise, so sampling is the
solution of that differential equation from sigma = 1 to 0. A solver here is not a loop but a table: for every model
evaluation its sigma and the numbers a, b of

    latents = base + a v + b previous

(`Ops.solver_step`). Each image of a batch reads its own row of its own table, so images at different steps, of
different solvers and step counts, take one step together.

Sources: flow matching 2210.02747; shift of sigmas with the resolution: SD3, 2403.03206, section 5.3.2; Heun's
second-order method as in EDM, 2206.00364, algorithm 1 without churn. Sigmas agree with diffusers'
FlowMatchEulerDiscreteScheduler and FluxPipeline to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..bounds import SOLVERS
from ..kernels.elementary import exp
from .config import Config

Float32 = NDArray[np.float32]

SolverName = Literal["euler", "heun"]  # `bounds.SOLVERS`

SCHEDULER: Final = "FlowMatchEulerDiscreteScheduler"
_TIMESTEPS: Final = 1000  # a model sees sigma times as many

# Keys of its config that, when set, ask for sigmas which this module does not compute.
_UNSUPPORTED: Final = (
    "invert_sigmas",
    "shift_terminal",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "stochastic_sampling",
)


@dataclass(frozen=True)
class SigmaConfig:
    """How a checkpoint spaces its sigmas: the part of `scheduler_config.json` that matters here.

    Attributes:
        shift: constant shift, used unless `use_dynamic_shifting`; 1 means none.
        use_dynamic_shifting: shift by mu, which grows linearly with the number of image tokens.
        base_shift, max_shift: mu at `base_image_seq_len` and at `max_image_seq_len` tokens.
        time_shift_type: what mu does to a sigma, "exponential" or "linear".
    """

    shift: float = 1.0
    use_dynamic_shifting: bool = False
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_image_seq_len: int = 256
    max_image_seq_len: int = 4096
    time_shift_type: Literal["exponential", "linear"] = "exponential"

    def __post_init__(self) -> None:
        for name in ("shift", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not -1e30 <= value <= 1e30:
                raise ValueError(f"{name}: got {value!r}, want a number")
        if not self.shift > 0:
            raise ValueError(f"shift: got {self.shift!r}, want a number above 0")
        if type(self.use_dynamic_shifting) is not bool:
            raise ValueError(f"use_dynamic_shifting: got {self.use_dynamic_shifting!r}, want true or false")
        if self.time_shift_type not in ("exponential", "linear"):
            raise ValueError(f"time_shift_type: got {self.time_shift_type!r}, want exponential or linear")
        if self.base_image_seq_len == self.max_image_seq_len:
            raise ValueError(
                f"base_image_seq_len and max_image_seq_len must differ, got {self.max_image_seq_len} twice"
            )

    @classmethod
    def read(cls, config: Config) -> SigmaConfig:
        """From scheduler_config.json, with diffusers' defaults. UnknownArchitecture for a scheduler other than
        `SCHEDULER`, or one that wants sigmas which Salon does not compute; WrongConfig."""
        config.want_architecture([SCHEDULER])
        config.only("num_train_timesteps", (_TIMESTEPS,), _TIMESTEPS)
        for key in _UNSUPPORTED:
            config.unset(key)
        tokens = {
            name: config.integer(name, getattr(cls, name)) for name in ("base_image_seq_len", "max_image_seq_len")
        }
        if tokens["base_image_seq_len"] == tokens["max_image_seq_len"]:
            config.refuse("max_image_seq_len", "another number than base_image_seq_len", tokens["max_image_seq_len"])
        result = cls(
            shift=config.number("shift", cls.shift, 1e-6, 1e6),
            use_dynamic_shifting=config.boolean("use_dynamic_shifting", cls.use_dynamic_shifting),
            base_shift=config.number("base_shift", cls.base_shift),
            max_shift=config.number("max_shift", cls.max_shift),
            time_shift_type=config.only("time_shift_type", ("exponential", "linear"), cls.time_shift_type),
            **tokens,
        )
        config.finish({})
        return result

    def mu(self, image_tokens: int) -> float:
        """The shift exponent of an image of so many tokens (after 2x2 packing): linear, and extrapolated beyond."""
        slope = (self.max_shift - self.base_shift) / (self.max_image_seq_len - self.base_image_seq_len)
        return image_tokens * slope + (self.base_shift - slope * self.base_image_seq_len)

    def sigmas(self, steps: int, image_tokens: int, shift: float | None = None) -> Float32:
        """The sigmas of `steps` steps, float32 [steps + 1], falling from (about) 1 to 0.

        `shift`, if given, is used as a constant shift in place of whatever the checkpoint says."""
        if steps < 1:
            raise ValueError(f"steps: got {steps}, want at least 1")
        even = np.linspace(1.0, 1.0 / steps, steps).astype(np.float32)
        if shift is not None or not self.use_dynamic_shifting:
            constant = self.shift if shift is None else shift
            spaced = constant * even / (1 + (constant - 1) * even)
        else:
            mu = self.mu(image_tokens)
            weight = float(exp(mu)) if self.time_shift_type == "exponential" else mu
            spaced = weight / (weight + (1 / even - 1))
        return np.append(spaced.astype(np.float32), np.float32(0))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One call of the model and the update after it: latents = base + a v + b previous.

    Attributes:
        sigma: what the model sees.
        next_sigma: noise level of the latents afterwards; latents - next_sigma * v estimates the clean ones.
        a, b: factors of this velocity and of the one before (b = 0: the one before does not count).
        from_base: base is the latents set aside by the evaluation before, not the present ones.
        keeps_base: the latents before this update must be set aside for the next evaluation.
        step: the solver step this evaluation belongs to, from 0.
    """

    sigma: float
    next_sigma: float
    a: float
    b: float
    from_base: bool
    keeps_base: bool
    step: int


def euler(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Euler's method, order 1: one evaluation a step."""
    return tuple(
        Evaluation(float(s), float(t), float(t - s), 0.0, False, False, i)
        for i, (s, t) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True))
    )


def heun(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Heun's method, order 2: two evaluations a step, except the last step to sigma 0, which is Euler's.

    (There the second evaluation would ask the model about sigma = 0, which it was never trained on.)"""
    table: list[Evaluation] = []
    for i, (s, t) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        h = t - s
        if t == 0:
            table.append(Evaluation(float(s), float(t), float(h), 0.0, False, False, i))
        else:
            half = float(h / 2)
            table.append(Evaluation(float(s), float(t), float(h), 0.0, False, True, i))
            table.append(Evaluation(float(t), float(t), half, half, True, False, i))
    return tuple(table)


def evaluations(
    solver: SolverName, config: SigmaConfig, steps: int, image_tokens: int, shift: float | None = None
) -> tuple[Evaluation, ...]:
    """The table of `solver` for an image of `image_tokens` tokens. ValueError for an unknown solver or no steps."""
    if solver not in SOLVERS:
        raise ValueError(f"solver: got {solver!r}, want one of {', '.join(SOLVERS)}")
    return (euler if solver == "euler" else heun)(config.sigmas(steps, image_tokens, shift))
