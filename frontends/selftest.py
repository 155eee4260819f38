"""Check the installation for `salon doctor`: a few tiny ops against the reference, and one tiny picture."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..engine.errors import SalonError
from ..engine.references import ReferenceUse
from ..engine.start import Start, start_forms
from ..engine.text.pipeline import TextEncoding
from ..kernels.ops import Ops
from ..kernels.reference import ReferenceOps
from ..kernels.segments import Segments

if TYPE_CHECKING:
    from ..engine.engine import Engine

TOLERANCE: Final = {"bfloat16": 2e-2, "float32": 1e-4}
STEPS: Final = 2
TEXT_ROWS: Final = 8  # text rows of the encoding that replaces a prompt


class SelfTestError(SalonError):
    """The kernels give wrong numbers on this machine."""


def parity(ops: Ops[Any, Any]) -> dict[str, float]:
    """Return the largest error of each op tried, relative to the reference's largest value.

    Raises:
        SelfTestError: an error is not a number, or beyond what the compute dtype explains.
    """
    mine, theirs = _sample(ops), _sample(ReferenceOps())
    errors: dict[str, float] = {}
    for name, want in theirs.items():
        error = float(np.abs(mine[name] - want).max() / np.abs(want).max())
        if not error <= TOLERANCE[ops.compute]:
            remedy = "try another --isa, and report this with the output of salon doctor --json"
            raise SelfTestError(f"{name} on {ops.name}: off by {error:.2g} of its largest value; {remedy}")
        errors[name] = error
    return errors


def _sample(ops: Ops[Any, Any]) -> dict[str, Any]:
    """Call each kind of op once, at shapes with tails, and return the results."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    segments, heads = Segments.of([5, 0, 14]), 2
    x, weight, bias = random(19, 72), random(3 * heads * 32, 72) / 8, random(3 * heads * 32)
    qkv = ops.linear(ops.array(x), ops.pack_linear([weight], [bias]))
    q, k, v = (ops.columns(qkv, i * heads * 32, (i + 1) * heads * 32) for i in range(3))
    norm = ops.modulate(
        ops.array(random(19, 72), "float32"),
        ops.array(random(3, 72), "float32"),
        ops.array(random(3, 72), "float32"),
        segments,
    )
    conv = ops.conv2d(ops.array(random(7 * 5, 24)), ops.pack_conv(random(40, 24, 3, 3) / 15, random(40)), _grid(7, 5))
    results = {
        "linear": qkv,
        "attention": ops.attention(q, k, v, segments, heads),
        "modulate": norm,
        "conv2d": conv,
    }
    return {name: ops.numpy(result) for name, result in results.items()}


def _grid(height: int, width: int) -> Any:
    return np.array([[height, width]], np.int32)


def _text(engine: Engine) -> TextEncoding:
    """Return an encoding of random numbers, for a model that reads no prompts."""
    sizes = engine.model.architecture
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((TEXT_ROWS, sizes.text_width)).astype(np.float32)
    return TextEncoding(tokens, rng.standard_normal(sizes.pooled_width).astype(np.float32))


def picture(engine: Engine) -> dict[str, Any]:
    """Draw one small picture in two steps, and return {"steps", "seconds"}.

    Raises:
        SelfTestError: the picture is of one colour.
        SalonError: the engine fails.
    """
    started = time.perf_counter()
    side = 4 * engine.model.architecture.granularity
    spec = engine.make_spec("a red apple", width=side, height=side, steps=STEPS, seed=1, images=1)
    if engine.model.architecture.fills:
        spec = replace(spec, start=Start("0" * 64, 1.0, "1" * 64))
        for form in start_forms(spec):
            engine.add_picture(form, np.full(form.shape or (), 255, np.uint8))
    rule = engine.model.architecture.references
    if rule is not None and rule.fewest:
        seen = None if rule.text is None else (2 * rule.text.unit,) * 2
        use = ReferenceUse("0" * 64, side, side, True, seen, seen)
        spec = replace(spec, references=(use,))
        for form in use.forms:
            engine.add_picture(form, np.full(form.shape or (), 200, np.uint8))
    generation = engine.open(spec, text=None if engine.model.text is not None else _text(engine))
    try:
        while not (report := engine.step([generation])[0]).done:
            if report.error is not None:
                raise report.error
        pixels = engine.finish(generation)
    finally:
        engine.close(generation)
    if pixels.min() == pixels.max():
        raise SelfTestError("the picture has one colour only; report this with the output of salon doctor --json")
    return {"steps": STEPS, "seconds": round(time.perf_counter() - started, 3)}
