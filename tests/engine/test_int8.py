"""The embedded model with weights in int8: memory as stated, pictures near those in float32, the same in company."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.memory import weight_bytes
from salon.engine.spec import GenerationSpec
from salon.engine.weights.exact import may_round
from salon.kernels import backends
from salon.kernels.cpu_int8 import Int8Ops


class Weighing(Int8Ops):
    """Notes the bytes of packed weights."""

    packed = 0

    def pack_linear(self, *args: Any, **options: Any) -> Any:
        made = super().pack_linear(*args, **options)
        self.packed += made.bytes
        return made

    def pack_conv(self, *args: Any, **options: Any) -> Any:
        made = super().pack_conv(*args, **options)
        self.packed += made.bytes
        return made


@pytest.fixture(scope="module")
def engine() -> Engine:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "create", lambda name, **options: Weighing(None, "float32", 1))
        loaded = Engine.load(backend="cpu_int8")
    return loaded


def draw(engine: Engine, *seeds: int) -> list[Any]:
    jobs = [engine.open(GenerationSpec(prompt="a red apple", width=64, height=64, steps=2, seed=s)) for s in seeds]
    while jobs[0].position < len(jobs[0].evaluations):
        engine.step(jobs)
    return [engine.finish(job) for job in jobs]


def test_weights_take_no_more_memory_than_is_stated(engine: Engine) -> None:
    ops, parts = engine.ops, engine.model.components
    assert isinstance(ops, Weighing)
    needed, plain = (sum(weight_bytes(parts, 4, linear).values()) for linear in (1, None))
    layouts = [part.weights().layout() for part in parts.values() if part.parameters]
    tables = sum(4 * math.prod(shape) for all_ in layouts for key, (_, shape) in all_.items() if "word_emb" in key)
    assert 0.9 * (needed - tables) < ops.packed < needed - tables  # biases, norms, and arrays that are not packed
    convolutions = 4 * sum(math.prod(shape) for all_ in layouts for _, shape in all_.values() if len(shape) == 4)
    assert needed - tables - convolutions < 0.3 * (plain - tables - convolutions)


def test_pictures_are_near_those_in_float32_and_the_same_in_company(engine: Engine) -> None:
    assert engine.backend.name.startswith("cpu_int8/")
    (alone,), (other,) = draw(engine, 1), draw(engine, 2)
    for got, want in zip(draw(engine, 2, 1), (other, alone), strict=True):
        np.testing.assert_array_equal(got, want)
    (exact,) = draw(Engine.load(dtype="float32", threads=1), 1)
    off = np.square(exact.astype(float) - alone).mean()
    assert 0 < off < 255**2 / 10**2.8  # 28 dB


@pytest.mark.parametrize(
    ("name", "rounds"),
    [
        ("transformer_blocks.0.attn.to_q", True),
        ("single_transformer_blocks.37.proj_out", True),
        ("text_model.encoder.layers.3.mlp.fc1", True),
        ("encoder.block.0.layer.1.DenseReluDense.wi_0", True),
        ("context_refiner.1.attention.to_k", True),
        ("down_blocks.1.attentions.0.transformer_blocks.0.ff.net.2", True),
        ("down_blocks.1.resnets.0.time_emb_proj", False),
        ("proj_out", False),
        ("norm_out.linear", False),
        ("x_embedder", False),
        ("time_text_embed.timestep_embedder.linear_1", False),
        ("t_embedder.mlp.0", False),
        ("decoder.mid_block.attentions.0.to_q", False),
    ],
)
def test_what_leads_into_blocks_and_out_of_them_stays(name: str, rounds: bool) -> None:
    assert may_round(name) == rounds
