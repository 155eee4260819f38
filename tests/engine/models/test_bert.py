"""The BERT encoder against transformers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import errors
from salon.engine.checkpoint import Checkpoint, Component
from salon.engine.models import bert
from salon.kernels.reference import ReferenceOps

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CONFIG: dict[str, Any] = {
    "hidden_size": 30,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "vocab_size": 41,
    "max_position_embeddings": 19,
    "type_vocab_size": 2,
}
MINI = Path(__file__).parents[3] / "models" / "mini"
LENGTHS = (5, 1, 0, 19, 3)


def texts(vocabulary: int = 41) -> list[np.ndarray[Any, np.dtype[np.int32]]]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, vocabulary, n).astype(np.int32) for n in LENGTHS]


def fresh(zoo: Any) -> Any:
    return zoo.liven(transformers.BertModel(transformers.BertConfig(**CONFIG)))


def hidden(model: Any, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    with torch.no_grad():
        states: np.ndarray[Any, np.dtype[np.float32]] = model(torch.from_numpy(ids).long()[None])[0][0].numpy()
    return states


def test_agrees_with_transformers(backend: Any, zoo: Any, tmp_path: Path) -> None:
    model, ops, parts = fresh(zoo), backend.ops, texts()
    weights = bert.load_bert(ops, Component(zoo.save(model, tmp_path / "b")))
    got = np.split(ops.numpy(bert.encode(ops, weights, parts)), np.cumsum(LENGTHS)[:-1])
    for ids, mine in zip(parts, got, strict=True):
        if len(ids):
            backend.close(mine, hidden(model, ids))
            np.testing.assert_array_equal(ops.numpy(bert.encode(ops, weights, [ids])), mine)


def test_the_embedded_encoder(backend: Any) -> None:
    ops, component = backend.ops, Checkpoint(MINI).component("text_encoder")
    weights = bert.load_bert(ops, component)
    model = transformers.BertModel.from_pretrained(component.path, dtype=torch.float32).eval()
    ids = np.array([101, 1037, 2417, 6207, 102], np.int32)
    backend.close(ops.numpy(bert.encode(ops, weights, [ids])), hidden(model, ids))


def test_refusals(zoo: Any, tmp_path: Path) -> None:
    ops = ReferenceOps()
    folder = zoo.save(fresh(zoo), tmp_path / "b")
    weights = bert.load_bert(ops, Component(folder))
    with pytest.raises(errors.LimitError, match="got 20 tokens, allowed 19"):
        bert.encode(ops, weights, [np.zeros(20, np.int32)])
    for wrong in (-1, 41):
        with pytest.raises(ValueError, match=r"want ids in 0\.\.40"):
            bert.encode(ops, weights, [np.array([0, wrong], np.int32)])


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"architectures": ["T5EncoderModel"]}, errors.UnknownArchitecture, "expected BertModel"),
        ({"hidden_act": "relu"}, errors.UnknownArchitecture, "hidden_act"),
        ({"num_attention_heads": 4}, errors.WrongConfig, "a divisor of 30"),
        ({"num_hidden_layers": 3}, errors.MissingKey, "encoder.layer.2"),
        ({"num_hidden_layers": 1}, errors.UnexpectedKey, "encoder.layer.1"),
        ({"vocab_size": 40}, errors.WrongShape, r"word_embeddings.weight', expected \[40, 30\], found \[41, 30\]"),
    ],
)
def test_wrong_folders(
    changes: dict[str, Any], kind: type[errors.CheckpointError], message: str, zoo: Any, tmp_path: Path
) -> None:
    folder = zoo.save(fresh(zoo), tmp_path / "b")
    zoo.edit_config(folder, **changes)
    with pytest.raises(kind, match=message):
        bert.load_bert(ReferenceOps(), Component(folder))
