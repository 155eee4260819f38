"""Read the config and pack the weights of CLIP's image encoders, under transformers' names.

`CLIPVisionModelWithProjection` is what IP-Adapters come with; of a whole `CLIPModel` the image side is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.bfloat16 import widen
from ...kernels.ops import Ops
from ..checkpoint import Component
from ..config import Config
from .clip import HARMLESS, Layer
from .reader import Norm, Reader

VISION: Final = "CLIPVisionModelWithProjection"
WHOLE: Final = "CLIPModel"
ARCHITECTURES: Final = (VISION, WHOLE)
COLOURS: Final = 3
_KEYS: Final = (  # of the image side in a whole model's config, beside which older versions wrote many of their own
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_channels", "image_size",
    "patch_size", "hidden_act", "layer_norm_eps", "projection_dim",
)  # fmt: skip


@dataclass(frozen=True)
class ClipVisionConfig:
    """The sizes of a CLIP image encoder, under the names of its config.json."""

    hidden_size: int  # D
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    hidden_act: str
    layer_norm_eps: float
    projection_dim: int

    @property
    def patches(self) -> int:
        """Number of patches along a side."""
        return self.image_size // self.patch_size

    @classmethod
    def read(cls, config: Config) -> ClipVisionConfig:
        """Read config.json, with transformers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture(ARCHITECTURES)
        if config.architecture == WHOLE:
            inner = {key: value for key, value in config.mapping("vision_config").items() if key in _KEYS}
            inner.setdefault("projection_dim", config.integer("projection_dim", 512))
            config = Config(config.path, inner)
        config.only("model_type", ("clip_vision_model",), "clip_vision_model")
        config.only("num_channels", (COLOURS,), COLOURS)
        result = cls(
            hidden_size=config.integer("hidden_size", 768),
            intermediate_size=config.integer("intermediate_size", 3072),
            num_hidden_layers=config.integer("num_hidden_layers", 12, low=2),
            num_attention_heads=config.integer("num_attention_heads", 12),
            image_size=config.integer("image_size", 224, high=4096),
            patch_size=config.integer("patch_size", 32, high=4096),
            hidden_act=config.only("hidden_act", ("quick_gelu", "gelu"), "quick_gelu"),
            layer_norm_eps=config.number("layer_norm_eps", 1e-5, 1e-30, 1.0),
            projection_dim=config.integer("projection_dim", 512),
        )
        if result.hidden_size % result.num_attention_heads:
            config.refuse("num_attention_heads", f"a divisor of {result.hidden_size}", result.num_attention_heads)
        if result.image_size % result.patch_size:
            config.refuse("patch_size", f"a divisor of {result.image_size}", result.patch_size)
        config.finish(HARMLESS)
        return result


@dataclass(frozen=True, eq=False)
class ClipVisionWeights:
    """A packed image encoder.

    Attributes:
        patch: linear [D, 3 P P], whose input is a patch's numbers by colour, row and column.
        first: float32 [1, D], the class embedding at its position.
        positions: float32 [patches, D], those of the patches.
        before: the norm in front of the layers.
        after: the norm of the class token behind them.
        projection: linear [projection_dim, D].
    """

    config: ClipVisionConfig
    patch: Any
    first: Any
    positions: Any
    before: Norm
    layers: tuple[Layer, ...]
    after: Norm
    projection: Any


def load_clip_vision(ops: Ops[Any, Any], component: Component) -> ClipVisionWeights:
    """Pack an image encoder's folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    whole = component.config.architecture == WHOLE
    config = ClipVisionConfig.read(component.config)
    weights = component.weights()
    reader, root = Reader(ops, weights), "vision_model."
    d, hidden, count = config.hidden_size, config.intermediate_size, config.patches**2

    def floats(name: str, *shape: int) -> NDArray[np.float32]:
        key = f"{root}embeddings.{name}"
        return widen(weights.take(key, *shape), key)

    patch = floats("patch_embedding.weight", d, COLOURS, config.patch_size, config.patch_size)
    positions = floats("position_embedding.weight", count + 1, d)
    result = ClipVisionWeights(
        config=config,
        patch=ops.pack_linear([patch.reshape(d, -1)], exact=True),
        first=ops.array(floats("class_embedding", d) + positions[0], "float32"),
        positions=ops.array(positions[1:], "float32"),
        before=reader.norm(f"{root}pre_layrnorm", d),  # transformers' own spelling
        layers=Layer.read_all(reader, f"{root}encoder.layers", config.num_hidden_layers, d, hidden),
        after=reader.norm(f"{root}post_layernorm", d),
        projection=reader.linear("visual_projection", config.projection_dim, d, bias=False),
    )
    weights.ignore(f"{root}embeddings.position_ids")  # a buffer that older versions of transformers saved
    if whole:
        names = weights.keys()
        weights.ignore(*(key for key in names if key.startswith(("text_model.", "text_projection."))))
        weights.ignore("logit_scale")
    weights.finish()
    return result
