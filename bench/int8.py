"""Weights in 8 bits on the CPU: products, memory and pictures beside those of the cpu backend.

`python -m salon.bench.int8 [--quick] [--threads N]`

Products are of linear layers at the widths of FLUX.1 and of the model that ships, all candidates in turns: int8,
float32 and, where the instruction set has it, bfloat16. Before anything is timed, int8's are checked to be those of
their definition (`kernels/reference/int8.py`), bit for bit. Pictures are of the model that ships: how far they are from
those in float32, with all of it in 8 bits and with the text encoder as it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .batch import PROMPTS
from .measure import interleave, timed
from .report import Goal
from .runner import Bench, run

SHAPES = ((1, 3072, 3072), (64, 3072, 3072), (512, 3072, 3072), (512, 384, 1536))  # rows, outputs, inputs
GOAL_SHAPE = SHAPES[2]
FASTER, NEAR = 1.3, 30.0  # times float32; dB
COLUMNS = [
    ["shape", "candidate", "ms", "p10", "p90", "of_float32", "megabytes", "off"],
    ["pictures", "prompt", "psnr"],
    ["part", "int8_mb", "float32_mb"],
]


def tables(threads: int) -> dict[str, Any]:
    """Return the op tables that take turns, by name."""
    from ..kernels.cpu import CpuOps
    from ..kernels.cpu_int8 import Int8Ops

    found: dict[str, Any] = {"int8": Int8Ops(None, "float32", threads), "float32": CpuOps(None, "float32", threads)}
    usual = CpuOps(None, None, threads)
    return found if usual.compute == "float32" else {**found, usual.compute: usual}


def products(bench: Bench) -> None:
    """Time linear layers."""
    from ..kernels.reference.int8 import product

    ops, random = tables(bench.threads), np.random.default_rng(0)
    for rows, outputs, inputs in bench.pick(((3, 256, 520),), SHAPES, SHAPES):
        x = random.standard_normal((rows, inputs), np.float32)
        weight = random.standard_normal((outputs, inputs), np.float32) / np.float32(np.sqrt(inputs))
        packed = {name: each.pack_linear([weight]) for name, each in ops.items()}
        given = {name: each.array(x) for name, each in ops.items()}
        got, few = ops["int8"].numpy(ops["int8"].linear(given["int8"], packed["int8"])), min(rows, 8)
        if not np.array_equal(got[:few], product(x[:few], weight)):
            raise ArithmeticError("int8's products are not those of their definition")
        want = x @ weight.T
        off = float(np.sqrt(np.square(got - want).mean() / np.square(want).mean()))
        turns: dict[str, Callable[[], Sequence[float]]] = {
            name: partial(timed, partial(each.linear, given[name], packed[name]), 1) for name, each in ops.items()
        }
        shape = f"{rows} x {inputs} -> {outputs}"
        with bench.progress(shape, rounds := bench.pick(1, 5, 40)) as advance:
            results = interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
        base = results["float32"].median
        for name, samples in results.items():
            low, high = samples.spread or (None, None)
            share = base / samples.median if base and samples.median else None
            bench.row(
                shape=shape, candidate=name, ms=samples.median, p10=low, p90=high, n=len(samples), of_float32=share,
                megabytes=packed[name].bytes / 1e6, off=off if name == "int8" else None,
            )  # fmt: skip
            if name == "int8" and (rows, outputs, inputs) == GOAL_SHAPE:
                bench.goal(Goal.at_least(f"int8, {shape}: times as fast as float32", FASTER, share))


def pictures(bench: Bench) -> None:
    """Compare pictures of the model that ships, and state the memory of its parts."""
    from ..engine.engine import Engine
    from ..engine.memory import weight_bytes

    exact = Engine.load(dtype="float32", threads=bench.threads)
    small = Engine.load(backend="cpu_int8", dtype="float32", threads=bench.threads)
    ops: Any = small.ops
    bench.note("; ".join(ops.notes))
    sizes = [weight_bytes(small.model.components, 4, linear) for linear in (1, None)]
    for part, size in sizes[0].items():
        bench.row(part=part, int8_mb=size / 1e6, float32_mb=sizes[1][part] / 1e6)

    def draw(engine: Engine, prompt: str, seed: int, text: Engine) -> Any:
        """Draw with the text encoder of another engine."""
        spec = engine.make_spec(prompt, seed=seed, images=1, steps=bench.pick(1, 8, 16))
        reads = text.model.text
        assert reads is not None, "the model that ships reads prompts"
        job = engine.open(spec, text=reads.encode(prompt), negative=text.model.unconditional)
        while job.position < len(job.evaluations):
            engine.step([job])
        return engine.finish(job).astype(np.float64)

    for name, text in (("all in 8 bits", small), ("text encoder in float32", exact)):
        found = []
        for seed, prompt in enumerate(PROMPTS[: bench.pick(1, 3, 8)]):
            off = np.square(draw(small, prompt, seed, text) - draw(exact, prompt, seed, exact)).mean()
            found.append(float(10 * np.log10(255**2 / off)))
            bench.row(pictures=name, prompt=prompt, psnr=found[-1])
        if text is small:
            bench.goal(
                Goal.at_least("pictures in 8 bits, median distance from float32", NEAR, float(np.median(found)), " dB")
            )


def body(bench: Bench) -> None:
    bench.columns = COLUMNS
    products(bench)
    pictures(bench)


main = partial(run, "int8", (__doc__ or "").splitlines()[0], body, tied_to="digest")


if __name__ == "__main__":
    sys.exit(main())
