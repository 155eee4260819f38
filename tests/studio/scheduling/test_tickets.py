"""A info weighs and refuses requests exactly as the engine that it was taken of."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import SalonError
from salon.engine.guidance import TextTerm
from salon.engine.info import ModelInfo
from salon.engine.limits import Limits
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.scheduler.tickets import Lane, Stage, Ticket
from salon.studio.errors import StudioError
from salon.studio.scheduling.tickets import ticket_of
from salon.studio.workers.messages import Array, Failure, Ready, Run, pack, read_answer, read_command
from salon.studio.workers.worker import info_of

from ...engine.conftest import ADAPTERS, add_pictures
from ..conftest import add_adapters, draw_spec, spec


@pytest.fixture(scope="module")
def engine(new_engine: Callable[[], Engine]) -> Engine:
    engine = new_engine()
    add_adapters(engine)
    return engine


def ticket(info: ModelInfo, request: GenerationSpec) -> Ticket:
    return ticket_of(info, request, job="j", account="a", lane=Lane.FAST, max_running=3, adapters=ADAPTERS)


def test_the_numbers_are_the_engines(engine: Engine) -> None:
    info, rng = info_of(engine), random.Random(1)
    for _ in range(60):
        request = draw_spec(rng)
        got, generation = ticket(info, request), engine.open(add_pictures(engine, request))
        if not generation.evaluations:  # the picture that it starts from, as it is
            assert [(stage.kind, stage.count) for stage in got.stages] == [("encode", 1), ("decode", request.images)]
            engine.close(generation)
            continue
        assert got.shape.rows == engine.step_rows([generation])
        encode, steps, decode = got.stages
        assert (encode.kind, steps.kind, decode.kind) == (Stage.ENCODE, Stage.STEP, Stage.DECODE)
        assert (encode.count, steps.count, decode.count) == (1, len(generation.evaluations), request.images)
        assert decode.units == request.width * request.height / 1000
        texts = [len(generation.text.tokens)]
        if generation.negative is not None:
            texts.append(len(generation.negative.tokens))
        texts += [len(text.tokens) for text in generation.terms]
        assert got.shape.squares == request.images * sum((rows + generation.rows) ** 2 for rows in texts)
        starts = () if request.start is None else request.start.pictures
        assert encode.units == sum(texts) + len(starts) * generation.rows, "texts and pictures"
        tokens = sum(
            ADAPTERS[name] * generation.rows * request.images
            for use in request.adapters
            for branch in generation.branches
            for name in (use.adapter if branch.conditional else use.unconditional,)
            if name is not None and use.weight
        )
        assert got.shape.adapter_rows == tokens
        engine.close(generation)


def test_drafts_have_the_models_settings_for_them_unless_the_request_has_its_own(engine: Engine) -> None:
    plain, draft = info_of(engine), {"steps": 3, "solver": "heun", "shift": 2.0}
    info = msgspec.structs.replace(plain, draft=draft)
    usual = info.make_spec("a cat", seed=4)
    assert usual == plain.make_spec("a cat", seed=4) == plain.make_spec("a cat", draft=True, seed=4)
    made = info.make_spec("a cat", draft=True, seed=4)
    assert (made.steps, made.solver, made.shift, made.seed) == (3, "heun", 2.0, 4)
    for given in ({"steps": 9}, {"solver": "euler"}, {"shift": 1.5}):
        assert info.make_spec("a cat", draft=True, seed=4, **given) == info.make_spec("a cat", seed=4, **given)


def test_refusals_are_the_engines(tiny: object, new_engine: Callable[[], Engine]) -> None:
    engine = new_engine()
    limited = Engine(engine.ops, engine.model, Limits(max_rows=200, max_steps=9, max_side=64, max_images=4))
    add_adapters(limited)
    info = info_of(limited)
    for fields in (
        {"width": 17},
        {"width": 68},
        {"steps": 10},
        {"images": 5},
        {"width": 64, "height": 64},
        {"embedded_guidance": 2.0},
        {"adapters": (AdapterUse("nobody", 0.0),)},
        {"prompt": "x" * 3000},
        {"terms": (TextTerm("a dog"),) * 9},
        {"terms": (TextTerm("x" * 3000),)},
        {"images": 4, "terms": (TextTerm("a dog"),)},
    ):
        with pytest.raises(SalonError) as theirs:
            limited.open(spec(**fields))
        with pytest.raises(SalonError) as ours:
            ticket(info, spec(**fields))
        assert type(ours.value) is type(theirs.value)
        if "adapters" not in fields:
            assert str(ours.value) == str(theirs.value)


def test_a_batch_of_max_rows_fits_the_memory_bound(engine: Engine) -> None:
    for room in (10_000, 1_000_000, 2**30):
        info = msgspec.structs.replace(info_of(engine), limits=Limits(max_step_bytes=room))
        generation = engine.open(spec())
        count = info.max_rows // engine.step_rows([generation])
        assert engine.step_bytes([generation] * count) <= room
        engine.close(generation)


def test_messages_survive_the_wire(engine: Engine) -> None:
    ready = Ready(info_of(engine), 3)
    assert read_answer(pack(ready)) == ready
    run = Run(number=2**40, stage="step", jobs=("a", "ü"))
    assert read_command(pack(run)) == run
    assert pack(run) != pack(ready)
    for data in (b"", b"\xc1", b"\x80", pack(run)[:-1], b"\x81\xa4type\xa4Evil"):
        with pytest.raises(msgspec.DecodeError):
            read_command(data)


def test_arrays_survive_the_wire() -> None:
    for values in (
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.zeros((0, 5), np.float32),
        np.ones((2, 2, 3), np.uint8),
    ):
        record, frame = Array.of("x", values, 1)
        np.testing.assert_array_equal(record.read(bytes(frame)), values)
        with pytest.raises(StudioError, match="frame 'x'"):
            record.read(bytes(frame) + b"0000")
    with pytest.raises(StudioError, match="dtype 'object'"):
        Array("x", (1,), "object").read(b"00000000")
    with pytest.raises(StudioError, match="frame 'x'"):
        Array("x", (-1, -1), "|u1").read(b"0")


def test_failures_say_something() -> None:
    assert str(Failure.of(MemoryError())) == "MemoryError: no further message"


def test_steps_outside_of_the_guidance_interval_weigh_what_they_have(engine: Engine) -> None:
    info = info_of(engine)
    for more in ({}, {"tile": True, "images": 2}, {"adapters": (AdapterUse("page", 0.5),)}):
        whole, alone = (ticket(info, spec(steps=6, guidance_scale=scale, **more)).shape for scale in (3.0, 1.0))
        for ends in ((0.0, 0.5), (0.3, 0.8), (0.4, 1.0)):
            request = spec(steps=6, guidance_scale=3.0, guidance_interval=ends, **more)
            work = ticket(info, request).stage(Stage.STEP)
            assert work is not None
            want = [whole if request.guides(step) else alone for step in range(6)]
            assert [work.shape_at(step) for step in range(6)] == want
