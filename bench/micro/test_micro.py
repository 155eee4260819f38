"""What is timed alone, in one process: codec, planner, clause parser, store, single ops of the shipped model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from salon.bench.job import PROMPT
from salon.bench.recording import Call, Recorder
from salon.bench.simulate.overhead import Standing
from salon.engine.engine import Engine
from salon.engine.text.pipelines.clauses import ClausePipeline
from salon.frontends.wire.codec import decode_reply, decode_request, encode
from salon.frontends.wire.messages import Event, Submit
from salon.parameters.errors import PromptRefused
from salon.parameters.language.reading import parse
from salon.studio.store.rows import JobRow
from salon.studio.store.store import Store
from salon.studio.store.writes import AddJob

from .conftest import calibration

OPS = ("linear", "attention", "modulate", "qk_norm_rope", "conv2d", "upsample", "group_norm_silu")
QUEUED = 1000


def test_calibration(benchmark: Any) -> None:
    assert benchmark(calibration) > 0


# ---- codec


def test_encode_submit(benchmark: Any) -> None:
    assert benchmark(encode, Submit(key="k", prompt=PROMPT, images=4, seed=7))


def test_decode_submit(benchmark: Any) -> None:
    record = encode(Submit(key="k", prompt=PROMPT, images=4, seed=7))
    assert benchmark(decode_request, record).prompt == PROMPT


def test_decode_event(benchmark: Any) -> None:
    record = encode(Event(number=3, kind="step", step=3, steps=20))
    assert benchmark(decode_reply, record).step == 3


# ---- planner


def test_plan_and_report(benchmark: Any) -> None:
    """Time a plan, its report, and a new job for each that ended; 1,000 are queued."""
    turn = Standing(QUEUED).turn(1)
    assert len(benchmark(turn)) == 1


# ---- prompt language


def test_read_prompt(benchmark: Any) -> None:
    """Read a prompt like those that people write."""
    prompt = f"{PROMPT} --ar 3:2 --s 250 --no people, a hat --seed 7"
    assert len(benchmark(parse, prompt)[0].said) == 4


def test_read_many_prompts(benchmark: Any) -> None:
    """Read one prompt that stands for 40."""
    prompt = "a {red, green, blue, teal, pink} {cat, dog} --ar {1:1, 3:2} --s {0, 500}"
    assert len(benchmark(parse, prompt)) == 40


@pytest.mark.parametrize("piece", ["{", "::", "-- ", '"a" ', "a:: "])
def test_read_long_prompt(benchmark: Any, piece: str) -> None:
    """Read a hundred thousand characters that may each begin something."""

    def read() -> bool:
        with suppress(PromptRefused):
            parse(piece * (100_000 // len(piece)))
        return True

    assert benchmark.pedantic(read, rounds=3)


# ---- clause parser


def test_read_clauses(benchmark: Any, engine: Engine) -> None:
    text = engine.model.text
    assert isinstance(text, ClausePipeline)
    assert "style" in benchmark(text.reader.read, PROMPT).texts


def test_encode_prompt(benchmark: Any, engine: Engine) -> None:
    """Time clauses, tokens and states of the text encoder, of which no cache has any."""
    text = engine.model.text
    assert isinstance(text, ClausePipeline)
    reader, encode = text.reader, text._encode
    assert len(benchmark(lambda: encode(reader.read(PROMPT))).tokens) == text.num_rows


# ---- store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(None, tmp_path)
    yield opened
    opened.close()


def test_write_job(benchmark: Any, store: Store) -> None:
    """Time one job in a transaction of its own, on disk."""
    numbers = iter(range(10**9))

    def write() -> None:
        name = str(next(numbers))
        store.write([AddJob(JobRow(job=name, account="a", key=name))])

    benchmark(write)
    assert next(numbers) > 1


# ---- ops


@pytest.fixture(scope="session")
def recorded(engine: Engine) -> dict[Call, Any]:
    """Record the calls of a step and a decode of one picture, with their arguments."""
    recorder = Recorder(engine.ops)
    generation = engine.open(engine.make_spec(PROMPT, steps=1))
    ops, engine.ops = engine.ops, recorder
    try:
        with recorder.noting():
            engine.step([generation])
            engine.finish(generation)
    finally:
        engine.ops = ops
        engine.close(generation)
    return recorder.given


@pytest.mark.parametrize("name", OPS)
def test_op(benchmark: Any, engine: Engine, recorded: dict[Call, Any], name: str) -> None:
    """Time the largest call that the shipped model makes of an op, as it made it."""
    found = [(arguments[0].shape, arguments, named) for call, (arguments, named) in recorded.items() if call.op == name]
    _, arguments, named = max(found, key=lambda one: one[0][0] * one[0][1])
    op = getattr(engine.ops, name)
    if name != "qk_norm_rope":
        benchmark(op, *arguments, **named)
        return

    def fresh() -> tuple[tuple[Any, ...], dict[str, Any]]:  # it works in place
        return (engine.ops.concat([arguments[0]]), *arguments[1:]), named

    benchmark.pedantic(op, setup=fresh, rounds=300, warmup_rounds=5)


def test_step(benchmark: Any, engine: Engine) -> None:
    """Time a step of one default picture."""
    generation = engine.open(engine.make_spec(PROMPT, steps=engine.limits.max_steps))
    benchmark.pedantic(engine.step, args=([generation],), rounds=100, warmup_rounds=5)
    engine.close(generation)


def test_decode(benchmark: Any, engine: Engine) -> None:
    """Time one default picture of its latents."""
    generation = engine.open(engine.make_spec(PROMPT, steps=1))
    engine.step([generation])
    assert benchmark(engine.decode, generation, 0).std() > 0
    engine.close(generation)
