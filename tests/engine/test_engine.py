"""The engine on a tiny model: any mix in one batch, parked and resumed, failing alone, within limits.

Long because it is one subject: every test drives the public `Engine` through the same few makers at the top.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from salon.engine.engine import Engine
from salon.engine.errors import LimitError, PromptError, SalonError, SpecError, StateError, UnknownBackend
from salon.engine.generation import Generation, ParkedGeneration, State
from salon.engine.guidance import TextTerm
from salon.engine.limits import Limits
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.engine.start import Start
from salon.engine.text.pipeline import TextEncoding

from .conftest import add_pictures, branch_weights, write_tiny

MakeEngine = Callable[..., Engine]
TEXT_ROWS = 9


def spec(**fields: Any) -> GenerationSpec:
    """A small request: 4 x 4 tokens, 2 steps."""
    values: dict[str, Any] = {"prompt": "a red apple, 3d, on teal", "width": 16, "height": 16, "steps": 2, "seed": 0}
    return GenerationSpec(**(values | fields))


def finish(engine: Engine, generation: Generation) -> tuple[Any, Any]:
    """(latents, pictures), and the generation closed."""
    latents = engine.ops.numpy(generation.latents)
    pictures = engine.finish(generation)
    engine.close(generation)
    assert np.isfinite(latents).all()
    assert pictures.dtype == np.uint8
    assert pictures.shape == (generation.spec.images, generation.spec.height, generation.spec.width, 3)
    return latents, pictures


def alone(engine: Engine, request: GenerationSpec) -> tuple[Any, Any]:
    """The result of a request that shares no batch."""
    generation = engine.open(add_pictures(engine, request))
    while generation.state is State.RUNNING:
        engine.step([generation])
    return finish(engine, generation)


def assert_same(got: tuple[Any, Any], want: tuple[Any, Any]) -> None:
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])


@pytest.fixture(scope="module")
def solo(engine: Engine) -> Callable[[GenerationSpec], tuple[Any, Any]]:
    """`alone`, remembered."""
    return cache(lambda request: alone(engine, request))


@pytest.fixture(autouse=True)
def nothing_left_open(engine: Engine) -> Any:
    yield
    for generation in list(engine._open.values()):
        engine.close(generation)
    assert engine.num_open == 0
    engine.adapters.arena.check()
    assert not any(engine.adapters.arena.pins(name) for name in ("short", "page", "long", "null"))
    assert not engine.start_pictures.pinned


USES = st.builds(
    AdapterUse,
    st.sampled_from(["short", "page", "long"]),
    st.sampled_from([0.0, 0.5, 1.0, -0.3]),
    st.sampled_from([None, "null"]),
)
TERMS = st.builds(TextTerm, st.sampled_from(["cat", "big dog, 3d"]), st.sampled_from([0.4, 0.0, -0.5]))
STARTS = st.builds(
    Start,
    picture=st.sampled_from(["a" * 64, "b" * 64]),
    strength=st.sampled_from([0.0, 0.4, 0.7, 1.0]),
    mask=st.sampled_from([None, "c" * 64]),
    feather=st.sampled_from([0, 2]),
    place=st.sampled_from([None, None, (1, -1, 3, 4)]),
)
SPECS = st.builds(
    lambda negative_prompt, guidance_scale, **fields: spec(
        negative_prompt="" if guidance_scale == 1 else negative_prompt, guidance_scale=guidance_scale, **fields
    ),
    prompt=st.sampled_from(["a red apple, 3d, on teal", "cat", "a big dog, pink background", "house, neon"]),
    negative_prompt=st.sampled_from(["", "a dog"]),
    width=st.sampled_from([4, 8, 16, 20]),
    height=st.sampled_from([4, 12, 16]),
    steps=st.integers(1, 3),
    seed=st.integers(0, 3),
    images=st.integers(1, 3),
    guidance_scale=st.sampled_from([1.0, 3.0, 7.5]),
    solver=st.sampled_from(["euler", "heun"]),
    shift=st.sampled_from([None, 3.0]),
    adapters=st.lists(USES, max_size=2, unique_by=lambda use: use.adapter).map(tuple),
    terms=st.lists(TERMS, max_size=2).map(tuple),
    prompt_weight=st.sampled_from([1.0, 0.6]),
    start=st.none() | STARTS,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SPECS, min_size=1, max_size=4), st.data())
def test_a_mixed_batch_equals_solo_runs(engine: Engine, solo: Any, requests: list[GenerationSpec], data: Any) -> None:
    """Any requests, joined and left in any order, some of them parked on the way: the same bits as each alone."""
    running = [(engine.open(add_pictures(engine, request)), request) for request in requests]
    while running:
        for generation, request in [pair for pair in running if pair[0].state is State.DONE]:
            assert_same(finish(engine, generation), solo(request))
        running = [pair for pair in running if pair[0].state is State.RUNNING]
        if not running:
            break
        chosen = data.draw(st.lists(st.sampled_from(range(len(running))), min_size=1, unique=True))
        reports = engine.step([running[i][0] for i in chosen])
        assert [report.generation for report in reports] == [running[i][0] for i in chosen]
        if data.draw(st.booleans()):
            i = data.draw(st.sampled_from(range(len(running))))
            parked = ParkedGeneration.from_bytes(engine.park(running[i][0]).to_bytes())
            running[i] = (engine.resume(parked), running[i][1])


def test_everything_at_once(engine: Engine, solo: Any) -> None:
    """One named mix of sizes, solvers, guidance, adapters and prompts' branches, stepped together to the end."""
    uses = (AdapterUse("page", 0.5, "null"),)
    requests = [
        spec(width=8, height=24, steps=3, guidance_scale=1.0),
        spec(prompt="cat", solver="heun", images=2, seed=5),
        spec(negative_prompt="a dog", adapters=(AdapterUse("short", 0.7), AdapterUse("long", 0.4, "null"))),
        spec(width=4, height=4, steps=1, adapters=(AdapterUse("page"),), solver="heun", guidance_scale=7.0),
        spec(images=2, terms=(TextTerm("cat", 0.4), TextTerm("house", -0.5)), adapters=uses),
        spec(width=8, steps=3, solver="heun", terms=(TextTerm("a dog", 0.3),), prompt_weight=0.7, guidance_scale=1.0),
        spec(steps=3, start=Start("a" * 64, 0.7), images=2),
        spec(width=20, start=Start("b" * 64, 1.0, "c" * 64, 3), solver="heun", adapters=(AdapterUse("short", 0.7),)),
    ]
    generations = [engine.open(add_pictures(engine, request)) for request in requests]
    while running := [g for g in generations if g.state is State.RUNNING]:
        engine.step(running)
    for generation, request in zip(generations, requests, strict=True):
        assert_same(finish(engine, generation), solo(request))


