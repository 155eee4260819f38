"""What a captured graph holds of a layout: copies in places of their own, and errors that mean something."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from salon.kernels import backends
from salon.kernels.accelerator import CaptureError
from salon.kernels.ops import AdapterTerms
from salon.kernels.triton import graphs
from salon.kernels.triton.accelerator import CudaAccelerator, accelerator_of, why_lost

WIDTH = 16


@pytest.fixture(scope="module")
def ops() -> Any:
    return backends.create("triton", device="cpu")


def layout(ops: Any, lengths: list[int], acts_on: list[int], seed: int) -> dict[str, Any]:
    """A batch of three samples and two adapter terms."""
    rng = np.random.default_rng(seed)
    numbers = [rng.standard_normal((n, WIDTH)).astype(np.float32) for n in (sum(lengths), 6)]
    vectors = ops.vectors(
        np.array(acts_on, np.int32), np.array([0, 2, 5], np.int32), rng.permutation(5).astype(np.int32),
        rng.standard_normal(2).astype(np.float32),
    )  # fmt: skip
    return {"q": ops.array(numbers[0]), "keys": ops.array(numbers[1]), "segments": ops.segments(lengths),
            "vectors": vectors}  # fmt: skip


def attend(ops: Any, parts: dict[str, Any]) -> Any:
    terms = AdapterTerms(parts["keys"], parts["keys"], *parts["vectors"])
    return ops.numpy(ops.attention(parts["q"], parts["q"], parts["q"], parts["segments"], 1, adapters=terms))


def test_another_layout_of_the_same_description_is_copied_in(ops: Any) -> None:
    """Segments with their tables and vectors with what ops made of them take the other batch's content, in place."""
    first, second = layout(ops, [3, 0, 2], [0, 2], 1), layout(ops, [1, 3, 1], [1, 1], 2)
    parts = graphs.LayoutParts(ops)
    flat = [[one["q"], one["keys"], one["segments"], *one["vectors"]] for one in (first, second)]
    described = [[parts.describe(part) for part in one] for one in flat]
    assert described[0] == described[1]
    assert None not in described[0]
    own = [parts.clone(part) for part in flat[0]]
    mine = {"q": own[0], "keys": own[1], "segments": own[2], "vectors": own[3:]}
    attend(ops, mine)  # its tables are made
    places = [tensor.data_ptr() for tensor in ops.tables(own[2]).buffers()]
    before = ops.tables(first["segments"]).row_owner.clone()
    for into, part in zip(own, flat[1], strict=True):
        parts.copy(into, part)
    np.testing.assert_array_equal(attend(ops, mine), attend(ops, second))
    assert [tensor.data_ptr() for tensor in ops.tables(own[2]).buffers()] == places
    assert torch.equal(ops.tables(first["segments"]).row_owner, before), "nothing is shared with what was cloned"


def test_what_is_described(ops: Any) -> None:
    parts = graphs.LayoutParts(ops)
    array = ops.empty(3, 5)
    assert parts.describe(array) != parts.describe(array[:2])
    assert parts.describe(array) != parts.describe(ops.columns(ops.empty(3, 40), 0, 5))
    assert parts.describe(ops.segments([3, 2])) == parts.describe(ops.segments([1, 4]))
    assert parts.describe(ops.segments([3, 2])) != parts.describe(ops.segments([3, 2, 0]))
    assert parts.describe(np.zeros(3)) is None
    assert parts.describe("text") is None
    view = ops.columns(ops.empty(3, 40), 8, 13)
    assert parts.describe(parts.clone(view)) == parts.describe(view)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be", "must not"),
        ("CUDA error: uncorrectable ECC error encountered", "its memory is damaged"),
        ("CUDA error: unspecified launch failure", "a kernel broke off"),
        ("Triton Error [CUDA]: device-side assert triggered", "failed a check"),
        ("CUDA error: unknown error", "unknown error"),
        ("CUDA error: out of memory", None),
        ("CUDA error: operation not permitted when stream is capturing", None),
        ("shapes do not fit: device-side assert", None),
    ],
)
def test_errors_after_which_a_device_is_lost(text: str, why: str | None) -> None:
    found = why_lost(RuntimeError(text))
    assert (found is None) == (why is None)
    assert why is None or why in (found or "")
    assert why_lost(ValueError(text)) is None
    assert why_lost(torch.OutOfMemoryError(text)) is None


def test_the_interpreter_has_no_device_of_its_own(ops: Any) -> None:
    assert ops.accelerator is None
    assert accelerator_of(ops, torch.device("cpu")) is None


class FakeCuda:
    """Stands in for `torch.cuda`: counts what is reserved, and refuses what a graph would."""

    def __init__(self) -> None:
        self.reserved, self.replays, self.pools = 100, 0, list[Any]()
        self.error: Exception | None = None

    def get_device_name(self, device: Any) -> str:
        return "NVIDIA H200"

    def graph_pool_handle(self) -> str:
        return "pool"

    def Stream(self, device: Any) -> str:
        return "stream"

    def synchronize(self, device: Any) -> None: ...

    def memory_reserved(self, device: Any) -> int:
        return self.reserved

    def memory_allocated(self, device: Any) -> int:
        return 40

    def mem_get_info(self, device: Any) -> tuple[int, int]:
        return 1000, 2000

    def device(self, device: Any) -> Any:
        return nullcontext()

    def empty_cache(self) -> None:
        self.reserved = 40

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(replay=self._replay)

    def _replay(self) -> None:
        self.replays += 1

    @contextmanager
    def graph(self, graph: Any, pool: Any, stream: Any, capture_error_mode: str) -> Any:
        assert capture_error_mode == "thread_local"
        self.pools.append(pool)
        yield
        if self.error is not None:
            raise self.error
        self.reserved += 50


def test_captures_share_a_pool_and_say_why_they_fail(ops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    monkeypatch.setattr(torch, "cuda", cuda)
    device = CudaAccelerator(ops, torch.device("cuda", 1))
    assert (device.name, device.label) == ("cuda:1", "NVIDIA H200")
    first, second = (device.capture(lambda i=i: f"result {i}") for i in range(2))  # type: ignore[misc]
    assert (first.result, second.result, second.num_bytes) == ("result 0", "result 1", 50)
    first.replay()
    assert (cuda.replays, cuda.pools) == (1, ["pool", "pool"])
    assert device.room() == (1000 + 200 - 40, 2000), "what torch keeps for later is free"
    device.trim()
    assert device.room() == (1000, 2000)
    cuda.error = RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
    with pytest.raises(CaptureError, match=r"^CUDA error: operation not permitted when stream is capturing$"):
        device.capture(lambda: None)
    cuda.error = torch.OutOfMemoryError("CUDA out of memory while capturing")
    with pytest.raises(torch.OutOfMemoryError) as caught:
        device.capture(lambda: None)
    assert device.full(caught.value)
    assert device.lost(caught.value) is None
    cuda.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        device.capture(lambda: None)
