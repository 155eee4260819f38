"""Which files of a folder are its weights, on folders that diffusers and transformers write themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.checkpoint import Component
from salon.engine.errors import AmbiguousWeights, MissingFile, UnreadableFile
from salon.engine.weight_files import NAMES, find_weights
from salon.kernels.bfloat16 import widen

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("default")  # of the libraries, about themselves


def transformer() -> Any:
    sizes = {"num_layers": 1, "num_single_layers": 1, "attention_head_dim": 8, "num_attention_heads": 2}
    text = {"joint_attention_dim": 12, "pooled_projection_dim": 12, "axes_dims_rope": (4, 2, 2)}
    return diffusers.FluxTransformer2DModel(in_channels=16, **sizes, **text)


def vae() -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )


def text_encoder() -> Any:
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    return transformers.BertModel(transformers.BertConfig(vocab_size=40, max_position_embeddings=32, **sizes))


MODELS = [transformer, vae, text_encoder]
SHARDED = {"max_shard_size": "2KB"}
WHOLE: dict[str, Any] = {}


def base(make: Callable[[], Any]) -> str:
    """What the library calls the weights' files."""
    return NAMES[1] if make is text_encoder else NAMES[0]


def save(folder: Path, seed: int, make: Callable[[], Any], **options: Any) -> dict[str, Any]:
    """Save random weights; returns them by name."""
    torch.manual_seed(seed)
    model = make()
    model.save_pretrained(folder, **options)
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def read(folder: Path) -> dict[str, Any]:
    weights = Component(folder).weights()
    return {key: widen(weights.take(key, *shape), key) for key, (_, shape) in weights.layout().items()}


def same(found: dict[str, Any], saved: dict[str, Any]) -> bool:
    return found.keys() == saved.keys() and all(np.array_equal(found[key], saved[key]) for key in saved)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(("first", "second"), [(WHOLE, SHARDED), (SHARDED, WHOLE)], ids=["sharded", "whole"])
def test_saved_again_in_another_way_over_an_old_folder(
    tmp_path: Path, make: Callable[[], Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    """faults.md 2: the old single file was drawn, and the digest vouched for it, though the index beside it was newer.
    (diffusers takes the index, transformers the single file; saved whole over shards, diffusers finds no weights.)"""
    save(tmp_path, 1, make, **first)
    save(tmp_path, 2, make, **second)
    single, index = f"{base(make)}.safetensors", f"{base(make)}.safetensors.index.json"
    with pytest.raises(
        AmbiguousWeights, match=f"several sets of weights.* found {single} and {index}; delete"
    ) as error:
        read(tmp_path)
    assert error.value.path == str(tmp_path)
    with pytest.raises(AmbiguousWeights):
        Component(tmp_path).content_hash  # noqa: B018


@pytest.mark.parametrize("make", MODELS)
def test_saved_again_in_the_same_way(tmp_path: Path, make: Callable[[], Any]) -> None:
    """Also into fewer shards: those that the new index does not name are not the model's."""
    for name, options, again in (("whole", WHOLE, WHOLE), ("sharded", SHARDED, {"max_shard_size": "5KB"})):
        folder = tmp_path / name
        save(folder, 1, make, **options)
        old = {path.name: path.read_bytes() for path in folder.glob("*-of-*.safetensors")}
        new = save(folder, 2, make, **again)
        before = Component(folder).content_hash
        for file, content in old.items():
            if not (folder / file).exists():
                (folder / file).write_bytes(content)
        assert same(read(folder), new)
        assert Component(folder).content_hash == before


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("options", [WHOLE, SHARDED], ids=["whole", "sharded"])
def test_only_a_variant_is_there(tmp_path: Path, make: Callable[[], Any], options: dict[str, Any]) -> None:
    """faults.md 18: "no weights", in a folder full of them."""
    saved = save(tmp_path, 1, make, variant="fp16", **options)
    assert same(read(tmp_path), saved)
    assert "fp16" in find_weights(tmp_path).path.name
    save(tmp_path, 2, make, variant="bf16", **options)
    with pytest.raises(AmbiguousWeights, match="found .*bf16.* and .*fp16"):
        read(tmp_path)
    plain = save(tmp_path, 3, make, **options)  # what both libraries take where nobody asks for a variant
    assert same(read(tmp_path), plain)


@pytest.mark.parametrize("make", MODELS)
def test_an_index_whose_shards_are_gone(tmp_path: Path, make: Callable[[], Any]) -> None:
    save(tmp_path, 1, make, **SHARDED)
    first = sorted(tmp_path.glob("*-of-*.safetensors"))[0]
    first.unlink()
    with pytest.raises(MissingFile, match=rf"{first.name}: no such file, expected a shard, which {base(make)}.*index"):
        read(tmp_path)


@pytest.mark.parametrize("make", MODELS)
def test_shards_without_an_index(tmp_path: Path, make: Callable[[], Any]) -> None:
    save(tmp_path, 1, make, **SHARDED)
    next(tmp_path.glob("*.index.json")).unlink()
    with pytest.raises(MissingFile, match=r"shards without an index, expected .*index.json.*00001-of-"):
        read(tmp_path)


def test_what_lies_there_instead_is_named(tmp_path: Path) -> None:
    (tmp_path / "flux1-dev-Q4.gguf").write_bytes(b"GGUF")
    with pytest.raises(MissingFile, match=r"no weights, expected .*, found flux1-dev-Q4.gguf; download"):
        find_weights(tmp_path)
    (tmp_path / "flux1-dev-Q4.gguf").unlink()
    with pytest.raises(MissingFile, match="found an empty folder"):
        find_weights(tmp_path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"absent: cannot be read \(No such file or directory\)"):
        find_weights(tmp_path / "absent")


def test_weights_under_both_libraries_names(tmp_path: Path) -> None:
    save(tmp_path, 1, vae)
    shutil.copy(tmp_path / f"{NAMES[0]}.safetensors", tmp_path / f"{NAMES[1]}.safetensors")
    with pytest.raises(AmbiguousWeights, match="found diffusion_pytorch_model.safetensors and model.safetensors"):
        find_weights(tmp_path)
