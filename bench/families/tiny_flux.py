"""Tiny random FLUX.1 pipelines, saved by diffusers and transformers themselves, and the same as single files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

HEAD = 128  # the head width of FLUX.1, which its single files imply
TEXT, POOLED = 32, 64  # widths of T5 and CLIP
SENTENCE = "a red green blue apple cat dog house big small on the in of style and with under sky river"
WORDS = SENTENCE.split()
LONG = " ".join(["a big red apple", *("in", "a", "on", "of") * 150])  # more than either text encoder reads
DEV = {"shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}


def clip_tokenizer() -> Any:
    """Return a CLIPTokenizer of letters and whole words."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz.,!"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[str] = []
    for word in dict.fromkeys(WORDS):
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]}")
            parts[:2] = [parts[0] + parts[1]]
            tokens.append(parts[0])
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    merges = list(dict.fromkeys(merges))
    vocab = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[tuple(m.split()) for m in merges], model_max_length=77)


def t5_tokenizer() -> Any:
    """Return a T5Tokenizer of letters and whole words."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -1.0) for word in dict.fromkeys(WORDS)]
    pieces += [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz.,!"]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def pipeline(*, dev: bool = True) -> Any:
    """Return a FluxPipeline with random weights: [dev] with its guidance and shift, or else [schnell]."""
    import torch
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    first, second = clip_tokenizer(), t5_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(20261129)
        words = len(first)
        clip = CLIPTextConfig(
            vocab_size=words, hidden_size=POOLED, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1,
            max_position_embeddings=77, projection_dim=POOLED, bos_token_id=words - 2, eos_token_id=words - 1,
            pad_token_id=1,
        )  # fmt: skip
        t5 = T5Config(
            vocab_size=64, d_model=TEXT, d_kv=16, d_ff=48, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
        )
        built = FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(**(DEV if dev else {"shift": 1.0})),
            vae=AutoencoderKL(
                latent_channels=4, block_out_channels=(32, 64), layers_per_block=1, use_quant_conv=False,
                down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
                use_post_quant_conv=False, scaling_factor=0.3611, shift_factor=0.1159,
            ),
            text_encoder=CLIPTextModel(clip), tokenizer=first,
            text_encoder_2=T5EncoderModel(t5), tokenizer_2=second,
            transformer=FluxTransformer2DModel(
                in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=HEAD, num_attention_heads=1,
                joint_attention_dim=TEXT, pooled_projection_dim=POOLED, guidance_embeds=dev,
            ),
        )  # fmt: skip
        for part in (built.vae, built.text_encoder, built.text_encoder_2, built.transformer):
            for name, parameter in part.eval().named_parameters():  # so that no bias or norm can be left out unnoticed
                with torch.no_grad():
                    if name.endswith("bias") and parameter.ndim == 1:
                        parameter.normal_(0, 0.2)
                    elif parameter.ndim == 1:
                        parameter.normal_(1, 0.2)
                    elif part is built.transformer:  # so that prompts make a difference that can be seen
                        parameter.mul_(2.0)
    return built


def kontext() -> Any:
    """Return a FluxKontextPipeline with the random weights of [dev]."""
    from diffusers import FluxKontextPipeline

    return FluxKontextPipeline(**pipeline(dev=True).components)


def fill(dev: Any = None) -> Any:
    """Return a FluxFillPipeline with the random weights of [dev], whose transformer reads picture and mask, too.

    Args:
        dev: [dev], of which all but the transformer is shared; None: one is made.
    """
    import torch
    from diffusers import FluxFillPipeline, FluxTransformer2DModel

    parts = dict((dev or pipeline(dev=True)).components)
    for name in ("image_encoder", "feature_extractor"):
        parts.pop(name, None)
    own = parts["transformer"]
    with torch.random.fork_rng():
        torch.manual_seed(20261201)
        wider = FluxTransformer2DModel(**{**own.config, "in_channels": 48, "out_channels": 16}).eval()
    state = own.state_dict()
    state["x_embedder.weight"] = torch.cat(
        [state["x_embedder.weight"], wider.x_embedder.weight.detach()[:, 16:]], dim=1
    )
    wider.load_state_dict(state)
    return FluxFillPipeline(**{**parts, "transformer": wider})


def originals(folder: Path, to: Path) -> dict[str, Path]:
    """Write the parts of a saved pipeline as the single files that people have, under their makers' own names."""
    to.mkdir()
    files = {
        "transformer": _transformer(load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")),
        "vae": autoencoder(load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")),
        "clip": _clip(load_file(folder / "text_encoder" / "model.safetensors")),
        "t5": load_file(folder / "text_encoder_2" / "model.safetensors"),
    }
    files["t5"].setdefault("shared.weight", files["t5"].get("encoder.embed_tokens.weight"))
    names = {"transformer": "flux1", "vae": "ae", "clip": "clip_l", "t5": "t5xxl"}
    for part, arrays in files.items():
        save_file({key: np.ascontiguousarray(a) for key, a in arrays.items()}, to / f"{names[part]}.safetensors")
    everything = {f"model.diffusion_model.{key}": a for key, a in files["transformer"].items()}
    everything |= {f"vae.{key}": a for key, a in files["vae"].items()}
    everything |= {f"text_encoders.clip_l.transformer.{key}": a for key, a in files["clip"].items()}
    everything |= {f"text_encoders.t5xxl.transformer.{key}": a for key, a in files["t5"].items()}
    save_file({key: np.ascontiguousarray(a) for key, a in everything.items()}, to / "everything.safetensors")
    return {part: to / f"{name}.safetensors" for part, name in (*names.items(), ("everything", "everything"))}


Arrays = dict[str, Any]


def _clip(arrays: Arrays) -> Arrays:
    """Give a text encoder the names of transformers 4, which `clip_l.safetensors` has; newer ones leave one out."""
    return {key if key.startswith("text_model.") else f"text_model.{key}": a for key, a in arrays.items()}


def _transformer(arrays: Arrays) -> Arrays:
    """Undo what diffusers does to the originals of Black Forest Labs (`convert_flux_transformer_checkpoint...`)."""
    made: Arrays = {}

    def join(to: str, *names: str) -> None:
        for part in ("weight", "bias"):
            made[f"{to}.{part}"] = np.concatenate([arrays.pop(f"{name}.{part}") for name in names])

    def move(to: str, name: str, part: str | None = None) -> None:
        for end in ("weight", "bias"):
            if f"{name}.{end}" in arrays:
                made[f"{to}.{part or end}"] = arrays.pop(f"{name}.{end}")

    for to, name in (("time_in", "timestep"), ("vector_in", "text"), ("guidance_in", "guidance")):
        move(f"{to}.in_layer", f"time_text_embed.{name}_embedder.linear_1")
        move(f"{to}.out_layer", f"time_text_embed.{name}_embedder.linear_2")
    move("txt_in", "context_embedder")
    move("img_in", "x_embedder")
    move("final_layer.linear", "proj_out")
    for part in ("weight", "bias"):
        scale, shift = np.split(arrays.pop(f"norm_out.linear.{part}"), 2)
        made[f"final_layer.adaLN_modulation.1.{part}"] = np.concatenate([shift, scale])
    number = 0
    while f"transformer_blocks.{number}.norm1.linear.weight" in arrays:
        at, to = f"transformer_blocks.{number}", f"double_blocks.{number}"
        join(f"{to}.img_attn.qkv", *(f"{at}.attn.to_{x}" for x in "qkv"))
        join(f"{to}.txt_attn.qkv", *(f"{at}.attn.add_{x}_proj" for x in "qkv"))
        for side, norm, out, ff, added in (
            ("img", "norm1", "to_out.0", "ff", ""), ("txt", "norm1_context", "to_add_out", "ff_context", "added_")
        ):  # fmt: skip
            move(f"{to}.{side}_mod.lin", f"{at}.{norm}.linear")
            move(f"{to}.{side}_attn.proj", f"{at}.attn.{out}")
            move(f"{to}.{side}_mlp.0", f"{at}.{ff}.net.0.proj")
            move(f"{to}.{side}_mlp.2", f"{at}.{ff}.net.2")
            for x, name in (("q", "query"), ("k", "key")):
                move(f"{to}.{side}_attn.norm.{name}_norm", f"{at}.attn.norm_{added}{x}", "scale")
        number += 1
    number = 0
    while f"single_transformer_blocks.{number}.norm.linear.weight" in arrays:
        at, to = f"single_transformer_blocks.{number}", f"single_blocks.{number}"
        join(f"{to}.linear1", *(f"{at}.attn.to_{x}" for x in "qkv"), f"{at}.proj_mlp")
        move(f"{to}.linear2", f"{at}.proj_out")
        move(f"{to}.modulation.lin", f"{at}.norm.linear")
        for x, name in (("q", "query"), ("k", "key")):
            move(f"{to}.norm.{name}_norm", f"{at}.attn.norm_{x}", "scale")
        number += 1
    assert not arrays, f"left over: {sorted(arrays)}"
    return made


def autoencoder(arrays: Arrays) -> Arrays:
    """Give an autoencoder of two levels the names of latent diffusion."""
    made: Arrays = {}
    for key, array in arrays.items():
        name = key.replace("mid_block.attentions.0.group_norm", "mid.attn_1.norm")
        for new, old in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
            if f"attentions.0.{new}." in name:
                name = name.replace(f"mid_block.attentions.0.{new}", f"mid.attn_1.{old}")
                array = array[:, :, None, None] if array.ndim == 2 else array
        for i in range(2):
            name = name.replace(f"mid_block.resnets.{i}", f"mid.block_{i + 1}")
            name = name.replace(f"down_blocks.{i}.resnets.", f"down.{i}.block.")
            name = name.replace(f"down_blocks.{i}.downsamplers.0.conv", f"down.{i}.downsample.conv")
            name = name.replace(f"up_blocks.{i}.resnets.", f"up.{1 - i}.block.")
            name = name.replace(f"up_blocks.{i}.upsamplers.0.conv", f"up.{1 - i}.upsample.conv")
        made[name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")] = array
    return made
