"""A backend is one file: here one is added, and one that lacks what it computes with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import UnknownBackend
from salon.engine.spec import GenerationSpec
from salon.frontends.arguments import UsageError, parse
from salon.kernels import backends

from ..engine.conftest import write_tiny

ABACUS = '''
"""The reference, under another name."""
from salon.kernels.reference import ReferenceOps

HELP = "beads"

class AbacusOps(ReferenceOps):
    @property
    def name(self):
        return "abacus"

def create(options):
    if options.device not in (None, "left"):
        raise ValueError(f"device: got {options.device!r}, want left")
    return AbacusOps()
'''


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    def add(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        backends.PLUGINS.forget()

    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    monkeypatch.setattr(backends.PLUGINS, "_path", backends.__path__)
    yield add
    backends.PLUGINS.forget()


def draw(backend: str, folder: Path, **options: Any) -> np.ndarray:
    engine = Engine.load(folder, backend=backend, **options)
    generation = engine.open(GenerationSpec(prompt="a cat", width=16, height=16, steps=2, seed=1))
    while generation.position < len(generation.evaluations):
        engine.step([generation])
    return engine.finish(generation)


def test_a_new_file_is_a_backend_that_draws_and_is_a_choice(
    add: Callable[[str, str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert backends.names() == ("cpu", "cpu_int8", "onnx", "openvino", "reference", "triton", "triton_fp8")
    add("abacus", ABACUS)
    assert backends.names() == ("cpu", "abacus", "cpu_int8", "onnx", "openvino", "reference", "triton", "triton_fp8")
    folder = write_tiny(tmp_path_factory.mktemp("tiny"))
    np.testing.assert_array_equal(draw("abacus", folder, device="left"), draw("reference", folder))
    assert Engine.load(folder, backend="abacus").info.backend.name == "abacus"
    assert parse(["imagine", "x", "--backend", "abacus"], "").backend == "abacus"
    with pytest.raises(UnknownBackend, match="device: got 'right', want left"):
        draw("abacus", folder, device="right")


def test_what_a_backend_lacks_is_named(add: Callable[[str, str], None]) -> None:
    add("slide_rule", "import no_such_package\n")
    with pytest.raises(UnknownBackend, match="backend 'slide_rule': got no module 'no_such_package', .* install them"):
        Engine.load(backend="slide_rule")
    with pytest.raises(
        UnknownBackend,
        match="backend: got 'sliderule', want one of cpu, cpu_int8, onnx, openvino, reference, slide_rule",
    ):
        Engine.load(backend="sliderule")
    with pytest.raises(UsageError, match="--backend"):
        parse(["imagine", "x", "--backend", "sliderule"], "")


@pytest.mark.parametrize("name", backends.names())
def test_every_backend_says_what_it_is_and_has_one_device_here(name: str) -> None:
    if name.startswith("triton"):  # kernels/triton/test_devices.py has what a machine with a GPU says
        torch = pytest.importorskip("torch", reason="the triton backend computes with torch (extra: gpu)")
        pytest.importorskip("triton", reason="the triton backend is compiled by triton (extra: gpu)")
        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
    if name in ("onnx", "openvino"):
        for package in {"onnx", name.replace("onnx", "onnxruntime")}:
            pytest.importorskip(package, reason=f"the backend computes with it (extra: {name})")
    assert backends.backend(name).HELP
    assert backends.create(name, device="cpu").name.startswith(name)
    with pytest.raises(ValueError, match="cuda:0"):
        backends.create(name, device="cuda:0")


def test_providers_are_those_of_a_backend_that_has_some() -> None:
    with pytest.raises(UnknownBackend, match=r"providers: got \['CUDA'\], want none for the cpu backend"):
        Engine.load(providers=["CUDA"])
    pytest.importorskip("onnxruntime", reason="it has the providers (extra: onnx)")
    made = backends.create("onnx", providers=["CPUExecutionProvider"])
    assert made.name.startswith("onnx/cpu/")
    with pytest.raises(ValueError, match="providers: got NoSuchProvider, allowed .*CPUExecutionProvider"):
        backends.create("onnx", providers=["CPUExecutionProvider", "NoSuchProvider"])
    assert backends.create("onnx", providers=[("CPUExecutionProvider", {})]).name.startswith("onnx/cpu/")
    faults: list[Any] = [("X", {}, "more"), ("X", 3), 7, ("X", {"device_id": "one"})]
    for wrong in faults:
        with pytest.raises(ValueError, match=r"providers: got .*, allowed names, or \(name, options\)"):
            backends.create("onnx", providers=[wrong])
    with pytest.raises(ValueError, match="device: got 'cuda:0', allowed cpu, where these providers compute"):
        backends.create("onnx", providers=["CPUExecutionProvider"], device="cuda:0")


def test_inputs_lie_where_the_first_provider_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="it has the providers (extra: onnx)")
    pytest.importorskip("onnx", reason="graphs are made of it (extra: onnx)")
    from salon.kernels.onnx.runtime import ON_CUDA, chosen, device_of

    second = "CUDAExecutionProvider", {"device_id": 1}
    for providers, device in (
        ([*ON_CUDA, "CPUExecutionProvider"], "cuda:0"), ([second, "CPUExecutionProvider"], "cuda:1"),
        (["CPUExecutionProvider"], "cpu"), (["OpenVINOExecutionProvider", "CPUExecutionProvider"], "cpu"),
    ):  # fmt: skip
        assert device_of(providers) == device
    # as it is with onnxruntime-gpu, of which nothing is started before a graph is
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*ON_CUDA, "CPUExecutionProvider"])
    made = backends.create("onnx", providers=[second, "CPUExecutionProvider"], device="cuda:1")
    assert made.name.startswith("onnx/cuda+cpu/")
    assert chosen([second]) == [second]
    with pytest.raises(ValueError, match="providers: got cuda:0 and cuda:1, allowed one device"):
        chosen(["TensorrtExecutionProvider", second])


def test_a_provider_that_does_not_start_is_named(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the graph is made of it (extra: onnx)")
    onnxruntime = pytest.importorskip("onnxruntime", reason="it runs the graph (extra: onnx)")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the provider")
    from salon.kernels.onnx.runtime import OnnxSession, ProviderError

    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), path := tmp_path / "graph.onnx")
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(ProviderError, match="got CUDAExecutionProvider, which did not start, allowed CPUExecution"),
    ):
        OnnxSession(path, ["CUDAExecutionProvider", "CPUExecutionProvider"], 1, "cuda:0")
