"""Tiny random pipelines of Krea 2, saved by diffusers and transformers themselves, and the same as single files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from .tiny_qwen import HEAD, autoencoder, shaken, tokenizer, wan

TEXT = 32  # width of the text encoder
SCHEDULER = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "max_image_seq_len": 6400}


def pipeline(*, distilled: bool = False) -> Any:
    """Return a Krea2Pipeline with random weights."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, Krea2Pipeline, Krea2Transformer2DModel
    from transformers import Qwen3VLConfig, Qwen3VLModel

    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(20261201)
        text = {
            "hidden_size": TEXT, "intermediate_size": 48, "num_hidden_layers": 36, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": HEAD, "vocab_size": len(words), "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]},
        }  # fmt: skip
        vision = {
            "depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 2, "out_hidden_size": TEXT,
            "num_position_embeddings": 4, "deepstack_visual_indexes": [0],
        }  # fmt: skip
        built = Krea2Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
            vae=autoencoder(),
            text_encoder=Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=vision)),
            tokenizer=words,
            transformer=Krea2Transformer2DModel(
                num_layers=2, attention_head_dim=HEAD, num_attention_heads=2, num_key_value_heads=1,
                intermediate_size=96, timestep_embed_dim=32, text_hidden_dim=TEXT, num_text_layers=12,
                text_num_attention_heads=4, text_num_key_value_heads=2, text_intermediate_size=48,
                num_layerwise_text_blocks=1, num_refiner_text_blocks=2,
            ),
            is_distilled=distilled,
        )  # fmt: skip
        shaken(built.vae, built.text_encoder, built.transformer, more=built.transformer)
        with torch.no_grad():
            for name, parameter in built.transformer.named_parameters():
                if name.endswith("scale_shift_table"):
                    parameter.normal_(0, 0.5)
                elif ".norm" in name:  # these are added to 1
                    parameter.normal_(0, 0.2)
    return built


def originals(folder: Path, to: Path) -> dict[str, Path]:
    """Write the parts of a saved pipeline as the single files that people have, under their makers' own names."""
    to.mkdir()
    text = load_file(folder / "text_encoder" / "model.safetensors")
    files = {
        "transformer": _transformer(load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")),
        "vae": wan(load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")),
        "text": {f"model.{key}": a for key, a in text.items()},
    }
    names = {"transformer": "krea2", "vae": "qwen_image_vae", "text": "qwen3vl"}
    for part, arrays in files.items():
        save_file({key: np.ascontiguousarray(a) for key, a in arrays.items()}, to / f"{names[part]}.safetensors")
    everything = {f"model.diffusion_model.{key}": a for key, a in files["transformer"].items()}
    everything |= {f"vae.{key}": a for key, a in files["vae"].items()}
    everything |= {f"text_encoders.qwen3vl_4b.transformer.{key}": a for key, a in files["text"].items()}
    save_file({key: np.ascontiguousarray(a) for key, a in everything.items()}, to / "everything.safetensors")
    return {part: to / f"{name}.safetensors" for part, name in (*names.items(), ("everything", "everything"))}


def _transformer(arrays: dict[str, Any]) -> dict[str, Any]:
    """Undo what diffusers does to the originals of Krea AI (`convert_krea2_transformer_checkpoint_to_diffusers`)."""
    starts = {
        "img_in.": "first.", "time_embed.linear_1.": "tmlp.0.", "time_embed.linear_2.": "tmlp.2.",
        "time_mod_proj.": "tproj.1.", "txt_in.norm.weight": "txtmlp.0.scale", "txt_in.linear_1.": "txtmlp.1.",
        "txt_in.linear_2.": "txtmlp.3.", "text_fusion.": "txtfusion.", "transformer_blocks.": "blocks.",
        "final_layer.linear.": "last.linear.", "final_layer.norm.weight": "last.norm.scale",
        "final_layer.scale_shift_table": "last.modulation.lin",
    }  # fmt: skip
    inside = {
        ".to_q.": ".wq.", ".to_k.": ".wk.", ".to_v.": ".wv.", ".to_out.0.": ".wo.", ".to_gate.": ".gate.",
        ".norm_q.weight": ".qknorm.qnorm.scale", ".norm_k.weight": ".qknorm.knorm.scale", ".ff.": ".mlp.",
        ".norm1.weight": ".prenorm.scale", ".norm2.weight": ".postnorm.scale", ".scale_shift_table": ".mod.lin",
    }  # fmt: skip
    made = {}
    for key, array in arrays.items():
        name = key
        for start, new in starts.items():
            if key.startswith(start):
                name = new + key[len(start) :]
        for old, new in inside.items():
            name = name.replace(old, new)
        made[name] = array.reshape(-1) if name.startswith("blocks.") and name.endswith("mod.lin") else array
    return made
