"""Replayed evaluations: on a device that refuses within a graph, and in a steady step, what a graph cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from salon.engine.denoiser import AdapterTable, Sample
from salon.engine.engine import Engine
from salon.engine.errors import DeviceFull, DeviceLost
from salon.engine.generation import Generation, State
from salon.engine.graphs import StepGraphs
from salon.engine.limits import Limits
from salon.engine.loading import load_model
from salon.engine.padding import bucket, filler_of, padded_table
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.kernels.accelerator import CaptureError, Room
from salon.kernels.reference import ReferenceOps
from salon.kernels.segments import Segments

from .conftest import TEXT, branch_weights

UPLOADS = ("array", "vectors", "segments", "numpy")  # these wait for the device, or bring something from the host
ALLOCATIONS = ("empty", "zeros", "concat")


class LiveSegments(Segments):
    """Segments that are read anew at every use, as a kernel reads tables on its device."""

    def __post_init__(self) -> None:
        pass

    @property
    def max_rows(self) -> int:
        return int(np.diff(self.offsets).max(initial=0))

    def row_owners(self) -> Any:
        return np.repeat(self.owners, np.diff(self.offsets))


class Device:
    """Stands in for a GPU: its graphs do their work again in Python, on arrays that keep their places."""

    name, label, streams = "fake:0", "a device for tests", False

    def __init__(self) -> None:
        self.capturing = False
        self.fails: list[Exception] = []  # of the next captures
        self.trimmed = 0
        self.fetched: list[int] = []  # arrays of each fetch
        self.weight_bytes, self.away = 10**6, False

    def room(self) -> Room:
        return Room(2**40, 2**40)

    def trim(self) -> None:
        self.trimmed += 1

    def stream(self, residency: Any) -> None:
        raise AssertionError("there is room for all")

    def unload(self) -> int:
        self.away = True
        return self.weight_bytes

    def wake(self) -> None:
        if self.fails:
            raise self.fails.pop()
        self.away = False

    def fetch(self, arrays: Any) -> Any:
        self.fetched.append(len(arrays))
        copies = [array.copy() for array in arrays]  # as they are now, whatever is launched later
        return SimpleNamespace(numpy=lambda: copies)

    def full(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    def lost(self, error: BaseException) -> str | None:
        return "it fell off the bus" if "Xid 79" in str(error) else None

    def describe(self, value: Any) -> Hashable | None:
        if isinstance(value, np.ndarray):
            return "array", value.shape, value.strides, str(value.dtype)
        if isinstance(value, Segments):
            return "segments", value.num_rows, len(value), value.num_samples
        return None

    def clone(self, value: Any) -> Any:
        if isinstance(value, Segments):
            return LiveSegments(value.offsets.copy(), value.owners.copy(), value.num_samples)
        return value.copy()

    def copy(self, into: Any, value: Any) -> None:
        assert not self.capturing
        if isinstance(value, Segments):
            into.offsets[...], into.owners[...] = value.offsets, value.owners
        else:
            assert into.shape == value.shape
            into[...] = value

    def capture(self, work: Callable[[], Any]) -> Replay:
        if self.fails:
            raise self.fails.pop()
        self.capturing = True
        try:
            return Replay(work, work())
        finally:
            self.capturing = False


class Replay:
    """See `Graph`."""

    num_bytes = 1000

    def __init__(self, work: Callable[[], Any], result: Any) -> None:
        self.work, self.result = work, result
        self.replaying = False

    def replay(self) -> None:
        self.result[...] = self.work()


class Ops(ReferenceOps):
    """The reference, which counts what the host asks for and refuses within a capture what no graph can hold."""

    def __init__(self) -> None:
        self.accelerator = Device()
        self.calls: list[str] = []
        self.depth = 0

    def _called(self, name: str) -> None:
        assert not self.accelerator.away, "the weights are away"
        if self.accelerator.capturing and name in UPLOADS:
            raise CaptureError(f"{name} within a capture")
        self.calls.append(name)


def _counted(name: str) -> Any:
    def method(self: Ops, *args: Any, **options: Any) -> Any:
        self._called(name)
        return getattr(ReferenceOps, name)(self, *args, **options)

    return method


for _name in (*UPLOADS, *ALLOCATIONS):
    setattr(Ops, _name, _counted(_name))


def add_adapters(engine: Engine) -> None:
    engine.add_branch(branch_weights())
    engine.register_adapter("page", np.random.default_rng(3).standard_normal((4, TEXT)).astype(np.float32))


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    """An engine that replays graphs."""
    ops = Ops()
    made = Engine(ops, load_model(ops, tiny_model, Limits()), Limits())
    add_adapters(made)
    return made


@pytest.fixture(scope="module")
def plain(tiny_model: Path) -> Engine:
    """The same engine without a device."""
    made = Engine.load(tiny_model, backend="reference")
    add_adapters(made)
    return made


def spec(**fields: Any) -> GenerationSpec:
    values: dict[str, Any] = {"prompt": "a red apple", "width": 16, "height": 16, "steps": 4, "guidance_scale": 3.0}
    return GenerationSpec(**(values | {"seed": 1} | fields))


def draw(engine: Engine, *specs: GenerationSpec) -> list[Any]:
    """The pictures of specs that step together."""
    opened = [engine.open(each) for each in specs]
    while running := [each for each in opened if each.state is State.RUNNING]:
        engine.step(running)
    pictures = [engine.finish(each) for each in opened]
    for each in opened:
        engine.close(each)
    return pictures


def graphs_of(engine: Engine) -> StepGraphs:
    assert engine.graphs is not None
    return engine.graphs


MIX = (
    spec(),
    spec(seed=2, width=20, prompt="a cat", adapters=(AdapterUse("page", 0.7, None),)),
    spec(seed=3, height=12, solver="heun", images=2),
    spec(seed=4, guidance_scale=1.0),
    spec(seed=5, tile=True),
)


def test_pictures_are_the_same_with_and_without_graphs(engine: Engine, plain: Engine) -> None:
    """Alone, in company with others of any size, and from a graph that was captured for others."""
    alone = [draw(plain, each)[0] for each in MIX]
    for _ in range(2):
        for each, picture in zip(MIX, alone, strict=True):
            np.testing.assert_array_equal(draw(engine, each)[0], picture)
        for made, picture in zip(draw(engine, *MIX), alone, strict=True):
            np.testing.assert_array_equal(made, picture)
    found = graphs_of(engine)
    assert found.captures
    assert found.replays > found.captures
    assert not found.refused


def test_one_graph_serves_other_texts_seeds_and_adapters(engine: Engine, plain: Engine) -> None:
    graphs_of(engine).clear()
    uses = [(AdapterUse(name, weight, None),) for name, weight in (("page", 0.5), ("page", -0.2))]
    requests = [spec(seed=i, prompt=prompt, adapters=uses[i]) for i, prompt in enumerate(("a red apple", "a big dog"))]
    draw(engine, requests[0])
    before = graphs_of(engine).captures
    np.testing.assert_array_equal(draw(engine, requests[1])[0], draw(plain, requests[1])[0])
    assert graphs_of(engine).captures == before


def test_a_steady_step_allocates_and_uploads_nothing_but_one_vector(engine: Engine) -> None:
    ops: Any = engine.ops
    opened = [engine.open(spec(seed=seed, steps=6)) for seed in (8, 9)]
    for _ in range(4):
        engine.step(opened)
    ops.calls.clear()
    replays = graphs_of(engine).replays
    engine.step(opened)
    assert graphs_of(engine).replays == replays + 1
    # what the replayed work itself calls here is the graph's, whose arrays a device has made in advance
    outside = [name for name in ops.calls if name in UPLOADS]
    assert outside == ["vectors", "numpy"], "the numbers of the step, and whether its result is finite"
    for each in opened:
        engine.close(each)


def test_the_host_asks_for_no_array_of_its_own(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ops: Any = engine.ops
    opened = [engine.open(spec(seed=seed, steps=6)) for seed in (8, 9)]
    for _ in range(4):
        engine.step(opened)
    monkeypatch.setattr(Replay, "replay", lambda self: None)
    ops.calls.clear()
    engine.step(opened)
    assert [name for name in ops.calls if name in ALLOCATIONS] == []
    for each in opened:
        engine.close(each)


def test_parking_previews_and_pictures_are_brought_in_one_go(
    engine: Engine, plain: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Latents, velocity and base together; of pictures that are decoded in turn, one while the next is computed."""
    ops: Any = engine.ops
    device = ops.accelerator
    request = spec(seed=31, solver="heun", images=2, steps=3)
    mine, theirs = engine.open(request), plain.open(request)
    for each, generation in ((engine, mine), (plain, theirs)):
        for _ in range(3):
            each.step([generation])
    ops.calls.clear()
    device.fetched.clear()
    np.testing.assert_array_equal(engine.preview(mine), plain.preview(theirs))
    assert device.fetched == [2, 1]
    ops.calls.clear()
    parked, other = engine.park(mine), plain.park(theirs)
    assert device.fetched == [2, 1, 3]
    assert (parked.latents, parked.velocity, parked.base) == (other.latents, other.velocity, other.base)
    assert "numpy" not in ops.calls, "nothing was waited for one by one"
    mine, theirs = engine.resume(parked), plain.resume(other)
    while mine.state is State.RUNNING:
        engine.step([mine])
        plain.step([theirs])
    monkeypatch.setattr(type(engine.admission), "decode_bytes", lambda self, spec: self.limits.max_decode_bytes)
    device.fetched.clear()
    np.testing.assert_array_equal(engine.finish(mine), plain.finish(theirs))
    assert device.fetched == [1, 1]
    engine.close(mine)


