"""Run diffusers in eager mode: in the precision of all, and in the float32 with which every row is compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import DTYPES, F32, USUAL, Peer, Setting, image_ids, torch_models


class DiffusersEager(Peer):
    name = "diffusers eager"
    precision = USUAL
    setup = f"from_pretrained(torch_dtype={DTYPES[USUAL]}), no_grad, channels-last decoder"
    packages = ("torch", "diffusers")

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.transformer: Any = None
        self.vae: Any = None
        self.inputs: dict[str, Any] = {}

    def load(self) -> None:
        import torch

        torch.set_num_threads(self.setting.threads)
        self.torch = torch
        self.dtype = getattr(torch, DTYPES[self.precision])
        self.transformer, self.vae = torch_models(self.setting.model, self.dtype)

    def condition(self, tokens: F32, pooled: F32) -> None:
        torch = self.torch
        self.inputs = {
            "encoder_hidden_states": torch.from_numpy(tokens).to(self.dtype),
            "pooled_projections": torch.from_numpy(pooled).to(self.dtype),
            "img_ids": torch.from_numpy(image_ids(self.job.height, self.job.width)),
            "txt_ids": torch.zeros(tokens.shape[1], 3),
        }

    def velocity(self, x: F32, sigma: float) -> F32:
        torch = self.torch
        with torch.no_grad():
            v = self.transformer(
                hidden_states=torch.from_numpy(x).to(self.dtype),
                timestep=torch.full((len(x),), sigma),
                return_dict=False,
                **self.inputs,
            )[0]
            return np.asarray(v.float().numpy(), np.float32)

    def decode_latents(self, z: F32) -> F32:
        torch = self.torch
        with torch.no_grad():
            latents = torch.from_numpy(z).to(self.dtype).contiguous(memory_format=torch.channels_last)
            image = self.vae.decode(latents, return_dict=False)[0]
            return np.asarray(image.float().numpy(), np.float32)


class DiffusersFloat32(DiffusersEager):
    name = "diffusers float32"
    precision = "fp32"
    setup = "from_pretrained(torch_dtype=float32), no_grad; the reference of the agreement columns"
