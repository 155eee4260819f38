"""Compute the sigmas of models that were trained on discrete noise levels, such as Stable Diffusion's.

Such a model sees x = sqrt(abar_t) data + sqrt(1 - abar_t) noise (2006.11239, eq. 4) at timesteps t, and predicts the
noise, or a mixture v of both (2202.00512, appendix D). Divided by the sum of its two factors x is

    (1 - sigma) data + sigma noise,    sigma = sqrt(1 - abar_t) / (sqrt(abar_t) + sqrt(1 - abar_t))

which are the latents of flow matching, and noise - data is their velocity. So latents in Salon have one form for all
models: start pictures, masks, previews and solvers need not know how a model was trained. In this form Euler's step is
that of DDIM, and DPM-Solver++(2M) and UniPC do not depend on the scale of the latents; other solvers have tables
of their own (`exploding` and `trained` in `engine/solvers`). The model's input is the latents divided by
sqrt((1 - sigma)^2 + sigma^2).

Timesteps and sigmas are those of diffusers' schedulers, which `scheduler_config.json` names.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np
from msgspec.structs import replace as replace_struct
from numpy.typing import NDArray

from ..kernels.elementary import exp, log
from .config import Config
from .errors import UnknownArchitecture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .solvers import Evaluation, Solver

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Prediction = Literal["epsilon", "v_prediction", "sample"]

EULER, ANCESTRAL, DDIM = "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DDIMScheduler"
PNDM, DPM = "PNDMScheduler", "DPMSolverMultistepScheduler"
UNIPC, LCM = "UniPCMultistepScheduler", "LCMScheduler"
SOLVERS: Final = {
    EULER: "euler", ANCESTRAL: "euler_ancestral", DDIM: "euler", PNDM: "pndm", DPM: "dpmpp_2m", UNIPC: "unipc",
    LCM: "lcm",
}  # fmt: skip
_SPACINGS: Final = {
    EULER: "linspace", ANCESTRAL: "linspace", DDIM: "leading", PNDM: "leading", DPM: "linspace", UNIPC: "linspace",
    LCM: "leading",
}  # fmt: skip
_LEADING_ONLY: Final = {DDIM: ("leading", "trailing"), PNDM: ("leading", "trailing"), LCM: ("leading",)}
_MULTISTEP: Final = (DPM, UNIPC)  # they make one timestep more, and leave the last out
_KARRAS: Final = (EULER, *_MULTISTEP)  # those that space sigmas so, if they are told
_ORIGINAL: Final = 50  # steps of the schedule that latent consistency models are distilled on
# What else the multistep ones can be told, and what Salon computes of it, by default first.
_ORDERS: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    DPM: {"solver_order": (2,), "algorithm_type": ("dpmsolver++",), "solver_type": ("midpoint",)},
    UNIPC: {
        "solver_order": (2,), "predict_x0": (True,), "solver_type": ("bh2", "midpoint", "heun", "logrho"),
        "lower_order_final": (True,),
    },
}  # fmt: skip
_RHO: Final = 7.0  # of Karras' spacing, 2206.00364 eq. 5
_TINY: Final = 2.0**-24  # diffusers' abar at the last timestep, where rescaled betas leave nothing

# Keys that ask for what this module does not compute, where they are set.
_UNSUPPORTED: Final = (
    "trained_betas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas", "thresholding",
    "variance_type", "use_dynamic_shifting", "sigma_min", "sigma_max",
)  # fmt: skip
_HARMLESS: Final = {
    "sample_max_value": "of thresholding, which is off",
    "dynamic_thresholding_ratio": "of thresholding, which is off",
    "clip_sample_range": "of clip_sample, which is off",
    "flow_shift": "of use_flow_sigmas, which is off",
    "time_shift_type": "of use_dynamic_shifting, which is off",
    "lower_order_final": "the last step, to sigma 0, is of first order anyway",
    "euler_at_final": "the last step, to sigma 0, is of first order anyway",
    "skip_prk_steps": "of PNDM's first steps, which Salon takes as if it were set",
    "original_inference_steps": "of LCM",
    "timestep_scaling": "of LCM",
}


class TrainedSigmas(msgspec.Struct, frozen=True, kw_only=True):
    """How a checkpoint spaces its timesteps: the part of `scheduler_config.json` that decides sigmas.

    Attributes:
        scheduler: diffusers' class.
        beta_start, beta_end, beta_schedule, count: the noise levels of training, `count` of them.
        prediction: what the model predicts.
        spacing: how timesteps are spaced.
        offset: added to them, where the spacing is leading.
        karras: whether sigmas are spaced as Karras et al. do, between the ends of the scheduler's.
        zero_snr: whether betas are rescaled so that nothing is left of the picture at the last timestep.
        ends_in_noise: whether Euler's steps, and PNDM's, end at the first noise level of training, and not at sigma 0.
        original: of LCM, how many steps its model was distilled on.
    """

    scheduler: str
    beta_start: float
    beta_end: float
    beta_schedule: Literal["linear", "scaled_linear"]
    count: int
    prediction: Prediction
    spacing: Literal["leading", "trailing", "linspace"]
    offset: int
    karras: bool
    zero_snr: bool
    ends_in_noise: bool
    original: int = _ORIGINAL

    @classmethod
    def read(cls, config: Config) -> TrainedSigmas:
        """Read scheduler_config.json, with diffusers' defaults.

        Raises:
            UnknownArchitecture: the scheduler is none of `SOLVERS`, or needs what Salon does not compute.
            WrongConfig: a value is of the wrong type or out of range.
        """
        config.want_architecture(SOLVERS)
        kind = config.architecture
        for key in _UNSUPPORTED:
            config.unset(key)
        clips = config.raw("clip_sample")
        if kind == DDIM and clips is not False:  # the others have the key from it, and do not read it
            config.only("clip_sample", (False,), True)
        spacings = _LEADING_ONLY.get(kind, ("leading", "trailing", "linspace"))
        last = config.only("final_sigmas_type", ("zero",) if kind in _MULTISTEP else ("zero", "sigma_min"), "zero")
        to_one = config.boolean("set_alpha_to_one", kind != PNDM)
        for key in {key for keys in _ORDERS.values() for key in keys}:
            values = _ORDERS.get(kind, {}).get(key)
            if values is None:
                config.raw(key)
            else:
                config.only(key, values, values[0])
        if kind == UNIPC and (config.raw("disable_corrector") or config.raw("solver_p")):
            key = "disable_corrector" if config.raw("disable_corrector") else "solver_p"
            config.refuse(key, "none", config.values[key], UnknownArchitecture)
        if kind == LCM:
            config.only("timestep_scaling", (10, 10.0), 10.0)
        if kind == DPM and config.raw("lambda_min_clipped") not in (None, float("-inf")):
            config.refuse("lambda_min_clipped", "none", config.values["lambda_min_clipped"])
        config.only("interpolation_type", ("linear",), "linear")
        config.only("timestep_type", ("discrete",), "discrete")
        result = cls(
            scheduler=kind,
            beta_start=config.number("beta_start", 1e-4, 1e-9, 0.9),
            beta_end=config.number("beta_end", 0.02, 1e-9, 0.9),
            beta_schedule=config.only("beta_schedule", ("linear", "scaled_linear"), "linear"),
            count=config.integer("num_train_timesteps", 1000, 2, 100_000),
            prediction=config.only("prediction_type", ("epsilon", "v_prediction", "sample"), "epsilon"),
            spacing=config.only("timestep_spacing", spacings, _SPACINGS[kind]),
            offset=config.integer("steps_offset", 0, 0, 1000),
            karras=config.boolean("use_karras_sigmas", False) and kind in _KARRAS,
            zero_snr=config.boolean("rescale_betas_zero_snr", False),
            ends_in_noise=not to_one if kind in (DDIM, PNDM) else last == "sigma_min",
            original=config.integer("original_inference_steps", _ORIGINAL, 1, 1000) if kind == LCM else _ORIGINAL,
        )
        config.finish(_HARMLESS)
        return result

    @property
    def solver(self) -> str:
        """The solver that steps as the scheduler does."""
        return SOLVERS[self.scheduler]

    def of(self, solver: str) -> TrainedSigmas:
        """Return how timesteps are spaced for a solver: for `lcm` as `LCMScheduler` does with these noise levels, since
        models and LoRAs that it is for were distilled on those timesteps."""
        if solver != SOLVERS[LCM] or self.scheduler == LCM:
            return self
        return replace_struct(self, scheduler=LCM, spacing="leading", karras=False, original=_ORIGINAL)

    @property
    def end(self) -> float:
        """The sigma at which the scheduler's own steps end."""
        return float(self._table()[0]) if self.ends_in_noise else 0.0

    def sigmas(self, steps: int, image_tokens: int = 0, shift: float | None = None) -> Float32:
        """Return the sigmas of `steps` steps, float32 [steps + 1], falling to 0.

        Args:
            image_tokens: of no matter here: sigmas do not depend on the size.
            shift: likewise; `Admission` refuses it.
        """
        if steps < 1:
            raise ValueError(f"steps: got {steps}, want at least 1")
        table, timesteps = self._table(), self._timesteps(steps)
        if self.karras or self._between:
            ratios = table / (1.0 - table)  # the sigmas of diffusers
            spaced = np.interp(timesteps, np.arange(self.count), ratios)
            if self.karras:
                ends = (spaced[0], spaced[-1]) if self.scheduler == EULER else (ratios[-1], ratios[0])
                first, last = (exp(log(end) / _RHO) for end in ends)
                spaced = exp(log(first + np.linspace(0, 1, steps) * (last - first)) * _RHO)
            spaced = spaced / (1.0 + spaced)
        else:
            spaced = table[np.clip(timesteps, 0, self.count - 1).astype(np.int64)]
        return np.append(spaced, 0.0).astype(np.float32)

    def table(self, solver: Solver, sigmas: Float32) -> tuple[Evaluation, ...]:
        """Return the evaluations of a solver through sigmas, as the scheduler's own numbers would lead."""
        trained: Callable[[Float32, TrainedSigmas], tuple[Evaluation, ...]] | None = getattr(solver, "trained", None)
        if trained is not None:
            return trained(sigmas, self)
        return self.ended(getattr(solver, "exploding", solver.table)(sigmas))

    def ended(self, table: Sequence[Evaluation]) -> tuple[Evaluation, ...]:
        """Return a table whose last step, if all are Euler's, ends where the scheduler's own does."""
        plain = not any(e.scale != 1 or e.b or e.noise or e.keeps_base or e.past for e in table)
        if not self.ends_in_noise or not plain:
            return tuple(table)
        last, end = table[-1], self.end
        # Diffusers takes these latents for clean ones: of most schedulers those that the model sees, of Euler's the
        # ones whose picture has the factor 1.
        scale = 1 / (1 - end) if self.scheduler in (EULER, ANCESTRAL) else 1 / float(np.hypot(1 - end, end))
        return (*table[:-1], replace(last, a=scale * (end - last.sigma), scale=scale))

    def noise_scale(self, sigma: float) -> float:
        """Return the factor of the noise that alone is the latents at the first sigma."""
        if self.scheduler in (EULER, ANCESTRAL) and self.spacing != "leading":
            return sigma
        return float(np.hypot(1.0 - sigma, sigma))

    def times(self, sigmas: Float32) -> Float32:
        """Return the timesteps that the model is told at sigmas, both float32 [S]."""
        given, table, places = sigmas.astype(np.float64), self._table(), np.arange(self.count)
        if self.karras or self._between:
            ratio, ratios = given / np.maximum(1.0 - given, 1e-12), table / (1.0 - table)
            if self.karras:  # diffusers goes back in logarithms here
                ratio, ratios = log(np.maximum(ratio, 1e-10)), log(ratios)
            found = np.interp(ratio, ratios, places)
        else:
            found = np.interp(given, table, places)
        whole = not self._between and not (self.karras and self.scheduler == EULER)
        return (np.rint(found) if whole else found).astype(np.float32)

    @property
    def _between(self) -> bool:
        """Whether timesteps are not whole numbers."""
        return self.scheduler in (EULER, ANCESTRAL) and self.spacing == "linspace"

    def _timesteps(self, steps: int) -> Float64:
        """Return the timesteps of so many steps, falling."""
        count, more = self.count, int(self.scheduler in _MULTISTEP)
        if self.scheduler == LCM:  # of a grid with at least as many
            grid = max(self.original, min(steps, count))
            places = np.floor(np.linspace(0, grid, steps, endpoint=False)).astype(np.int64)
            counted: Float64 = (grid - np.minimum(places, grid - 1)).astype(np.float64)
            return counted * (count // grid) - 1.0
        if self.spacing == "trailing":
            found = np.round(np.arange(count, 0, -count / steps)) - 1
        elif self.spacing == "leading":
            found = np.arange(steps + more)[::-1] * (count // (steps + more)) + float(self.offset)
        else:
            found = np.linspace(0, count - 1, steps + more)[::-1]
            found = found if self._between else np.round(found)
        return found[:steps].astype(np.float64)

    def _table(self) -> Float64:
        # DDIM alone can begin with nothing of the picture: the others divide by what is left of it.
        least = 0.0 if self.scheduler == DDIM else _TINY
        return _table(self.beta_start, self.beta_end, self.beta_schedule, self.count, least if self.zero_snr else None)


@lru_cache(maxsize=8)
def _table(start: float, end: float, schedule: str, count: int, least: float | None) -> Float64:
    """Return the sigma of every timestep, float64 [count], rising, read-only.

    Args:
        least: what betas are rescaled to leave as abar at the last timestep; None: they are not rescaled.
    """
    # In float32 where diffusers rounds so: 1 - abar has few digits at the first timesteps.
    if schedule == "linear":
        betas = np.linspace(start, end, count).astype(np.float32)
    else:
        betas = np.linspace(start**0.5, end**0.5, count).astype(np.float32) ** 2
    kept = np.cumprod((1 - betas).astype(np.float64)).astype(np.float32)
    if least is not None:  # 2305.08891, algorithm 1
        root = np.sqrt(kept)
        kept = ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2
        kept[-1] = least
    noise, data = (np.sqrt(part).astype(np.float64) for part in (1 - kept, kept))
    found: Float64 = noise / (noise + data)
    found.setflags(write=False)
    return found


def input_factors(sigmas: Float32, prediction: Prediction) -> tuple[Any, Any, Any]:
    """Return what a model's evaluation at sigmas is scaled by, each float32 [S].

    Returns:
        c, p, q: the model sees c x of latents x, and the velocity is p out + q x of what it puts out.
    """
    sigma = sigmas.astype(np.float64)
    rest = 1.0 - sigma
    square = rest**2 + sigma**2
    if prediction == "epsilon":  # out is the noise, and noise - data = (noise - x) / (1 - sigma)
        p = 1.0 / np.maximum(rest, 1e-6)
        q = -p
    elif prediction == "v_prediction":  # out is (1 - sigma) noise - sigma data, over the root of `square`
        p, q = 1.0 / np.sqrt(square), (2.0 * sigma - 1.0) / square
    else:  # out is the data, and noise - data = (x - data) / sigma
        q = 1.0 / np.maximum(sigma, 1e-6)
        p = -q
    c = 1.0 / np.sqrt(square)
    return c.astype(np.float32), p.astype(np.float32), q.astype(np.float32)
