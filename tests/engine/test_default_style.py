"""The default style as a checkpoint names it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from salon.engine.default_style import load_default_style
from salon.engine.errors import CheckpointError, MalformedFile

ENTRY: dict[str, Any] = {
    "file": "style_encoder.safetensors",
    "tensor": "styles",
    "row": 1,
    "words": "3d render",
    "stylize": [[0, 0.0], [100, 0.4], [1000, 1.6]],
}
STYLES = np.arange(6, dtype=np.float32).reshape(3, 2)


def folder(path: Path, **change: Any) -> Path:
    arrays = {"styles": STYLES, "null": np.ones(2, np.float32)} | change
    save_file(arrays, path / "style_encoder.safetensors")
    return path


def test_the_named_row_and_the_weights_of_stylize(tmp_path: Path) -> None:
    style = load_default_style(folder(tmp_path), {"default_style": ENTRY})
    assert style is not None
    assert np.array_equal(style.vector, STYLES[1])
    assert np.array_equal(style.null, [1, 1])
    assert style.words == "3d render"
    assert [style.weight(s) for s in (0, 50, 100, 550, 1000, 5000)] == pytest.approx([0, 0.2, 0.4, 1.0, 1.6, 1.6])
    assert style.weight() == pytest.approx(0.4)
    assert style.weight(0) == 0.0
    assert style.weight(1000, raw=True) == 0.0


def test_a_checkpoint_without_one(tmp_path: Path) -> None:
    assert load_default_style(tmp_path, {}) is None
    assert load_default_style(tmp_path, {"default_style": {}}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": 3}, "0 to 2"),
        ({"row": -1}, "0 to 2"),
        ({"row": "first"}, "default style"),
        ({"stylize": []}, "rising"),
        ({"stylize": [[100, 0.4], [0, 0.0]]}, "rising"),
        ({"stylize": [[0, -1.0]]}, "rising"),
        ({"stylize": 4}, "default style"),
        ({"tensor": "other"}, "other"),
        ({"tensor": "null"}, "2 dimensions"),
        ({"file": "absent.safetensors"}, "absent"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_default_style(folder(tmp_path), {"default_style": ENTRY | change})
    with pytest.raises(MalformedFile, match="default style"):
        load_default_style(tmp_path, {"default_style": {"row": 1}})
    with pytest.raises(MalformedFile, match="default style"):
        load_default_style(tmp_path, {"default_style": "3d"})


@pytest.mark.parametrize("bad", [np.full((3, 2), np.nan, np.float32), np.zeros((3, 0), np.float32)])
def test_vectors_must_be_numbers(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(MalformedFile, match="styles"):
        load_default_style(folder(tmp_path, styles=bad), {"default_style": ENTRY})


def test_the_null_reference_must_fit(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match=r"\[2\]"):
        load_default_style(folder(tmp_path, null=np.ones(3, np.float32)), {"default_style": ENTRY})
