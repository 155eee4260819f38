"""Language models as text encoders against transformers': Qwen3, Mistral 3 and Qwen2.5-VL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import errors
from salon.engine.checkpoint import Component
from salon.engine.models import language
from salon.kernels.reference import ReferenceOps

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXT: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 37,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 41,
    "pad_token_id": 0,
}
ROPE = {"rope_type": "default", "rope_theta": 5000.0}
LENGTHS = (5, 1, 23)


def qwen3() -> Any:
    config = transformers.Qwen3Config(**TEXT, head_dim=10, rope_parameters=dict(ROPE))
    return transformers.Qwen3ForCausalLM(config)


def mistral3() -> Any:
    text = {**TEXT, "model_type": "mistral", "head_dim": 10, "rope_parameters": dict(ROPE), "sliding_window": None}
    vision = {
        **{"model_type": "pixtral", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1},
        **{"num_attention_heads": 1, "head_dim": 8, "patch_size": 4, "image_size": 8},
    }
    return transformers.Mistral3ForConditionalGeneration(
        transformers.Mistral3Config(text_config=text, vision_config=vision)
    )


def qwen2_5_vl() -> Any:
    text = {**TEXT, "rope_parameters": {**ROPE, "mrope_section": [1, 1, 0]}}
    vision = {"depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 2, "out_hidden_size": 24}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


MODELS = {"Qwen3": qwen3, "Mistral3": mistral3, "Qwen2.5-VL": qwen2_5_vl}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(9)
        made = MODELS[request.param]().eval()
        with torch.no_grad():
            for key, parameter in made.named_parameters():
                parameter.normal_(1.0 if parameter.ndim == 1 and key.endswith("norm.weight") else 0.0, 0.2)
    return made


@pytest.fixture(scope="module")
def folder(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("language")
    model.save_pretrained(path, safe_serialization=True)
    return path


def texts() -> list[np.ndarray[Any, np.dtype[np.int32]]]:
    rng = np.random.default_rng(1)
    return [rng.integers(1, 41, n).astype(np.int32) for n in LENGTHS]


def hidden(model: Any, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any] | None = None) -> list[Any]:
    with torch.no_grad():
        attention = None if mask is None else torch.from_numpy(mask)[None]
        found = model(input_ids=torch.from_numpy(ids).long()[None], attention_mask=attention, output_hidden_states=True)
    return [state[0].numpy() for state in found.hidden_states]


LAYERS = (-1, 0, 2, -3)


def test_agrees_with_transformers(backend: Any, model: Any, folder: Path) -> None:
    ops, parts = backend.ops, texts()
    weights = language.load_language(ops, Component(folder))
    got = [ops.numpy(states) for states in language.encode(ops, weights, parts, LAYERS)]
    cuts = np.cumsum(LENGTHS)[:-1]
    for at, ids in enumerate(parts):
        want = hidden(model, ids)
        alone = language.encode(ops, weights, [ids], LAYERS)
        for layer, states, mine in zip(LAYERS, got, alone, strict=True):
            part = np.split(states, cuts)[at]
            backend.close(part, want[layer])
            np.testing.assert_array_equal(ops.numpy(mine), part)


def test_padding_that_no_token_sees(backend: Any, model: Any, folder: Path) -> None:
    ops = backend.ops
    weights = language.load_language(ops, Component(folder))
    parts = [np.concatenate([part, np.zeros(30 - len(part), np.int32)]) for part in texts()]
    (got,) = language.encode(ops, weights, parts, (2,), LENGTHS)
    for ids, count, mine in zip(parts, LENGTHS, np.split(ops.numpy(got), 3), strict=True):
        backend.close(mine, hidden(model, ids, (np.arange(30) < count).astype(np.int64))[2])


def test_refusals(folder: Path) -> None:
    ops = ReferenceOps()
    weights = language.load_language(ops, Component(folder))
    ids = [np.array([1, 2], np.int32)]
    with pytest.raises(ValueError, match=r"want some of -4\.\.3"):
        language.encode(ops, weights, ids, (4,))
    with pytest.raises(ValueError, match="counts: got"):
        language.encode(ops, weights, ids, counts=(3,))
    with pytest.raises(ValueError, match=r"want ids in 0\.\.40"):
        language.encode(ops, weights, [np.array([41], np.int32)])


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, errors.UnknownArchitecture, "expected Mistral3"),
        ({"hidden_act": "gelu"}, errors.UnknownArchitecture, "hidden_act"),
        ({"rope_scaling": {"rope_type": "yarn"}}, errors.UnknownArchitecture, "rope_scaling.rope_type"),
        ({"num_key_value_heads": 4}, errors.WrongConfig, "a divisor of 6"),
        ({"num_hidden_layers": 4}, errors.MissingKey, "layers.3"),
        ({"num_hidden_layers": 2}, errors.UnexpectedKey, "layers.2"),
        ({"surprise": 7}, errors.UnknownArchitecture, "surprise"),
    ],
)
def test_wrong_folders(
    changes: dict[str, Any], kind: type[errors.CheckpointError], message: str, zoo: Any, tmp_path: Path
) -> None:
    folder = zoo.save(qwen3(), tmp_path)
    zoo.edit_config(folder, **changes)
    with pytest.raises(kind, match=message):
        language.load_language(ReferenceOps(), Component(folder))