def test_every_field_of_the_spec_counts(solo: Any) -> None:
    """No field is silently dropped: each change changes the latents."""
    base = spec(adapters=(AdapterUse("page"),))
    changes: list[dict[str, Any]] = [
        {"prompt": "cat"},
        {"negative_prompt": "a dog"},
        {"steps": 3},
        {"seed": 1},
        {"guidance_scale": 1.0},
        {"guidance_scale": 2.0},
        {"solver": "heun"},
        {"shift": 3.0},
        {"adapters": ()},
        {"adapters": (AdapterUse("page", 0.5),)},
        {"adapters": (AdapterUse("long"),)},
        {"adapters": (AdapterUse("page", 1.0, "null"),)},
        {"terms": (TextTerm("cat", 0.5),)},
        {"terms": (TextTerm("cat", -0.5),)},
        {"prompt_weight": 0.5},
        {"start": Start("a" * 64, 0.5)},
        {"start": Start("a" * 64, 1.0, "c" * 64)},
        {"start": Start("a" * 64, 1.0, place=(4, 4, 8, 8))},
    ]
    reference = solo(base)[0]
    for change in changes:
        other = solo(dataclasses.replace(base, **change))[0]
        assert other.shape == reference.shape
        assert np.abs(other - reference).max() > 1e-4, change


def test_an_image_has_its_own_noise_whatever_their_number(solo: Any) -> None:
    one, three = solo(spec(images=1)), solo(spec(images=3))
    np.testing.assert_array_equal(one[1][0], three[1][0])
    assert (three[1][0] != three[1][1]).any()


