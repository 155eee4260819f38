"""Opening model folders: what is read, and the error for each thing that can be wrong."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import errors
from salon.engine.checkpoint import Checkpoint, Component
from salon.engine.safetensors_file import SafetensorsFile

MINI = Path(__file__).parents[2] / "models" / "mini"


def write(path: Path, tensors: dict[str, tuple[str, tuple[int, ...], bytes]], pad: int = 0) -> None:
    """A safetensors file, written from the format's description. `pad` spaces shift the data off its alignment."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for key, (dtype, shape, raw) in tensors.items():
        header[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + pad)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.array([1.5, -2, 3], np.float16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "part").mkdir(parents=True)
    index = {"_class_name": "P", "part": ["diffusers", "Thing"], "none": [None, None], "flag": True}
    (root / "model_index.json").write_text(json.dumps(index))
    (root / "part" / "config.json").write_text(json.dumps({"_class_name": "Thing", "size": 3, "sizes": [1, 2]}))
    tensors = {"a": ("F32", (2, 3), A.tobytes()), "b": ("F16", (3,), B.tobytes())}
    write(root / "part" / "diffusion_pytorch_model.safetensors", tensors)
    return root


def weights_path(folder: Path) -> Path:
    return folder / "part" / "diffusion_pytorch_model.safetensors"


def shard(folder: Path) -> Path:
    """Replace the single file by two shards; returns the index."""
    weights_path(folder).unlink()
    write(folder / "part" / "x-1.safetensors", {"a": ("F32", (2, 3), A.tobytes())})
    write(folder / "part" / "x-2.safetensors", {"b": ("F16", (3,), B.tobytes())})
    path = folder / "part" / "diffusion_pytorch_model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}))
    return path


@pytest.mark.parametrize("sharded", [False, True])
def test_reads_single_and_sharded(folder: Path, sharded: bool) -> None:
    if sharded:
        shard(folder)
    checkpoint = Checkpoint(folder)
    assert list(checkpoint.components) == ["part"]
    component = checkpoint.component("part")
    assert component.config.architecture == "Thing"
    weights = component.weights()
    assert weights.keys() == ["a", "b"]
    assert weights.shape("a") == (2, 3)
    np.testing.assert_array_equal(weights.take("a", 2, 3), A)
    np.testing.assert_array_equal(weights.take("b", 3), B)
    weights.finish()
    with pytest.raises(ValueError, match="read-only"):
        weights.take("a", 2, 3)[0, 0] = 1


def test_reads_bfloat16_as_bits_and_realigns(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0xC000, 0x7F80], np.uint16)
    for pad in (0, 1):
        path = tmp_path / f"{pad}.safetensors"
        write(path, {"c": ("BF16", (3,), bits.tobytes()), "e": ("F32", (0, 4), b"")}, pad)
        file = SafetensorsFile(path)
        assert file.array("c").dtype == np.uint16
        assert file.array("c").flags.aligned
        np.testing.assert_array_equal(file.array("c"), bits)
        assert file.array("e").shape == (0, 4)


