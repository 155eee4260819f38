"""LoRA files of the tiny checkpoint of `conftest.py`, in the layouts of diffusers, kohya, Comfy and LyCORIS."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

Float32 = np.ndarray[Any, np.dtype[np.float32]]
Changes = dict[str, tuple[Float32, Float32]]  # name of a layer -> down, up

LAYERS = {  # of the tiny transformer: name -> (N, K), layers of every kind
    "x_embedder": (16, 16),
    "context_embedder": (16, 12),
    "time_text_embed.timestep_embedder.linear_1": (16, 256),
    "time_text_embed.text_embedder.linear_1": (16, 12),
    "time_text_embed.text_embedder.linear_2": (16, 16),
    "transformer_blocks.0.norm1.linear": (96, 16),
    "transformer_blocks.1.norm1_context.linear": (96, 16),
    "transformer_blocks.0.attn.to_q": (16, 16),
    "transformer_blocks.0.attn.to_v": (16, 16),
    "transformer_blocks.1.attn.add_k_proj": (16, 16),
    "transformer_blocks.1.attn.to_out.0": (16, 16),
    "transformer_blocks.0.attn.to_add_out": (16, 16),
    "transformer_blocks.0.ff.net.0.proj": (64, 16),
    "transformer_blocks.1.ff.net.2": (16, 64),
    "transformer_blocks.1.ff_context.net.0.proj": (64, 16),
    "single_transformer_blocks.0.norm.linear": (48, 16),
    "single_transformer_blocks.0.attn.to_k": (16, 16),
    "single_transformer_blocks.0.proj_mlp": (64, 16),
    "single_transformer_blocks.0.proj_out": (16, 80),
    "norm_out.linear": (32, 16),
    "proj_out": (16, 16),
}


def changes(
    layers: Mapping[str, tuple[int, int]] = LAYERS, rank: int = 3, seed: int = 0, scale: float = 0.3
) -> Changes:
    """Random factors: down [r, K], up [N, r]."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, (rows, depth) in layers.items():
        down = rng.standard_normal((rank, depth)).astype(np.float32) / np.float32(np.sqrt(depth))
        made[name] = down, np.float32(scale) * rng.standard_normal((rows, rank)).astype(np.float32)
    return made


def write(path: Path, arrays: Mapping[str, Any], metadata: dict[str, str] | None = None) -> tuple[str, Path]:
    """Write a file. Return its digest and path."""
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, path, metadata)
    return hashlib.sha256(path.read_bytes()).hexdigest(), path


def peft(made: Changes) -> dict[str, Float32]:
    """The arrays as diffusers and PEFT name them."""
    found = {}
    for name, (down, up) in made.items():
        found[f"transformer.{name}.lora_A.weight"], found[f"transformer.{name}.lora_B.weight"] = down, up
    return found


ORIGINAL = {  # names of the original files -> names of diffusers in them
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "double_blocks.0.img_mod.lin": ("transformer_blocks.0.norm1.linear",),
    "double_blocks.1.img_attn.qkv": tuple(f"transformer_blocks.1.attn.to_{x}" for x in "qkv"),
    "double_blocks.0.txt_attn.qkv": tuple(f"transformer_blocks.0.attn.add_{x}_proj" for x in "qkv"),
    "double_blocks.0.txt_mlp.2": ("transformer_blocks.0.ff_context.net.2",),
    "single_blocks.0.linear1": (*(f"single_transformer_blocks.0.attn.to_{x}" for x in "qkv"),
                                "single_transformer_blocks.0.proj_mlp"),
    "single_blocks.0.linear2": ("single_transformer_blocks.0.proj_out",),
    "single_blocks.0.modulation.lin": ("single_transformer_blocks.0.norm.linear",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}  # fmt: skip


def original(shapes: Mapping[str, tuple[int, int]], rank: int = 2, seed: int = 5) -> tuple[Changes, Changes]:
    """Random factors by original names, and what they are by diffusers' names; `shapes`: of diffusers' layers."""
    rows = {name: (sum(shapes[part][0] for part in parts), shapes[parts[0]][1]) for name, parts in ORIGINAL.items()}
    made, theirs = changes(rows, rank, seed), {}
    for name, parts in ORIGINAL.items():
        (down, up), start = made[name], 0
        if name == "final_layer.adaLN_modulation.1":  # shift, scale there, and scale, shift in diffusers
            up = np.roll(up, len(up) // 2, axis=0)
        for part in parts:
            theirs[part] = down, up[start : start + shapes[part][0]]
            start += shapes[part][0]
    return made, theirs


def kohya(made: Changes, alpha: float = 1.0) -> dict[str, Any]:
    """The arrays as kohya's scripts name them; their scale is alpha / rank."""
    found: dict[str, Any] = {}
    for name, (down, up) in made.items():
        at = f"lora_unet_{name.replace('.', '_')}"
        found |= {f"{at}.lora_down.weight": down, f"{at}.lora_up.weight": up, f"{at}.alpha": np.float32(alpha)}
    return found


def comfy(made: Changes) -> dict[str, Float32]:
    """The arrays as Comfy and the makers of FLUX.1 name them."""
    found = {}
    for name, (down, up) in made.items():
        found[f"diffusion_model.{name}.lora_A.weight"], found[f"diffusion_model.{name}.lora_B.weight"] = down, up
    return found


def lycoris(seed: int = 8) -> tuple[dict[str, Any], dict[str, Any]]:
    """A LoHa, a LoKr of halves, one with a whole first factor; and the changes that they are, by diffusers' names."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Float32:
        return (0.4 * rng.standard_normal(shape)).astype(np.float32)

    a1, b1, a2, b2 = normal(64, 2), normal(2, 16), normal(64, 2), normal(2, 16)
    at = "lora_unet_double_blocks_0_img_mlp_0"
    arrays: dict[str, Any] = {f"{at}.hada_w1_a": a1, f"{at}.hada_w1_b": b1, f"{at}.hada_w2_a": a2,
                              f"{at}.hada_w2_b": b2, f"{at}.alpha": np.float32(1)}  # fmt: skip
    deltas: dict[str, Any] = {"transformer_blocks.0.ff.net.0.proj": (a1 @ b1) * (a2 @ b2) / 2}
    w1a, w1b, w2a, w2b = normal(8, 1), normal(1, 4), normal(8, 2), normal(2, 4)
    at = "lora_unet_double_blocks_1_img_mlp_0"
    arrays |= {f"{at}.lokr_w1_a": w1a, f"{at}.lokr_w1_b": w1b, f"{at}.lokr_w2_a": w2a, f"{at}.lokr_w2_b": w2b,
               f"{at}.alpha": np.float32(3)}  # fmt: skip
    deltas["transformer_blocks.1.ff.net.0.proj"] = np.kron(w1a @ w1b, w2a @ w2b) * np.float32(3 / 2)
    w1, w2a, w2b = normal(2, 2), normal(32, 2), normal(2, 8)
    at = "lora_unet_double_blocks_1_txt_mlp_0"
    arrays |= {f"{at}.lokr_w1": w1, f"{at}.lokr_w2_a": w2a, f"{at}.lokr_w2_b": w2b}
    deltas["transformer_blocks.1.ff_context.net.0.proj"] = np.kron(w1, w2a @ w2b)
    return arrays, deltas
