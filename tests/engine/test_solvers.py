"""Solvers: the right sigmas, the right order of convergence, and agreement with diffusers."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from salon.engine import solvers
from salon.engine.config import Config
from salon.engine.engine import Engine
from salon.engine.errors import StateError, UnknownArchitecture, WrongConfig
from salon.engine.generation import State
from salon.engine.noise import normal
from salon.engine.sigmas import SCHEDULER, SigmaConfig
from salon.engine.solvers import Evaluation, evaluations
from salon.engine.solvers.dpmpp_2m import table as dpmpp_2m
from salon.engine.solvers.euler import table as euler
from salon.engine.solvers.euler_ancestral import table as euler_ancestral
from salon.engine.solvers.heun import table as heun
from salon.engine.solvers.lcm import table as lcm
from salon.engine.solvers.pndm import table as pndm
from salon.engine.solvers.unipc import table as unipc
from salon.engine.spec import GenerationSpec
from salon.frontends.arguments import parse

from .stepping import integrate


def smooth(steps: int) -> Any:
    """Sigmas in float64 precision, so that rounding does not hide the order."""
    return np.linspace(1.0, 0.0, steps + 1)


@pytest.mark.parametrize(("method", "order"), [(euler, 1), (heun, 2)])
def test_order_of_convergence(method: Any, order: int) -> None:
    """dx/ds = cos(3 s) x has the solution x(0) = x(1) exp(-sin(3)/3)."""
    exact = math.exp(-math.sin(3.0) / 3.0)
    errors = [abs(integrate(method(smooth(n)), lambda x, s: np.cos(3 * s) * x, 1.0) - exact) for n in (40, 80, 160)]
    slopes = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    assert all(abs(slope - order) < 0.15 for slope in slopes), slopes


def test_straight_paths_need_one_step() -> None:
    """With v = noise - data constant along the path, one Euler step gives the data."""
    data, noise = np.array([0.3, -2.0]), np.array([1.0, 0.5])
    assert integrate(euler(SigmaConfig().sigmas(1, 64)), lambda x, s: noise - data, noise) == pytest.approx(data)


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_tables(steps: int) -> None:
    config = SigmaConfig(shift=3.0)
    s = config.sigmas(steps, 64)
    assert s.dtype == np.float32
    assert len(s) == steps + 1
    assert s[0] == 1
    assert s[-1] == 0
    assert (np.diff(s) < 0).all()
    e, h = euler(s), heun(s)
    assert len(e) == steps
    assert len(h) == 2 * steps - 1
    assert [x.step for x in h] == sorted(list(range(steps)) + list(range(steps - 1)))
    assert not h[-1].keeps_base
    for before, after in zip(h, h[1:], strict=False):
        assert after.from_base == before.keeps_base
        assert bool(after.b) == before.keeps_base
    assert all(x.sigma > 0 for x in e + h)
    assert e[-1].next_sigma == h[-1].next_sigma == 0
    assert sum(x.a for x in e) == pytest.approx(-1)


def test_dynamic_shifting_grows_with_the_image() -> None:
    config = SigmaConfig(use_dynamic_shifting=True)
    assert config.mu(256, 8) == pytest.approx(0.5)
    assert config.mu(4096, 8) == pytest.approx(1.15)
    assert (config.sigmas(8, 4096)[1:-1] > config.sigmas(8, 256)[1:-1]).all()
    assert (config.sigmas(8, 4096, shift=1.0) == SigmaConfig().sigmas(8, 1)).all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="got 0, want at least 1"):
        SigmaConfig().sigmas(0, 64)
    with pytest.raises(ValueError, match="got 'rk4', want one of euler, dpmpp_2m, .*, lcm, pndm, unipc"):
        evaluations("rk4", SigmaConfig(), 4, 64)
    with pytest.raises(ValueError, match="got -1"):
        SigmaConfig(shift=-1)
    with pytest.raises(ValueError, match="shift: got nan"):
        SigmaConfig(shift=math.nan)
    with pytest.raises(WrongConfig, match=r"'shift_terminal', expected a number .*, found 1.5"):
        SigmaConfig.read(scheduler(shift_terminal=1.5))
    with pytest.raises(ValueError, match="shift_terminal: got 1.0"):
        SigmaConfig(shift_terminal=1.0)
    with pytest.raises(UnknownArchitecture, match=r"s.json: .*'use_karras_sigmas', expected null .*, found true"):
        SigmaConfig.read(scheduler(use_karras_sigmas=True))
    assert SigmaConfig.read(scheduler(shift=2, shift_terminal=None)) == SigmaConfig(shift=2)


def scheduler(**values: Any) -> Config:
    return Config(Path("s.json"), {"_class_name": SCHEDULER, **values})


CONFIGS: list[dict[str, Any]] = [
    {"shift": 1.0},
    {"shift": 3.0},
    {"use_dynamic_shifting": True},
    {"use_dynamic_shifting": True, "time_shift_type": "linear", "base_shift": 0.7, "max_shift": 2.0},
    {"use_dynamic_shifting": True, "base_image_seq_len": 64, "max_image_seq_len": 1024, "max_shift": 3.0},
    {"use_dynamic_shifting": True, "max_shift": 0.9, "shift_terminal": 0.02},  # Qwen-Image
    {"shift": 3.0, "shift_terminal": 0.1},
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(("steps", "tokens"), [(1, 64), (2, 17), (4, 256), (20, 1024), (28, 4096), (50, 9000)])
def test_sigmas_equal_diffusers(config: dict[str, Any], steps: int, tokens: int) -> None:
    pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    theirs = diffusers.FlowMatchEulerDiscreteScheduler(**config)
    c = theirs.config
    mu = calculate_shift(tokens, c.base_image_seq_len, c.max_image_seq_len, c.base_shift, c.max_shift)
    with np.errstate(invalid="ignore"):
        theirs.set_timesteps(steps, sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    ours = SigmaConfig.read(scheduler(**{**c, "_class_name": SCHEDULER}))
    if steps == 1 and ours.shift_terminal:  # diffusers divides nothing by nothing
        assert ours.sigmas(1, tokens).tolist() == [1, 0]
        return
    np.testing.assert_array_equal(ours.sigmas(steps, tokens), theirs.sigmas.numpy())


@pytest.mark.parametrize(("steps", "tokens"), [(1, 64), (4, 256), (50, 4096), (50, 4300), (28, 4301)])
def test_empirical_sigmas_equal_diffusers(steps: int, tokens: int) -> None:
    pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

    theirs = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    ours = replace(SigmaConfig.read(scheduler(**{**theirs.config, "_class_name": SCHEDULER})), empirical=True)
    theirs.set_timesteps(steps, sigmas=np.linspace(1.0, 1 / steps, steps), mu=compute_empirical_mu(tokens, steps))
    np.testing.assert_array_equal(ours.sigmas(steps, tokens), theirs.sigmas.numpy())


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_trajectory_equals_diffusers(solver: Any, steps: int) -> None:
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    x = np.random.default_rng(steps).standard_normal((3, 7)).astype(np.float32)

    def velocity(x: Any, sigma: float) -> Any:
        return (0.5 * x + np.float32(math.sin(5 * sigma))).astype(np.float32)

    table: tuple[Evaluation, ...]
    if solver == "euler":
        theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=2.0)
        theirs.set_timesteps(steps, sigmas=np.linspace(1.0, 1 / steps, steps))
        table = evaluations("euler", SigmaConfig(shift=2.0), steps, 64)
    else:
        theirs = diffusers.FlowMatchHeunDiscreteScheduler(shift=2.0)
        theirs.set_timesteps(steps)  # it spaces its own sigmas: take them, and compare the update alone
        table = heun(np.concatenate([theirs.sigmas[:1], theirs.sigmas[1:-1:2], theirs.sigmas[-1:]]).astype(np.float32))
    theirs.set_begin_index(0)
    y = torch.from_numpy(x.copy())
    for t in theirs.timesteps:
        y = theirs.step(torch.from_numpy(velocity(y.numpy(), float(t) / 1000)), t, y, return_dict=False)[0]
    ours = integrate(table, velocity, x, np.float32)
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, y.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
@pytest.mark.parametrize("steps", [1, 2, 5, 14, 20])
@pytest.mark.parametrize(("name", "method"), [("DPMSolver", dpmpp_2m), ("UniPC", unipc)])
def test_multistep_equals_diffusers(name: str, method: Any, steps: int) -> None:
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    theirs = getattr(diffusers, f"{name}MultistepScheduler")(
        use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction"
    )
    theirs.set_timesteps(steps)
    x = np.random.default_rng(steps).standard_normal((3, 7)).astype(np.float32)

    def velocity(x: Any, sigma: float) -> Any:
        return (0.5 * x + np.float32(math.sin(5 * sigma))).astype(np.float32)

    y = torch.from_numpy(x.copy())
    for t, sigma in zip(theirs.timesteps, theirs.sigmas, strict=False):
        y = theirs.step(torch.from_numpy(velocity(y.numpy(), float(sigma))), t, y, return_dict=False)[0]
    ours = integrate(method(theirs.sigmas.numpy()), velocity, x, np.float32)
    np.testing.assert_allclose(ours, y.numpy(), rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_lcm_equals_diffusers_with_the_same_noise(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    from diffusers.schedulers import scheduling_flow_match_euler_discrete as module

    x = np.random.default_rng(steps).standard_normal((3, 7)).astype(np.float32)
    drawn = [normal(5, 0, step, 3, 7) for step in range(steps + 1)]

    def velocity(x: Any, sigma: float) -> Any:
        return (0.5 * x + np.float32(math.sin(5 * sigma))).astype(np.float32)

    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=2.0, stochastic_sampling=True)
    theirs.set_timesteps(steps, sigmas=np.linspace(1.0, 1 / steps, steps))
    left = iter(drawn[1:])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: torch.from_numpy(next(left)))
    y = torch.from_numpy(x.copy())
    for t, sigma in zip(theirs.timesteps, theirs.sigmas, strict=False):
        y = theirs.step(torch.from_numpy(velocity(y.numpy(), float(sigma))), t, y, return_dict=False)[0]
    table = evaluations("lcm", SigmaConfig(shift=2.0), steps, 64)
    ours = integrate(table, velocity, x, np.float32, drawn.__getitem__)
    np.testing.assert_allclose(ours, y.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("method", [euler_ancestral, lcm])
def test_noise_leaves_latents_at_their_sigma(method: Any) -> None:
    """With the exact velocity of one picture, latents are (1 - s) data + s noise of deviation 1 at every step."""
    rng, data = np.random.default_rng(1), 2.5
    x = rng.standard_normal(200_000)
    for e in method(SigmaConfig(shift=3.0).sigmas(6, 64)):
        velocity = (x - data) / e.sigma
        x = e.scale * x + e.a * velocity + e.noise * rng.standard_normal(len(x))
        assert x.mean() == pytest.approx((1 - e.next_sigma) * data, abs=0.01)
        assert x.std() == pytest.approx(e.next_sigma, abs=0.01)
    assert x == pytest.approx(data)


@pytest.mark.parametrize("method", [euler, heun, dpmpp_2m, euler_ancestral, lcm, pndm, unipc])
def test_the_clean_estimate(method: Any) -> None:
    """With the velocity of one picture on straight paths every step's estimate is that picture."""
    data, drawn = np.array([0.3, -2.0], np.float32), np.array([1.0, 0.5], np.float32)

    def seen(e: Any, x: Any, v: Any) -> None:
        assert e.clean(x, v, drawn if e.noise else None) == pytest.approx(data, abs=1e-5)

    table = method(SigmaConfig(shift=2.0).sigmas(4, 64))
    x = np.array([-0.4, 0.9], np.float32)
    integrate(table, lambda x, s: (x - data) / np.float32(s), x, np.float32, lambda _: drawn, seen)


