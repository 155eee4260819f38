"""Weights in the host's memory: the same bits as weights on the device, in one piece and in several."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from salon.kernels.segments import Segments
from salon.kernels.streaming import Residency
from salon.kernels.triton.copies import CudaFetch
from salon.kernels.triton.devices import open_device
from salon.kernels.triton.float8 import Float8
from salon.kernels.triton.streaming import CudaLane
from salon.kernels.triton.table import TritonOps

ROWS, WIDTH, DEPTH = 5, 28, 21
GRIDS = np.array([[3, 2]], np.int32)


def normal(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def results(ops: Any) -> list[Any]:
    """Two rounds of products: plain, gated, paired, and convolutions."""
    weights = [normal(WIDTH, DEPTH), normal(4, DEPTH, seed=2)]
    plain = ops.pack_linear(weights, [normal(WIDTH), None])
    paired = ops.pack_linear([normal(2 * WIDTH, DEPTH, seed=3)], swiglu=True)
    kernel = ops.pack_conv(normal(6, DEPTH, 3, 3, seed=4), normal(6))
    segments, found = Segments.of([2, 0, 3]), []
    for turn in range(2):
        x = ops.array(normal(ROWS, DEPTH, seed=5 + turn))
        total, gate = ops.array(normal(ROWS, WIDTH + 4), "float32"), ops.array(normal(3, WIDTH + 4), "float32")
        pixels = ops.array(normal(6, DEPTH, seed=7 + turn))
        found += [
            ops.linear(x, plain, activation="gelu", dtype="float32"),
            ops.linear(x, plain, residual=total, gate=gate, segments=segments),
            ops.linear(x, paired, activation="swiglu"),
            ops.conv2d(pixels, kernel, GRIDS, dtype="float32"),
        ]
    return [ops.numpy(each) for each in found]


@pytest.mark.parametrize(("float8", "place"), [(False, 5000), (True, 1000)])
def test_results_are_the_same_to_the_bit(float8: bool, place: int) -> None:
    def table() -> Any:
        return TritonOps(open_device("cpu", "bfloat16"), float8=Float8(least=16) if float8 else None)

    exact, streamed = table(), table()
    streamed.stream(Residency(0, 1, 1), place_bytes=place)
    for got, want in zip(results(streamed), results(exact), strict=True):
        np.testing.assert_array_equal(got, want)
    used = streamed.streamed.stream
    assert used.hits > 0
    kept, left = streamed.streamed.residency.kept, streamed.streamed.residency.streamed
    assert left > 0
    assert (kept > 0) == float8, "a convolution that is larger than a place stays"
    assert any("come from the host's memory at every step" in note for note in streamed.notes)


def test_weights_that_there_is_room_for_stay() -> None:
    ops: Any = TritonOps(open_device("cpu", "float32"))
    ops.stream(Residency(2**30, 2**20, 2**20))
    packed, kernel = ops.pack_linear([normal(WIDTH, DEPTH)]), ops.pack_conv(normal(6, DEPTH, 3, 3), None)
    assert (packed.pieces, kernel.name) == (None, None)
    assert ops.streamed.residency.streamed == 0
    assert ops.array(normal(1024, 4096)).nbytes + WIDTH * DEPTH * 4 + 6 * DEPTH * 36 == ops.streamed.residency.kept


class FakeCuda:
    """Stands in for `torch.cuda`: notes what streams wait for."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.at = "work"

    def Stream(self, device: Any) -> Any:
        return SimpleNamespace(
            name="copies", wait_event=lambda event: self.told.append(("copies", "waits", event.name))
        )

    def Event(self) -> Any:
        event = SimpleNamespace(name=f"event {len(self.told)}")
        event.synchronize = lambda: self.told.append(("host", "waits", event.name))
        event.record = lambda stream: self.told.append((stream.name, "records", event.name))
        self.told.append(("made", event.name))
        return event

    def current_stream(self, device: Any) -> Any:
        return SimpleNamespace(name="work", wait_event=lambda event: self.told.append(("work", "waits", event.name)))

    def stream(self, stream: Any) -> Any:
        return nullcontext()


def test_copies_and_work_wait_for_each_other_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the host: a place is copied to when what read it is done, and read when the copy is."""
    cuda = FakeCuda()
    monkeypatch.setattr(torch, "cuda", cuda)
    lane = CudaLane(torch.device("cpu"), 8)
    piece = [torch.arange(3, dtype=torch.uint8), torch.arange(2, dtype=torch.uint8)]
    ready = cuda.told[0][1]
    cuda.told.clear()
    lane.copy(0, piece)
    lane.enter(0)
    lane.leave(0)
    lane.copy(0, piece)
    left = cuda.told[2][1]
    assert cuda.told == [
        ("copies", "records", ready), ("work", "waits", ready),
        ("made", left), ("work", "records", left), ("copies", "waits", left), ("copies", "records", ready),
    ]  # fmt: skip
    assert lane.places[0][:5].tolist() == [0, 1, 2, 0, 1]


def test_a_fetch_waits_for_what_was_launched_and_the_host_for_the_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    monkeypatch.setattr(torch, "cuda", cuda)
    stream, arrays = cuda.Stream(None), [torch.arange(6.0).view(2, 3), torch.ones(4, 8)[:, :3]]
    fetch = CudaFetch(torch.device("cpu"), stream, arrays)
    made, done = (told[1] for told in cuda.told[:2])
    assert cuda.told[2:] == [("work", "records", made), ("copies", "waits", made), ("copies", "records", done)]
    for got, want in zip(fetch.numpy(), arrays, strict=True):
        np.testing.assert_array_equal(got, want.numpy())
    assert cuda.told[-1] == ("host", "waits", done)
