"""The IP-Adapter of diffusers with the shipped weights, one user at a time: a call takes the embeddings of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..facts import SHIPPED, shipped
from ..job import make
from ..peers.base import F32, Setting
from ..peers.diffusers_eager import DiffusersEager

ADAPTER, STYLES = SHIPPED / "adapter.safetensors", SHIPPED / "style_encoder.safetensors"


class OneUser(DiffusersEager):
    """Draws one picture for one user, guided, with a style vector and the null reference."""

    name = "diffusers IP-Adapter"
    setup = "FluxTransformer2DModel with _load_ip_adapter_weights, which the pipeline's load_ip_adapter calls"

    def __init__(self, threads: int) -> None:
        super().__init__(Setting(SHIPPED, Path(), make(shipped()), threads))
        self.embeds: Any = None

    def load(self) -> None:
        """See `Peer`."""
        from safetensors.torch import load_file

        super().load()
        parts: dict[str, dict[str, Any]] = {"image_proj": {}, "ip_adapter": {}}
        for key, value in load_file(ADAPTER).items():
            part, name = key.split(".", 1)
            parts[part][name] = value.to(self.dtype)
        self.transformer._load_ip_adapter_weights([parts])
        self.null = load_file(STYLES)["null"].float().numpy()

    def take(self, vector: F32, weight: float) -> None:
        """Begin a picture with a user's vector float32 [W] at a weight."""
        for processor in self.transformer.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [weight]
        both = np.stack([vector, self.null])[:, None]
        self.embeds = self.torch.from_numpy(both.astype(np.float32)).to(self.dtype)
        self.begin(1)

    def velocity(self, x: F32, sigma: float) -> F32:
        """See `Peer`."""
        torch = self.torch
        with torch.no_grad():
            v = self.transformer(
                hidden_states=torch.from_numpy(x).to(self.dtype),
                timestep=torch.full((len(x),), sigma),
                joint_attention_kwargs={"ip_adapter_image_embeds": [self.embeds]},
                return_dict=False,
                **self.inputs,
            )[0]
            return np.asarray(v.float().numpy(), np.float32)
