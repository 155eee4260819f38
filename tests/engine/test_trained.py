"""Sigmas of models that were trained on discrete noise levels, and solvers on them, against diffusers' schedulers."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.config import Config
from salon.engine.errors import UnknownArchitecture
from salon.engine.solvers import evaluations
from salon.engine.trained import DDIM, EULER, TrainedSigmas, input_factors

from .stepping import integrate

diffusers = pytest.importorskip("diffusers")
torch = pytest.importorskip("torch")

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SPACINGS = ("leading", "trailing", "linspace")


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    for spacing in SPACINGS:
        for karras in (False, True):
            yield "EulerDiscrete", {"timestep_spacing": spacing, "steps_offset": 1, "use_karras_sigmas": karras}
            for name in ("DPMSolverMultistep", "UniPCMultistep"):
                yield name, {"timestep_spacing": spacing, "steps_offset": 1, "use_karras_sigmas": karras}
        yield "EulerAncestralDiscrete", {"timestep_spacing": spacing, "steps_offset": 1}
    for to_one in (False, True):
        for spacing in ("leading", "trailing"):
            yield "DDIM", {"timestep_spacing": spacing, "set_alpha_to_one": to_one, "clip_sample": False}
    yield "DDIM", {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True, "clip_sample": False}
    yield "EulerDiscrete", {"final_sigmas_type": "sigma_min", "timestep_spacing": "leading"}
    yield "HeunDiscrete", {"timestep_spacing": "linspace"}
    for to_one in (False, True):
        for spacing in ("leading", "trailing"):
            yield "PNDM", {"timestep_spacing": spacing, "set_alpha_to_one": to_one, "skip_prk_steps": True}
    yield "PNDM", {"steps_offset": 1, "skip_prk_steps": True}  # Stable Diffusion 1.5's
    yield "LCM", {}
    yield "LCM", {"original_inference_steps": 20}


def model(x: Any, timestep: float) -> Any:
    """What stands for a UNet: smooth in both."""
    wave = np.sin(timestep / 170 + np.arange(x.shape[-1])) * 0.5
    return (0.6 * x * np.cos(timestep / 300) + wave).astype(np.float32)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
@pytest.mark.parametrize(("name", "values"), list(cases()))
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_whole_schedules_equal_diffusers(
    name: str, values: dict[str, Any], prediction: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if values.get("rescale_betas_zero_snr") and prediction == "epsilon":
        return  # of noise alone there is nothing to predict
    rng = np.random.default_rng(1)
    # Of DDIM with trailing spacing diffusers goes to a level beside the next timestep, unless steps divide 1000.
    for steps in (1, 2, 20 if name in ("DDIM", "PNDM") else 17):
        theirs = getattr(diffusers, f"{name}Scheduler")(**BETAS, **values, prediction_type=prediction)
        theirs.set_timesteps(steps)
        drawn = [rng.standard_normal((3, 7)).astype(np.float32) for _ in range(steps + 1)]
        left = iter(drawn[1:])
        noisy = {"EulerAncestralDiscrete": "euler_ancestral_discrete", "LCM": "lcm"}
        if name in noisy:
            module = importlib.import_module(f"diffusers.schedulers.scheduling_{noisy[name]}")
            monkeypatch.setattr(module, "randn_tensor", lambda *_, left=left, **__: torch.from_numpy(next(left)))
        y = torch.from_numpy(drawn[0].copy()) * theirs.init_noise_sigma
        for t in theirs.timesteps:
            out = model(theirs.scale_model_input(y, t).numpy(), float(t))
            y = theirs.step(torch.from_numpy(out), t, y, return_dict=False)[0].float()
        config = json.loads(theirs.to_json_string())
        heun = name == "HeunDiscrete"
        ours = TrainedSigmas.read(
            Config(
                Path("s"), {**BETAS, **values, "prediction_type": prediction, "_class_name": EULER} if heun else config
            )
        )
        table = evaluations("heun" if heun else ours.solver, ours, steps, 64)
        assert table[-1].next_sigma == 0
        told = ours.times(np.array([e.sigma for e in table], np.float32))
        np.testing.assert_allclose(told, theirs.timesteps.numpy(), atol=2e-3)

        def velocity(x: Any, sigma: float, ours: TrainedSigmas = ours) -> Any:
            s = np.array([sigma], np.float32)
            c, p, q = input_factors(s, prediction)
            return p * model(c * x, float(ours.times(s)[0])) + q * x

        x = drawn[0] * np.float32(ours.noise_scale(table[0].sigma))
        got = integrate(table, velocity, x, np.float32, drawn.__getitem__)
        assert np.abs(got - y.numpy()).max() <= 1e-5 * np.abs(y.numpy()).max(), (name, values, steps)


def test_each_prediction_has_the_same_velocity() -> None:
    """Of one picture and one noise, whatever the model says of them."""
    data, drawn = np.array([0.3, -2.0], np.float32), np.array([1.0, 0.5], np.float32)
    sigmas = np.array([0.35], np.float32)
    x = (1 - sigmas) * data + sigmas * drawn
    root = np.hypot(1 - sigmas, sigmas)
    says = {
        "epsilon": drawn, "sample": data, "v_prediction": ((1 - sigmas) * drawn - sigmas * data) / root,
    }  # fmt: skip
    for prediction, out in says.items():
        c, p, q = input_factors(sigmas, prediction)  # type: ignore[arg-type]
        np.testing.assert_allclose(p * out + q * x, drawn - data, rtol=1e-5)
        np.testing.assert_allclose(c, 1 / root, rtol=1e-6)


@pytest.mark.parametrize("solver", ["euler", "heun", "dpmpp_2m", "euler_ancestral", "lcm", "pndm", "unipc"])
def test_the_clean_estimate(solver: str) -> None:
    """With the velocity of one picture every step's estimate is that picture, and so is the end."""
    ours = TrainedSigmas.read(Config(Path("s"), {**BETAS, "_class_name": EULER, "timestep_spacing": "leading"}))
    data, drawn = np.array([0.3, -2.0], np.float32), np.array([1.0, 0.5], np.float32)
    table = evaluations(solver, ours, 5, 64)
    first = np.float32(table[0].sigma)

    def seen(e: Any, x: Any, v: Any) -> None:
        assert e.clean(x, v, drawn if e.noise else None) == pytest.approx(data, abs=1e-5)

    x = (1 - first) * data + first * drawn
    x = integrate(table, lambda x, sigma: (x - data) / np.float32(sigma), x, np.float32, lambda _: drawn, seen)
    assert x == pytest.approx(data, abs=1e-5)


