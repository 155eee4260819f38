"""Check that a device computes what it should: the first phase."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine.checkpoint import EMBEDDED
from ...engine.engine import Engine
from ...engine.generation import Generation, State
from ...engine.limits import Limits
from ...engine.loading import load_model
from ...engine.models import flux
from ...frontends import selftest
from ..report import Goal
from ..runner import Bench
from . import every_op
from .flux import TINY, open_model
from .setting import Gpu, attempt

TOLERANCE = {"bfloat16": 0.03, "float32": 2e-3}  # of the largest value of an op's result


def body(bench: Bench, gpu: Gpu) -> None:
    """Check ops against the reference, and a picture alone against the same one in company."""
    worst = 0.0
    with attempt(bench, "parity of ops"):
        errors = selftest.parity if bench.tiny else every_op.errors  # every op would take the interpreter long
        for op, error in errors(gpu.ops).items():
            bench.row(what="op", name=op, error=error)
            worst = max(worst, error)
        allowed = TOLERANCE[gpu.ops.compute]
        bench.goal(Goal.at_most("ops against the reference: largest error over largest value", allowed, worst))
    with attempt(bench, "pictures alone and in company"):
        differ = pictures(bench, open_engine(gpu)) if gpu.timed else velocities(bench, gpu)
        bench.goal(Goal.at_most("pictures that differ from their solo run", 0, differ))


def open_engine(gpu: Gpu) -> Engine:
    """Return an engine of the embedded model on the device."""
    return Engine(gpu.ops, load_model(gpu.ops, EMBEDDED, Limits()), Limits())


def pictures(bench: Bench, engine: Engine) -> int:
    """Draw pictures alone and all together; return how many differ."""
    sizes = bench.pick([(64, 64)] * 2, [(256, 256)] * 8, [(256, 256), (192, 256), (256, 320), (256, 256)] * 2)
    steps = bench.pick(1, 4, 8)
    specs = [
        engine.make_spec("a red apple", seed=i, images=1, steps=steps, width=width, height=height)
        for i, (width, height) in enumerate(sizes)
    ]
    latents = [draw(engine, [spec])[0] for spec in specs]
    together = draw(engine, specs)
    differ = sum(not np.array_equal(a, b) for a, b in zip(latents, together, strict=True))
    finite = all(bool(np.isfinite(each).all()) for each in together)
    bench.row(what="pictures", name=f"{len(specs)} alone and together, {steps} steps", differ=differ, finite=finite)
    if not bench.tiny:  # graphs were captured by now: once more, from these
        again = draw(engine, specs)
        bench.row(what="pictures", name="replayed", differ=sum(map(_unequal, together, again)))
        differ += sum(map(_unequal, together, again))
    return differ if finite else len(specs)


def velocities(bench: Bench, gpu: Gpu) -> int:
    """Evaluate a tiny random model for samples alone and together; return how many differ."""
    model, sides = open_model(gpu, TINY), [(64, 64), (32, 48)]
    together = model.batch(sides)
    whole = gpu.ops.numpy(together.step())
    differ, start = 0, 0
    for number, side in enumerate(sides):
        alone, rows = model.batch([side]), together.rows[number]
        alone.layout = flux.layout(gpu.ops, model.weights, [together.samples[number]])
        alone.latents = gpu.ops.rows(together.latents, start, start + rows)
        differ += int(not np.array_equal(gpu.ops.numpy(alone.step()), whole[start : start + rows]))
        start += rows
    finite = bool(np.isfinite(whole).all())
    bench.row(what="velocities", name=f"{len(sides)} alone and together", differ=differ, finite=finite)
    return differ if finite else len(sides)


def draw(engine: Engine, specs: list[Any]) -> list[Any]:
    """Step generations together to their end, and return the latents of each as float32."""
    opened: list[Generation] = [engine.open(spec) for spec in specs]
    while running := [each for each in opened if each.state is State.RUNNING]:
        engine.step(running)
    made = [engine.ops.numpy(each.latents) for each in opened]
    for each in opened:
        engine.close(each)
    return made


def _unequal(a: Any, b: Any) -> bool:
    return not np.array_equal(a, b)
