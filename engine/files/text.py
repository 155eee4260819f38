"""Read text encoders in single files (`clip_l.safetensors`, `qwen_3_4b.safetensors`) as transformers' classes.

Their arrays have transformers' names. Their configs follow from the shapes, with what all models of the kind share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from ..errors import UnknownArchitecture
from ..tensor_file import TensorFile
from . import seeing_text
from .renamed import FileComponent, Piece, count_of, shape_of, thirds

CLIP: Final = ("transformers", "CLIPTextModel")
T5: Final = ("transformers", "T5EncoderModel")
QWEN3: Final = ("transformers", "Qwen3ForCausalLM")
MISTRAL: Final = ("transformers", "Mistral3ForConditionalGeneration")
PROJECTED: Final = ("transformers", "CLIPTextModelWithProjection")
CLIP_PREFIXES: Final = (
    "", "text_encoders.clip_l.transformer.", "clip_l.transformer.", "cond_stage_model.transformer.",
    "conditioner.embedders.0.transformer.",
)  # fmt: skip
PROJECTION: Final = "text_projection.weight"
BIG_WIDTH: Final = 1280  # columns of bigG; other CLIPs are narrower
BIG_G: Final = "conditioner.embedders.1.model."  # where SDXL's files have OpenCLIP bigG, in OpenCLIP's layout
T5_PREFIXES: Final = ("", "text_encoders.t5xxl.transformer.", "t5xxl.transformer.")
CLIP_ROOT: Final = "text_model."  # which transformers 5 leaves out
CLIP_MARK: Final = "embeddings.token_embedding.weight"
T5_MARK: Final = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
LANGUAGE_PREFIXES: Final = (
    "", *(f"text_encoders.{name}.transformer." for name in ("qwen3_4b", "qwen3_8b", "mistral3_24b"))
)  # fmt: skip
LANGUAGE_MARK: Final = "model.layers.0.self_attn.q_proj.weight"
QWEN3_MARK: Final = "model.layers.0.self_attn.q_norm.weight"
BIASED_MARK: Final = "model.layers.0.self_attn.q_proj.bias"  # of Qwen2.5-VL
LANGUAGE_HEAD: Final = 128  # columns of a head of every Qwen3 and Mistral Small
UNREAD_LANGUAGE: Final = ("tekken_model", "spiece_model")  # a tokenizer in a file of its own, as bytes
HEAD: Final = 64  # columns of a head, of CLIP-L and of every T5 but the 3B and 11B of 2019
_BLOCKS: Final = re.compile(r"transformer\.resblocks\.(\d{1,4})\.(.+)")
_OPEN: Final = {  # OpenCLIP's names -> transformers'
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
_OPEN_LAYER: Final = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}  # fmt: skip
UNREAD: Final = (  # arrays that the encoders' states do not depend on
    "logit_scale",
    PROJECTION,
    "text_model.embeddings.position_ids",
    "embeddings.position_ids",
)


def encoders(file: TensorFile) -> Iterator[FileComponent]:
    """Yield the text encoders in a file. Their names are their classes': a family says where it reads which.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of such an encoder.
    """
    for prefix, root in (*((prefix, CLIP_ROOT) for prefix in CLIP_PREFIXES), ("", "")):
        if f"{prefix}{root}{CLIP_MARK}" in file.tensors:
            yield _big_clip(file, prefix, root) or FileComponent(
                CLIP[1], CLIP, file, _pieces(file, prefix), _clip(file, f"{prefix}{root}")
            )
            break
    if f"{BIG_G}token_embedding.weight" in file.tensors:
        yield FileComponent(PROJECTED[1], PROJECTED, file, dict(_open_pieces(file)), _big_g(file))
    for prefix in T5_PREFIXES:
        if f"{prefix}{T5_MARK}" in file.tensors:
            yield FileComponent(T5[1], T5, file, _pieces(file, prefix), _t5(file, prefix))
            break
    seeing = list(seeing_text.encoders(file))
    yield from seeing
    for prefix in () if seeing else LANGUAGE_PREFIXES:
        if f"{prefix}{LANGUAGE_MARK}" in file.tensors and f"{prefix}{BIASED_MARK}" not in file.tensors:
            kind = QWEN3 if f"{prefix}{QWEN3_MARK}" in file.tensors else MISTRAL
            pieces = {name: piece for name, piece in _pieces(file, prefix).items() if name not in UNREAD_LANGUAGE}
            yield FileComponent(kind[1], kind, file, pieces, _language(file, prefix, kind[1]))
            break


def _pieces(file: TensorFile, prefix: str) -> dict[str, Piece]:
    keys = (key for key in file.tensors if key.startswith(prefix))
    pieces = {key[len(prefix) :]: Piece(key) for key in keys}
    return {name: piece for name, piece in pieces.items() if name not in UNREAD}


def _clip(file: TensorFile, at: str) -> dict[str, Any]:
    words, width = shape_of(file, f"{at}{CLIP_MARK}", 2)
    return {
        "architectures": [CLIP[1]],
        "model_type": "clip_text_model",
        "vocab_size": words,
        "hidden_size": width,
        "projection_dim": width,
        "intermediate_size": shape_of(file, f"{at}encoder.layers.0.mlp.fc1.weight", 2)[0],
        "num_hidden_layers": count_of(file, f"{at}encoder.layers."),
        "num_attention_heads": _heads(file, f"{at}{CLIP_MARK}", width),
        "max_position_embeddings": shape_of(file, f"{at}embeddings.position_embedding.weight", 2)[0],
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "pad_token_id": 1,
    }


def _big_clip(file: TensorFile, prefix: str, root: str) -> FileComponent | None:
    """Return OpenCLIP bigG under transformers' names (`clip_g.safetensors`); None: the file has another CLIP."""
    key = f"{prefix}{PROJECTION}"
    if key not in file.tensors or shape_of(file, f"{prefix}{root}{CLIP_MARK}", 2)[1] != BIG_WIDTH:
        return None
    projected = {"projection_dim": shape_of(file, key, 2)[0]}
    config = _clip(file, f"{prefix}{root}") | {"architectures": [PROJECTED[1]], "hidden_act": "gelu"} | projected
    return FileComponent(PROJECTED[1], PROJECTED, file, {**_pieces(file, prefix), PROJECTION: Piece(key)}, config)