@pytest.mark.parametrize("solver", ["dpmpp_2m", "euler_ancestral", "lcm", "pndm", "unipc"])
def test_pictures_do_not_depend_on_company_or_on_being_parked(solver: str, tiny_model: Path) -> None:
    engine = Engine.load(tiny_model, backend="reference")
    specs = [
        GenerationSpec(prompt="cat", width=16, height=16, steps=4, seed=1, solver=solver, images=2),
        GenerationSpec(prompt="dog", width=16, height=32, steps=5, seed=2, solver="heun"),
    ]
    alone = []
    for spec in specs:
        generation = engine.open(spec)
        while generation.state == State.RUNNING:
            engine.step([generation])
        alone.append(engine.finish(generation))
        np.testing.assert_array_equal(engine.preview(generation), alone[-1])
        engine.close(generation)
    first, second = (engine.open(spec) for spec in specs)
    engine.step([first, second])
    engine.preview(first)
    engine.step([second, first])
    parked = engine.park(first)
    if parked.kept:
        with pytest.raises(StateError, match="got 0 kept arrays, allowed "):
            engine.resume(msgspec.structs.replace(parked, kept=()))
    engine.step([second])
    first = engine.resume(parked)
    while running := [g for g in (second, first) if g.state == State.RUNNING]:
        engine.step(running)
    for generation, want in zip((first, second), alone, strict=True):
        np.testing.assert_array_equal(engine.finish(generation), want)


