"""Run diffusers under torch.compile, as both projects advise for a CPU: fullgraph, static shapes, weights frozen."""

from __future__ import annotations

from .diffusers_eager import DiffusersEager


class DiffusersCompile(DiffusersEager):
    name = "diffusers compile"
    setup = "torch.compile max-autotune (decoder: default mode), fullgraph, static shapes, freezing; warm disk cache"
    environment = {"TORCHINDUCTOR_FREEZING": "1"}

    def load(self) -> None:
        super().load()
        torch = self.torch
        self.transformer = torch.compile(self.transformer, mode="max-autotune", fullgraph=True, dynamic=False)
        self.vae.decoder = torch.compile(self.vae.decoder, fullgraph=True, dynamic=False)

    def prepare(self) -> None:
        """Fill inductor's on-disk cache, so that the cold start shown is the second start of a machine."""
        self.load()
        for images in (4, 1, 16):
            self.begin(images)
            self.step()
            self.decode()