def test_agrees_with_the_safetensors_library(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    arrays: dict[str, Any] = {"x": A, "y": B, "scalar": np.array(2.5, np.float64)}
    save_file(arrays, tmp_path / "x.safetensors")
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert set(file.tensors) == set(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(file.array(key), array)


def test_content_hash(folder: Path) -> None:
    def whole() -> str:
        checkpoint = Checkpoint(folder)
        return checkpoint.content_hash(checkpoint.components)

    first = whole()
    assert len(first) == 64
    assert whole() == first
    (folder / "part" / "README.md").write_text("not part of the model")
    assert whole() == first
    data = bytearray(weights_path(folder).read_bytes())
    data[-1] ^= 1
    weights_path(folder).write_bytes(data)
    assert whole() != first
    single = Checkpoint(folder).component("part").content_hash
    (folder / "part" / "config.json").write_text("{}")
    assert Checkpoint(folder).component("part").content_hash != single
    plain = folder / "words"
    plain.mkdir()
    (plain / "vocab.txt").write_text("a")
    before = Component(plain).content_hash
    (plain / "vocab.txt").rename(plain / "vocabulary.txt")
    assert Component(plain).content_hash != before


def test_the_embedded_model_opens() -> None:
    checkpoint = Checkpoint(MINI)
    for name, architecture in (
        ("transformer", "FluxTransformer2DModel"),
        ("vae", "AutoencoderKL"),
        ("text_encoder", "BertModel"),
    ):
        component = checkpoint.component(name)
        assert component.config.architecture == architecture
        assert component.weights().keys()


# ---- what can be wrong


def load(folder: Path) -> None:
    """All that a loader does."""
    component = Checkpoint(folder).component("part")
    component.config.want_architecture(["Thing"])
    component.config.integer("size", high=3)
    component.config.integers("sizes", high=3)
    weights = component.weights()
    weights.take("a", 2, 3)
    weights.take("b", 3)
    weights.finish()


def replace_weights(**tensors: tuple[str, tuple[int, ...], bytes]) -> Callable[[Path], object]:
    return lambda folder: write(weights_path(folder), tensors)


def patch_json(name: str, **values: Any) -> Callable[[Path], object]:
    def patch(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return patch


def cut(size: int) -> Callable[[Path], object]:
    return lambda folder: weights_path(folder).write_bytes(weights_path(folder).read_bytes()[:size])


def header(text: bytes, data: bytes = b"") -> Callable[[Path], object]:
    return lambda folder: weights_path(folder).write_bytes(struct.pack("<Q", len(text)) + text + data)


def folder_for_config(folder: Path) -> None:
    (folder / "part" / "config.json").unlink()
    (folder / "part" / "config.json").mkdir()


def append(folder: Path) -> None:
    with weights_path(folder).open("ab") as file:
        file.write(b"x")


def pickle(folder: Path) -> None:
    weights_path(folder).rename(folder / "part" / "diffusion_pytorch_model.bin")


def sharded(**weight_map: Any) -> Callable[[Path], object]:
    return lambda folder: shard(folder).write_text(json.dumps({"weight_map": weight_map} if weight_map else {}))


CONFIG = "part/config.json"
GOOD_A, GOOD_B = ("F32", (2, 3), A.tobytes()), ("F16", (3,), B.tobytes())
WRONG: list[tuple[str, Callable[[Path], object], type[errors.CheckpointError], str]] = [
    ("no folder", shutil.rmtree, errors.ModelNotFound, r"model: no such model folder.*found nothing"),
    ("no index", lambda f: (f / "model_index.json").unlink(), errors.MissingFile, "model_index.json: no such file"),
    ("index no JSON", lambda f: (f / "model_index.json").write_text("{"), errors.MalformedFile, "model_index.json"),
    ("index binary", lambda f: (f / "model_index.json").write_bytes(b"\xff\xfe\xff"), errors.MalformedFile, "JSON"),
    ("index a list", lambda f: (f / "model_index.json").write_text("[]"), errors.MalformedFile, "found list"),
    ("index deep", lambda f: (f / "model_index.json").write_text("[" * 100_000), errors.MalformedFile, "broken JSON"),
    ("component odd", patch_json("model_index.json", part=["x"]), errors.WrongConfig, "key 'part'"),
    ("component gone", patch_json("model_index.json", part=None), errors.WrongConfig, "missing component, key 'part'"),
    ("path as name", patch_json("model_index.json", **{"../x": ["a", "b"]}), errors.WrongConfig, "key '../x'"),
    ("no component folder", lambda f: shutil.rmtree(f / "part"), errors.MissingFile, "part: no such folder"),
    ("no config", lambda f: (f / "part/config.json").unlink(), errors.MissingFile, "part/config.json"),
    ("config a folder", folder_for_config,
     errors.UnreadableFile, "cannot be read"),
    ("other class", patch_json(CONFIG, _class_name="Other"), errors.UnknownArchitecture,
     "config.json: unknown architecture, key '_class_name', expected Thing, found .Other"),
    ("no class", patch_json(CONFIG, _class_name=None), errors.UnknownArchitecture, "found nothing"),
    ("config type", patch_json(CONFIG, size="3"), errors.WrongConfig, "key 'size', .*found \"3\""),
    ("config range", patch_json(CONFIG, size=4), errors.WrongConfig, "expected an integer in 1..3, found 4"),
    ("config bool", patch_json(CONFIG, size=True), errors.WrongConfig, "found true"),
    ("config list", patch_json(CONFIG, sizes=[1, 2.5]), errors.WrongConfig, "key 'sizes'"),
    ("config key", patch_json(CONFIG, size=None), errors.WrongConfig, "expected a value, found nothing"),
    ("no weights", lambda f: weights_path(f).unlink(), errors.MissingFile, "part: no weights"),
    ("pickled", pickle, errors.UnsafeFile, r"model.bin: the weights are pickled.*save them again as safetensors"),
    ("empty file", cut(0), errors.TruncatedFile, "expected at least 8 bytes, found 0"),
    ("cut length", cut(5), errors.TruncatedFile, "found 5"),
    ("cut header", cut(40), errors.TruncatedFile, "truncated, expected at least .* bytes, found 40"),
    ("cut data", lambda f: cut(weights_path(f).stat().st_size - 1)(f), errors.TruncatedFile, "truncated"),
    ("longer", lambda f: append(f), errors.MalformedFile, "length"),
    ("no header", lambda f: weights_path(f).write_bytes(b"\xff" * 64), errors.MalformedFile, "header length"),
    ("header no JSON", header(b"{oops  }"), errors.MalformedFile, "malformed header, expected JSON"),
    ("header a list", header(b"[]      "), errors.MalformedFile, "found list"),
    ("entry", header(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}'),
     errors.MalformedFile, "key 'a'"),
    ("entry dtype", header(b'{"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}', b"1234"),
     errors.MalformedFile, "key 'a'"),
    ("entry type", header(b'{"a": 3}'), errors.MalformedFile, "key 'a'"),
    ("entry size", header(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', b"1234"),
     errors.MalformedFile, r"expected 8 bytes for F32 \[2\], found 4"),
    ("hole", header(b'{"a": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}}', b"1234"),
     errors.MalformedFile, "a start of 0, found 2"),
    ("format unheard of", header(b'{"a": {"dtype": "F1", "shape": [2], "data_offsets": [0, 2]}}', b"12"),
     errors.WrongDtype, "found F1"),
    ("format of integers", replace_weights(a=("I32", (2, 3), A.tobytes()), b=GOOD_B),
     errors.WrongDtype, "key 'a'.*I32"),
    ("missing key", replace_weights(a=GOOD_A), errors.MissingKey, r"key 'b', expected an array of shape \[3\]"),
    ("unexpected key", replace_weights(a=GOOD_A, b=GOOD_B, c=GOOD_B),
     errors.UnexpectedKey, "unexpected weight, key 'c'"),
    ("wrong shape", replace_weights(a=("F32", (3, 2), A.tobytes()), b=GOOD_B), errors.WrongShape,
     r"key 'a', expected \[2, 3\], found \[3, 2\]"),
    ("index of shards", sharded(), errors.MalformedFile, "weight_map"),
    ("shard gone", sharded(a="x-1.safetensors", b="x-3.safetensors"), errors.MissingFile, "x-3.safetensors"),
    ("shard outside", sharded(a="../x-1.safetensors"), errors.MalformedFile, "weight_map"),
    ("shard pickled", sharded(a="x-1.bin"), errors.UnsafeFile, "x-1.bin"),
    ("shard lacks", sharded(a="x-2.safetensors", b="x-2.safetensors"), errors.MissingKey, "x-2.safetensors.*key 'a'"),
    ("shard has more", sharded(a="x-1.safetensors"), errors.MissingKey, "key 'b'"),
    ("shard disagrees", sharded(b="x-2.safetensors", **{}), errors.MissingKey, "key 'a'"),
]  # fmt: skip


def test_the_fixture_is_right(folder: Path) -> None:
    load(folder)


@pytest.mark.parametrize(("spoil", "kind", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_each_fault_has_its_error(
    folder: Path, spoil: Callable[[Path], object], kind: type[errors.CheckpointError], message: str
) -> None:
    spoil(folder)
    with pytest.raises(errors.CheckpointError, match=message) as caught:
        load(folder)
    assert type(caught.value) is kind
    assert caught.value.path.startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_looked_into_is_told_as_its_index_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.listdir", closed)
    monkeypatch.setattr(Path, "iterdir", closed)
    Checkpoint(folder)
    (folder / "model_index.json").unlink()
    with pytest.raises(errors.MissingFile, match=r"model_index\.json"):
        Checkpoint(folder)


def test_index_and_shard_must_agree(folder: Path) -> None:
    shard(folder)
    write(folder / "part" / "x-1.safetensors", {"a": GOOD_A, "b": GOOD_B})
    with pytest.raises(errors.UnexpectedKey, match=r"x-1.safetensors: weight not in the index, key 'b'"):
        load(folder)
