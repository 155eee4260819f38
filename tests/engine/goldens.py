"""Hashes of 24 pictures of the shipped model at every instruction set of this machine: what must not change unseen.

`python tests/engine/goldens.py` draws them anew into goldens.json, after a change that is meant to change bits, and
says what changed; `--show` prints those of one instruction set and dtype, and writes nothing. Every parameter of every
picture is named here, so that other defaults of the model do not touch them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from salon.bench.adapters import BRANCH, Shipped
from salon.bench.facts import SHIPPED, digests
from salon.engine.engine import Engine
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.kernels.cpu import isa_levels

FILE = Path(__file__).with_name("goldens.json")
COMMAND = "python tests/engine/goldens.py"
STYLES = 3
Hashes = dict[str, str]

PLAIN: dict[str, Any] = {
    "negative_prompt": "", "images": 1, "guidance_scale": 2.0, "embedded_guidance": None, "solver": "euler",
    "shift": None, "adapters": (),
}  # fmt: skip
DRAFT: dict[str, Any] = {"steps": 4, "solver": "euler", "shift": 2.0}


def style(number: int, weight: float, null: bool = True) -> AdapterUse:
    return AdapterUse(f"{BRANCH}-{number}", weight, f"{BRANCH}-null" if null else None)


def one(prompt: str, width: int, height: int, steps: int, seed: int, **fields: Any) -> dict[str, Any]:
    return {**PLAIN, "prompt": prompt, "width": width, "height": height, "steps": steps, "seed": seed, **fields}


CASES: dict[str, dict[str, Any]] = {
    "apple": one("a red apple, 3d render, on a teal background", 64, 64, 2, 0),
    "smallest": one("a green cactus", 16, 16, 3, 1),
    "wide": one("a blue whale, doodle", 96, 32, 2, 2),
    "tall": one("a rocket, retro poster", 32, 96, 2, 3),
    "one row": one("a train, thin line", 128, 16, 1, 4),
    "one step": one("an umbrella, sepia tones", 32, 32, 1, 5),
    "seed of 64 bits": one("a cat, bold ink", 32, 32, 2, 2**64 - 1),
    "unguided": one("a guitar, storybook", 48, 32, 2, 7, guidance_scale=1.0),
    "guidance 0": one("a guitar, storybook", 32, 48, 2, 7, guidance_scale=0.0),
    "guidance 7.5": one("a violin, pixel art", 32, 32, 2, 8, guidance_scale=7.5),
    "heun": one("a house, on a yellow background", 32, 32, 2, 9, solver="heun"),
    "heun, unguided": one("a house, woodcut", 32, 48, 2, 10, solver="heun", guidance_scale=1.0),
    "shift": one("a red apple, neon colours", 32, 32, 2, 11, shift=3.0),
    "negative": one("a dog, 3d render", 48, 48, 2, 12, negative_prompt="paw prints"),
    "negative, heun": one("a dog, flat cartoon", 32, 32, 2, 13, negative_prompt="a cat", solver="heun"),
    "two images": one("a teapot, soft shaded", 32, 32, 2, 14, images=2),
    "three images": one("a teapot, soft shaded", 16, 32, 2, 14, images=3),
    "draft": one("a red apple, doodle", 32, 32, seed=15, **DRAFT),
    "draft, unguided": one("a tree, clean modern", 48, 32, seed=16, guidance_scale=1.0, **DRAFT),
    "style": one("a boat, on an ocean gradient background", 48, 48, 2, 17, adapters=(style(0, 0.4),)),
    "style, no null": one("a boat", 32, 32, 2, 18, adapters=(style(1, 1.0, null=False),)),
    "two styles": one("a fox", 32, 48, 2, 19, adapters=(style(1, 0.5), style(2, -0.3))),
    "style, heun, negative": one(
        "an owl", 32, 32, 2, 20, adapters=(style(2, 1.6),), solver="heun", negative_prompt="headstone"
    ),
    "unknown thing": one("a puppy, candy pinks, as a sticker", 32, 32, 2, 21),
}


def variants() -> list[tuple[str, str]]:
    """(instruction set, dtype) pairs of this machine; "amx_model" runs the AMX kernels over tiles made with AVX512."""
    levels = isa_levels()
    pairs = [(isa, "float32") for isa in levels] + [(isa, "bfloat16") for isa in levels if isa.endswith("bf16")]
    return [*pairs, *([("amx_model", "bfloat16")] if "avx512_bf16" in levels else [])]


def draw(isa: str, dtype: Any, threads: int = 2) -> Hashes:
    """The hash of each picture (all images of the case), drawn together in one ragged batch."""
    engine = Engine.load(isa=isa, dtype=dtype, threads=threads)
    Shipped.of(engine).register(engine, STYLES)
    generations = {name: engine.open(GenerationSpec(**fields)) for name, fields in CASES.items()}
    while running := [g for g in generations.values() if g.state == "running"]:
        engine.step(running)
    return {name: digest(engine.finish(generation)) for name, generation in generations.items()}


def digest(pixels: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16]


def changed(old: Hashes, new: Hashes) -> list[str]:
    """Names of the pictures that are not the same, or are only in one."""
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def read() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text())) if FILE.is_file() else {"model": {}, "pictures": {}}


def redraw() -> None:
    """Draw what this machine can; what it cannot is left out of the file, since nobody knows any more if it holds."""
    before, model = read(), digests(SHIPPED)
    if before["model"].get("digest") not in (None, model["digest"]):
        print(f"the model: {before['model']['digest'][:12]} is now {model['digest'][:12]}")
    drawn = {f"{isa} {dtype}": draw(isa, dtype) for isa, dtype in variants()}
    for name, hashes in drawn.items():
        other = changed(before["pictures"].get(name, {}), hashes)
        print(f"{name}: {len(other)} of {len(hashes)} changed{': ' if other else ''}{'; '.join(other)}")
    for name in before["pictures"].keys() - drawn.keys():
        print(f"{name}: left out, this machine has no such instruction set")
    FILE.write_text(json.dumps({"model": model, "pictures": drawn}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--show", nargs=2, metavar=("ISA", "DTYPE"), help="print one set of hashes, write nothing")
    options = parser.parse_args()
    if options.show:
        json.dump(draw(*options.show), sys.stdout)
    else:
        redraw()
