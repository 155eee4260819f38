"""Pictures by ONNX graphs, and folders of these. The tests of each family run its graph (`graphs.py`)."""

from __future__ import annotations

import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are made of it (extra: onnx)")
pytest.importorskip("onnxruntime", reason="it runs the graphs (extra: onnx)")

from salon.engine import graph_files
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, OutputError
from salon.engine.export import Exported, export, open_export
from salon.engine.lora_uses import LoraUse
from salon.engine.recorded import Variant
from salon.kernels.onnx.table import GraphOps

from . import lora_files
from .conftest import LATENTS, WIDTH, write_tiny
from .graphs import batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine.load(folder, backend="onnx", threads=1)


def draw(engine: Engine, *specs: dict[str, Any]) -> list[Any]:
    """Pictures that are drawn together, and nothing else with them."""
    fields: dict[str, Any] = {"width": 16, "height": 16, "steps": 3, "images": 1}
    drawn = [engine.open(engine.make_spec(**{**fields, **spec})) for spec in specs]
    while any(g.state.name != "DONE" for g in drawn):
        engine.step([g for g in drawn if g.state.name == "RUNNING"])
    return [engine.finish(g) for g in drawn]


APPLE: dict[str, Any] = {"prompt": "a red apple", "seed": 7}
CAT: dict[str, Any] = {"prompt": "a small blue cat on the house", "seed": 8, "width": 32, "height": 24, "steps": 5}


def test_pictures_are_those_of_the_cpu_but_for_rounding(engine: Engine, folder: Path) -> None:
    cpu = Engine.load(folder, dtype="float32", threads=1)
    for ours, theirs in zip(draw(engine, APPLE, CAT), draw(cpu, APPLE, CAT), strict=True):
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
    assert engine.recorded is not None
    assert (engine.recorded.runs, engine.recorded.others, engine.recorded.num_graphs) == (5, 0, 1)
    assert engine.backend.name.startswith("onnx/cpu/")
    assert engine.info.backend.compute == "float32"


def test_company_may_change_bits_and_no_more(engine: Engine, record_testsuite_property: Any) -> None:
    """Batch invariance is not promised of others' kernels, and the backend says so. What they do is recorded as a
    property of the tests (`pytest --junit-xml`)."""
    ops: Any = engine.ops
    assert any("may depend on what is drawn with it" in note for note in ops.notes)
    (alone,), (again,) = draw(engine, APPLE), draw(engine, APPLE)
    np.testing.assert_array_equal(alone, again)
    together = draw(engine, CAT, APPLE)[1]
    levels = np.abs(alone.astype(int) - together.astype(int))
    record_testsuite_property("numbers of the picture that company changes", int((levels > 0).sum()))
    assert levels.max() <= 1


def test_what_nan_in_company_does(engine: Engine, record_testsuite_property: Any) -> None:
    assert engine.recorded is not None
    sick, found = 8 * 8, {}
    for name in ("well", "sick"):
        layout, latents, times = batch(engine, [(8, 8), (16, 8)], [3, 9])
        if name == "sick":
            rows = np.array(engine.ops.numpy(latents))
            rows[0, 0] = np.nan
            latents = engine.ops.array(rows, "float32")
        found[name] = engine.ops.numpy(engine.recorded.velocity(layout, latents, times, engine.adapters.arena))
    assert np.isfinite(found["well"]).all()
    assert np.isnan(found["sick"][:sick]).any()
    reached = np.isnan(found["sick"][sick:]).any(axis=1)
    record_testsuite_property("rows of another sample that NaN reaches", int(reached.sum()))
    ours, well = (found[name][sick:][~reached] for name in ("sick", "well"))
    np.testing.assert_allclose(ours, well, atol=1e-4 * max(1.0, float(np.abs(found["well"]).max())))


def test_openvino_draws_by_the_same_graph(engine: Engine, folder: Path) -> None:
    pytest.importorskip("openvino", reason="it runs the graph (extra: openvino)")
    other = Engine.load(folder, backend="openvino", threads=1)
    assert other.backend.name.startswith("openvino/cpu/")
    for ours, theirs in zip(draw(other, APPLE, CAT), draw(engine, APPLE, CAT), strict=True):
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
    assert other.recorded is not None
    assert (other.recorded.others, other.recorded.num_graphs) == (0, 1)


