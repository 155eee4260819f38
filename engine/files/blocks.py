"""Name the arrays of the original files of FLUX as diffusers does, whose blocks differ by family in some layers.

In double blocks image and text have layers of their own; in single blocks they share them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..tensor_file import TensorInfo
from .renamed import Piece, Ranges, thirds

FUSED: Final = {  # of double blocks
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
ATTENTION: Final = {  # the rest of their attention
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
}
NORM_OUT: Final = "final_layer.adaLN_modulation.1"
_BLOCK: Final = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Layout:
    """The original names of a family's layers -> diffusers' names.

    Attributes:
        top: those outside of blocks.
        double, single: those of a block that are one layer in both.
        cut: those of a single block that are several layers there -> what divides their rows among these.
    """

    top: Mapping[str, str]
    double: Mapping[str, str]
    single: Mapping[str, str]
    cut: Mapping[str, Callable[[int], Iterable[tuple[str, Ranges]]]]

    def pieces(self, tensors: Mapping[str, TensorInfo], prefix: str) -> Iterator[tuple[str, Piece]]:
        """Yield diffusers' name and place of every array behind the prefix.

        An unknown array keeps its name: so the loader names it as a weight that the architecture does not have.
        """
        for key, info in tensors.items():
            if prefix and not key.startswith(prefix):
                continue
            name, _, part = key[len(prefix) :].rpartition(".")
            part = "weight" if part == "scale" else part
            rows = info.shape[0] if info.shape else 0
            if name in self.top:
                yield f"{self.top[name]}.{part}", Piece(key)
            elif name == NORM_OUT:  # shift, scale; diffusers has scale, shift
                yield f"norm_out.linear.{part}", Piece(key, ((rows // 2, rows), (0, rows // 2)))
            elif (match := _BLOCK.fullmatch(name)) is not None:
                inside = self._inside(match[1] == "double", match[3], rows)
                at = f"{'transformer' if match[1] == 'double' else 'single_transformer'}_blocks.{match[2]}"
                yield from ((f"{at}.{to}.{part}", Piece(key, ranges)) for to, ranges in inside)
                if not inside:
                    yield key, Piece(key)
            else:
                yield key, Piece(key)

    def _inside(self, double: bool, name: str, rows: int) -> list[tuple[str, Ranges]]:
        """Return diffusers' layers in a layer of a block, with their rows there, or (): all. Unknown: none."""
        names = self.double if double else self.single
        if name in names:
            return [(names[name], ())]
        if double:
            return list(zip(FUSED[name], thirds(rows), strict=True)) if name in FUSED else []
        return list(self.cut[name](rows)) if name in self.cut else []
