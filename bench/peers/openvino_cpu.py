"""OpenVINO on the CPU: the precision of all, latency hint, static shapes, compiled-model cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import F32, USUAL, Peer, Precision, Setting, image_ids
from .export import INPUTS, plain_modules

TRANSFORMER_IR = "transformer.xml"
DECODER_IR = "decoder.xml"
HINTS: dict[Precision, str] = {"bf16": "bf16", "fp32": "f32"}


class OpenVino(Peer):
    name = "OpenVINO"
    precision = USUAL
    setup = f"convert_model, static shapes, INFERENCE_PRECISION_HINT={HINTS[USUAL]}, LATENCY hint, CACHE_DIR"
    packages = ("openvino",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.core: Any = None
        self.compiled: dict[tuple[str, int], Any] = {}
        self.inputs: list[F32] = []

    def prepare(self) -> None:
        """Convert once, save as OpenVINO IR, and fill the compiled-model cache for a grid of 4."""
        import openvino as ov
        import torch

        velocity, decode, inputs, z = plain_modules(self.setting)
        self.setting.cache.mkdir(parents=True, exist_ok=True)
        with torch.inference_mode():
            transformer = ov.convert_model(velocity, example_input=dict(zip(INPUTS, inputs, strict=True)))
            decoder = ov.convert_model(decode, example_input=z[0])
        # compress_to_fp16 is the default of save_model and would round the weights a second time
        ov.save_model(transformer, self.setting.cache / TRANSFORMER_IR, compress_to_fp16=False)
        ov.save_model(decoder, self.setting.cache / DECODER_IR, compress_to_fp16=False)
        self.load()
        self.begin(4)
        self.step()
        self.decode()

    def load(self) -> None:
        import openvino as ov

        self.core = ov.Core()
        self.core.set_property({"CACHE_DIR": str(self.setting.cache / "openvino")})

    def request(self, name: str, shapes: dict[str, list[int]]) -> Any:
        """Return the infer request of a model at one batch size, compiled at first use."""
        key = (name, next(iter(shapes.values()))[0])
        if key not in self.compiled:
            model = self.core.read_model(self.setting.cache / name)
            model.reshape(shapes)
            config = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": HINTS[USUAL],
                "INFERENCE_NUM_THREADS": self.setting.threads,
            }
            self.compiled[key] = self.core.compile_model(model, "CPU", config).create_infer_request()
        return self.compiled[key]

    def condition(self, tokens: F32, pooled: F32) -> None:
        ids = [image_ids(self.job.height, self.job.width), np.zeros((tokens.shape[1], 3), np.float32)]
        self.inputs = [tokens, pooled, *ids]

    def velocity(self, x: F32, sigma: float) -> F32:
        arrays = dict(zip(INPUTS, [x, np.full(len(x), sigma, np.float32), *self.inputs], strict=True))
        request = self.request(TRANSFORMER_IR, {name: list(a.shape) for name, a in arrays.items()})
        return np.array(request.infer(arrays)[0], np.float32)

    def decode_latents(self, z: F32) -> F32:
        return np.array(self.request(DECODER_IR, {"z": list(z.shape)}).infer({"z": z})[0], np.float32)