def test_batches_with_loras_are_computed_op_by_op(engine: Engine, folder: Path, tmp_path: Path) -> None:
    shapes = {"transformer.transformer_blocks.0.attn.to_q": (WIDTH, WIDTH)}
    rng, arrays = np.random.default_rng(5), dict[str, Any]()
    for name, (outputs, inputs) in shapes.items():
        arrays[f"{name}.lora_A.weight"] = rng.standard_normal((2, inputs)).astype(np.float32)
        arrays[f"{name}.lora_B.weight"] = rng.standard_normal((outputs, 2)).astype(np.float32)
    digest, path = lora_files.write(tmp_path / "lora.safetensors", arrays)
    cpu, assured = Engine.load(folder, dtype="float32", threads=1), engine.recorded
    assert assured is not None
    before = assured.others
    for each in (engine, cpu):
        each.add_lora(digest, path)
    spec = {**APPLE, "loras": (LoraUse(digest, 0.8),)}
    np.testing.assert_array_equal(draw(engine, spec)[0], draw(cpu, spec)[0])
    assert assured.others == before + 3


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse longer files, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_graph_that_has_no_room_is_refused_and_begun_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, usage = Engine.load(folder, backend="onnx", threads=1), shutil.disk_usage
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(place)._replace(free=1000))
    told = rf"temporary folder {tmp_path}: got 1,000 bytes free, allowed [\d,]+ for the graph's weights; "
    with pytest.raises(OutputError, match=told + r"make room there, or choose another folder \(TMPDIR\)"):
        draw(engine, APPLE)
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with files_of_at_most(4096), pytest.raises(OutputError, match=r"File too large \(EFBIG\).*folder \(TMPDIR\)"):
        draw(engine, APPLE)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nothing"))
    with pytest.raises(OutputError, match="temporary folder .*nothing.*TMPDIR"):
        draw(engine, APPLE)
    assert [*tmp_path.iterdir()] == []
    monkeypatch.undo()
    monkeypatch.setattr(graph_files, "in_memory", lambda place: True)
    monkeypatch.setattr(graph_files, "free_memory", lambda: 2000)
    with pytest.raises(OutputError, match="got 2,000 bytes free of memory, where that folder is, allowed"):
        draw(engine, APPLE)
    monkeypatch.undo()
    assert draw(engine, APPLE)[0].shape == (1, 16, 16, 3)
    assert engine.recorded is not None
    assert (engine.recorded.num_graphs, engine.recorded.others) == (1, 0)
    assert engine.recorded.num_bytes > 4 * 16 * 3 * 16  # of one layer's q, k and v


@pytest.fixture(scope="module")
def exported(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    told: list[tuple[int, int]] = []
    made = export(engine, tmp_path_factory.mktemp("export") / "graphs", progress=lambda *at: told.append(at))
    assert told[-1][0] == told[-1][1] > 0
    return made


def test_an_export_says_what_it_is_of_and_runs_by_itself(engine: Engine, exported: Exported) -> None:
    found = open_export(exported.folder)
    assert found.manifest == exported.manifest
    assert found.manifest["model"]["digest"] == engine.model.digest
    assert {*found.manifest["graphs"]} == {"step", "step_adapters", "decoder"}
    for name in found.manifest["graphs"]:
        onnx.checker.check_model(str(found.graph(name)), full_check=True)
    assert engine.recorded is not None
    arguments, velocity = engine.recorded.example(Variant(1, adapters=True))
    want = engine.ops.numpy(velocity(engine.ops, **arguments))
    feeds = engine.recorded.record(Variant(adapters=True)).feeds(arguments)
    assert feeds is not None
    assert {*feeds} == {*found.manifest["graphs"]["step_adapters"]["inputs"]}
    assert isinstance(engine.ops, GraphOps)
    got = engine.ops.start(found.graph("step_adapters")).run(feeds)
    np.testing.assert_allclose(got, want, atol=1e-4)
    assert found.manifest["graphs"]["decoder"] == {
        "file": "decoder.onnx", "inputs": ["grids", "latents"], "output": "pixels"
    }  # fmt: skip
    tokens = np.random.default_rng(3).standard_normal((6, 4 * LATENTS)).astype(np.float32)
    grids = np.array([[2, 3]], np.int32)
    want = engine.ops.numpy(engine.model.denoiser.codec.decode(engine.ops, engine.ops.array(tokens, "float32"), grids))
    got = engine.ops.start(found.graph("decoder")).run({"latents": tokens, "grids": grids.astype(np.int64)})
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_bfloat16_graphs_are_half_as_large_and_whole(engine: Engine, exported: Exported, tmp_path: Path) -> None:
    made = export(engine, tmp_path / "half", dtype="bfloat16")
    # but for the decoder, of which the tiny model has a large share
    assert made.manifest["files"]["weights.data"]["bytes"] < 0.65 * exported.manifest["files"]["weights.data"]["bytes"]
    for name in made.manifest["graphs"]:
        onnx.checker.check_model(str(made.graph(name)), full_check=True)
    with pytest.raises(OutputError, match="a folder with something in it, allowed a new or empty folder"):
        export(engine, tmp_path / "half")


def test_where_an_export_cannot_go_is_refused(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    for place, told in (
        (tmp_path / "file", "got a file, allowed a new or empty folder; name another"),
        (tmp_path / "file" / "graphs", r"got Not a directory \(ENOTDIR\), allowed folders before the name"),
        (Path("/proc/graphs"), r"got .*\(E[A-Z]+\), allowed"),  # where not even root may write
    ):
        with pytest.raises(OutputError, match=f"-o {place}: {told}"):
            export(engine, place)
    with files_of_at_most(4096), pytest.raises(OutputError, match=r"full: got File too large \(EFBIG\), allowed"):
        export(engine, tmp_path / "full")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"full: got 1,000 bytes free, allowed .*; make room there, or"):
        export(engine, tmp_path / "full")
    assert [*(tmp_path / "full").iterdir()] == []
    assert (tmp_path / "file").read_text() == "mine"


def test_folders_that_are_broken_or_of_another_version_are_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a folder that `salon export` wrote"):
        open_export(tmp_path)
    made = export(engine, tmp_path / "graphs")
    with pytest.raises(CheckpointError, match=r"expected one of step, .*, found no graph 'encoder'"):
        made.graph("encoder")
    manifest = (made.folder / "manifest.json").read_text()
    (made.folder / "manifest.json").write_text(manifest.replace('"format": 2', '"format": 9'))
    with pytest.raises(CheckpointError, match="expected format 2, that of this Salon, found graphs of format 9"):
        open_export(made.folder)
    (made.folder / "manifest.json").write_text(manifest)
    weights = made.folder / "weights.data"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"weights.data: .*bytes, as manifest.json says, found"):
        open_export(made.folder)
