"""Salon itself, cpu backend: through `Engine`, as a user's program would, prompt included."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from .base import F32, U8, USUAL, Peer, Setting


class SalonCpu(Peer):
    name = "Salon cpu"
    precision = USUAL
    setup = "Engine.load(backend=cpu), open, step, finish"
    packages = ("salon",)
    encodes_text = True
    dtype: ClassVar[Literal["bfloat16", "float32"] | None] = None

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.engine: Any = None
        self.generation: Any = None

    def load(self) -> None:
        from ...engine.engine import Engine

        self.engine = Engine.load(
            model=self.setting.model, backend="cpu", dtype=self.dtype, threads=self.setting.threads
        )

    def begin(self, images: int) -> None:
        from ...engine.spec import GenerationSpec

        if self.generation is not None:
            self.engine.close(self.generation)
        spec = GenerationSpec(
            prompt=self.job.prompt,
            width=self.job.width,
            height=self.job.height,
            steps=self.job.steps,
            seed=0,  # the job's noise is that of seed 0
            images=images,
            guidance_scale=self.job.guidance,
            solver="euler",
        )
        self.generation = self.engine.open(spec)
        self.position = 0

    def step(self) -> None:
        self.engine.step([self.generation])
        self.position += 1

    def decode(self) -> U8:
        while self.position < self.job.steps:  # an engine decodes what is done
            self.step()
        return np.asarray(self.engine.finish(self.generation))

    def final_latents(self) -> F32 | None:
        latents = np.asarray(self.engine.ops.numpy(self.generation.latents), np.float32)
        return latents.reshape(self.generation.spec.images, -1, latents.shape[1])


class SalonFloat32(SalonCpu):
    name = "Salon cpu float32"
    precision = "fp32"
    dtype = "float32"