def test_weight_zero_is_no_adapter_at_all(solo: Any) -> None:
    plain = solo(spec())
    assert_same(solo(spec(adapters=(AdapterUse("page", 0.0), AdapterUse("long", 0.0, "null")))), plain)
    some = solo(spec(adapters=(AdapterUse("short", 0.8),)))
    assert_same(solo(spec(adapters=(AdapterUse("page", 0.0), AdapterUse("short", 0.8)))), some)
    assert (some[0] != plain[0]).any()


def test_adapters_of_weight_zero_are_not_needed_to_park_or_resume(new_engine: MakeEngine, solo: Any) -> None:
    """Nothing reads them: they may be forgotten, or be other ones, from one step to the next."""
    request = spec(adapters=(AdapterUse("page", 0.0, "null"), AdapterUse("short", 0.8)))
    engine = new_engine()
    generation = engine.open(request)
    engine.step([generation])
    engine.forget_adapter("page")
    parked = engine.park(generation)
    assert set(parked.adapters) == {"short"}
    engine.forget_adapter("null")
    engine.register_adapter("page", np.ones((1, 12), np.float32))
    resumed = engine.resume(parked)
    while resumed.state is State.RUNNING:
        engine.step([resumed])
    assert_same(finish(engine, resumed), solo(request))
    with pytest.raises(SpecError, match="adapter: got 'null'"):
        engine.open(request)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_parked_at_any_step_and_resumed_elsewhere(
    engine: Engine, new_engine: MakeEngine, solo: Any, solver: Any
) -> None:
    uses, terms = (AdapterUse("long", 0.6, "null"),), (TextTerm("a dog", 0.4), TextTerm("house", -0.5))
    request = spec(steps=3, solver=solver, images=2, adapters=uses, terms=terms, prompt_weight=0.6)
    other = new_engine()
    total = 3 if solver == "euler" else 5
    for position in range(total + 1):
        generation = engine.open(request)
        for _ in range(position):
            engine.step([generation])
        data = engine.park(generation).to_bytes()
        assert generation.state is State.PARKED
        assert engine.num_open == 0
        assert len(data) < 3 * 2 * 16 * 16 * 4 + 1000
        resumed = other.resume(ParkedGeneration.from_bytes(data))
        assert resumed.position == position
        while resumed.state is State.RUNNING:
            other.step([resumed])
        assert_same(finish(other, resumed), solo(request))


def test_parked_data_is_checked(engine: Engine, new_engine: MakeEngine) -> None:
    generation = engine.open(spec(solver="heun", adapters=(AdapterUse("page"),)))
    engine.step([generation])
    parked = engine.park(generation)
    with pytest.raises(StateError, match="bytes that cannot be read"):
        ParkedGeneration.from_bytes(b"nonsense")
    with pytest.raises(StateError, match="bytes that cannot be read"):
        ParkedGeneration.from_bytes(parked.to_bytes()[:-5])
    newer = dataclasses_replace(parked, version=99)
    wild = msgspec.msgpack.decode(parked.to_bytes())
    wild["spec"]["steps"] = 100_000
    with pytest.raises(StateError, match="bytes that cannot be read .steps: got 100000"):
        ParkedGeneration.from_bytes(msgspec.msgpack.encode(wild))
    with pytest.raises(StateError, match="got version 99, allowed 1"):
        ParkedGeneration.from_bytes(newer.to_bytes())
    for change, message in (
        ({"model": "0" * 64}, "of model 000000000000"),
        ({"latents": parked.latents[:-4]}, "1,020 bytes of latents, allowed 1,024"),
        ({"latents": b""}, "0 bytes of latents"),
        ({"base": b""}, "no base or velocity"),
        ({"velocity": b"", "position": 1}, "no base or velocity"),
        ({"position": 9}, "9 taken, allowed 0 to 3"),
        ({"position": -1}, "-1 taken"),
        ({"adapters": {"page": "f" * 64}}, "adapter 'page': got other tokens"),
    ):
        with pytest.raises(StateError, match=message):
            engine.resume(dataclasses_replace(parked, **change))
    stranger = new_engine()
    stranger.forget_adapter("page")
    with pytest.raises(SpecError, match="adapter: got 'page'"):
        stranger.resume(parked)
    assert engine.num_open == stranger.num_open == 0