def test_a_solver_is_one_file(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes each of Euler's steps in two halves: the engine and the flags know it at once."""
    (tmp_path / "halves.py").write_text(
        "from salon.engine.solvers import Evaluation\n"
        "HELP = 'two halves a step'\n"
        "def table(sigmas):\n"
        "    out = []\n"
        "    for i, (s, t) in enumerate(zip(sigmas[:-1], sigmas[1:])):\n"
        "        m = (s + t) / 2\n"
        "        out += [Evaluation(float(s), float(m), float(m - s), 0.0, False, False, i),\n"
        "                Evaluation(float(m), float(t), float(t - m), 0.0, False, False, i)]\n"
        "    return tuple(out)\n"
    )
    monkeypatch.setattr(solvers, "__path__", [*solvers.__path__, str(tmp_path)])
    monkeypatch.setattr(solvers.PLUGINS, "_path", solvers.__path__)
    monkeypatch.setattr(solvers.PLUGINS, "_names", None)
    assert solvers.names() == ("euler", "dpmpp_2m", "euler_ancestral", "halves", "heun", "lcm", "pndm", "unipc")
    engine = Engine.load(tiny_model, backend="reference")
    generation = engine.open(GenerationSpec(prompt="cat", width=16, height=16, steps=3, seed=1, solver="halves"))
    reports = [engine.step([generation])[0].step for _ in range(6)]
    assert reports == [0, 1, 1, 2, 2, 3]
    assert engine.finish(generation).shape == (1, 16, 16, 3)
    assert parse(["imagine", "x", "--solver", "halves"], "").solver == "halves"
