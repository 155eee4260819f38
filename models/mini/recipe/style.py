"""The style encoder and the style adapter themselves, and their two files; `style_encoder.py` and `adapter.py` train
them."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.embeddings import ImageProjection
from safetensors.torch import load_file
from torch import Tensor, nn

from .config import Run
from .errors import CacheError
from .network import AdapterBlock
from .store import open_stage
from .text import WIDTH

FACTORS = ("style", "palette", "background", "finish")
FILES = ("style_encoder.safetensors", "adapter.safetensors")


class StyleEncoder(nn.Module):
    """Latents [B, C, h, w] (shifted and scaled) -> style vectors [B, width] of unit RMS.

    Mean and deviation over the picture of shallow and deep features: where things are is lost before the vector.
    """

    def __init__(self, channels: int, width: int, hidden: int = 96) -> None:
        super().__init__()
        self.channels = channels
        self.first = nn.Sequential(nn.Conv2d(channels, hidden, 3, 1, 1), nn.SiLU())
        self.second = nn.Sequential(nn.Conv2d(hidden, hidden, 3, 1, 1), nn.SiLU())
        self.third = nn.Sequential(nn.Conv2d(hidden, 2 * hidden, 3, 2, 1), nn.SiLU())
        self.out = nn.Sequential(
            nn.Linear(2 * (channels + 4 * hidden), 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, z: Tensor) -> Tensor:
        a = self.first(z)
        b = self.second(a)
        c = self.third(b)
        flat = [f.float().flatten(2) for f in (z, a, b, c)]
        seen = torch.cat([s for f in flat for s in (f.mean(2), (f.var(2, unbiased=False) + 1e-4).sqrt())], 1)
        v = self.out(seen).float()
        return v / (v.pow(2).mean(1, keepdim=True) + 1e-6).sqrt()


class StyleAdapter(nn.Module):
    """Style vector -> tokens -> keys and values; with the null vector, that of no style."""

    def __init__(self, width: int, tokens: int, hidden: int, blocks: int) -> None:
        super().__init__()
        # diffusers gives the projection the width of the text rows
        self.project = ImageProjection(image_embed_dim=width, cross_attention_dim=WIDTH, num_image_text_embeds=tokens)
        self.blocks = nn.ModuleList([AdapterBlock(WIDTH, hidden) for _ in range(blocks)])
        self.null = nn.Parameter(torch.zeros(width))

    def layout(self) -> dict[str, Tensor]:
        """Return the weights under the names of diffusers' Flux IP-Adapter files."""
        out = {
            "image_proj.proj.weight": self.project.image_embeds.weight,
            "image_proj.proj.bias": self.project.image_embeds.bias,
            "image_proj.norm.weight": self.project.norm.weight,
            "image_proj.norm.bias": self.project.norm.bias,
        }
        for i, block in enumerate(self.blocks):
            for name, p in block.named_parameters():
                out[f"ip_adapter.{i}.{name}"] = p
        return {k: v.detach().float().contiguous().cpu() for k, v in out.items()}


def build_encoder(run: Run, channels: int) -> StyleEncoder:
    return StyleEncoder(channels, run.recipe.adapter.width)


def build_adapter(run: Run, model: FluxTransformer2DModel) -> StyleAdapter:
    config = run.recipe.adapter
    hidden = model.config.num_attention_heads * model.config.attention_head_dim
    return StyleAdapter(config.width, config.tokens, hidden, model.config.num_layers)


def load_adapter(
    run: Run, model: FluxTransformer2DModel, device: torch.device
) -> tuple[StyleEncoder, StyleAdapter, Tensor]:
    """Load the trained style encoder, the adapter and the mean style vectors, from the files that ship.

    Raises CacheError when a file is missing or of another configuration."""
    folder = open_stage(run.work, "adapter").folder
    encoder, adapter, styles = read_adapter(run, model, folder)
    if encoder.channels != model.config.in_channels // 4:
        raise CacheError(f"{folder} has a style encoder of {encoder.channels} latent channels: train it again")
    return encoder.to(device).eval(), adapter.to(device).eval(), styles.to(device)


def read_adapter(run: Run, model: FluxTransformer2DModel, folder: Path) -> tuple[StyleEncoder, StyleAdapter, Tensor]:
    """Read what `load_adapter` does from two files of any folder; its encoder may know another number of latent
    channels."""
    adapter = build_adapter(run, model)
    try:
        rest, layout = (load_file(folder / name) for name in FILES)
        encoder = build_encoder(run, rest["encoder.first.0.weight"].shape[1])
        encoder.load_state_dict(part(rest, "encoder."))
        state: dict[str, Any] = {"null": rest["null"]}
        for name, value in layout.items():
            if name.startswith("image_proj."):
                name = "project." + name.removeprefix("image_proj.").replace("proj.", "image_embeds.")
            else:
                name = "blocks." + name.removeprefix("ip_adapter.")
            state[name] = value
        adapter.load_state_dict(state)
        styles = rest["styles"]
    except (OSError, KeyError, RuntimeError) as e:
        raise CacheError(f"{folder} holds no adapter of this configuration ({e}): want {' and '.join(FILES)}") from e
    return encoder, adapter, styles


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, named by the rest."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
