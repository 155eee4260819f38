"""Quantised files: each layout by its exact names and dtypes draws the pixels of the dequantised numbers."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, MalformedFile, WrongDtype, WrongShape
from salon.engine.files import flux
from salon.engine.files.opening import ModelPath
from salon.engine.memory import loading_bytes, weight_bytes
from salon.engine.quantised.coded import Coded, Decode, write
from salon.engine.quantised.numbers import empty, narrowed
from salon.engine.safetensors_file import SafetensorsFile
from salon.engine.survey import survey
from salon.engine.weights.flux import load_flux
from salon.kernels import backends
from salon.kernels.bfloat16 import widen
from salon.kernels.cpu import CpuOps

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file

from salon.bench.families.tiny_flux import originals, pipeline

Arrays = dict[str, Any]
# Stored arrays of a layer behind its name, and the numbers that they stand for.
Made = tuple[Arrays, Any]
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


def mark(**said: Any) -> Any:
    return torch.tensor(list(json.dumps(said).encode()), dtype=torch.uint8)


def fp8(weight: Any, kind: Any = E4M3) -> Made:
    stored = weight.to(kind)
    return {"weight": stored}, stored.float()


def scaled(weight: Any, kind: Any, name: str, **beside: Any) -> Made:
    scale = weight.abs().max() / torch.finfo(kind).max
    stored = (weight / scale).to(kind)
    return {"weight": stored, name: scale, **beside}, stored.float() * scale


def by_row(weight: Any) -> Made:
    scale = weight.abs().amax(1, keepdim=True) / 448
    stored = (weight / scale).to(E4M3)
    return {"weight": stored, "weight_scale": scale}, stored.float() * scale


def int8(weight: Any, axis: int | None, **said: Any) -> Made:
    scale = (weight.abs().amax() if axis is None else weight.abs().amax(axis, keepdim=True)) / 127
    stored = (weight / scale).round().to(torch.int8)
    made = {"weight": stored, "weight_scale": scale, "comfy_quant": mark(format="int8_tensorwise", **said)}
    return made, stored.float() * scale


def rotated(weight: Any) -> Made:
    four = torch.tensor([[1.0, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]) / 2
    turn = torch.kron(four, four)

    def turned(values: Any) -> Any:
        return (values.reshape(len(values), -1, 16) @ turn).reshape(values.shape)

    made, numbers = int8(turned(weight), 1, convrot=True, convrot_groupsize=16)
    return made, turned(numbers)


def tiles(scales: Any) -> Any:
    """Scales in cuBLAS's order for tensor cores, padded to whole tiles of 128 x 4."""
    down, across = -(-scales.shape[0] // 128), -(-scales.shape[1] // 4)
    padded = torch.zeros(down * 128, across * 4, dtype=scales.dtype)
    padded[: scales.shape[0], : scales.shape[1]] = scales
    blocks = padded.view(down, 128, across, 4).permute(0, 2, 1, 3).reshape(-1, 4, 32, 4)
    return blocks.transpose(1, 2).reshape(down * 128, across * 4).contiguous()


def mxfp8(weight: Any) -> Made:
    blocks = weight.reshape(len(weight), -1, 32)
    power = torch.ceil(torch.log2(blocks.abs().amax(-1) / 448)).to(torch.int32)
    stored = (blocks / torch.exp2(power.float())[..., None]).to(E4M3)
    made = {"weight": stored.reshape(weight.shape), "weight_scale": tiles((power + 127).to(torch.uint8))}
    numbers = (stored.float() * torch.exp2(power.float())[..., None]).reshape(weight.shape)
    return {**made, "comfy_quant": mark(format="mxfp8")}, numbers


def nvfp4(weight: Any) -> Made:
    values = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    blocks = weight.reshape(len(weight), -1, 16)
    second = weight.abs().max() / (448 * 6)
    scales = (blocks.abs().amax(-1) / 6 / second).to(E4M3)
    factor = (scales.float() * second)[..., None]
    nearest = ((blocks / factor).abs()[..., None] - values).abs().argmin(-1)
    codes = (nearest + 8 * (blocks < 0)).reshape(weight.shape).to(torch.uint8)
    signs = torch.where(blocks < 0, -1.0, 1.0)
    made = {"weight": codes[:, ::2] * 16 + codes[:, 1::2], "weight_scale_2": second}
    made["weight_scale"] = tiles(scales.view(torch.uint8)).view(E4M3)
    return {**made, "comfy_quant": mark(format="nvfp4")}, (values[nearest] * signs * factor).reshape(weight.shape)


LAYOUTS: dict[str, Callable[[Any], Made]] = {
    "fp8 (e4m3)": fp8,
    "fp8 (e5m2)": lambda weight: fp8(weight, E5M2),
    "fp8 (e4m3), scaled": lambda weight: scaled(weight, E4M3, "scale_weight", scale_input=torch.tensor(1.0)),
    "fp8 (e5m2), scaled": lambda weight: scaled(
        weight, E5M2, "weight_scale", input_scale=torch.tensor([0.5]), comfy_quant=mark(format="float8_e5m2")
    ),
    "fp8 by row": by_row,
    "int8": lambda weight: int8(weight, None),
    "int8 by row": lambda weight: int8(weight, 1),
    "int8, rotated": rotated,
    "mxfp8": mxfp8,
    "nvfp4": nvfp4,
}
DTYPES = dict.fromkeys(("float32", backends.create().compute))  # bfloat16 where the CPU multiplies it
SPARED = ("img_in", "time_in", "vector_in", "guidance_in", "final_layer")  # by custom, and too narrow for blocks


def quantised(arrays: Arrays, layout: str, spared: tuple[str, ...] = SPARED) -> tuple[Arrays, Arrays]:
    """A file's arrays with its matrices in a layout, and the same file in plain numbers."""
    made: Arrays = {"scaled_fp8": torch.zeros(0, dtype=E4M3)} if "scaled" in layout else {}
    plain: Arrays = {}
    for key, array in arrays.items():
        if array.ndim != 2 or key.startswith(spared):
            made[key] = plain[key] = array
            continue
        stored, plain[key] = LAYOUTS[layout](array)
        made |= {f"{key.removesuffix('weight')}{name}": value.contiguous() for name, value in stored.items()}
    return made, plain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flux")
    pipeline(dev=True).save_pretrained(path, safe_serialization=True)
    return path


@pytest.fixture(scope="module")
def files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return originals(folder, tmp_path_factory.mktemp("originals") / "files")


def drawn(model: Path, folder: Path, dtype: Any, text: tuple[Path, ...] = ()) -> Any:
    engine = Engine.load(model, text_encoder=[folder, *text], vae=folder, dtype=dtype, threads=1)
    generation = engine.open(engine.make_spec("a red apple", seed=7, width=16, height=16, steps=1))
    engine.step([generation])
    return engine.finish(generation)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_quantised_file_draws_the_pixels_of_its_numbers(
    layout: str, folder: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    made, plain = quantised(load_file(files["transformer"]), layout)
    save_file(made, tmp_path / "quantised.safetensors")
    save_file(plain, tmp_path / "plain.safetensors")
    file = SafetensorsFile(tmp_path / "quantised.safetensors")
    assert file.tensors.keys() == plain.keys()
    assert len(file.coded) == sum(made[key].dtype != plain[key].dtype for key in plain)
    for key, array in plain.items():
        assert file.tensors[key].shape == tuple(array.shape)
        np.testing.assert_allclose(file.array(key), array.numpy(), rtol=0, atol=2e-7 if "rotated" in layout else 0)
    inner = next(key for key in file.coded if key.endswith("img_attn.qkv.weight"))
    np.testing.assert_array_equal(file.array(inner, (5, 200)), file.array(inner)[5:200])
    np.testing.assert_array_equal(file.array(inner, narrowed=True), narrowed(file.array(inner)))
    if "rotated" not in layout:  # torch adds in another order
        for dtype in DTYPES:
            got = drawn(tmp_path / "quantised.safetensors", folder, dtype)
            np.testing.assert_array_equal(got, drawn(tmp_path / "plain.safetensors", folder, dtype))


def test_the_files_own_metadata_says_formats_too(tmp_path: Path) -> None:
    made, numbers = nvfp4(torch.randn(48, 64))
    del made["comfy_quant"]
    layers = {"model.diffusion_model.a": {"format": "nvfp4"}}
    arrays = {f"model.diffusion_model.a.{name}": value for name, value in made.items()}
    for said in ({"_quantization_metadata": json.dumps({"layers": layers})}, {}):
        save_file(arrays, tmp_path / "x.safetensors", said)
        file = SafetensorsFile(tmp_path / "x.safetensors")
        np.testing.assert_array_equal(file.array("model.diffusion_model.a.weight"), numbers.numpy())
    save_file(arrays, tmp_path / "x.safetensors", {"_quantization_metadata": "[1]"})
    with pytest.raises(MalformedFile, match="JSON object"):
        SafetensorsFile(tmp_path / "x.safetensors")


@pytest.mark.parametrize("layout", ["fp8 (e4m3)", "fp8 (e4m3), scaled"])
def test_a_quantised_text_encoder_reads_as_its_numbers_do(
    layout: str, folder: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    made, plain = quantised(load_file(files["t5"]), layout, ())
    if layout == "fp8 (e4m3)":  # t5xxl_fp8_e4m3fn.safetensors has its norms so, too
        made = {key: array.to(E4M3) for key, array in made.items()}
        plain = {key: array.float() for key, array in made.items()}
    for name, arrays in (("quantised", made), ("plain", plain)):
        save_file(arrays, tmp_path / f"{name}.safetensors")
    for dtype in DTYPES:
        got, want = (
            drawn(files["transformer"], folder, dtype, (tmp_path / f"{name}.safetensors",))
            for name in ("quantised", "plain")
        )
        np.testing.assert_array_equal(got, want)
    words = SafetensorsFile(tmp_path / "quantised.safetensors").coded["shared.weight"]
    assert words.shape == (64, 32)


def test_doctor_says_what_is_quantised_and_what_it_takes(folder: Path, files: dict[str, Path], tmp_path: Path) -> None:
    made, _ = quantised(load_file(files["transformer"]), "fp8 (e4m3), scaled")
    save_file(made, tmp_path / "x.safetensors")
    found = survey(ModelPath.of(tmp_path / "x.safetensors", [folder], folder), "bfloat16")
    assert found.problem == ""
    (said,) = next(part.quantised for part in found.parts if part.name == "transformer")
    arrays = [array for array in made.values() if array.dtype == E4M3 and array.numel()]
    assert (said.name, said.arrays) == ("fp8 (e4m3), scaled", len(arrays))
    assert said.numbers == sum(array.numel() for array in arrays)
    assert said.stored == said.numbers + 4 * len(arrays)
    assert found.notes == (f"{len(arrays)} input scales are exactly 1.0, which is not calibrated; Salon uses none",)
    assert found.loading == 3 * 4 * (6 * 128 * 128)  # q, k and v of a layer as large as the largest, in float32


class Weighing(CpuOps):
    """Notes the most bytes of decoded and of packed weights that there are at one time."""

    packed = most = 0

    def pack_linear(self, weights: Any, biases: Any = None, **options: Any) -> Any:
        self.packed += sum(weight.size for weight in weights) * 4
        self.most = max(self.most, self.packed + sum(weight.nbytes for weight in weights))
        return super().pack_linear(weights, biases, **options)


def test_loading_takes_no_more_memory_than_is_stated(files: dict[str, Path], tmp_path: Path) -> None:
    made, _ = quantised(load_file(files["transformer"]), "fp8 (e4m3)", ())
    save_file(made, tmp_path / "x.safetensors")
    parts = {"transformer": flux.transformer(SafetensorsFile(tmp_path / "x.safetensors"), "")}
    ops = Weighing(dtype="float32", threads=1)
    load_flux(ops, parts["transformer"])
    needed = sum(weight_bytes(parts, 4).values())
    assert needed * 0.98 < ops.packed < needed  # biases and norms are the rest
    assert ops.most <= needed + loading_bytes(parts)


NVFP4 = mark(format="nvfp4")


def with_scale(scale: Any) -> Arrays:
    return {"a.weight": torch.zeros(6, 8).to(E4M3), "a.weight_scale": scale}


@pytest.mark.parametrize(
    ("arrays", "kind", "words"),
    [
        ({"a.weight": torch.zeros(2, 4, dtype=torch.uint8), "a.comfy_quant": mark(format="convrot_w4a4")}, WrongDtype,
         "quantised in a format that Salon does not read, key 'a.weight', expected float8_e4m3fn.*found convrot_w4a4"),
        ({"a.weight.quant_state.bitsandbytes__nf4": mark(), "a.weight": torch.zeros(8, 1, dtype=torch.uint8)},
         WrongDtype, "found bitsandbytes, NF4; use the file in one of these"),
        ({"a.weight": torch.zeros(2, 4), "a.comfy_quant": mark(format="nvfp4")}, WrongDtype, "U8, which nvfp4 has"),
        ({"a.weight": torch.zeros(2, 4), "a.comfy_quant": torch.zeros(3, dtype=torch.uint8)}, MalformedFile, "JSON"),
        (with_scale(torch.ones(5)), WrongShape, "one for each of 6 rows"),
        (with_scale(torch.ones(4, 3)), WrongShape, "one for each of 6 rows"),
        (with_scale(torch.ones(0, 3)), WrongShape, "one for each of 6 rows"),
        (with_scale(torch.ones(1, dtype=torch.int32)), WrongDtype, "scales"),
        (with_scale(torch.tensor(float("nan"))), MalformedFile, "finite"),
        ({"a.weight": torch.zeros(2, 8, dtype=torch.uint8), "a.comfy_quant": NVFP4}, WrongShape, "nvfp4"),
        (with_scale(torch.ones(6, 1, dtype=torch.uint8)), WrongShape, "mxfp8"),
        ({"a.weight": torch.zeros(2, 4, dtype=torch.int8), "a.comfy_quant": mark(format="int8_tensorwise")}, WrongShape,
         "without scales"),
        ({**int8(torch.ones(2, 4), None)[0], "comfy_quant": mark(format="int8_tensorwise", convrot=True)},
         MalformedFile, "convrot_groupsize.*divides the 4 columns"),
    ],
)  # fmt: skip
def test_wrong_marks_and_scales_are_told(arrays: Arrays, kind: type, words: str, tmp_path: Path) -> None:
    named = {key if key.startswith("a.") else f"a.{key}": value for key, value in arrays.items()}
    save_file(named, tmp_path / "x.safetensors")
    with pytest.raises(kind, match=words):
        SafetensorsFile(tmp_path / "x.safetensors").array("a.weight")


def test_hostile_headers_give_typed_errors(tmp_path: Path) -> None:
    arrays: Arrays = {}
    for name, layout in LAYOUTS.items():
        stored, _ = layout(torch.randn(32, 32))
        arrays |= {f"{name}.{key}": value.contiguous() for key, value in stored.items()}
    path = tmp_path / "x.safetensors"
    save_file(arrays, path)
    whole, random = path.read_bytes(), np.random.default_rng(7)
    header, read = int.from_bytes(whole[:8], "little"), 0
    for case in range(200):
        data = bytearray(whole)
        if case % 4 == 0:
            del data[int(random.integers(len(data))) :]
        elif case % 4 == 1:  # one number of the header is another
            digits = [at for at in range(8, 8 + header) if chr(data[at]).isdigit()]
            data[int(random.choice(digits))] = int(random.choice(list(b"0123456789")))
        else:
            for at in random.integers(0 if case % 4 == 2 else 8, 8 + header, 1 + case % 3):
                data[at] = int(random.integers(256))
        path.write_bytes(data)
        try:
            file = SafetensorsFile(path)
            for key in file.tensors:
                file.array(key)
            read += 1
        except CheckpointError:
            pass
    assert 0 < read < 100


def test_large_arrays_have_mappings_of_their_own() -> None:
    shape = (3, 600, 1024)  # more bytes than OWN, and more numbers than a CHUNK

    def begin(_: bool) -> Decode:
        def decode(start: int, stop: int, out: Any) -> None:
            write(np.arange(start, stop, dtype=np.float32)[:, None] + np.zeros(600 * 1024, np.float32), out)

        return decode

    coded = Coded("rows by their number", shape, 0, begin)
    for rows, small in ((None, False), ((1, 3), False), (None, True)):
        got = coded.read(rows, narrowed=small)
        assert not got.flags.writeable
        numbers = widen(got, "x")
        assert np.array_equal(numbers, np.broadcast_to(np.arange(*(rows or (0, 3)))[:, None, None], numbers.shape))
        base: Any = got
        while isinstance(base, np.ndarray):
            base = base.base
        assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)
    with pytest.raises(MemoryError, match="bytes of an array"):
        empty((1 << 44,), np.float64)  # more than there are addresses
