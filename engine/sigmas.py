"""Compute the sigmas of flow matching: how a checkpoint spaces the noise levels that a solver goes through.

Sources: flow matching 2210.02747; shift of sigmas with the resolution: SD3, 2403.03206, section 5.3.2. Sigmas agree
with diffusers' FlowMatchEulerDiscreteScheduler and FluxPipeline to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..kernels.elementary import exp
from .config import Config

if TYPE_CHECKING:
    from .solvers import Evaluation, Solver

Float32 = NDArray[np.float32]

SCHEDULER: Final = "FlowMatchEulerDiscreteScheduler"
_TIMESTEPS: Final = 1000  # a model reads sigma times this factor
# Slope and offset of FLUX.2's mu by image tokens, at two numbers of steps (`compute_empirical_mu` of its pipelines).
_AT_10_STEPS: Final = (8.73809524e-05, 1.89833333)
_AT_200_STEPS: Final = (0.00016927, 0.45666666)
_MANY_TOKENS: Final = 4300

# Keys of the scheduler's config that, when set, ask for sigmas which this module does not compute.
_UNSUPPORTED: Final = (
    "invert_sigmas",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "stochastic_sampling",
)


@dataclass(frozen=True)
class SigmaConfig:
    """How a checkpoint spaces its sigmas: the part of `scheduler_config.json` that decides sigmas.

    Attributes:
        shift: constant shift, used unless `use_dynamic_shifting`; 1 means none.
        use_dynamic_shifting: shift by mu, which grows linearly with the number of image tokens.
        base_shift, max_shift: mu at `base_image_seq_len` and at `max_image_seq_len` tokens.
        time_shift_type: how mu shifts a sigma, "exponential" or "linear".
        shift_terminal: the last sigma before 0, to which all are stretched in the end; None: they are not stretched.
        empirical: whether mu follows the numbers of image tokens and of steps, as FLUX.2's pipelines fitted it, in
            place of the scheduler's own values. A family sets it, since no scheduler's config does.
    """

    shift: float = 1.0
    use_dynamic_shifting: bool = False
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_image_seq_len: int = 256
    max_image_seq_len: int = 4096
    time_shift_type: Literal["exponential", "linear"] = "exponential"
    shift_terminal: float | None = None
    empirical: bool = False

    def __post_init__(self) -> None:
        for name in ("shift", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not -1e30 <= value <= 1e30:
                raise ValueError(f"{name}: got {value!r}, want a number")
        if not self.shift > 0:
            raise ValueError(f"shift: got {self.shift!r}, want a number above 0")
        for name in ("use_dynamic_shifting", "empirical"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, want true or false")
        if self.time_shift_type not in ("exponential", "linear"):
            raise ValueError(f"time_shift_type: got {self.time_shift_type!r}, want exponential or linear")
        last = self.shift_terminal
        if last is not None and (type(last) is not float or not 0 < last < 1):
            raise ValueError(f"shift_terminal: got {last!r}, want a number between 0 and 1, or None")
        if self.base_image_seq_len == self.max_image_seq_len:
            raise ValueError(
                f"base_image_seq_len and max_image_seq_len must differ, got {self.max_image_seq_len} twice"
            )

    @classmethod
    def read(cls, config: Config) -> SigmaConfig:
        """Read scheduler_config.json, with diffusers' defaults.

        Raises:
            UnknownArchitecture: the scheduler is another one than `SCHEDULER`, or needs sigmas that Salon does not
                compute.
            WrongConfig: a value is missing, of the wrong type or out of range.
        """
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
            shift_terminal=config.number("shift_terminal", 0.0, 0.0, 0.999) or None,  # diffusers takes 0 for none
            base_image_seq_len=tokens["base_image_seq_len"],
            max_image_seq_len=tokens["max_image_seq_len"],
        )
        config.finish({})
        return result

    def of(self, solver: str) -> SigmaConfig:
        """Return how sigmas are spaced for a solver: of flow matching alike for all."""
        return self

    def mu(self, image_tokens: int, steps: int) -> float:
        """Return the shift exponent of an image of so many tokens (after 2x2 packing).

        It is linear in the tokens, and extrapolated beyond the two given points. Only an empirical one reads the steps:
        it is linear in them too, up to `_MANY_TOKENS` tokens.
        """
        if self.empirical:
            high = _AT_200_STEPS[0] * image_tokens + _AT_200_STEPS[1]
            if image_tokens > _MANY_TOKENS:
                return high
            a_step = (high - (_AT_10_STEPS[0] * image_tokens + _AT_10_STEPS[1])) / 190.0
            return a_step * steps + (high - 200.0 * a_step)
        slope = (self.max_shift - self.base_shift) / (self.max_image_seq_len - self.base_image_seq_len)
        return image_tokens * slope + (self.base_shift - slope * self.base_image_seq_len)

    def sigmas(self, steps: int, image_tokens: int, shift: float | None = None) -> Float32:
        """Return the sigmas of `steps` steps, float32 [steps + 1], falling from (about) 1 to 0.

        Args:
            shift: a constant shift in place of the checkpoint's own; None: the checkpoint's.
        """
        if steps < 1:
            raise ValueError(f"steps: got {steps}, want at least 1")
        even = np.linspace(1.0, 1.0 / steps, steps).astype(np.float32)
        if shift is not None or not self.use_dynamic_shifting:
            constant = self.shift if shift is None else shift
            spaced = constant * even / (1 + (constant - 1) * even)
        else:
            mu = self.mu(image_tokens, steps)
            weight = float(exp(mu)) if self.time_shift_type == "exponential" else mu
            spaced = weight / (weight + (1 / even - 1))
        if self.shift_terminal is not None and spaced[-1] < 1:  # a single step has nothing to stretch
            spaced = 1 - (1 - spaced) / ((1 - spaced[-1]) / (1 - self.shift_terminal))
        return np.append(spaced.astype(np.float32), np.float32(0))

    def table(self, solver: Solver, sigmas: Float32) -> tuple[Evaluation, ...]:
        """Return the evaluations of a solver through sigmas."""
        return solver.table(sigmas)
