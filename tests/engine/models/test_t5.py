"""The T5 encoder against transformers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import errors
from salon.engine.checkpoint import Component
from salon.engine.models import t5
from salon.engine.weights.t5 import buckets
from salon.kernels.reference import ReferenceOps

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CONFIG: dict[str, Any] = {
    "d_model": 30,
    "d_kv": 6,
    "d_ff": 37,
    "num_layers": 2,
    "num_heads": 5,
    "vocab_size": 41,
    "feed_forward_proj": "gated-gelu",
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
}
LENGTHS = (5, 1, 0, 70, 23)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder that transformers wrote."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = transformers.T5EncoderModel(transformers.T5Config(**CONFIG)).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim == 1:
                    parameter.normal_(1, 0.2)
                elif "relative" in name:
                    parameter.normal_(0, 1)
                else:
                    parameter.normal_(0, 0.2)
    path = tmp_path_factory.mktemp("t5")
    model.save_pretrained(path, safe_serialization=True)
    return path


def texts() -> list[np.ndarray[Any, np.dtype[np.int32]]]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 41, n).astype(np.int32) for n in LENGTHS]


def test_agrees_with_transformers(backend: Any, folder: Path) -> None:
    model = transformers.T5EncoderModel.from_pretrained(folder, dtype=torch.float32).eval()
    ops, parts = backend.ops, texts()
    weights = t5.load_t5(ops, Component(folder))
    got = np.split(ops.numpy(t5.encode(ops, weights, parts)), np.cumsum(LENGTHS)[:-1])
    for ids, mine in zip(parts, got, strict=True):
        if len(ids):
            with torch.no_grad():
                want = model(torch.from_numpy(ids).long()[None])[0][0].numpy()
            backend.close(mine, want)
            np.testing.assert_array_equal(ops.numpy(t5.encode(ops, weights, [ids])), mine)


@pytest.mark.parametrize(("count", "reach"), [(32, 128), (8, 20), (64, 500)])
def test_buckets(count: int, reach: int) -> None:
    config = t5.T5Config(30, 6, 37, 2, 5, 41, count, reach, 1e-6)
    attention = transformers.models.t5.modeling_t5.T5Attention
    distances = torch.arange(-reach - 9, reach + 10)
    want = attention._relative_position_bucket(distances, True, count, reach).numpy()
    mine = buckets(config)[np.clip(distances.numpy(), -reach, reach) + reach]
    np.testing.assert_array_equal(mine, want)


def test_an_id_outside_the_vocabulary(folder: Path) -> None:
    ops = ReferenceOps()
    weights = t5.load_t5(ops, Component(folder))
    for wrong in (-1, 41):
        with pytest.raises(ValueError, match=r"want ids in 0\.\.40"):
            t5.encode(ops, weights, [np.array([0, wrong], np.int32)])


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"architectures": ["T5ForConditionalGeneration"]}, errors.UnknownArchitecture, "expected T5EncoderModel"),
        ({"feed_forward_proj": "relu"}, errors.UnknownArchitecture, "feed_forward_proj"),
        ({"is_decoder": True}, errors.UnknownArchitecture, "is_decoder"),
        ({"relative_attention_num_buckets": 6}, errors.WrongConfig, "a multiple of 4"),
        ({"relative_attention_max_distance": 2}, errors.WrongConfig, "more than 2"),
        ({"num_layers": 3}, errors.MissingKey, "encoder.block.2"),
        ({"num_layers": 1}, errors.UnexpectedKey, "encoder.block.1"),
        ({"vocab_size": 40}, errors.WrongShape, r"expected \[40, 30\], found \[41, 30\]"),
    ],
)
def test_wrong_folders(
    changes: dict[str, Any], kind: type[errors.CheckpointError], message: str, folder: Path, zoo: Any, tmp_path: Path
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    zoo.edit_config(tmp_path, **changes)
    with pytest.raises(kind, match=message):
        t5.load_t5(ReferenceOps(), Component(tmp_path))