def dataclasses_replace(parked: ParkedGeneration, **changes: Any) -> ParkedGeneration:
    values = {name: getattr(parked, name) for name in parked.__struct_fields__}
    return ParkedGeneration(**(values | changes))


@pytest.mark.parametrize("bad", [3e38, -3e38])
def test_a_failing_generation_fails_alone(engine: Engine, solo: Any, bad: float) -> None:
    """Numbers that overflow spoil their generation, guided or not, and leave its neighbours' bits as they are."""
    good = [spec(seed=1), spec(prompt="cat", solver="heun"), spec(width=8, guidance_scale=1.0)]
    broken = TextEncoding(np.zeros((3, 12), np.float32), np.full(12, bad, np.float32))
    generations = [engine.open(request) for request in good]
    failing = engine.open(spec(images=2), text=broken)
    generations.insert(1, failing)
    reports = engine.step(generations)
    assert [report.state for report in reports] == [State.RUNNING, State.FAILED, State.RUNNING, State.RUNNING]
    assert "NaN or infinity" in str(reports[1].error)
    assert failing.error is reports[1].error
    for action in (engine.finish, engine.preview, engine.park, lambda g: engine.step([g])):
        with pytest.raises(StateError, match="which is failed"):
            action(failing)
    engine.close(failing)
    generations.remove(failing)
    while running := [g for g in generations if g.state is State.RUNNING]:
        engine.step(running)
    for generation, request in zip(generations, good, strict=True):
        assert_same(finish(engine, generation), solo(request))


def test_states_and_their_errors(engine: Engine, new_engine: MakeEngine) -> None:
    generation = engine.open(spec())
    assert (generation.state, generation.progress, generation.step) == (State.RUNNING, 0.0, 0)
    with pytest.raises(StateError, match="finish: got generation .* running, allowed done; .*2 evaluations to go"):
        engine.finish(generation)
    with pytest.raises(StateError, match="preview: got a generation at step 0"):
        engine.preview(generation)
    with pytest.raises(StateError, match="a generation twice"):
        engine.step([generation, generation])
    with pytest.raises(StateError, match="one of another engine"):
        new_engine().step([generation])
    assert generation.position == 0, "a refused step changed something"
    report = engine.step([generation])[0]
    assert (report.position, report.num_evaluations, report.step, report.done) == (1, 2, 1, False)
    report = engine.step([generation])[0]
    assert (report.done, report.state, generation.progress) == (True, State.DONE, 1.0)
    with pytest.raises(StateError, match="step: got generation .* done, allowed running"):
        engine.step([generation])
    np.testing.assert_array_equal(engine.finish(generation), engine.finish(generation))
    engine.close(generation)
    engine.close(generation)
    for action in (engine.finish, engine.preview, engine.park, lambda g: engine.step([g])):
        with pytest.raises(StateError, match="which is closed"):
            action(generation)
    assert engine.step([]) == []


def test_preview(engine: Engine, solo: Any) -> None:
    """A preview disturbs nothing, is the picture itself in the end, and comes closer to it on the way."""
    request = spec(steps=8)
    generation = engine.open(request)
    previews = []
    while generation.state is State.RUNNING:
        engine.step([generation])
        previews.append(engine.preview(generation).astype(np.float64))
    latents, pictures = finish(engine, generation)
    assert_same((latents, pictures), solo(request))
    errors = [np.abs(preview - pictures).mean() for preview in previews]
    assert errors[-1] == 0
    assert errors[0] > errors[4] > 0


def test_latents_are_the_ode_solution_by_hand(engine: Engine) -> None:
    """One Euler step without guidance from the documented noise: noise + (0 - 1) v."""
    from salon.engine import noise

    generation = engine.open(spec(steps=1, guidance_scale=1.0))
    start = noise.normal(0, 0, 0, 16, 16)
    np.testing.assert_array_equal(engine.ops.numpy(generation.latents), start)
    engine.step([generation])
    velocity = engine.ops.numpy(generation.velocity)
    assert np.abs(velocity).max() > 0.1
    np.testing.assert_allclose(engine.ops.numpy(generation.latents), start - velocity, rtol=0, atol=1e-6)
    engine.close(generation)