def _open_pieces(file: TensorFile) -> Iterator[tuple[str, Piece]]:
    """Yield transformers' name and place of every array of OpenCLIP's text encoder."""
    for key, info in file.tensors.items():
        if not key.startswith(BIG_G) or key[len(BIG_G) :] in ("logit_scale", "attn_mask"):
            continue
        name = key[len(BIG_G) :]
        if name == "text_projection":  # OpenCLIP multiplies by it from the right
            yield "text_projection.weight", Piece(key, turned=True)
        elif (match := _BLOCKS.fullmatch(name)) is not None:
            at, (layer, _, part) = f"text_model.encoder.layers.{match[1]}", match[2].rpartition(".")
            if match[2] in ("attn.in_proj_weight", "attn.in_proj_bias"):
                part = match[2].removeprefix("attn.in_proj_")
                for x, ranges in zip("qkv", thirds(info.shape[0] if info.shape else 0), strict=True):
                    yield f"{at}.self_attn.{x}_proj.{part}", Piece(key, ranges)
            else:
                yield f"{at}.{_OPEN_LAYER.get(layer, layer)}.{part}", Piece(key)
        else:
            yield _OPEN.get(name, name), Piece(key)


def _big_g(file: TensorFile) -> dict[str, Any]:
    mark = f"{BIG_G}token_embedding.weight"
    words, width = shape_of(file, mark, 2)
    return {
        "architectures": [PROJECTED[1]],
        "model_type": "clip_text_model",
        "vocab_size": words,
        "hidden_size": width,
        "projection_dim": shape_of(file, f"{BIG_G}text_projection", 2)[1],
        "intermediate_size": shape_of(file, f"{BIG_G}transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        "num_hidden_layers": count_of(file, f"{BIG_G}transformer.resblocks."),
        "num_attention_heads": _heads(file, mark, width),
        "max_position_embeddings": shape_of(file, f"{BIG_G}positional_embedding", 2)[0],
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "eos_token_id": words - 1,
    }


def _t5(file: TensorFile, prefix: str) -> dict[str, Any]:
    at = f"{prefix}encoder.block.0.layer"
    query = f"{at}.0.SelfAttention.q.weight"
    words, width = shape_of(file, f"{prefix}shared.weight", 2)
    buckets, heads = shape_of(file, f"{prefix}{T5_MARK}", 2)
    inner = shape_of(file, query, 2)[0]
    if inner % heads:
        expected, found = f"a multiple of the {heads} heads", str(inner)
        raise UnknownArchitecture("rows of q", path=file.path, key=query, expected=expected, found=found)
    gated = f"{at}.1.DenseReluDense.wi_0.weight"
    if gated not in file.tensors:
        raise UnknownArchitecture(
            "a T5 without gates", path=file.path, key=gated, expected="one of version 1.1, as FLUX.1 and SD3 have",
            found="none", remedy="use t5xxl_fp16.safetensors, or a folder that transformers wrote",
        )  # fmt: skip
    return {
        "architectures": [T5[1]],
        "model_type": "t5",
        "vocab_size": words,
        "d_model": width,
        "d_kv": inner // heads,
        "d_ff": shape_of(file, gated, 2)[0],
        "num_layers": count_of(file, f"{prefix}encoder.block."),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "gated-gelu",
    }


def _language(file: TensorFile, prefix: str, kind: str) -> dict[str, Any]:
    """Return what config.json would say of Qwen3, or of the language side of Mistral Small 3.

    FLUX.2 reads nothing behind Mistral's 30th layer of 40, so files of it end there, without the final norm.
    """
    at = f"{prefix}model.layers.0."
    words, width = shape_of(file, f"{prefix}model.embed_tokens.weight", 2)
    head = LANGUAGE_HEAD
    if kind == QWEN3[1]:
        (head,) = shape_of(file, f"{prefix}{QWEN3_MARK}", 1)
    rows = {x: shape_of(file, f"{at}self_attn.{x}_proj.weight", 2)[0] for x in "qk"}
    for x, count in rows.items():
        if count % head:
            raise UnknownArchitecture(
                f"rows of {x}", path=file.path, key=f"{at}self_attn.{x}_proj.weight",
                expected=f"a multiple of {head}, the columns of a head", found=str(count),
            )  # fmt: skip
    return {
        "architectures": [kind],
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": shape_of(file, f"{at}mlp.gate_proj.weight", 2)[0],
        "num_hidden_layers": count_of(file, f"{prefix}model.layers."),
        "num_attention_heads": rows["q"] // head,
        "num_key_value_heads": rows["k"] // head,
        "head_dim": head,
        "rms_norm_eps": 1e-6 if kind == QWEN3[1] else 1e-5,
        "rope_theta": 1e6 if kind == QWEN3[1] else 1e9,
        "final_norm": kind == QWEN3[1] or f"{prefix}model.norm.weight" in file.tensors,
    }


def _heads(file: TensorFile, key: str, width: int) -> int:
    if width % HEAD:
        expected = f"a width that is a multiple of {HEAD}, the columns of a head"
        raise UnknownArchitecture("width", path=file.path, key=key, expected=expected, found=str(width))
    return width // HEAD
