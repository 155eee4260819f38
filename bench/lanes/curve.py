"""What sharing a step gains on this machine: steps of k equal jobs, measured, and the cost model fitted to them."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import Any

from ...engine.engine import Engine
from ...scheduler.cost import CostModel
from ...scheduler.tickets import Lane, StepShape
from ...studio.scheduling.tickets import ticket_of
from ...studio.workers.worker import info_of
from ..simulate.physics import CPU, Physics

# name: fields of the spec of one job, the rest as the model has it by default
JOBS: dict[str, dict[str, Any]] = {
    "draft, 1 image of 64x64": {"width": 64, "height": 64, "guidance_scale": 1.0},
    "1 image": {},
    "4 images": {"images": 4},
    "2 images of 192x128": {"width": 192, "height": 128, "images": 2},
}
WIDTHS, QUICK_WIDTHS = (1, 2, 4, 8), (1, 4)
STEPS = 100
SAMPLES = 5  # of a round
FITTED = 20  # times that the model sees each median


def measure(engine: Engine, *, quick: bool) -> tuple[list[dict[str, Any]], Physics, CostModel]:
    """Return a row for each job kind and batch width, the machine's figures for the baselines, and the fitted model."""
    info = info_of(engine)
    shapes: dict[tuple[str, int], StepShape] = {}
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(1 if quick else 4):
        for name, fields in JOBS.items():
            for width in QUICK_WIDTHS if quick else WIDTHS:
                specs = [engine.make_spec("a red apple", steps=STEPS, seed=k, **fields) for k in range(width)]
                one = ticket_of(info, specs[0], job="x", account="x", lane=Lane.FAST, max_running=1, adapters={}).shape
                shapes[name, width] = sum([one] * (width - 1), start=one)
                generations = [engine.open(spec) for spec in specs]
                try:
                    engine.step(generations)  # the batch is put together in the first one
                    for _ in range(SAMPLES):
                        start = time.perf_counter()
                        engine.step(generations)
                        times.setdefault((name, width), []).append(1e3 * (time.perf_counter() - start))
                finally:
                    for generation in generations:
                        engine.close(generation)
    model = CostModel()
    for _ in range(FITTED):  # medians in turns: a machine that is slow for a while is not taken for slow with a shape
        for key, values in times.items():
            model.observe(shapes[key], median(values))
    rows = []
    for (name, width), values in times.items():
        alone, ms = median(times[name, 1]), median(values)
        shape = shapes[name, width]
        rows.append(
            {
                "part": "cost curve", "job": name, "together": width, "rows": shape.rows, "step_ms": ms,
                "predicted_ms": model.predict(shape), "efficiency": width * alone / ms,
            }
        )  # fmt: skip
    fixed, row, square, adapter = model.coefficients
    physics = replace(
        CPU, name="this machine", floor_ms=fixed, row_ms=row, square_ms=square, adapter_ms=adapter,
        decode=_decode(engine),
    )  # fmt: skip
    return rows, physics, model


def _decode(engine: Engine) -> tuple[float, float]:
    """Return (fixed ms, ms a 1,000 pixels) of decoding an image."""
    found = []
    for width, height in ((64, 64), (192, 192)):
        generation = engine.open(engine.make_spec("a red apple", width=width, height=height, steps=1))
        engine.step([generation])
        samples = []
        for _ in range(6):
            start = time.perf_counter()
            engine.decode(generation, 0)
            samples.append(1e3 * (time.perf_counter() - start))
        engine.close(generation)
        found.append((width * height / 1000, median(samples[1:])))
    (small, less), (large, more) = found
    unit = max(0.0, (more - less) / (large - small))
    return max(0.0, less - unit * small), unit
