"""A LoRA of another family is refused with the name of the family that it seems to be of, by its keys and shapes."""

from __future__ import annotations

import re
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.config import Config
from salon.engine.errors import UnexpectedKey, WrongShape
from salon.engine.lora_rules import LoraRules
from salon.engine.weights import (
    flux,
    flux2,
    flux2_lora,
    flux_lora,
    krea2,
    krea2_lora,
    qwen_image,
    qwen_image_lora,
    unet,
    unet_lora,
    z_image,
    z_image_lora,
)
from salon.engine.weights.lora_map import LoraMap
from salon.engine.weights.lora_origin import lora_origin

from .lora_files import write

XL = {
    "block_out_channels": [320, 640, 1280], "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "use_linear_projection": True,
    "transformer_layers_per_block": [1, 2, 10], "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
KLEIN = {"guidance_embeds": False, "num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24,
         "joint_attention_dim": 7680}  # fmt: skip
# Model -> its family's module, what reads its config and names its layers, and the config; what a LoRA of it is called.
MODELS: dict[str, tuple[str, Any, Any, dict[str, Any], str]] = {
    "flux": ("flux", flux.FluxConfig, flux_lora, {"_class_name": flux.ARCHITECTURE, "guidance_embeds": True}, "FLUX.1"),
    "flux2": ("flux2", flux2.Flux2Config, flux2_lora, {"_class_name": flux2.ARCHITECTURE}, "FLUX.2"),
    "klein": ("flux2", flux2.Flux2Config, flux2_lora, {"_class_name": flux2.ARCHITECTURE, **KLEIN}, "FLUX.2"),
    "krea2": ("krea2", krea2.Krea2Config, krea2_lora, {"_class_name": krea2.ARCHITECTURE}, "Krea 2"),
    "qwen_image": (
        "qwen_image", qwen_image.QwenImageConfig, qwen_image_lora, {"_class_name": qwen_image.ARCHITECTURE},
        "Qwen-Image",
    ),
    "sd15": (
        "sd15", unet.UNetConfig, unet_lora, {"_class_name": unet.ARCHITECTURE, "cross_attention_dim": 768},
        "Stable Diffusion 1.5",
    ),
    "sdxl": ("sdxl", unet.UNetConfig, unet_lora, {"_class_name": unet.ARCHITECTURE, **XL}, "SDXL"),
    "z_image": ("z_image", z_image.ZImageConfig, z_image_lora, {"_class_name": z_image.ARCHITECTURE}, "Z-Image"),
}  # fmt: skip
MAKERS = r"(double_blocks|single_blocks|blocks|input_blocks|middle_block|output_blocks)\.\d|middle_block"


def map_of(model: str) -> LoraMap:
    _, kind, names, config, _ = MODELS[model]
    found: LoraMap = names.lora_map(kind.read(Config(Path("config.json"), config)))
    return found


MAPS = {model: map_of(model) for model in MODELS}


def sides(where: LoraMap, name: str) -> tuple[int, int]:
    """(N, K) of a layer, as a file has it."""
    places = where.layers[name]
    return max(place.stop for place in places), where.targets[places[0].target][1]


def layers_of(model: str, wanted: str = "", *, makers: bool = False) -> dict[str, tuple[int, int]]:
    """Layers of blocks, in diffusers' names or in the makers'."""
    where, blocks = MAPS[model], r"blocks?[._]|layers\.|refiner"
    names = [name for name in where.layers if re.search(blocks, name) and re.search(wanted, name)]
    if model != "qwen_image" and model != "z_image":  # whose makers have diffusers' names, or most of them
        names = [name for name in names if bool(re.match(MAKERS, name)) == makers]
    return {name: sides(where, name) for name in names}


ATTENTION = r"attn|attention"
SETS = [(model, wanted, makers) for model in MODELS for wanted in ("", ATTENTION) for makers in (False, True)]
# Attention of these has names and widths of other families, too: which of them a LoRA is of cannot be told.
OPEN = {("klein", ATTENTION, True): "FLUX.1 or FLUX.2 [klein]"}


@pytest.mark.parametrize(("model", "wanted", "makers"), SETS)
@pytest.mark.parametrize("layout", ["diffusion_model.{}", "transformer.{}", "lora_unet_{}", "base_model.model.{}"])
def test_the_family_is_told_by_layers_of_real_sizes(model: str, wanted: str, makers: bool, layout: str) -> None:
    def named(name: str) -> str:
        return layout.format(name.replace(".", "_") if layout == "lora_unet_{}" else name)

    layers = {named(name): each for name, each in layers_of(model, wanted, makers=makers).items()}
    assert len(layers) > 4
    assert lora_origin(layers) == OPEN.get((model, wanted, makers), MODELS[model][4])


def few(model: str, *, makers: bool) -> dict[str, tuple[int, int]]:
    """Of each kind of layer the first one and the last."""
    kinds: dict[str, list[str]] = {}
    layers = layers_of(model, makers=makers)
    for name in layers:
        kinds.setdefault(re.sub(r"\d+", "#", name), []).append(name)
    return {name: layers[name] for names in kinds.values() for name in (names[0], names[-1])}


PAIRS = [(a, b) for a, b in permutations(MODELS, 2) if MODELS[a][0] != MODELS[b][0]]


@pytest.mark.parametrize(("made_for", "drawn_by"), PAIRS)
def test_it_is_refused_by_every_other_family_with_the_name_of_its_own(
    made_for: str, drawn_by: str, tmp_path: Path
) -> None:
    family, origin = MODELS[drawn_by][0], MODELS[made_for][4]
    for makers in (False, True):
        arrays = {}
        for name, (rows, columns) in few(made_for, makers=makers).items():
            arrays[f"diffusion_model.{name}.lora_A.weight"] = np.ones((1, columns), np.float16)
            arrays[f"diffusion_model.{name}.lora_B.weight"] = np.ones((rows, 1), np.float16)
        _, path = write(tmp_path / "x.safetensors", arrays)
        with pytest.raises((UnexpectedKey, WrongShape)) as told:
            LoraRules(family, MAPS[drawn_by]).open(path)
        assert f"this model ({family})" in str(told.value)
        said = f"; the file seems to be a LoRA of {origin}: take one that was made for this model"
        assert str(told.value).endswith(said)
        assert LoraRules(MODELS[made_for][0], MAPS[made_for]).open(path)[1]


def test_one_of_another_size_of_its_family_is_told_so_too(tmp_path: Path) -> None:
    name = "single_transformer_blocks.0.attn.to_qkv_mlp_proj"
    rows, columns = sides(MAPS["klein"], name)
    arrays = {f"transformer.{name}.lora_A.weight": np.ones((1, columns), np.float16),
              f"transformer.{name}.lora_B.weight": np.ones((rows, 1), np.float16)}  # fmt: skip
    _, path = write(tmp_path / "x.safetensors", arrays)
    said = rf"another width, .* this model \(flux2\) has, found \[{rows}, {columns}\]; .* a LoRA of FLUX.2: take"
    with pytest.raises(WrongShape, match=said):
        LoraRules("flux2", MAPS["flux2"]).open(path)


@pytest.mark.parametrize(
    ("layers", "text", "origin"),
    [
        ({"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k": (1280, 1024)}, (), "Stable Diffusion 2"),
        ({"lora_unet_down_blocks_0_attentions_0_proj_in": (320, 320)}, (), "Stable Diffusion 1.5 or 2"),
        ({"lora_unet_mid_block_attentions_0_proj_in": (1280, 1280)}, (), "SDXL or Stable Diffusion 1.5"),
        ({"lora_unet_mid_block_attentions_0_proj_in": (1280, 1280)}, ("lora_te2_text_model_encoder",), "SDXL"),
        ({}, ("lora_te2_text_model_encoder_layers_0_mlp_fc1",), "SDXL"),
        ({"transformer.transformer_blocks.3.attn.to_q": (1536, 1536)}, (), "Stable Diffusion 3"),
        ({"diffusion_model.joint_blocks.0.x_block.attn.qkv": (4608, 1536)}, (), "Stable Diffusion 3"),
        ({"transformer.transformer_blocks.3.attn.to_q": (3072, 3072)}, (), "FLUX.1, FLUX.2 or Qwen-Image"),
        ({"transformer.transformer_blocks.18.attn.to_q": (3072, 3072)}, (), "FLUX.1 or Qwen-Image"),
        ({"transformer.transformer_blocks.19.attn.to_q": (3072, 3072)}, (), "Qwen-Image"),
        ({"transformer.transformer_blocks.3.attn.to_q": (6144, 6144)}, (), "FLUX.2"),
        ({"diffusion_model.double_blocks.7.img_attn.qkv": (18432, 6144)}, (), "FLUX.2"),
        ({"diffusion_model.double_blocks.8.img_attn.qkv": (9216, 3072)}, (), "FLUX.1"),
        ({"diffusion_model.blocks.0.cross_attn.k": (5120, 5120)}, (), "Wan, which makes video"),
        ({"lora_unet_double_blocks_0_img_mlp_fc1": (12288, 3072)}, (), "HunyuanVideo, which makes video"),
        ({"diffusion_model.layers.0.attention.qkv": (6912, 2304)}, (), "Lumina 2"),
        ({"odd": (8, 8)}, (), None),
        ({}, (), None),
    ],
)
def test_what_names_and_widths_tell(layers: dict[str, Any], text: tuple[str, ...], origin: str | None) -> None:
    assert lora_origin(layers, text) == origin
