"""The job that every candidate of `grid` runs, as arrays: `python -m salon.bench.job MODEL OUT.npz` writes it.

What it is made of is the checkpoint's own: its default size, steps, guidance and sigmas, and the clauses that the
engine's parser finds in the prompt. Those go through the sentence encoder with transformers, in float32, as the
checkpoint's card says, and the noise is Salon's own (its engine makes it from the seed). A process of its own, so that
the runner stays without torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ..engine.noise import normal
from .facts import Facts
from .peers.base import F32, Job

PROMPT = "a red apple, 3d render, on a teal background"
MOST_IMAGES = 16
SEED = 0


def step_gflop(facts: Facts, images: int) -> float:
    """Return multiply-adds x 2 of one default step in 1e9: linear layers over rows, and attention.

    Modulation is left out (< 1 %).
    """
    flux, width = facts.flux, facts.flux.width
    per_row = (flux.num_layers + flux.num_single_layers) * 12 * width**2
    attention = (flux.num_layers + flux.num_single_layers) * 2 * facts.rows**2 * width
    edges = facts.image_rows * 2 * flux.in_channels * width + facts.text_rows * flux.joint_attention_dim * width
    return 2e-9 * float(facts.samples * images * (facts.rows * per_row + attention + edges))


def decode_gflop(facts: Facts, images: int, folded: bool = False) -> float:
    """Return multiply-adds x 2 of the decoder's convolutions in 1e9, for AutoencoderKL without mid attention.

    `folded`: a 3x3 convolution after nearest 2x counted as the four taps that it can be computed with."""
    config = facts.autoencoder
    widths = list(reversed(config.block_out_channels))
    pixels = facts.defaults["width"] * facts.defaults["height"] // config.factor**2
    total = pixels * 9 * (config.latent_channels * widths[0] + 4 * widths[0] ** 2)  # first layer, middle blocks
    before = widths[0]
    for level, width in enumerate(widths):
        for _ in range(config.layers_per_block + 1):
            total += pixels * (9 * (before * width + width**2) + (before * width if before != width else 0))
            before = width
        if level < len(widths) - 1:
            pixels *= 4
            total += pixels * (4 if folded else 9) * width**2
    total += pixels * 9 * before * config.out_channels
    return 2e-9 * float(images * total)


def encode(facts: Facts) -> tuple[F32, F32]:
    """Return (tokens [rows, E], pooled [E]) of PROMPT.

    They are the states of each clause without CLS and SEP, z-scored; an absent clause is zero.
    """
    import torch
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(facts.folder / "tokenizer")
    encoder = BertModel.from_pretrained(facts.folder / "text_encoder", dtype=torch.float32).eval()
    stats = load_file(facts.stats)
    clauses = facts.clauses(PROMPT, lambda text: len(tokenizer.tokenize(text)))
    parts: list[F32] = []
    pooled = np.zeros(0, np.float32)
    for slot in facts.slots:
        part = np.zeros((slot.tokens, encoder.config.hidden_size), np.float32)
        if clauses.get(slot.name):
            with torch.no_grad():
                read = tokenizer(clauses[slot.name], return_tensors="pt")
                states = encoder(**read).last_hidden_state[0].numpy()[1:-1]
            part[: len(states)] = (states - stats["token_mean"]) / stats["token_std"]
            if slot.name == "subject":
                pooled = (states.mean(0) - stats["pooled_mean"]) / stats["pooled_std"]
        parts.append(part)
    return np.concatenate(parts), pooled.astype(np.float32)


def sigmas(facts: Facts, steps: int) -> F32:
    """Return the checkpoint's own sigmas, [steps + 1]."""
    return facts.sigmas.sigmas(steps, facts.image_rows, facts.defaults.get("shift"))


def make(facts: Facts) -> Job:
    """Make the job. Raise ValueError for defaults that the rivals' loop (Euler's method) cannot follow."""
    defaults = facts.defaults
    if defaults["solver"] != "euler":
        raise ValueError(f"the checkpoint's solver: got {defaults['solver']!r}, want euler (all that rivals take)")
    tokens, pooled = encode(facts)
    rows, channels = facts.image_rows, facts.flux.in_channels
    return Job(
        tokens=tokens,
        pooled=pooled,
        noise=np.stack([normal(SEED, image, 0, rows, channels) for image in range(MOST_IMAGES)]),
        sigmas=sigmas(facts, defaults["steps"]),
        guidance=defaults["guidance_scale"],
        latent_scale=facts.autoencoder.scaling_factor,
        latent_shift=facts.autoencoder.shift_factor,
        height=defaults["height"],
        width=defaults["width"],
        prompt=PROMPT,
    )


if __name__ == "__main__":
    make(Facts.of(Path(sys.argv[1]))).save(Path(sys.argv[2]))
