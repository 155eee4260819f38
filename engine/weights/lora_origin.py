"""Tell which family of models a LoRA was made for, by the names of its layers and their sides.

Layers of one name stand in several families, so a name decides only where no other family has it. Else the sides do, or
the number of blocks. Where several families remain, all of them are named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

Sides = tuple[int, int]  # (N, K) of a layer
Fits = Callable[[int, int], bool]

SDXL, SD15, SD2 = "SDXL", "Stable Diffusion 1.5", "Stable Diffusion 2"
SD3, WAN = "Stable Diffusion 3", "Wan, which makes video"
FLUX1, FLUX2, QWEN, KREA2 = "FLUX.1", "FLUX.2", "Qwen-Image", "Krea 2"
Z_IMAGE, LUMINA = "Z-Image", "Lumina 2"
# Names that one family has, with _ in place of dots -> that family. The first that fits decides.
_NAMES: Final[Mapping[str, str]] = {
    r"joint_blocks_": SD3,
    r"distilled_guidance_layer": "Chroma",
    r"individual_token_refiner|_img_mlp_fc\d|_img_mod_linear": "HunyuanVideo, which makes video",
    r"txtfusion|text_fusion|_attn_to_gate$|blocks_\d+_attn_(w[qkvo]|gate)$": KREA2,
    r"transformer_blocks_\d+_ff_(gate|up|down)$|(^|[a-z]_)blocks_\d+_mlp_(gate|up|down)$": KREA2,
    r"(img|txt)_mlp_net_\d|(img|txt)_mod_1$": QWEN,
    r"(single|double)_stream_modulation|_to_qkv_mlp_proj$|_ff(_context)?_linear_(in|out)$|time_guidance_embed": FLUX2,
    r"single_transformer_blocks_\d+_attn_to_out$": FLUX2,
    r"single_transformer_blocks_\d+_|time_text_embed_guidance|vector_in_": FLUX1,
    r"(img|txt)_mod_lin$|single_blocks_\d+_modulation_lin$": FLUX1,
    r"(^|[a-z]_)blocks_\d+_(cross|self)_attn_": WAN,
}
_UNET: Final = r"(down|up|input|output)_blocks_\d|mid(dle)?_block_"
# Of UNets: widths of the text, which attention to it reads.
_TEXT_WIDTHS: Final[Mapping[int, str]] = {2048: SDXL, 768: SD15, 1024: SD2, 1280: "the refiner of SDXL"}
_XL: Final = r"transformer_blocks_[1-9]|add_embedding|label_emb"
_NOT_XL: Final = r"down_blocks_(0_attentions|3_)|up_blocks_3_|input_blocks_([12]_1|9|1\d)_|output_blocks_(9|1\d)_"
_SECOND: Final = r"lora_te2_|text_encoder_2_|(^|_)te2_|clip_g_"  # of the two encoders of SDXL
# Layers of the originals of FLUX.1 and FLUX.2: which sides they have there.
_MAKERS: Final[tuple[tuple[str, Fits, str], ...]] = (
    (r"single_blocks_\d+_linear1$", lambda n, k: n == 7 * k, FLUX1),
    (r"single_blocks_\d+_linear1$", lambda n, k: n == 9 * k, FLUX2),
    (r"single_blocks_\d+_linear2$", lambda n, k: k == 5 * n, FLUX1),
    (r"single_blocks_\d+_linear2$", lambda n, k: k == 4 * n, FLUX2),
    (r"double_blocks_\d+_(img|txt)_mlp_0$", lambda n, k: n == 4 * k, FLUX1),
    (r"double_blocks_\d+_(img|txt)_mlp_0$", lambda n, k: n == 6 * k, FLUX2),
    (r"double_blocks_\d+_(img|txt)_mlp_2$", lambda n, k: k == 4 * n, FLUX1),
    (r"double_blocks_\d+_(img|txt)_mlp_2$", lambda n, k: k == 3 * n, FLUX2),
)
_DOUBLE: Final = r"double_blocks_(\d+)_(img|txt)_attn_"
_JOINT: Final = r"transformer_blocks_(\d+)_(attn_(to_[qkv]|to_out_0|add_[qkv]_proj|to_add_out)|ff(_context)?_net_\d)"
FLUX1_DOUBLE, FLUX2_DOUBLE = 19, 8  # most double blocks that a model of the family has
_FLUX2_WIDTHS: Final = (4096, 6144)  # of [klein] 9B and [dev]; that of [klein] 4B is FLUX.1's
_SD3_WIDTHS: Final = (1536, 2432)
_Z_IMAGE_WIDTH, _LUMINA_WIDTH = 3840, 2304


def lora_origin(layers: Mapping[str, Sides], text: Iterable[str] = ()) -> str | None:
    """Return what a LoRA seems to be made for, in words; None: it is nothing that Salon can tell.

    Args:
        layers: its layers' names, as the file has them -> (N, K).
        text: names of layers of text encoders.
    """
    flat = {name.replace(".", "_"): sides for name, sides in layers.items()}
    words = [name.replace(".", "_") for name in text]
    if _any(_UNET, flat):
        return _unet(flat, words)
    named = next((family for pattern, family in _NAMES.items() if _any(pattern, flat)), None)
    if named is not None:
        return named
    if _any(r"(^|_)(layers|noise_refiner|context_refiner)_\d+_(attention|feed_forward|adaLN_modulation)_", flat):
        widths = {k for name, (_, k) in flat.items() if re.search(r"_attention_(to_q|qkv|to_k|to_v)$", name)}
        return LUMINA if _LUMINA_WIDTH in widths else Z_IMAGE
    found = _makers(flat) or _joint(flat)
    if found is None and _any(_SECOND, words):
        return SDXL
    return found


def _unet(flat: Mapping[str, Sides], words: Iterable[str]) -> str:
    """Return which of the families with a UNet a LoRA is of."""
    widths = {k for name, (_, k) in flat.items() if re.search(r"attn2_to_[kv]$", name)}
    known = [family for width, family in _TEXT_WIDTHS.items() if width in widths]
    if known:
        return known[0]
    if _any(_XL, flat) or _any(_SECOND, words):
        return SDXL
    return f"{SD15} or 2" if _any(_NOT_XL, flat) else f"{SDXL} or {SD15}"


def _makers(flat: Mapping[str, Sides]) -> str | None:
    """Return which of FLUX.1 and FLUX.2 a LoRA is of that has the makers' names; None: it has not."""
    for pattern, fits, family in _MAKERS:
        if any(re.search(pattern, name) and fits(*sides) for name, sides in flat.items()):
            return family
    numbers, widths = _matched(_DOUBLE, flat)
    if not numbers:
        return None
    if max(numbers) >= FLUX2_DOUBLE:
        return FLUX1
    return FLUX2 if widths & {*_FLUX2_WIDTHS} else f"{FLUX1} or {FLUX2} [klein]"


