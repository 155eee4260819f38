"""Krea 2's transformer against diffusers', sample by sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.engine import denoiser, errors
from salon.engine.checkpoint import Component
from salon.engine.models import krea2
from salon.engine.text.pipeline import TextEncoding
from salon.kernels.reference import ReferenceOps

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

Float32 = NDArray[np.float32]

CONFIG: dict[str, Any] = {
    "in_channels": 12,
    "num_layers": 2,
    "attention_head_dim": 22,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 35,
    "timestep_embed_dim": 18,
    "text_hidden_dim": 24,
    "num_text_layers": 3,
    "text_num_attention_heads": 4,
    "text_num_key_value_heads": 2,
    "text_intermediate_size": 21,
    "num_layerwise_text_blocks": 2,
    "num_refiner_text_blocks": 1,
    "axes_dims_rope": (4, 8, 10),
}
TEXTS = (5, 1, 0, krea2.FUSED + 7)
GRIDS = ((3, 4), (1, 1), (5, 2), (2, 7))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(20261201)
        model = diffusers.Krea2Transformer2DModel(**CONFIG).eval()
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or name.endswith("table"):
                parameter.normal_(0, 0.3)
    path = tmp_path_factory.mktemp("krea") / "transformer"
    model.save_pretrained(path)
    return model, path


def samples() -> list[tuple[Float32, Float32, float, tuple[int, int]]]:
    """Latents, text, sigma and grid of each."""
    draw = np.random.default_rng(3).standard_normal
    return [
        (draw((h * w, 12), np.float32), draw((n, 3 * 24), np.float32), 0.1 + 0.02 * n, (h, w))
        for n, (h, w) in zip(TEXTS, GRIDS, strict=True)
    ]


def velocity(ops: Any, weights: Any, parts: list[Any]) -> list[Float32]:
    inputs = [denoiser.Sample(grid, TextEncoding(text, np.zeros(0, np.float32))) for _, text, _, grid in parts]
    layout = krea2.layout(ops, weights, inputs)
    latents = ops.array(np.concatenate([part[0] for part in parts]), "float32")
    times = np.array([part[2] for part in parts], np.float32) * np.float32(1000)
    rows = ops.numpy(krea2.velocity(ops, weights, layout, latents, times))
    return np.split(rows, np.cumsum([len(part[0]) for part in parts])[:-1])


def test_velocities_are_those_of_diffusers_alone_and_in_a_batch(backend: Any, folder: Any) -> None:
    model, path = folder
    parts = samples()
    weights = krea2.load_krea2(backend.ops, Component(path))
    together = velocity(backend.ops, weights, parts)
    for (latents, text, sigma, (height, width)), mine in zip(parts, together, strict=True):
        alone = velocity(backend.ops, weights, [(latents, text, sigma, (height, width))])
        np.testing.assert_array_equal(alone[0], mine)
        if not len(text):  # which diffusers cannot do
            continue
        ids = torch.zeros(len(text) + len(latents), 3)
        ids[len(text) :, 1:] = torch.tensor([[i, j] for i in range(height) for j in range(width)])
        with torch.no_grad():
            want = model(
                hidden_states=torch.from_numpy(latents)[None], timestep=torch.tensor([sigma]), position_ids=ids,
                encoder_hidden_states=torch.from_numpy(text.reshape(1, -1, 3, 24)), return_dict=False,
            )[0][0].numpy()  # fmt: skip
        backend.close(mine, want)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"_class_name": "SD3Transformer2DModel"}, errors.UnknownArchitecture, "Krea2Transformer2DModel"),
        ({"axes_dims_rope": [4, 8, 8]}, errors.WrongConfig, "axes_dims_rope"),
        ({"num_key_value_heads": 3}, errors.WrongConfig, "'num_key_value_heads', expected a divisor of 4"),
        ({"text_num_attention_heads": 7}, errors.WrongConfig, "text_num_"),
        ({"text_num_attention_heads": 8}, errors.WrongConfig, "heads of an even width"),
        ({"timestep_embed_dim": 17}, errors.WrongConfig, "timestep_embed_dim"),
        ({"num_layers": 3}, errors.MissingKey, "transformer_blocks.2"),
        ({"num_refiner_text_blocks": 0}, errors.UnexpectedKey, "text_fusion.refiner_blocks.0"),
        ({"num_text_layers": 4}, errors.WrongShape, "projector"),
        ({"odd": 1}, errors.UnknownArchitecture, "'odd', expected no such setting"),
    ],
)
def test_wrong_folders(
    changes: dict[str, Any], kind: type[errors.CheckpointError], message: str, folder: Any, zoo: Any, tmp_path: Path
) -> None:
    for file in folder[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    zoo.edit_config(tmp_path, **changes)
    with pytest.raises(kind, match=message):
        krea2.load_krea2(ReferenceOps(), Component(tmp_path, "transformer"))
