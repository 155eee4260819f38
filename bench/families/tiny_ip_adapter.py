"""Write tiny random IP-Adapter files in the layouts that people have, and image encoders as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

Arrays = dict[str, np.ndarray[Any, Any]]
SIDE, PATCH, WIDTH, EMBEDDING = 28, 7, 64, 24


def encoder(folder: Path, activation: str = "quick_gelu", *, whole: bool = False) -> Any:
    """Save a CLIP image encoder with random weights to a folder, or a `whole` CLIP, and return the image encoder."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE,
        patch_size=PATCH, projection_dim=EMBEDDING, hidden_act=activation,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        built = CLIPVisionModelWithProjection(sizes).eval()
        for name, parameter in built.named_parameters():
            with torch.no_grad():
                parameter.normal_(
                    float("norm" in name and name.endswith("weight")), 0.3 if parameter.ndim == 1 else 0.15
                )
        if whole:
            text = CLIPTextConfig(
                vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1
            )
            both = CLIPModel(
                CLIPConfig(text_config=text.to_dict(), vision_config=sizes.to_dict(), projection_dim=EMBEDDING)
            )
            left = both.load_state_dict(built.state_dict(), strict=False)
            assert not left.unexpected_keys
            both.save_pretrained(folder, safe_serialization=True)
        else:
            built.save_pretrained(folder, safe_serialization=True)
    return built


class _Random:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def layer(self, name: str, outputs: int, inputs: int, *, bias: bool = True, scale: float = 1.0) -> Arrays:
        weight = self.random.standard_normal((outputs, inputs)).astype(np.float32) * np.float32(scale / inputs**0.5)
        more = {f"{name}.bias": self.vector(outputs, 0.0)} if bias else {}
        return {f"{name}.weight": weight, **more}

    def vector(self, width: int, mean: float) -> np.ndarray[Any, Any]:
        return (mean + 0.2 * self.random.standard_normal(width)).astype(np.float32)

    def norm(self, name: str, width: int) -> Arrays:
        return {f"{name}.weight": self.vector(width, 1.0), f"{name}.bias": self.vector(width, 0.0)}


def flux(
    layers: int, width: int, text: int, *, xlabs: bool = False, tokens: int = 4, inputs: int = EMBEDDING
) -> Arrays:
    """Return the arrays of an adapter of FLUX.1, in diffusers' names or in those of XLabs' files."""
    random, image = _Random(5), "ip_adapter_proj_model" if xlabs else "image_proj"
    found = random.layer(f"{image}.proj", tokens * text, inputs) | random.norm(f"{image}.norm", text)
    for number in range(layers):
        for kind in "kv":
            own = f"double_blocks.{number}.processor.ip_adapter_double_stream_{kind}_proj"
            found |= random.layer(own if xlabs else f"ip_adapter.{number}.to_{kind}_ip", width, text, scale=3)
    return found


def siglip(folder: Path) -> Any:
    """Save a SigLIP image encoder with random weights to a folder, and return it."""
    import torch
    from transformers import SiglipVisionConfig, SiglipVisionModel

    sizes = SiglipVisionConfig(
        hidden_size=EMBEDDING, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE + 3,
        patch_size=PATCH,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(8)
        built = SiglipVisionModel(sizes).eval()
        for name, parameter in built.named_parameters():
            with torch.no_grad():
                parameter.normal_(
                    float("norm" in name and name.endswith("weight")), 0.3 if parameter.ndim == 1 else 0.2
                )
    built.save_pretrained(folder, safe_serialization=True)
    return built


def instantx(layers: int, width: int, text: int, *, tokens: int = 6) -> Arrays:
    """Return the arrays of InstantX's adapter of FLUX.1, for so many double and single blocks together."""
    random = _Random(7)
    found = random.layer("image_proj.proj.0", 2 * EMBEDDING, EMBEDDING)
    found |= random.layer("image_proj.proj.2", tokens * text, 2 * EMBEDDING) | random.norm("image_proj.norm", text)
    for number in range(layers):
        for kind in "kv":
            found |= random.layer(f"ip_adapter.{number}.to_{kind}_ip", width, text, bias=False, scale=3)
    return found


def unet(widths: list[int], text: int, *, plus: bool = False) -> Arrays:
    """Return the arrays of an adapter of a UNet whose attentions to the text are so wide, in the order of the files."""
    random = _Random(6)
    if plus:
        d, inner = 64, 128
        found = {"image_proj.latents": random.random.standard_normal((1, 5, d)).astype(np.float32)}
        found |= random.layer("image_proj.proj_in", d, WIDTH) | random.layer("image_proj.proj_out", text, d)
        found |= random.norm("image_proj.norm_out", text)
        for number in range(4):  # diffusers reads four
            at = f"image_proj.layers.{number}"
            found |= random.norm(f"{at}.0.norm1", d) | random.norm(f"{at}.0.norm2", d) | random.norm(f"{at}.1.0", d)
            shapes = {"0.to_q": (inner, d), "0.to_kv": (2 * inner, d), "0.to_out": (d, inner)}
            for name, shape in {**shapes, "1.1": (4 * d, d), "1.3": (d, 4 * d)}.items():
                found |= random.layer(f"{at}.{name}", *shape, bias=False)
    else:
        found = random.layer("image_proj.proj", 4 * text, EMBEDDING) | random.norm("image_proj.norm", text)
    for number, width in enumerate(widths):
        for kind in "kv":
            found |= random.layer(f"ip_adapter.{2 * number + 1}.to_{kind}_ip", width, text, bias=False, scale=3)
    return found


def write(path: Path, arrays: Arrays) -> Path:
    """Write a safetensors file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, path)
    return path
