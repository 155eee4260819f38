"""GGUF files, written by the gguf package under the names that people's files have, against the same numbers."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize, quantize

from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, MalformedFile, TruncatedFile, UnreadableFile, WrongDtype
from salon.engine.files.opening import ModelPath
from salon.engine.quantised.gguf import GgufFile
from salon.engine.quantised.numbers import narrowed
from salon.engine.survey import survey
from salon.kernels import backends

Arrays = dict[str, Any]
DTYPES = dict.fromkeys(("float32", backends.create().compute))  # bfloat16 where the CPU multiplies it
T5 = {
    "shared": "token_embd", "encoder.final_layer_norm": "enc.output_norm",
    "encoder.block.": "enc.blk.", "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b",
    **{f"layer.0.SelfAttention.{x}": f"attn_{x}" for x in "qkvo"},
    "layer.0.layer_norm": "attn_norm", "layer.1.layer_norm": "ffn_norm", "layer.1.DenseReluDense.wi_0": "ffn_gate",
    "layer.1.DenseReluDense.wi_1": "ffn_up", "layer.1.DenseReluDense.wo": "ffn_down",
}  # fmt: skip


def write(path: Path, architecture: str, arrays: Iterable[tuple[str, Any, Kind]]) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"] * 10)
    writer.add_array("tokenizer.ggml.scores", [0.5] * 20)
    for name, data, kind in arrays:
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def kept(arrays: Arrays, kind: Kind) -> tuple[list[tuple[str, Any, Kind]], Arrays]:
    """Matrices in a quantised type where their rows allow it, else as they are; and the numbers of both."""
    made, plain = [], Arrays()
    for name, array in arrays.items():
        own = kind if array.ndim == 2 and array.shape[1] % 32 == 0 else Kind.F16 if array.ndim == 2 else Kind.F32
        data = quantize(array, own)
        made.append((name, data, own))
        plain[name] = dequantize(data, own) if own != Kind.F32 else array
    return made, plain


def drawn(model: Path, folder: Path, dtype: Any, text: Path | None = None) -> Any:
    named = [folder, *([] if text is None else [text])]
    engine = Engine.load(model, text_encoder=named, vae=folder, dtype=dtype, threads=1)
    generation = engine.open(engine.make_spec("a red apple", seed=7, width=16, height=16, steps=1))
    engine.step([generation])
    return engine.finish(generation)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("diffusers")
    from salon.bench.families.tiny_flux import originals, pipeline

    path = tmp_path_factory.mktemp("flux")
    pipeline(dev=True).save_pretrained(path, safe_serialization=True)
    originals(path, path / "files")
    return path


@pytest.mark.parametrize("kind", [Kind.Q8_0, Kind.Q4_0, Kind.Q5_1, Kind.BF16])
def test_a_transformer_in_gguf_draws_the_pixels_of_its_numbers(kind: Kind, folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    made, plain = kept(load_file(folder / "files" / "flux1.safetensors"), kind)
    path = write(tmp_path / "flux1-dev.gguf", "flux", made)
    save_file(plain, tmp_path / "plain.safetensors")
    for dtype in DTYPES:
        got = drawn(path, folder, dtype)
        np.testing.assert_array_equal(got, drawn(tmp_path / "plain.safetensors", folder, dtype))


def test_a_text_encoder_of_llama_cpp_reads_as_its_numbers_do(folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    made, plain = kept(load_file(folder / "files" / "t5xxl.safetensors"), Kind.Q8_0)

    def named(name: str) -> str:
        for theirs, own in T5.items():
            name = name.replace(theirs, own)
        return name

    arrays = [(named(name), *rest) for name, *rest in made if name in plain]
    assert "enc.blk.1.ffn_gate.weight" in [name for name, *_ in arrays]
    path = write(tmp_path / "t5.gguf", "t5encoder", arrays)
    save_file(plain, tmp_path / "plain.safetensors")
    model = folder / "files" / "flux1.safetensors"
    for dtype in DTYPES:
        got = drawn(model, folder, dtype, path)
        np.testing.assert_array_equal(got, drawn(model, folder, dtype, tmp_path / "plain.safetensors"))
    found = survey(ModelPath.of(model, [folder, path], folder))
    assert (found.family, found.problem) == ("flux", "")
    (said,) = next(part.quantised for part in found.parts if part.name == "text_encoder_2")
    assert (said.name, said.stored) == ("GGUF Q8_0", said.numbers // 32 * 34)


@pytest.mark.parametrize("kind", [Kind.F16, Kind.Q8_0])
def test_language_models_of_llama_cpp_have_the_names_and_rows_of_transformers(kind: Kind, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    shapes = {
        "attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64), "attn_output": (64, 64), "ffn_gate": (96, 64),
        "ffn_up": (96, 64), "ffn_down": (64, 96), "attn_norm": (64,), "ffn_norm": (64,), "attn_q_norm": (16,),
    }  # fmt: skip
    rows = {"q": 64, "k": 32, "v": 32}
    biases = {f"blk.1.attn_{x}.bias": random.normal(size=count).astype(np.float32) for x, count in rows.items()}
    stored = {f"blk.1.{name}.weight": random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    stored |= {"token_embd.weight": np.ones((40, 64), np.float32), "output_norm.weight": np.ones(64, np.float32)}
    for architecture in ("qwen3", "qwen2vl", "mistral3"):
        writer = gguf.GGUFWriter(tmp_path / f"{architecture}.gguf", architecture)
        writer.add_head_count(4)
        writer.add_head_count_kv(2)
        numbers = {}
        for name, array in (stored | (biases if architecture == "qwen2vl" else {})).items():
            own = kind if array.ndim == 2 else Kind.F32
            data = quantize(array, own)
            writer.add_tensor(name, data, raw_dtype=own)
            numbers[name] = dequantize(data.view(np.uint8) if kind == Kind.Q8_0 and array.ndim == 2 else data, own)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        file = GgufFile(tmp_path / f"{architecture}.gguf")
        at = "model.layers.1."
        assert {"model.embed_tokens.weight", "model.norm.weight", f"{at}mlp.down_proj.weight"} < file.tensors.keys()
        assert f"{at}self_attn.q_norm.weight" in file.tensors
        if architecture == "qwen2vl":  # Qwen2.5-VL's: its language side, with biases
            np.testing.assert_array_equal(file.array(f"{at}self_attn.k_proj.bias"), biases["blk.1.attn_k.bias"])
        np.testing.assert_array_equal(file.array(f"{at}self_attn.v_proj.weight"), numbers["blk.1.attn_v.weight"])
        for x, heads in (("q", 4), ("k", 2)):
            want = numbers[f"blk.1.attn_{x}.weight"].astype(np.float32)
            if architecture == "mistral3":  # as llama.cpp's converter turns them, backwards
                want = want.reshape(heads, 8, 2, 64).swapaxes(1, 2).reshape(want.shape)
            np.testing.assert_array_equal(file.array(f"{at}self_attn.{x}_proj.weight"), want)
            np.testing.assert_array_equal(file.array(f"{at}self_attn.{x}_proj.weight", (3, 21)), want[3:21])


def test_heads_that_do_not_go_with_the_rows_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf", "llama", [("blk.0.attn_q.weight", np.ones((8, 4), np.float32), Kind.F32)])
    with pytest.raises(
        MalformedFile, match="key 'llama.attention.head_count', expected heads for the array .* found N"
    ):
        GgufFile(path)


def blocks(kind: Kind, rows: int, columns: int) -> Any:
    """Random blocks of a type that the package does not write: random bytes, with scales of halves that are finite."""
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    data = np.random.default_rng(3).integers(0, 256, (rows * columns // numbers, size), dtype=np.uint8)
    data[:, 1::2] &= 0x3B  # no half has an exponent of infinity, wherever the scales lie
    data[:, 0::2] &= 0x3B
    return data.reshape(rows, -1)


@pytest.mark.parametrize(
    "kind",
    [Kind.Q2_K, Kind.Q3_K, Kind.Q4_K, Kind.Q5_K, Kind.Q6_K, Kind.IQ4_NL, Kind.IQ4_XS, Kind.IQ3_S, Kind.Q4_1, Kind.Q5_0],
    ids=lambda kind: kind.name,
)
def test_every_type_is_read_as_the_package_reads_it(kind: Kind, tmp_path: Path) -> None:
    data = blocks(kind, 20, 512)
    file = GgufFile(write(tmp_path / "x.gguf", "flux", [("a.weight", data, kind)]))
    want = dequantize(data, kind)
    assert (file.tensors["a.weight"].shape, file.coded["a.weight"].format) == ((20, 512), f"GGUF {kind.name}")
    np.testing.assert_array_equal(file.array("a.weight"), want)
    np.testing.assert_array_equal(file.array("a.weight", (3, 11)), want[3:11])
    np.testing.assert_array_equal(file.array("a.weight", narrowed=True), narrowed(want))
    with pytest.raises(ValueError, match="read-only"):
        file.array("a.weight")[0, 0] = 1


def test_arrays_that_were_reshaped_have_their_shape_again(tmp_path: Path) -> None:
    values = np.arange(4 * 8 * 3 * 3, dtype=np.float32).reshape(4, 8, 3, 3)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "sd1")
    for name, shape in (("conv.weight", values.shape), ("bad.weight", (5, 8, 3, 3))):
        writer.add_array(f"comfy.gguf.orig_shape.{name}", [int(n) for n in shape])
        if name == "conv.weight":
            writer.add_tensor(name, quantize(values.reshape(9, 32), Kind.Q8_0), raw_dtype=Kind.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GgufFile(tmp_path / "x.gguf")
    want = dequantize(quantize(values.reshape(9, 32), Kind.Q8_0), Kind.Q8_0).reshape(values.shape)
    np.testing.assert_array_equal(file.array("conv.weight"), want)
    np.testing.assert_array_equal(file.array("conv.weight", (1, 3)), want[1:3])  # rows begin amid blocks


def header(*, version: int = 3, arrays: int = 0, settings: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, arrays, settings) + rest


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def array(shape: tuple[int, ...], kind: int, offset: int = 0) -> bytes:
    return text(b"a.weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", UnreadableFile, "an empty file"),
        (b"GGML" + bytes(20), MalformedFile, "beginning, expected GGUF"),
        (header(version=1), MalformedFile, "version, expected 2 or 3"),
        (header(version=3 << 24), MalformedFile, "byte order"),
        (header(settings=1 << 60, rest=text(b"k") + struct.pack("<IB", 0, 1)), TruncatedFile, "at least"),
        (header(arrays=1 << 60), TruncatedFile, "at least"),
        (header(settings=1, rest=struct.pack("<Q", 1 << 63)), TruncatedFile, "at least"),
        (header(settings=1, rest=text(b"k") + struct.pack("<IIQ", 9, 4, 1 << 61)), TruncatedFile, "at least"),
        (header(settings=1, rest=text(b"k") + struct.pack("<IIQ", 9, 9, 1)), MalformedFile, "type of a list"),
        (header(settings=1, rest=text(b"k") + struct.pack("<I", 99)), MalformedFile, "type of a setting.*found 99"),
        (header(arrays=1, rest=array((1,) * 5, 0)), MalformedFile, "number of axes"),
        (header(arrays=1, rest=array((33,), 8)), MalformedFile, "rows of a multiple of 32, for Q8_0"),
        (header(arrays=1, rest=array((1 << 62, 1 << 62), 0)), MalformedFile, "shape"),
        (header(arrays=1, rest=array((64, 64), 8)), TruncatedFile, "key 'a.weight'"),
        (header(arrays=1, rest=array((1,), 0, 1 << 63)), TruncatedFile, "key 'a.weight'"),
        (header(arrays=1, rest=array((1,), 4)), WrongDtype, "update the gguf package"),
        (header(arrays=2, rest=2 * array((0,), 0) + bytes(64)), MalformedFile, "one array of each name"),
        (header(settings=1, rest=text(b"general.alignment") + struct.pack("<II", 4, 3)), MalformedFile, "power of 2"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", CheckpointError, "LFS"),
    ],
    ids=range(19),
)  # fmt: skip
def test_hostile_headers_give_typed_errors(data: bytes, kind: type, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(data)
    with pytest.raises(kind, match=words):
        GgufFile(tmp_path / "x.gguf")


def test_broken_files_give_typed_errors(tmp_path: Path) -> None:
    arrays = [(f"{kind.name}.weight", blocks(kind, 2, 256), kind) for kind in (Kind.Q4_K, Kind.Q8_0)]
    path = write(tmp_path / "x.gguf", "flux", [*arrays, ("b.bias", np.ones(3, np.float32), Kind.F32)])
    whole, random, read = path.read_bytes(), np.random.default_rng(11), 0
    for case in range(300):
        data = bytearray(whole)
        if case % 3 == 0:
            del data[int(random.integers(len(data))) :]
        else:
            for at in random.integers(0, 700, 1 + case % 4):
                data[at] = int(random.integers(256))
        path.write_bytes(data)
        try:
            file = GgufFile(path)
            for key in file.tensors:
                file.array(key)
            read += 1
        except CheckpointError:
            pass
    assert 0 < read < 290


def test_a_type_that_the_package_does_not_decode_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(header(arrays=1, rest=array((32,), Kind.Q8_1)) + bytes(200))
    file = GgufFile(tmp_path / "x.gguf")
    with pytest.raises(WrongDtype, match=r"key 'a.weight', expected .*Q4_K, found Q8_1; use the file"):
        file.array("a.weight")