LIMITS: list[tuple[dict[str, int], dict[str, Any], str]] = [
    ({"max_prompt_chars": 10}, {"prompt": "a red apple"}, r"prompt: got 11 characters, allowed 10 \(Limits.max_prompt"),
    ({"max_prompt_chars": 30}, {"negative_prompt": "dog " * 9}, "negative_prompt: got 36 characters"),
    ({"max_side": 16}, {"width": 20}, "width: got 20 pixels, allowed 16"),
    ({"max_side": 16}, {"height": 20}, "height: got 20 pixels, allowed 16"),
    ({"max_pixels": 256}, {"height": 20}, "size: got 320 pixels, allowed 256"),
    ({"max_steps": 2}, {"steps": 3}, "steps: got 3 steps, allowed 2"),
    ({"max_images": 2}, {"images": 3}, "images: got 3 images, allowed 2"),
    ({"max_adapters": 0}, {"adapters": (AdapterUse("page"),)}, "adapters: got 1 adapters, allowed 0"),
    ({"max_open": 0}, {}, "generations: got 1 open, allowed 0"),
    ({"max_rows": 49}, {}, r"step: got 50 rows, allowed 49 \(Limits.max_rows\); step fewer"),
    ({"max_step_bytes": 10_000}, {}, "step: got .* bytes .estimated., allowed 10,000"),
    ({"max_decode_bytes": 10_000}, {}, "decoding: got .* allowed 10,000"),
    ({"arena_bytes": 1100}, {"adapters": (AdapterUse("page"), AdapterUse("short"))}, "adapter 'short': got .* pinned"),
]


@pytest.mark.parametrize(("limits", "fields", "message"), LIMITS)
def test_limits_refuse_before_allocating(
    new_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], fields: Any, message: str
) -> None:
    if "arena_bytes" in limits:
        limited = new_engine()
        arena = limited.adapters.arena
        arena.max_pages = 1
    else:
        limited = new_engine(**limits)
    monkeypatch.setattr("salon.engine.noise.normal", None)
    with pytest.raises(LimitError, match=message) as caught:
        limited.open(spec(**fields))
    assert "\n" not in str(caught.value)
    assert limited.num_open == 0
    limited.adapters.arena.check()
    assert not limited.adapters.arena.pins("page")


def test_a_step_over_the_limit_changes_nothing(new_engine: MakeEngine, solo: Any) -> None:
    limited = new_engine(max_rows=50)
    pair = [limited.open(spec()), limited.open(spec(seed=1))]
    with pytest.raises(LimitError, match="step: got 100 rows, allowed 50"):
        limited.step(pair)
    for generation in pair:
        while generation.state is State.RUNNING:
            limited.step([generation])
        assert_same(finish(limited, generation), solo(generation.spec))


def test_decoding_in_parts_gives_the_same_pictures(new_engine: MakeEngine, solo: Any) -> None:
    size = new_engine().admission.decode_bytes(spec())
    for images in (1, 2):
        assert_same(alone(new_engine(max_decode_bytes=size * images), spec(images=3)), solo(spec(images=3)))


def test_adapters_are_evicted_but_never_under_a_pin(new_engine: MakeEngine, solo: Any) -> None:
    small = new_engine()
    arena = small.adapters.arena
    arena.max_pages = 4  # "long" takes 3 pages, "page" and "short" one each
    first = small.open(spec(adapters=(AdapterUse("long"),)))
    second = small.open(spec(adapters=(AdapterUse("page"),)))
    with pytest.raises(LimitError, match="pinned by open generations"):
        small.open(spec(adapters=(AdapterUse("short"),)))
    small.step([first, second])
    small.close(second)
    third = small.open(spec(adapters=(AdapterUse("short"),)))
    assert "page" not in arena
    while first.state is State.RUNNING or third.state is State.RUNNING:
        small.step([g for g in (first, third) if g.state is State.RUNNING])
    assert_same(finish(small, first), solo(first.spec))
    assert_same(finish(small, third), solo(third.spec))
    assert_same(alone(small, second.spec), solo(second.spec))
    arena.check()