def _joint(flat: Mapping[str, Sides]) -> str | None:
    """Return the family of a LoRA that changes attention and feed-forward layers of joint blocks alone."""
    if any(re.search(r"transformer_blocks_\d+_attn_to_k$", name) and n < k for name, (n, k) in flat.items()):
        return KREA2  # which has fewer keys than queries
    numbers, widths = _matched(_JOINT, flat)
    if not numbers:
        return None
    if widths & {*_SD3_WIDTHS}:
        return SD3
    if _any(r"transformer_blocks_\d+_ff(_context)?_net_\d", flat):
        return FLUX1
    if max(numbers) >= FLUX1_DOUBLE:
        return QWEN
    if widths & {*_FLUX2_WIDTHS}:
        return FLUX2
    return f"{FLUX1} or {QWEN}" if max(numbers) >= FLUX2_DOUBLE else f"{FLUX1}, {FLUX2} or {QWEN}"


def _any(pattern: str, names: Iterable[str]) -> bool:
    return any(re.search(pattern, name) for name in names)


def _matched(pattern: str, flat: Mapping[str, Sides]) -> tuple[set[int], set[int]]:
    """Return the numbers of the blocks in the names that fit, and the columns of their layers."""
    found = [(int(match[1]), sides[1]) for name, sides in flat.items() if (match := re.search(pattern, name))]
    return {number for number, _ in found}, {columns for _, columns in found}