def test_lcm_has_its_own_timesteps_whatever_the_folder_names() -> None:
    theirs = diffusers.LCMScheduler(**BETAS)
    theirs.set_timesteps(4)
    for spacing in SPACINGS:
        ours = TrainedSigmas.read(Config(Path("s"), {**BETAS, "_class_name": EULER, "timestep_spacing": spacing}))
        sigmas = np.array([e.sigma for e in evaluations("lcm", ours, 4, 64)], np.float32)
        np.testing.assert_allclose(ours.times(sigmas), theirs.timesteps.numpy(), atol=2e-3)
        assert ours.of("euler") is ours
        assert ours.of("lcm").noise_scale(float(sigmas[0])) == pytest.approx(np.hypot(1 - sigmas[0], sigmas[0]))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"_class_name": "DEISMultistepScheduler"}, 'expected .*DDIMScheduler.*, found "DEIS'),
        ({"_class_name": "UniPCMultistepScheduler", "solver_type": "bh1"}, "'solver_type'.* found \"bh1"),
        ({"_class_name": "UniPCMultistepScheduler", "disable_corrector": [0]}, "'disable_corrector', expected none"),
        ({"_class_name": DDIM}, "'clip_sample', expected false, found true"),
        ({"_class_name": DDIM, "clip_sample": False, "timestep_spacing": "linspace"}, "'timestep_spacing'"),
        ({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3}, "'solver_order', expected 2, found 3"),
        ({"_class_name": EULER, "trained_betas": [0.1]}, "'trained_betas'"),
        ({"_class_name": EULER, "beta_schedule": "squaredcos_cap_v2"}, "'beta_schedule'"),
        ({"_class_name": EULER, "odd": 3}, "'odd', expected no such setting"),
    ],
)
def test_what_is_not_computed_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UnknownArchitecture, match=said):
        TrainedSigmas.read(Config(Path("s"), values))
    with pytest.raises(ValueError, match="steps: got 0"):
        TrainedSigmas.read(Config(Path("s"), {"_class_name": EULER})).sigmas(0)