def test_the_arena_may_grow_while_generations_run(new_engine: MakeEngine, solo: Any) -> None:
    """Growing replaces the arrays: a batch that is kept must not read the old ones."""
    growing = new_engine()
    first = growing.open(spec(steps=3, adapters=(AdapterUse("page"),)))
    growing.step([first])
    allocated = growing.adapters.arena.allocated_bytes
    rng = np.random.default_rng(0)
    growing.register_adapter("huge", rng.standard_normal((400, 12)).astype(np.float32))
    other = growing.open(spec(adapters=(AdapterUse("huge"),)))
    assert growing.adapters.arena.allocated_bytes > allocated
    while first.state is State.RUNNING:
        growing.step([first])
    growing.close(other)
    assert_same(finish(growing, first), solo(first.spec))


def test_registering(new_engine: MakeEngine) -> None:
    some = new_engine(max_registered=5)
    tokens = np.ones((2, 12), np.float32)
    some.register_adapter("mine", tokens)
    some.register_adapter("mine", tokens)
    with pytest.raises(LimitError, match="adapters: got 6, allowed 5"):
        some.register_adapter("more", tokens)
    generation = some.open(spec(adapters=(AdapterUse("mine"),)))
    some.register_adapter("mine", tokens)
    actions: Sequence[Callable[[], None]] = (
        lambda: some.register_adapter("mine", 2 * tokens),
        lambda: some.forget_adapter("mine"),
    )
    for action in actions:
        with pytest.raises(StateError, match="adapter 'mine': .*close those generations first"):
            action()
    before = alone(some, generation.spec)
    some.close(generation)
    some.register_adapter("mine", 2 * tokens)
    assert (alone(some, generation.spec)[0] != before[0]).any()
    some.forget_adapter("mine")
    with pytest.raises(SpecError, match="adapter: got 'mine'"):
        some.open(generation.spec)
    bad: Sequence[tuple[str, Any, str]] = [
        ("", tokens, "adapter: got ''"),
        ("x", tokens[0], r"shape \[12\], allowed \[n, 12\]"),
        ("x", tokens[:, :5], r"shape \[2, 5\]"),
        ("x", tokens * np.nan, "NaN or infinity"),
        ("x", [[1, 2], [3]], r"adapter 'x': got \[\[1, 2\], \[3\]\], allowed numbers"),
        ("x", "abc", "adapter 'x': got 'abc', allowed numbers"),
    ]
    for name, values, message in bad:
        with pytest.raises(SpecError, match=message):
            some.register_adapter(name, values)
    with pytest.raises(SpecError, match="adapter branch: got 'no', allowed 'default'"):
        some.register_adapter("x", tokens, branch="no")
    with pytest.raises(LimitError, match="raise Limits.arena_bytes"):
        some.register_adapter("x", np.ones((4_000_000, 12), np.float32))


def bfloat16(values: Any) -> Any:
    """The bits of numbers that bfloat16 holds exactly."""
    return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def test_bfloat16_bits_are_numbers_wherever_arrays_come_in(new_engine: MakeEngine) -> None:
    rng = np.random.default_rng(3)
    exact = np.round(16 * rng.standard_normal((5, 12))).astype(np.float32) / 16
    engine = new_engine()
    results = []
    sources: list[Any] = [exact, bfloat16(exact), exact.astype(np.float64)]
    for values in sources:
        engine.register_adapter("mine", values)
        text = TextEncoding(values, values[0])
        generation = engine.open(spec(adapters=(AdapterUse("mine"),)), text=text, negative=text)
        while generation.state is State.RUNNING:
            engine.step([generation])
        results.append((engine.adapters.digest("mine"), *finish(engine, generation)))
    assert len({digest for digest, *_ in results}) == 1
    for _, *result in results[1:]:
        assert_same((result[0], result[1]), (results[0][1], results[0][2]))


def test_an_ip_adapter_file_is_a_branch(new_engine: MakeEngine, tmp_path: Path) -> None:
    """In diffusers' layout, with its projection of image embeddings: the same pictures as from the weights by hand."""
    rng = np.random.default_rng(5)
    arrays: dict[str, Any] = {f"ip_adapter.{key}": value for key, value in branch_weights().items()}
    shapes = {"proj.weight": (24, 7), "proj.bias": (24,), "norm.weight": (12,), "norm.bias": (12,)}
    for key, shape in shapes.items():
        arrays[f"image_proj.{key}"] = rng.standard_normal(shape).astype(np.float32)
    save_file(arrays, tmp_path / "ip.safetensors")
    results = []
    for from_file in (True, False):
        engine = new_engine()
        adapter = engine.model.denoiser.adapter_file(engine.ops, str(tmp_path / "ip.safetensors"))
        engine.add_branch(adapter if from_file else branch_weights(), "ip")
        embedding = np.linspace(-1, 1, 7, dtype=np.float32)[None]
        engine.register_adapter("image", adapter.projection.tokens(engine.ops, embedding), branch="ip")
        results.append(alone(engine, spec(adapters=(AdapterUse("image"),))))
    assert_same(*results)


