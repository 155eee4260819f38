"""faults.md 18: folders that are not what they seem. Git LFS pointers, names that are no UTF-8, no text pipeline."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, MalformedFile, ModelNotFound, WrongConfig, printable
from salon.engine.generation import State
from salon.engine.text.pipeline import TextEncoding
from salon.errors import is_text
from salon.studio.studio import Studio

from .conftest import write_tiny
from .test_loading import digest, picture

POINTER = """version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "salon.json",
        "text_stats.safetensors",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "tokenizer/tokenizer.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_git_lfs_pointer_is_called_one(tmp_path: Path, name: str) -> None:
    """It was a malformed header length, broken JSON, or a tokenizer that cannot be read."""
    folder = write_tiny(tmp_path / "model")
    (folder / name).write_text(POINTER)
    with pytest.raises(MalformedFile, match=f"{name}: a Git LFS pointer in place of the file.*git lfs pull") as error:
        Engine.load(folder, backend="reference")
    assert "\n" not in str(error.value)


def latin(folder: Path) -> Path:
    """A path that is no UTF-8."""
    return folder / os.fsdecode(b"mod\xe8le")


def test_a_model_whose_path_is_no_utf8(tmp_path: Path, tiny_model: Path, backend: str) -> None:
    """Its tokenizer was broken, for the library that reads it takes paths in UTF-8 alone."""
    folder = write_tiny(tmp_path / "plain").rename(latin(tmp_path))
    (folder / "tokenizer" / os.fsdecode(b"n\xe9.txt")).write_text("also hashed")
    engine = Engine.load(folder, backend=backend)
    np.testing.assert_array_equal(picture(engine), picture(Engine.load(tiny_model, backend=backend)))
    assert is_text(engine.model.identity.name)
    assert len(digest(folder)) == 64
    (folder / "salon.json").unlink()
    assert Engine.load(folder, backend=backend).model.name == r"mod\xe8le"


def test_an_error_about_such_a_path_can_be_shown(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"mod\\xe8le: no such model folder") as error:
        Engine.load(latin(tmp_path), backend="reference")
    assert is_text(str(error.value))
    assert os.fsencode(error.value.path).endswith(b"mod\xe8le")
    assert printable("naïve/模型") == "naïve/模型"


def test_a_worker_process_finds_such_a_path(tmp_path: Path) -> None:
    with Studio(write_tiny(tmp_path / "plain").rename(latin(tmp_path)), process=True, threads=1) as studio:
        assert len(studio.imagine("a red apple", width=16, height=16, steps=1).result(timeout_s=60)) == 1


def without_text(folder: Path) -> Path:
    write_tiny(folder)
    (folder / "salon.json").unlink()
    return folder


def test_a_model_without_a_text_pipeline_draws_what_a_program_encodes(tmp_path: Path, tiny_model: Path) -> None:
    engine = Engine.load(without_text(tmp_path / "model"), backend="reference")
    text = Engine.load(tiny_model, backend="reference").model.text
    assert text is not None
    encoded = text.encode("a red apple")
    spec = engine.make_spec("a red apple", width=16, height=16, steps=1)
    generation = engine.open(spec, text=TextEncoding(encoded.tokens, encoded.pooled))
    engine.step([generation])
    assert generation.state is State.DONE


@pytest.mark.parametrize("process", [False, True])
def test_it_is_refused_before_any_weight_is_read_where_prompts_come(tmp_path: Path, process: bool) -> None:
    """All weights were packed first."""
    folder = without_text(tmp_path / "model")
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"never looked at")
    wanted = r"salon.json: a model without a text pipeline, key 'text', .*; it draws what a program has encoded"
    with pytest.raises(WrongConfig, match=wanted):
        Engine.load(folder, backend="reference", require_text=True)
    with pytest.raises(Exception, match=wanted) as error:
        Studio(folder, backend="reference", process=process)
    assert process or isinstance(error.value, CheckpointError)
