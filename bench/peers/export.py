"""Exports of the diffusers model for the graph runtimes: torch modules with plain tensor inputs, and ONNX files."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .base import Setting, image_ids, torch_models

TRANSFORMER_ONNX = "transformer.onnx"
DECODER_ONNX = "decoder.onnx"
INPUTS = ["latents", "timestep", "tokens", "pooled", "image_ids", "text_ids"]


def plain_modules(setting: Setting) -> tuple[Any, Any, tuple[Any, ...], tuple[Any, ...]]:
    """Return (transformer, decoder, transformer example inputs, decoder example inputs), float32, for two samples."""
    import torch

    transformer, vae = torch_models(setting.model, torch.float32)

    class Velocity(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.model = transformer

        def forward(self, latents: Any, timestep: Any, tokens: Any, pooled: Any, image_ids: Any, text_ids: Any) -> Any:
            return self.model(
                hidden_states=latents,
                timestep=timestep,
                encoder_hidden_states=tokens,
                pooled_projections=pooled,
                img_ids=image_ids,
                txt_ids=text_ids,
                return_dict=False,
            )[0]

    class Decode(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, z: Any) -> Any:
            return self.vae.decode(z, return_dict=False)[0]

    job = setting.job
    tensor = torch.from_numpy
    inputs = (
        tensor(job.noise[:2].copy()),
        torch.full((2,), 0.5),
        tensor(np.stack([job.tokens, job.tokens])),
        tensor(np.stack([job.pooled, job.pooled])),
        tensor(image_ids(job.height, job.width)),
        torch.zeros(len(job.tokens), 3),
    )
    z = torch.zeros(2, job.noise.shape[2] // 4, job.height // 8, job.width // 8)
    return Velocity().eval(), Decode().eval(), inputs, (z,)


def export_onnx(setting: Setting) -> None:
    """Write TRANSFORMER_ONNX and DECODER_ONNX into the cache folder, batch axis dynamic."""
    import torch

    velocity, decode, inputs, z = plain_modules(setting)
    setting.cache.mkdir(parents=True, exist_ok=True)
    batch = {name: {0: "samples"} for name in INPUTS[:4]}
    with torch.inference_mode(), warnings.catch_warnings():
        # The tracing exporter needs no further package; it announces its successor at every call.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            velocity,
            inputs,
            str(setting.cache / TRANSFORMER_ONNX),
            input_names=INPUTS,
            output_names=["velocity"],
            dynamic_axes={**batch, "velocity": {0: "samples"}},
            opset_version=18,
            dynamo=True,
        )
        torch.onnx.export(
            decode,
            z,
            str(setting.cache / DECODER_ONNX),
            input_names=["z"],
            output_names=["image"],
            dynamic_axes={"z": {0: "samples"}, "image": {0: "samples"}},
            opset_version=18,
            dynamo=True,
        )
