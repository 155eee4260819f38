"""The job that every candidate of `grid` runs, as arrays: `python -m salon.bench.job MODEL OUT.npz` writes it.

The text goes clause by clause through the sentence encoder with transformers, in float32, as the checkpoint's card
says, and the noise is Salon's own (its engine makes it from the seed). A process of its own, so that the runner
stays without torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from ..engine.noise import normal
from .peers.base import F32, Job

PROMPT = "a red apple, 3d render, on a teal background"
CLAUSES = {"subject": "a red apple", "style": "3d render style", "background": "teal background", "palette": ""}
MOST_IMAGES = 16
SIDE = 128
STEPS = 20
GUIDANCE = 3.0
SEED = 0


def step_gflop(model: Path, images: int) -> float:
    """Multiply-adds x 2 of one guided step in 1e9: linear layers over rows, attention; without modulation (< 1 %)."""
    config = json.loads((model / "transformer" / "config.json").read_text())
    width = config["attention_head_dim"] * config["num_attention_heads"]
    image_rows, text_rows, samples = (SIDE // 16) ** 2, sum(slots(model).values()), 2 * images
    rows = image_rows + text_rows
    per_row = config["num_layers"] * 12 * width**2 + config["num_single_layers"] * 12 * width**2
    layers = config["num_layers"] + config["num_single_layers"]
    edges = image_rows * 2 * config["in_channels"] * width + text_rows * config["joint_attention_dim"] * width
    attention = layers * 2 * rows * rows * width
    return 2e-9 * float(samples * (rows * per_row + attention + edges))


def decode_gflop(model: Path, images: int, folded: bool = False) -> float:
    """Multiply-adds x 2 of the decoder's convolutions in 1e9, for AutoencoderKL without mid attention.

    `folded`: a 3x3 convolution after nearest 2x counted as the four taps that it can be computed with."""
    config = json.loads((model / "vae" / "config.json").read_text())
    widths = list(reversed(config["block_out_channels"]))
    side = SIDE // 8
    total = side**2 * 9 * (config["latent_channels"] * widths[0] + 4 * widths[0] ** 2)  # first layer, middle blocks
    before = widths[0]
    for level, width in enumerate(widths):
        for _ in range(config["layers_per_block"] + 1):
            total += side**2 * (9 * (before * width + width**2) + (before * width if before != width else 0))
            before = width
        if level < len(widths) - 1:
            side *= 2
            total += side**2 * (4 if folded else 9) * width**2
    total += side**2 * 9 * before * config["out_channels"]
    return 2e-9 * float(images * total)


def slots(model: Path) -> dict[str, int]:
    """Rows of each text slot, in order, from the checkpoint's own description."""
    recipe = json.loads((model / "salon.json").read_text())
    return {slot["name"]: int(slot["tokens"]) for slot in recipe["text"]["slots"]}


def encode(model: Path) -> tuple[F32, F32]:
    """(tokens [rows, E], pooled [E]) of CLAUSES: states of each clause without CLS and SEP, z-scored, absent = zero."""
    import torch
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(model / "tokenizer")
    encoder = BertModel.from_pretrained(model / "text_encoder", dtype=torch.float32).eval()
    stats = load_file(model / "text_stats.safetensors")
    parts: list[F32] = []
    pooled = np.zeros(0, np.float32)
    for slot, length in slots(model).items():
        part = np.zeros((length, encoder.config.hidden_size), np.float32)
        if CLAUSES[slot]:
            with torch.no_grad():
                states = encoder(**tokenizer(CLAUSES[slot], return_tensors="pt")).last_hidden_state[0].numpy()
            states = states[1:-1]
            part[: len(states)] = (states - stats["token_mean"]) / stats["token_std"]
            if slot == "subject":
                pooled = (states.mean(0) - stats["pooled_mean"]) / stats["pooled_std"]
        parts.append(part)
    return np.concatenate(parts), pooled.astype(np.float32)


def make(model: Path) -> Job:
    tokens, pooled = encode(model)
    vae = json.loads((model / "vae" / "config.json").read_text())
    channels = json.loads((model / "transformer" / "config.json").read_text())["in_channels"]
    rows = (SIDE // 16) ** 2
    noise = np.stack([normal(SEED, image, 0, rows, channels) for image in range(MOST_IMAGES)])
    return Job(
        tokens=tokens,
        pooled=pooled,
        noise=noise,
        sigmas=np.linspace(1.0, 0.0, STEPS + 1).astype(np.float32),
        guidance=GUIDANCE,
        latent_scale=vae["scaling_factor"],
        latent_shift=vae["shift_factor"] or 0.0,
        height=SIDE,
        width=SIDE,
        prompt=PROMPT,
    )


if __name__ == "__main__":
    make(Path(sys.argv[1])).save(Path(sys.argv[2]))
