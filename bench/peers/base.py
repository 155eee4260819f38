"""What a rival must offer, and the sampler loop that all rivals share.

Every rival gets the same arrays (text tokens, pooled vector, initial noise, sigmas) and the same guidance arithmetic,
so that what differs between two rows of a table is the rival's own inference and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..machine import has_flag

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Precision = Literal["bf16", "fp32"]
DTYPES: dict[Precision, Literal["bfloat16", "float32"]] = {"bf16": "bfloat16", "fp32": "float32"}
# What all candidates run in: a CPU without bf16 dot products only imitates them, several times as slowly.
USUAL: Precision = "bf16" if has_flag("avx512_bf16") or has_flag("amx_bf16") else "fp32"


@dataclass(frozen=True)
class Job:
    """One text-to-image job as plain arrays; S = 2 x images samples a step (conditional rows first, then zeros), or S =
    images where `guidance` is 1.

    tokens   float32 [T, E]      text tokens of the prompt (the unconditional branch is zeros)
    pooled   float32 [E]         pooled text vector
    noise    float32 [N, I, C]   initial latents of N images, packed 2x2: I = (height/16)*(width/16), C = 4 channels
    sigmas   float32 [steps+1]   from 1 down to 0; the model's timestep is sigma itself
    """

    tokens: F32
    pooled: F32
    noise: F32
    sigmas: F32
    guidance: float
    latent_scale: float
    latent_shift: float
    height: int
    width: int
    prompt: str

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    @property
    def guided(self) -> bool:
        """Whether every image takes a second, unconditional sample."""
        return self.guidance != 1

    def save(self, path: Path) -> None:
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(self).items()}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Job:
        with np.load(path) as z:
            return cls(
                tokens=z["tokens"],
                pooled=z["pooled"],
                noise=z["noise"],
                sigmas=z["sigmas"],
                guidance=float(z["guidance"]),
                latent_scale=float(z["latent_scale"]),
                latent_shift=float(z["latent_shift"]),
                height=int(z["height"]),
                width=int(z["width"]),
                prompt=str(z["prompt"]),
            )


@dataclass(frozen=True)
class Setting:
    """Where a rival finds its inputs: the diffusers-layout model folder, a folder for what it builds, threads."""

    model: Path
    cache: Path
    job: Job
    threads: int


def image_ids(height: int, width: int) -> F32:
    """Return Flux position ids of the packed latent grid, float32 [(height/16)*(width/16), 3]: (0, row, column)."""
    rows, columns = height // 16, width // 16
    ids = np.zeros((rows, columns, 3), np.float32)
    ids[..., 1] = np.arange(rows, dtype=np.float32)[:, None]
    ids[..., 2] = np.arange(columns, dtype=np.float32)[None, :]
    return ids.reshape(-1, 3)


def unpack_latents(x: F32, height: int, width: int) -> F32:
    """Turn packed tokens [N, I, 4*C] into the autoencoder's [N, C, height/8, width/8] (the inverse of Flux packing)."""
    n, _, packed = x.shape
    rows, columns, channels = height // 16, width // 16, packed // 4
    grid = x.reshape(n, rows, columns, channels, 2, 2).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(grid.reshape(n, channels, rows * 2, columns * 2))


def to_pixels(image: F32) -> U8:
    """Turn decoder output [N, 3, H, W] in [-1, 1] into uint8 [N, H, W, 3], rounded to nearest."""
    return np.round((np.clip(image, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)


class Peer:
    """A way to run the job. Life: `prepare` (once, in a process of its own), `load`; `begin`, `step` x n, `decode`."""

    name: ClassVar[str]
    precision: ClassVar[Precision]
    setup: ClassVar[str]  # how it was set up, one line for the table's notes
    packages: ClassVar[tuple[str, ...]] = ()  # distributions whose versions are stated
    environment: ClassVar[dict[str, str]] = {}  # extra variables of its process
    encodes_text: ClassVar[bool] = False  # True where its times include encoding the prompt

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.job = setting.job
        self.latents: F32 = np.empty((0, 0, 0), np.float32)
        self.position = 0

    def prepare(self) -> None:
        """Write what is built once and kept on disk (an exported graph). Not part of the cold start."""

    def load(self) -> None:
        """Load weights, so that `begin` may be called."""
        raise NotImplementedError

    def begin(self, images: int) -> None:
        """Start (again) from the job's noise for `images` pictures."""
        self.latents = self.job.noise[:images].copy()
        self.position = 0
        tokens = np.broadcast_to(self.job.tokens, (images, *self.job.tokens.shape))
        pooled = np.broadcast_to(self.job.pooled, (images, *self.job.pooled.shape))
        if self.job.guided:
            tokens, pooled = np.concatenate([tokens, 0 * tokens]), np.concatenate([pooled, 0 * pooled])
        self.condition(tokens, pooled)

    def step(self) -> None:
        """Take one denoise step with classifier-free guidance and an Euler update, in float32 outside the model."""
        s, s_next = self.job.sigmas[self.position], self.job.sigmas[self.position + 1]
        x = np.concatenate([self.latents, self.latents]) if self.job.guided else self.latents
        v = self.velocity(x, float(s))
        if self.job.guided:
            cond, uncond = np.split(v, 2)
            v = uncond + np.float32(self.job.guidance) * (cond - uncond)
        self.latents = self.latents + (s_next - s) * v
        self.position += 1

    def decode(self) -> U8:
        """Return the pictures of the current latents, uint8 [N, H, W, 3]."""
        z = unpack_latents(self.latents, self.job.height, self.job.width)
        return to_pixels(self.decode_latents(z / np.float32(self.job.latent_scale) + np.float32(self.job.latent_shift)))

    def finish(self) -> U8:
        """End a grid and return the pictures (a rival with state to release overrides this)."""
        return self.decode()

    def final_latents(self) -> F32 | None:
        """Return packed latents [N, I, C] after the last step, or None where the rival does not show them."""
        return self.latents

    # What a rival built on the shared loop fills in.

    def condition(self, tokens: F32, pooled: F32) -> None:
        """Take the text of S samples: tokens [S, T, E], pooled [S, E]."""
        raise NotImplementedError

    def velocity(self, x: F32, sigma: float) -> F32:
        """Return the model's output for packed latents x [S, I, C] at one sigma; float32 [S, I, C]."""
        raise NotImplementedError

    def decode_latents(self, z: F32) -> F32:
        """Decode z [N, C, h, w] by the autoencoder; float32 [N, 3, 8h, 8w]."""
        raise NotImplementedError


def torch_models(model: Path, dtype: Any) -> tuple[Any, Any]:
    """Return (transformer, autoencoder) of a diffusers folder in `dtype`, in evaluation mode.

    The decoder's weights are channels-last.
    """
    import torch
    from diffusers import AutoencoderKL, FluxTransformer2DModel

    transformer = FluxTransformer2DModel.from_pretrained(model / "transformer", torch_dtype=dtype).eval()
    vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=dtype).eval()
    return transformer, vae.to(memory_format=torch.channels_last)
