"""Tiny random pipelines of Qwen-Image, saved by diffusers and transformers themselves, and the same as single files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from safetensors.numpy import load_file, save_file

from .tiny_flux import WORDS

HEAD = 128  # the head width of transformer and text encoder, which their single files imply
LONG = " ".join(["a big red apple on", *["zqxzqxz"] * 80])  # more than the text encoder reads, letter by letter
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SIGHT = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
SIDE = 32  # of a picture that is drawn in tests, which is 8 x 8 tokens
SMALL = {1024 * 1024: 48 * 48, 384 * 384: 96 * 96}  # the pixels of pictures that are looked at -> of those in tests
SCHEDULER = {
    "shift": 1.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 0.9, "max_image_seq_len": 8192,
    "shift_terminal": 0.02,
}  # fmt: skip


def tokenizer(*, sees: bool = False) -> Any:
    """Return a Qwen2Tokenizer of bytes and of the whole words of the template and of `WORDS`.

    Args:
        sees: with the tokens and the template of Qwen-Image-Edit.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    from ...engine.text import message, seeing

    tokens, special = sorted(ByteLevel.alphabet()), (*SPECIAL, *(SIGHT if sees else ()))
    template = (seeing if sees else message).BEFORE
    for mark in ("<|im_end|>", "<|im_start|>", ",", ":"):
        template = template.replace(mark, " ")
    words = [*template.split(), "assistant", *WORDS]
    merges: list[tuple[str, str]] = []
    for word in dict.fromkeys([*(f"Ġ{word}" for word in words), "system", "user", "assistant", "Describe"]):
        for end in range(1, len(word)):
            merges.append((word[:end], word[end]))
            tokens.append(word[: end + 1])
    tokens = [*dict.fromkeys(tokens), *special]
    vocab = {token: i for i, token in enumerate(tokens)}
    made = Qwen2Tokenizer(vocab=vocab, merges=list(dict.fromkeys(merges)))
    made.add_special_tokens({"additional_special_tokens": list(special[1:])})
    return made


def shaken(*parts: Any, more: Any = None) -> None:
    """Give norms and biases random values, so that none can be left out unnoticed."""
    import torch

    for part in parts:
        for name, parameter in part.eval().named_parameters():
            with torch.no_grad():
                if name.endswith("bias") and parameter.ndim == 1:
                    parameter.normal_(0, 0.2)
                elif parameter.ndim == 1 or name.endswith("gamma"):
                    parameter.normal_(1, 0.2)
                elif part is more:  # so that prompts make a difference that can be seen
                    parameter.mul_(3.0)
                elif name == "decoder.conv_out.weight":
                    parameter.mul_(6.0)


def autoencoder() -> Any:
    """Return an AutoencoderKLQwenImage with random weights, and the statistics of Qwen-Image's own latents."""
    from diffusers import AutoencoderKLQwenImage

    return AutoencoderKLQwenImage(base_dim=8, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[True])