BAD_SPECS: list[tuple[dict[str, Any], str]] = [
    ({"width": 18}, "width: got 18, allowed multiples of 4; try"),
    ({"height": 1}, "height: got 1, allowed multiples of 4; try 4"),
    ({"adapters": (AdapterUse("nobody"),)}, "adapter: got 'nobody', allowed one of the 4 registered"),
    ({"adapters": (AdapterUse("page", 1.0, "nobody"),)}, "adapter: got 'nobody'"),
    ({"embedded_guidance": 3.0}, "the model has no guidance embedding"),
    ({"prompt": ",.;"}, "^prompt: got ',.;', allowed some words"),
    ({"negative_prompt": "!!!"}, "^negative_prompt: got '!!!', allowed some words"),
    ({"negative_prompt": "\ufdfa" * 2000}, "^negative_prompt: got 36,000 characters once normalised"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_SPECS)
def test_what_the_model_cannot_do_is_refused(engine: Engine, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        engine.open(spec(**fields))
    assert engine.num_open == 0


def test_wrong_text_encodings(engine: Engine) -> None:
    good = TextEncoding(np.zeros((3, 12), np.float32), np.zeros(12, np.float32))
    for bad in (
        TextEncoding(np.zeros((3, 11), np.float32), good.pooled),
        TextEncoding(np.zeros(12, np.float32), good.pooled),
        TextEncoding(good.tokens, np.zeros(5, np.float32)),
    ):
        with pytest.raises(SpecError, match="text: got tokens"):
            engine.open(spec(), text=bad)
        with pytest.raises(SpecError, match="negative: got tokens"):
            engine.open(spec(), negative=bad)
    odd: list[tuple[Any, str]] = [
        (TextEncoding(np.full((3, 12), np.nan, np.float32), good.pooled), "text: got NaN or infinity"),
        (TextEncoding(good.tokens, np.full(12, -np.inf, np.float32)), "text: got NaN or infinity"),
        (TextEncoding([[0.0] * 12, [0.0]], good.pooled), "text: got arrays without numbers"),  # type: ignore[arg-type]
        (TextEncoding("red", good.pooled), "text: got arrays without numbers"),  # type: ignore[arg-type]
        ({"tokens": good.tokens}, "text: got dict, allowed a TextEncoding"),
    ]
    for value, message in odd:
        with pytest.raises(SpecError, match=message):
            engine.open(spec(), text=value)
    generation = engine.open(spec(), text=good)
    with pytest.raises(StateError, match="its own text encoding"):
        engine.park(generation)
    engine.close(generation)


def test_a_callers_text_is_copied(engine: Engine) -> None:
    rng = np.random.default_rng(2)
    text = TextEncoding(rng.standard_normal((3, 12)).astype(np.float32), np.ones(12, np.float32), {"subject": "mine"})
    results = []
    for spoil in (False, True):
        generation = engine.open(spec(), text=text, negative=text)
        if spoil:
            text.tokens[:] = 100
            text.pooled[:] = 100
        while generation.state is State.RUNNING:
            engine.step([generation])
        assert generation.text.clauses == {"subject": "mine"}
        assert not generation.text.tokens.flags.writeable
        results.append(finish(engine, generation))
    assert_same(*results)


def test_texts_of_any_length_share_a_batch(engine: Engine) -> None:
    rng = np.random.default_rng(1)
    texts = [
        TextEncoding(rng.standard_normal((n, 12)).astype(np.float32), rng.standard_normal(12).astype(np.float32))
        for n in (0, 1, 5, 20)
    ]

    def run(together: bool) -> list[tuple[Any, Any]]:
        generations = [engine.open(spec(), text=text) for text in texts]
        for _ in range(2):
            for group in [generations] if together else [[g] for g in generations]:
                engine.step(group)
        return [finish(engine, g) for g in generations]

    for got, want in zip(run(True), run(False), strict=True):
        assert_same(got, want)


def test_make_spec_fills_in_the_models_defaults(engine: Engine) -> None:
    assert engine.make_spec("a cat", seed=3) == GenerationSpec(
        prompt="a cat", width=16, height=16, steps=3, guidance_scale=3.0, seed=3
    )
    wide = engine.make_spec("a cat", aspect=(4, 1))
    assert (wide.width, wide.height) == (32, 8)
    with pytest.raises(SpecError, match="aspect: got 4:1, allowed no width or height beside it"):
        engine.make_spec("a cat", aspect=(4, 1), width=16)
    for aspect in ((0, 1), (1, 100)):
        with pytest.raises(SpecError, match="aspect: got"):
            engine.make_spec("a cat", aspect=aspect)
    odd: list[Any] = ["16:9", (16,), (1, 2, 3), 1.5, (10**400, 1), ([], {})]
    for aspect in odd:
        with pytest.raises(SpecError, match="aspect: got"):
            engine.make_spec("a cat", aspect=aspect)
    with pytest.raises(PromptError):
        engine.make_spec(" ")


def test_a_seed_that_is_left_out_is_random_and_told(engine: Engine) -> None:
    """faults.md 14: it was 0, so that every caller got the same picture."""
    given: tuple[dict[str, Any], ...] = ({}, {"seed": None})
    seeds = {engine.make_spec("a cat", **each).seed for each in given for _ in range(20)}
    assert len(seeds | {GenerationSpec(prompt="a cat").seed}) > 30
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert engine.make_spec("a cat", seed=0).seed == 0
    generation = engine.open(engine.make_spec("a cat", steps=1))
    assert generation.spec.seed == dataclasses.replace(generation.spec).seed  # it is drawn once
    engine.close(generation)


def test_a_negative_prompt_without_guidance_is_refused(engine: Engine) -> None:
    """faults.md 15, house.md 4.15: it was ignored without a word."""
    words = "^negative_prompt: got 'red' with guidance_scale 1, .*, allowed .*; raise guidance_scale, or leave neg"
    with pytest.raises(SpecError, match=words):
        engine.make_spec("a cat", negative_prompt="red", guidance_scale=1)
    with pytest.raises(SpecError, match=words):
        engine.open(GenerationSpec(prompt="a cat", negative_prompt="red", guidance_scale=1.0))
    assert engine.make_spec("a cat", negative_prompt=" ", guidance_scale=1).guided is False
    assert engine.make_spec("a cat", negative_prompt="red", guidance_scale=0.5).guided


def test_warnings_of_the_text_pipeline_are_on_the_generation(engine: Engine) -> None:
    generation = engine.open(spec(prompt="a big red small blue green apple"))
    assert "only 'a big red small' is used" in generation.text.warnings[0]
    engine.close(generation)


def test_guidance_embedding(tmp_path: Path, backend: str) -> None:
    engine = Engine.load(write_tiny(tmp_path / "model", guidance_embeds=True), backend=backend)
    results = {g: alone(engine, spec(guidance_scale=1.0, embedded_guidance=g))[0] for g in (None, 3.5, 7.0)}
    np.testing.assert_array_equal(results[None], results[3.5])
    assert np.abs(results[7.0] - results[3.5]).max() > 1e-4


def test_unknown_backends(tiny_model: Path) -> None:
    with pytest.raises(UnknownBackend, match="backend: got 'abacus'"):
        Engine.load(tiny_model, backend="abacus")
    with pytest.raises(UnknownBackend, match="reference backend"):
        Engine.load(tiny_model, backend="reference", isa="avx2")


@pytest.mark.parametrize(
    "option", [{"threads": "2"}, {"threads": 2.0}, {"threads": 0}, {"threads": 10**10}, {"isa": 3}]
)
def test_options_that_are_none_are_named(tiny_model: Path, backend: str, option: Any) -> None:
    if backend == "cpu":
        with pytest.raises(UnknownBackend, match=f"{next(iter(option))}: got {next(iter(option.values()))!r}, want"):
            Engine.load(tiny_model, **option)


def test_all_errors_are_of_one_tree() -> None:
    assert issubclass(LimitError, SalonError)
    with pytest.raises(SalonError):
        Limits(max_rows=-1)