def test_weights_of_an_idle_engine_leave_the_device_until_they_are_needed(
    engine: Engine, plain: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open generation stays; graphs go, since they read weights where they were; pixels are the same."""
    device, found = engine.device, graphs_of(engine)
    assert isinstance(device, Device)
    request = spec(seed=41, steps=6)
    generation = engine.open(request)
    for _ in range(3):
        engine.step([generation])
    trimmed = device.trimmed
    assert engine.unload() == 10**6
    assert (device.away, found.num_graphs, device.trimmed > trimmed) == (True, 0, True)
    assert engine.unload() == 0, "they are away"
    device.fails = [MemoryError("others took it")]
    with pytest.raises(DeviceFull, match="no memory left amid 'step'"):
        engine.step([generation])
    assert generation.position == 3
    while generation.state is State.RUNNING:
        engine.step([generation])
    assert not device.away
    np.testing.assert_array_equal(engine.finish(generation), draw(plain, request)[0])
    engine.close(generation)
    monkeypatch.setattr("salon.engine.engine.free_memory", lambda: 10**6 - 1)
    assert (engine.unload(), device.away) == (0, False), "the host has no room"
    assert plain.unload() == 0
    plain.wake()


def test_what_cannot_be_captured_is_computed_op_by_op(
    engine: Engine, plain: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, device = graphs_of(engine), engine.device
    assert isinstance(device, Device)
    found.clear()
    request = spec(seed=11, width=8, height=8)
    device.fails = [CaptureError("a wait for the device")]
    refused = found.refused
    np.testing.assert_array_equal(draw(engine, request)[0], draw(plain, request)[0])
    assert found.refused == refused + 1
    np.testing.assert_array_equal(draw(engine, request)[0], draw(plain, request)[0])
    assert found.refused == refused + 1, "once is enough"


def test_no_room_for_a_graph_is_no_failure(engine: Engine, plain: Engine) -> None:
    found, device = graphs_of(engine), engine.device
    assert isinstance(device, Device)
    draw(engine, spec(seed=20))
    device.fails = [MemoryError("no room")]
    trimmed = device.trimmed
    request = spec(seed=12, width=40, height=32)
    np.testing.assert_array_equal(draw(engine, request)[0], draw(plain, request)[0])
    assert (device.trimmed, found.num_graphs) == (trimmed + 1, 0)


def test_graphs_are_bounded_and_the_oldest_goes(tiny_model: Path) -> None:
    ops = Ops()
    engine = Engine(ops, load_model(ops, tiny_model, Limits()), Limits())
    found = engine.graphs = StepGraphs(ops, engine.model.denoiser, ops.accelerator, max_graphs=2)
    sizes = [spec(width=width, height=width, guidance_scale=1.0) for width in (24, 36, 52)]
    for each in sizes:
        draw(engine, each)
    assert (found.num_graphs, found.captures, found.evictions, found.num_bytes) == (2, 3, 1, 2000)
    draw(engine, sizes[2])
    assert found.captures == 3
    draw(engine, sizes[0])
    assert found.captures == 4
    bytes_bound = engine.graphs = StepGraphs(ops, engine.model.denoiser, ops.accelerator, max_bytes=1500)
    for each in sizes:
        draw(engine, each)
    assert bytes_bound.num_graphs == 2  # one above the bound goes when the next is made
    assert bytes_bound.evictions == 1


def test_graphs_go_when_the_arena_replaces_its_arrays(engine: Engine, plain: Engine) -> None:
    request = spec(seed=30, adapters=(AdapterUse("page", 0.7, None),))
    draw(engine, request)
    found, arena = graphs_of(engine), engine.adapters.arena
    assert found.num_graphs
    before = arena.keys[0]
    arena._grow(arena._num_pages + 1)
    assert arena.keys[0] is not before
    np.testing.assert_array_equal(draw(engine, request)[0], draw(plain, request)[0])
    assert {key[3] for key in found._entries} == {arena.version}  # type: ignore[index]  # of the present arrays alone


def test_a_lost_device_and_a_full_one_are_told_apart(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = engine.open(spec())

    def failing(error: Exception) -> None:
        def raises(*args: Any, **options: Any) -> Any:
            raise error

        monkeypatch.setattr(engine.model.denoiser, "velocity", raises)

    failing(RuntimeError("CUDA error: Xid 79"))
    with pytest.raises(DeviceLost, match=r"fake:0 \(a device for tests\): got it fell off the bus amid 'step' \(CUDA"):
        engine.step([generation])
    failing(MemoryError("no room"))
    with pytest.raises(DeviceFull, match="got no memory left amid 'step', 1,099,511,627,776 bytes free of"):
        engine.step([generation])
    assert graphs_of(engine).num_graphs == 0
    failing(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        engine.step([generation])
    monkeypatch.undo()
    engine.close(generation)


def test_batches_are_padded_by_an_eighth_at_most() -> None:
    for count in range(1, 3000):
        padded = bucket(count, 1)
        assert count <= padded <= max(count + 1, count * 9 // 8 + 1)
    assert len({bucket(count, 64) for count in range(1, 66_000)}) < 90
    assert bucket(4096 + 512, 64) == 4608


def test_a_filler_fills_to_the_bucket(plain: Engine) -> None:
    generation: Generation = plain.open(spec(width=20, height=12, images=3))
    samples = [Sample(generation.grid, generation.text, None)] * 3
    filler = filler_of(samples, rows=64)
    grid_rows = 3 * generation.rows + sum(filler.image_rows)
    assert grid_rows % 64 == 0
    assert (3 * len(generation.text.tokens) + sum(filler.text_rows)) % 64 == 0
    assert [sample.grid for sample in filler.samples(samples[0])] == [(1, rows) for rows in filler.image_rows]
    table = AdapterTable(np.array([0, 2], np.int32), np.array([0, 3, 5], np.int32), np.arange(5, dtype=np.int32),
                         np.array([1, 0.5], np.float32))  # fmt: skip
    padded = padded_table(table, filler, 3)
    assert padded is not None
    assert set(padded.samples[2:].tolist()) == {3}
    assert not padded.weights[2:].any()
    assert len(padded.rows) == padded.offsets[-1] == 64
    assert padded_table(None, filler, 3) is None
    plain.close(generation)