def pipeline() -> Any:
    """Return a QwenImagePipeline with random weights."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, QwenImagePipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(20261130)
        text = {
            "hidden_size": HEAD, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 1,
            "num_key_value_heads": 1, "vocab_size": len(words), "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        }  # fmt: skip
        vision = {"depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 2, "out_hidden_size": HEAD}
        built = QwenImagePipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
            vae=autoencoder(),
            text_encoder=Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)),
            tokenizer=words,
            transformer=QwenImageTransformer2DModel(
                num_layers=2, attention_head_dim=HEAD, num_attention_heads=1,
                joint_attention_dim=HEAD,
            ),
        )  # fmt: skip
        shaken(built.vae, built.text_encoder, built.transformer, more=built.transformer)
    return built


def edit_pipeline(*, plus: bool = True, still: bool = False) -> Any:
    """Return a pipeline of Qwen-Image-Edit with random weights.

    Args:
        plus: of the one that looks at several pictures.
        still: whether the rows of references are at timestep 0 (`zero_cond_t`).
    """
    import torch
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        QwenImageEditPipeline,
        QwenImageEditPlusPipeline,
        QwenImageTransformer2DModel,
    )
    from transformers import Qwen2_5_VLForConditionalGeneration

    words = tokenizer(sees=True)
    with torch.random.fork_rng():
        torch.manual_seed(20261130)
        built = (QwenImageEditPlusPipeline if plus else QwenImageEditPipeline)(
            scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
            vae=autoencoder(),
            text_encoder=Qwen2_5_VLForConditionalGeneration(seeing_config(words)),
            tokenizer=words,
            processor=processor(words),
            transformer=QwenImageTransformer2DModel(
                num_layers=2, attention_head_dim=HEAD, num_attention_heads=1, joint_attention_dim=HEAD,
                zero_cond_t=still,
            ),
        )  # fmt: skip
        shaken(built.vae, built.text_encoder, built.transformer, more=built.transformer)
    told_apart(built.text_encoder)
    return built


def told_apart(encoder: Any) -> None:
    """Make a Qwen2.5-VL know which tokens are pictures, as its processor tells and diffusers 0.42 does not pass on.

    Without it transformers 5 gives pictures the places of words, which transformers 4 did not
    (https://github.com/huggingface/diffusers/issues/14194).
    """

    def told(_: Any, args: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        kinds = (given["input_ids"] == encoder.config.image_token_id).int()
        return args, {"mm_token_type_ids": kinds, **given}

    encoder.register_forward_pre_hook(told, with_kwargs=True)


def save_edit(built: Any, folder: Path, **changed: Any) -> Path:
    """Save a pipeline of Qwen-Image-Edit as a folder whose salon.json makes pictures small, and return the folder.

    Args:
        changed: entries of transformer/config.json that are others.
    """
    from ...engine.checkpoint import Checkpoint
    from ...engine.families import qwen_image

    shows = built.processor.image_processor

    def save(_: Any, path: str, **given: Any) -> None:  # without that of videos
        shows.save_pretrained(path)

    with mock.patch.object(type(built.processor), "save_pretrained", save):
        built.save_pretrained(folder)
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changed}))
    said = dict(qwen_image.settings(Checkpoint(folder)))
    rule = said["references"]
    rule["text"]["area"], rule["area"] = SMALL[rule["text"]["area"]], SMALL[rule["area"]]
    said["defaults"] = {**said["defaults"], "width": SIDE, "height": SIDE}
    (folder / "salon.json").write_text(json.dumps(said))
    return folder


def seeing_config(words: Any) -> Any:
    """Return the config of a tiny Qwen2.5-VL that sees pictures: windows of 2 x 2 tokens, and a block without."""
    from transformers import Qwen2_5_VLConfig

    text = {
        "hidden_size": HEAD, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 1,
        "num_key_value_heads": 1, "vocab_size": len(words), "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }  # fmt: skip
    vision = {
        "depth": 3, "hidden_size": 80, "intermediate_size": 40, "num_heads": 1, "out_hidden_size": HEAD,
        "window_size": 112, "fullatt_block_indexes": [1], "initializer_range": 0.1,
    }  # fmt: skip
    ids = {name: words.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end")}
    return Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=words.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=ids["vision_start"], vision_end_token_id=ids["vision_end"],
    )  # fmt: skip


def processor(words: Any) -> Any:
    """Return what shows pictures to Qwen2.5-VL. Videos, for which transformers wants torchvision, are not shown."""
    from transformers import Qwen2VLProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 64}
    with mock.patch.object(Qwen2VLProcessor, "check_argument_for_proper_class"):
        return Qwen2VLProcessor(Qwen2VLImageProcessorPil(size=size), words, None)


def originals(folder: Path, to: Path) -> dict[str, Path]:
    """Write the parts of a saved pipeline as the single files that people have, under their makers' own names."""
    to.mkdir()
    text = load_file(folder / "text_encoder" / "model.safetensors")
    files = {
        "transformer": load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors"),
        "vae": wan(load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")),
        "text": {key.replace("model.language_model.", "model.").replace("model.visual.", "visual."): a
                 for key, a in text.items()},
    }  # fmt: skip
    names = {"transformer": "qwen_image", "vae": "qwen_image_vae", "text": "qwen_2.5_vl"}
    for part, arrays in files.items():
        save_file({key: np.ascontiguousarray(a) for key, a in arrays.items()}, to / f"{names[part]}.safetensors")
    everything = {f"model.diffusion_model.{key}": a for key, a in files["transformer"].items()}
    everything |= {f"vae.{key}": a for key, a in files["vae"].items()}
    everything |= {f"text_encoders.qwen25_7b.transformer.{key}": a for key, a in files["text"].items()}
    save_file({key: np.ascontiguousarray(a) for key, a in everything.items()}, to / "everything.safetensors")
    return {part: to / f"{name}.safetensors" for part, name in (*names.items(), ("everything", "everything"))}


def wan(arrays: dict[str, Any]) -> dict[str, Any]:
    """Give an autoencoder the names of Wan (undoes `convert_wan_vae_to_diffusers` of diffusers, at any depth)."""
    inner = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
    inner["conv_shortcut"] = "shortcut"
    depth = 1 + max(int(key.split(".")[4]) for key in arrays if key.startswith("decoder.up_blocks.0.resnets."))
    made = {}
    for key, array in arrays.items():
        name, _, part = key.rpartition(".")
        words = name.split(".")
        if words[0] in ("quant_conv", "post_quant_conv"):
            new = {"quant_conv": "conv1", "post_quant_conv": "conv2"}[words[0]]
        elif words[1] in ("conv_in", "norm_out", "conv_out"):
            new = f"{words[0]}.{ {'conv_in': 'conv1', 'norm_out': 'head.0', 'conv_out': 'head.2'}[words[1]] }"
        elif words[1] == "mid_block" and words[2] == "attentions":
            new = f"{words[0]}.middle.1.{'.'.join(words[4:])}"
        elif words[1] == "mid_block":
            new = f"{words[0]}.middle.{2 * int(words[3])}.{inner[words[4]]}"
        elif words[1] == "down_blocks":
            new = f"encoder.downsamples.{words[2]}.{'.'.join(inner.get(word, word) for word in words[3:])}"
        elif words[3] == "upsamplers":
            new = f"decoder.upsamples.{int(words[2]) * (depth + 1) + depth}.{'.'.join(words[5:])}"
        else:
            new = f"decoder.upsamples.{int(words[2]) * (depth + 1) + int(words[4])}.{inner[words[5]]}"
        made[f"{new}.{part}"] = array
    return made
