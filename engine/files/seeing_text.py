"""Read text encoders that see pictures too, in single files (`qwen_2.5_vl_7b.safetensors`), as transformers' classes.

Of Qwen3-VL the language side is read, of Qwen2.5-VL also its image encoder. Their arrays have transformers' names, of
this version or that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..errors import UnknownArchitecture
from ..tensor_file import TensorFile
from .renamed import FileComponent, Piece, count_of, shape_of

QWEN2_5: Final = ("transformers", "Qwen2_5_VLForConditionalGeneration")
QWEN3: Final = ("transformers", "Qwen3VLForConditionalGeneration")
PREFIXES: Final = ("", *(f"text_encoders.{name}.transformer." for name in ("qwen25_7b", "qwen3vl_4b")))
# What stands before the language side's names.
ROOTS: Final = ("model.", "model.language_model.", "language_model.model.", "language_model.")
BIASED: Final = "layers.0.self_attn.q_proj.bias"  # of 2.5; whether it sees pictures does not change its words
NORMED: Final = "layers.0.self_attn.q_norm.weight"  # of 3, which without eyes is another class
EYES: Final = ("visual.", "model.visual.")
PATCH: Final = "patch_embed.proj.weight"
HEAD: Final = 128  # columns of a head
EYE_HEAD: Final = 80  # of a head of Qwen2.5-VL's image encoder
THETA: Final = {QWEN2_5: 1e6, QWEN3: 5e6}


def encoders(file: TensorFile) -> Iterator[FileComponent]:
    """Yield the text encoder of such a kind in a file, if there is one. Its name is its class.

    Raises:
        MissingKey, WrongShape, UnknownArchitecture: the arrays are not those of such an encoder.
    """
    for prefix in PREFIXES:
        eyes = tuple(f"{prefix}{name}" for name in EYES)
        sees = any(key.startswith(eyes) for key in file.tensors)
        for root in ROOTS:
            at = f"{prefix}{root}"
            if f"{at}{BIASED}" in file.tensors or (sees and f"{at}{NORMED}" in file.tensors):
                kind = QWEN2_5 if f"{at}{BIASED}" in file.tensors else QWEN3
                keys = [key for key in file.tensors if key.startswith(at) and not key.startswith(eyes)]
                pieces = {f"model.{key[len(at) :]}": Piece(key) for key in keys}
                config = _config(file, at, kind)
                seen = next((name for name in eyes if f"{name}{PATCH}" in file.tensors), None)
                if kind == QWEN2_5 and seen is not None:
                    own = (key for key in file.tensors if key.startswith(seen))
                    pieces |= {f"visual.{key[len(seen) :]}": Piece(key) for key in own}
                    config["vision_config"] = _eyes(file, seen)
                yield FileComponent(kind[1], kind, file, pieces, config)
                return


def _config(file: TensorFile, at: str, kind: tuple[str, str]) -> dict[str, Any]:
    """Return what config.json would say of the language side."""
    words, width = shape_of(file, f"{at}embed_tokens.weight", 2)
    rows = {}
    for name in ("q", "k"):
        key = f"{at}layers.0.self_attn.{name}_proj.weight"
        rows[name] = shape_of(file, key, 2)[0]
        if rows[name] % HEAD:
            expected = f"a multiple of {HEAD}, the columns of a head"
            found = str(rows[name])
            raise UnknownArchitecture(f"rows of {name}", path=file.path, key=key, expected=expected, found=found)
    return {
        "architectures": [kind[1]],
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": shape_of(file, f"{at}layers.0.mlp.gate_proj.weight", 2)[0],
        "num_hidden_layers": count_of(file, f"{at}layers."),
        "num_attention_heads": rows["q"] // HEAD,
        "num_key_value_heads": rows["k"] // HEAD,
        "head_dim": HEAD,
        "rms_norm_eps": 1e-6,
        "rope_theta": THETA[kind],
    }


def _eyes(file: TensorFile, at: str) -> dict[str, Any]:
    """Return what config.json would say of Qwen2.5-VL's image encoder. Its windows are those of every size of it."""
    width, _, _, side, _ = shape_of(file, f"{at}{PATCH}", 5)
    return {
        "depth": count_of(file, f"{at}blocks."),
        "hidden_size": width,
        "intermediate_size": shape_of(file, f"{at}blocks.0.mlp.gate_proj.weight", 2)[0],
        "num_heads": max(1, width // EYE_HEAD),
        "patch_size": side,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "out_hidden_size": shape_of(file, f"{at}merger.mlp.2.weight", 2)[0],
    }
