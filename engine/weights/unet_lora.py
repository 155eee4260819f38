"""Name the packed linears and the convolutions of a UNet, and the layers of LoRA files that lie in them.

Files name layers as diffusers does, or as the original files of Stable Diffusion and SDXL do.
"""

from __future__ import annotations

from typing import Final

from ..files.unet import original_name
from .lora_map import LoraMap, MapMaker
from .unet import UNetConfig

TIME_FIRST, TIME_SECOND = "time_embedding.linear_1", "time_embedding.linear_2"
ADDED_FIRST, ADDED_SECOND = "add_embedding.linear_1", "add_embedding.linear_2"
PROJECTIONS: Final = "time_projection"  # of the time, of all resnets
CONV_IN, CONV_OUT = "conv_in", "conv_out"


def lora_map(config: UNetConfig) -> LoraMap:
    """Return where the layers of a UNet lie. `engine/models/unet.py` uses its names, which are diffusers' with what
    parts are called there: `qkv`, `text_kv` and so on."""
    maker = _Maker(config)
    widths, deep = config.block_out_channels, config.layers_per_block
    first, last, time = widths[0], len(widths) - 1, config.time_width
    maker.conv(CONV_IN, first, config.in_channels, 3)
    maker.add(TIME_FIRST, first, [(TIME_FIRST, time)])
    maker.add(TIME_SECOND, time, [(TIME_SECOND, time)])
    if config.projection_class_embeddings_input_dim:
        maker.add(ADDED_FIRST, config.projection_class_embeddings_input_dim, [(ADDED_FIRST, time)])
        maker.add(ADDED_SECOND, time, [(ADDED_SECOND, time)])
    skips, width = [first], first
    for level, out in enumerate(widths):
        at = f"down_blocks.{level}"
        for j in range(deep):
            maker.resnet(f"{at}.resnets.{j}", width, out)
            width = out
            if config.down_attends[level]:
                maker.transformer(f"{at}.attentions.{j}", level)
        skips += [out] * (deep if level == last else deep + 1)
        if level != last:
            maker.conv(f"{at}.downsamplers.0.conv", out, out, 3)
    for j in range(2):
        maker.resnet(f"mid_block.resnets.{j}", width, width)
    maker.transformer("mid_block.attentions.0", last)
    for number, out in enumerate(reversed(widths)):
        at = f"up_blocks.{number}"
        for j in range(deep + 1):
            maker.resnet(f"{at}.resnets.{j}", width + skips.pop(), out)
            width = out
            if config.up_attends[number]:
                maker.transformer(f"{at}.attentions.{j}", last - number)
        if number != last:
            maker.conv(f"{at}.upsamplers.0.conv", out, out, 3)
    maker.add(PROJECTIONS, time, maker.projections)
    maker.conv(CONV_OUT, config.in_channels, first, 3)
    for name in [*maker.layers]:
        maker.layers[original_name(name, deep, config.up_attends)] = maker.layers[name]
    return maker.made()


class _Maker(MapMaker):
    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.projections: list[tuple[str, int]] = []

    def resnet(self, at: str, inputs: int, outputs: int) -> None:
        self.projections.append((f"{at}.time_emb_proj", outputs))
        self.conv(f"{at}.conv1", outputs, inputs, 3)
        self.conv(f"{at}.conv2", outputs, outputs, 3)
        if inputs != outputs:
            self.conv(f"{at}.conv_shortcut", outputs, inputs, 1)

    def transformer(self, at: str, level: int) -> None:
        width, text = self.config.block_out_channels[level], self.config.cross_attention_dim
        self.add(f"{at}.proj_in", width, [(f"{at}.proj_in", width)])
        self.conv(f"{at}.proj_out", width, width, 1)
        for k in range(self.config.transformer_layers[level]):
            own = f"{at}.transformer_blocks.{k}"
            self.add(f"{own}.qkv", width, [(f"{own}.attn1.to_{x}", width) for x in "qkv"])
            self.add(f"{own}.out", width, [(f"{own}.attn1.to_out.0", width)])
            self.add(f"{own}.text_q", width, [(f"{own}.attn2.to_q", width)])
            self.add(f"{own}.text_kv", text, [(f"{own}.attn2.to_{x}", width) for x in "kv"])
            self.add(f"{own}.text_out", width, [(f"{own}.attn2.to_out.0", width)])
            up, hidden = f"{own}.ff.net.0.proj", 4 * width
            self.gated(f"{own}.up", width, [(f"{up}.gate", hidden), (f"{up}.value", hidden)])
            # diffusers has the value first
            self.alias(up, [(f"{up}.value", 0, hidden), (f"{up}.gate", 0, hidden)])
            for half in ("gate", "value"):
                del self.layers[f"{up}.{half}"]
            self.add(f"{own}.down", hidden, [(f"{own}.ff.net.2", width)])
