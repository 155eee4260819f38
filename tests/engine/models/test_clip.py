"""CLIP's text encoders against transformers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import errors
from salon.engine.checkpoint import Component
from salon.engine.models import clip
from salon.kernels.reference import ReferenceOps

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CONFIG: dict[str, Any] = {
    "hidden_size": 30,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "vocab_size": 41,
    "max_position_embeddings": 19,
    "projection_dim": 13,
    "bos_token_id": 39,
    "eos_token_id": 40,
    "pad_token_id": 40,
}
KINDS = {  # class, activation, EOS token of the config
    "CLIP-L": ("CLIPTextModel", "quick_gelu", 2),
    "bigG": ("CLIPTextModelWithProjection", "gelu", 40),
}


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> Any:
    name, activation, eos = KINDS[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(7)
        config = transformers.CLIPTextConfig(**CONFIG | {"hidden_act": activation, "eos_token_id": eos})
        made = getattr(transformers, name)(config).eval()
        with torch.no_grad():
            for key, parameter in made.named_parameters():
                parameter.normal_(1.0 if parameter.ndim == 1 and key.endswith("weight") else 0.0, 0.2)
    return made


def texts() -> list[np.ndarray[Any, np.dtype[np.int32]]]:
    """Ids with one end token and padding behind it, with several, and with nothing else."""
    rng = np.random.default_rng(1)
    words = [rng.integers(0, 39, n) for n in (5, 17, 0)]
    ids = [np.array([39, *part, 40, *[40] * pads], np.int32) for part, pads in zip(words, (12, 0, 1), strict=True)]
    return [*ids, np.array([39, 7, 40, 8, 40], np.int32)]


@pytest.mark.parametrize("layer", [None, -2, 0])
def test_agrees_with_transformers(layer: int | None, backend: Any, model: Any, tmp_path: Path) -> None:
    ops, parts = backend.ops, texts()
    model.save_pretrained(tmp_path, safe_serialization=True)
    weights = clip.load_clip(ops, Component(tmp_path))
    got = clip.encode(ops, weights, parts, layer)
    cuts = np.cumsum([len(part) for part in parts])[:-1]
    for at, (ids, mine) in enumerate(zip(parts, np.split(ops.numpy(got.states), cuts), strict=True)):
        with torch.no_grad():
            want = model(torch.from_numpy(ids).long()[None], output_hidden_states=True)
        states = want.last_hidden_state if layer is None else want.hidden_states[layer]
        pooled = want.text_embeds if "text_embeds" in want else want.pooler_output
        backend.close(mine, states[0].numpy())
        backend.close(ops.numpy(got.pooled)[at], pooled[0].numpy())
        alone = clip.encode(ops, weights, [ids], layer)
        np.testing.assert_array_equal(ops.numpy(alone.states), mine)
        np.testing.assert_array_equal(ops.numpy(alone.pooled)[0], ops.numpy(got.pooled)[at])


def test_files_of_either_naming(model: Any, tmp_path: Path) -> None:
    """Versions of transformers differ in whether the model without a projection has a prefix in its file."""
    from safetensors.numpy import load_file, save_file

    model.save_pretrained(tmp_path, safe_serialization=True)
    ops, path = ReferenceOps(), tmp_path / "model.safetensors"
    before = clip.encode(ops, clip.load_clip(ops, Component(tmp_path)), texts())
    arrays, prefix = load_file(path), "text_model."
    bare = {key.removeprefix(prefix): array for key, array in arrays.items()}
    full = {key if key.startswith("text_projection") else prefix + key: array for key, array in bare.items()}
    for names in (bare, full):
        save_file(names, path, {"format": "pt"})
        again = clip.encode(ops, clip.load_clip(ops, Component(tmp_path)), texts())
        np.testing.assert_array_equal(ops.numpy(again.states), ops.numpy(before.states))


def test_refusals(model: Any, zoo: Any, tmp_path: Path) -> None:
    ops = ReferenceOps()
    weights = clip.load_clip(ops, Component(zoo.save(model, tmp_path)))
    for ids, message in (([0] * 20, "at most 19"), ([41], r"want ids in 0\.\.40"), ([], "at least its start")):
        with pytest.raises(ValueError, match=message):
            clip.encode(ops, weights, [np.array(ids, np.int32)])
    with pytest.raises(ValueError, match=r"want -4\.\.3"):
        clip.encode(ops, weights, texts(), 4)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"architectures": ["CLIPModel"]}, errors.UnknownArchitecture, "expected CLIPTextModel"),
        ({"hidden_act": "relu"}, errors.UnknownArchitecture, "hidden_act"),
        ({"num_attention_heads": 4}, errors.WrongConfig, "a divisor of 30"),
        ({"num_hidden_layers": 4}, errors.MissingKey, "layers.3"),
        ({"max_position_embeddings": 20}, errors.WrongShape, r"expected \[20, 30\], found \[19, 30\]"),
    ],
)
def test_wrong_folders(
    changes: dict[str, Any], kind: type[errors.CheckpointError], message: str, model: Any, zoo: Any, tmp_path: Path
) -> None:
    folder = zoo.save(model, tmp_path)
    zoo.edit_config(folder, **changes)
    with pytest.raises(kind, match=message):
        clip.load_clip(ReferenceOps(), Component(folder))
