"""ONNX Runtime, CPU execution provider, float32 (its CPU kernels have no bf16), from torch.onnx exports."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import F32, Peer, Setting, image_ids
from .export import DECODER_ONNX, TRANSFORMER_ONNX, export_onnx


class OnnxRuntime(Peer):
    name = "ONNX Runtime"
    precision = "fp32"
    setup = "torch.onnx export, CPU provider, ORT_ENABLE_ALL, intra_op threads = threads, one inter_op thread"
    packages = ("onnxruntime", "onnx", "onnxscript")

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.inputs: dict[str, F32] = {}
        self.sessions: dict[str, Any] = {}

    def prepare(self) -> None:
        export_onnx(self.setting)

    def load(self) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = self.setting.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        for name in (TRANSFORMER_ONNX, DECODER_ONNX):
            path = str(self.setting.cache / name)
            self.sessions[name] = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def condition(self, tokens: F32, pooled: F32) -> None:
        self.inputs = {
            "tokens": tokens,
            "pooled": pooled,
            "image_ids": image_ids(self.job.height, self.job.width),
            "text_ids": np.zeros((tokens.shape[1], 3), np.float32),
        }

    def velocity(self, x: F32, sigma: float) -> F32:
        feed = {"latents": x, "timestep": np.full(len(x), sigma, np.float32), **self.inputs}
        return np.asarray(self.sessions[TRANSFORMER_ONNX].run(None, feed)[0], np.float32)

    def decode_latents(self, z: F32) -> F32:
        return np.asarray(self.sessions[DECODER_ONNX].run(None, {"z": z})[0], np.float32)
