"""The known words of a checkpoint, and where they lie, as it names them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from salon.engine.config import Config
from salon.engine.errors import CheckpointError
from salon.engine.text.neighbours import load_neighbours

ENTRY: dict[str, Any] = {"file": "neighbours.safetensors", "tensor": "vectors", "least": 0.3}
CONCEPTS = [{"name": "red apple", "synonyms": ["apple"]}, {"name": "Top-Hat", "synonyms": []}]
VECTORS = np.array([[3, 4], [0, 2], [-1, 0]], np.float32)


def salon(path: Path, vectors: np.ndarray = VECTORS, **change: Any) -> Config:
    save_file({"vectors": vectors}, path / "neighbours.safetensors")
    values = {"text": {"neighbours": ENTRY | change}, "vocabulary": {"concepts": CONCEPTS}}
    return Config(path / "salon.json", values)


def test_a_row_for_every_name_in_order(tmp_path: Path) -> None:
    near = load_neighbours(salon(tmp_path), 2)
    assert near is not None
    assert near.names == ("red apple", "apple", "top hat")
    np.testing.assert_allclose(np.linalg.norm(near.vectors, axis=1), 1, rtol=1e-6)
    assert near.knows("apple")
    assert near.knows("a red apple")
    assert not near.knows("apples")
    assert near.nearest(np.array([0, 9], np.float32)) == "apple"
    assert near.nearest(np.array([-5, 0.1], np.float32)) == "top hat"
    assert near.nearest(np.array([0, -1], np.float32)) is None


def test_a_checkpoint_without_any(tmp_path: Path) -> None:
    assert load_neighbours(Config(tmp_path / "salon.json", {}), 2) is None
    assert load_neighbours(Config(tmp_path / "salon.json", {"text": {}}), 2) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "absent.safetensors"}, "absent"),
        ({"file": "../up.safetensors"}, "file"),
        ({"tensor": "other"}, "other"),
        ({"least": "near"}, "least"),
        ({"least": float("nan")}, "least"),
        ({"least": True}, "least"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_neighbours(salon(tmp_path, **change), 2)


@pytest.mark.parametrize("entry", ["near", ["near"], {"file": "neighbours.safetensors"}])
def test_an_entry_that_is_none_is_refused(tmp_path: Path, entry: Any) -> None:
    config = salon(tmp_path)
    config.values["text"]["neighbours"] = entry
    with pytest.raises(CheckpointError, match="neighbours"):
        load_neighbours(config, 2)


@pytest.mark.parametrize(
    "vectors",
    [VECTORS[:2], VECTORS[:, :1], np.full((3, 2), np.inf, np.float32), np.zeros((3, 2), np.float32)],
)
def test_vectors_must_fit_the_names(tmp_path: Path, vectors: np.ndarray) -> None:
    with pytest.raises(CheckpointError, match="vectors"):
        load_neighbours(salon(tmp_path, vectors), 2)
