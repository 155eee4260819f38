"""Read the config and pack the weights of SigLIP's image encoders, under transformers' names.

Of a whole `SiglipModel`, as its makers publish it, the image side is read.
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

VISION: Final = "SiglipVisionModel"
WHOLE: Final = "SiglipModel"
ARCHITECTURES: Final = (VISION, WHOLE)
COLOURS: Final = 3
ROOT: Final = "vision_model."
POOL: Final = "head.probe"


@dataclass(frozen=True)
class SiglipVisionConfig:
    """The sizes of a SigLIP image encoder, under the names of its config.json."""

    hidden_size: int  # D
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    layer_norm_eps: float

    @property
    def projection_dim(self) -> int:
        """Columns of the embedding."""
        return self.hidden_size

    @property
    def patches(self) -> int:
        """Number of patches along a side."""
        return self.image_size // self.patch_size

    @classmethod
    def read(cls, config: Config) -> SiglipVisionConfig:
        """Read config.json, with transformers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture(ARCHITECTURES)
        if config.architecture == WHOLE:
            config = Config(config.path, config.mapping("vision_config"))
        config.only("model_type", ("siglip_vision_model",), "siglip_vision_model")
        config.only("num_channels", (COLOURS,), COLOURS)
        config.only("hidden_act", ("gelu_pytorch_tanh",), "gelu_pytorch_tanh")
        config.only("vision_use_head", (True,), True)
        result = cls(
            hidden_size=config.integer("hidden_size", 768),
            intermediate_size=config.integer("intermediate_size", 3072),
            num_hidden_layers=config.integer("num_hidden_layers", 12),
            num_attention_heads=config.integer("num_attention_heads", 12),
            image_size=config.integer("image_size", 224, high=4096),
            patch_size=config.integer("patch_size", 16, high=4096),
            layer_norm_eps=config.number("layer_norm_eps", 1e-6, 1e-30, 1.0),
        )
        if result.hidden_size % result.num_attention_heads:
            config.refuse("num_attention_heads", f"a divisor of {result.hidden_size}", result.num_attention_heads)
        if result.image_size < result.patch_size:
            config.refuse("image_size", f"at least {result.patch_size}, a patch", result.image_size)
        config.finish({**HARMLESS, "architectures": "the class of the whole model says it"})
        return result


@dataclass(frozen=True, eq=False)
class Pool:
    """The attention of one query, the probe, that makes an embedding of all patches, and what follows it."""

    query: Any  # [D, D], of the probe
    out: Any  # [D, D]
    norm: Norm
    up: Any  # [I, D]
    down: Any  # [D, I]


@dataclass(frozen=True, eq=False)
class SiglipVisionWeights:
    """A packed image encoder.

    Attributes:
        patch: linear [D, 3 P P], whose input is a patch's numbers by colour, row and column.
        positions: float32 [patches, D].
        after: the norm behind the layers.
        probe: compute [1, D], the query of the pooling attention.
        pool_kv: linear [2 D, D], its keys and values.
        pool: the rest of it.
    """

    config: SiglipVisionConfig
    patch: Any
    positions: Any
    layers: tuple[Layer, ...]
    after: Norm
    probe: Any
    pool_kv: Any
    pool: Pool


def load_siglip_vision(ops: Ops[Any, Any], component: Component) -> SiglipVisionWeights:
    """Pack an image encoder's folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config, weights = SiglipVisionConfig.read(component.config), component.weights()
    reader, d, hidden = Reader(ops, weights), config.hidden_size, config.intermediate_size

    root = ROOT if f"{ROOT}{POOL}" in weights else ""  # which newer versions of transformers leave out

    def floats(name: str, *shape: int) -> NDArray[np.float32]:
        return widen(weights.take(f"{root}{name}", *shape), name)

    side, head = config.patch_size, f"{root}head"
    patch, bias = (floats(f"embeddings.patch_embedding.{name}", *shape)
                   for name, shape in (("weight", (d, COLOURS, side, side)), ("bias", (d,))))  # fmt: skip
    into, into_bias = floats("head.attention.in_proj_weight", 3 * d, d), floats("head.attention.in_proj_bias", 3 * d)
    pool = Pool(
        query=ops.pack_linear([into[:d]], [into_bias[:d]], exact=True),
        out=reader.linear(f"{head}.attention.out_proj", d, d),
        norm=reader.norm(f"{head}.layernorm", d),
        up=reader.linear(f"{head}.mlp.fc1", hidden, d),
        down=reader.linear(f"{head}.mlp.fc2", d, hidden),
    )
    result = SiglipVisionWeights(
        config=config,
        patch=ops.pack_linear([patch.reshape(d, -1)], [bias], exact=True),
        positions=ops.array(floats("embeddings.position_embedding.weight", config.patches**2, d), "float32"),
        layers=Layer.read_all(reader, f"{root}encoder.layers", config.num_hidden_layers, d, hidden),
        after=reader.norm(f"{root}post_layernorm", d),
        probe=ops.array(floats(POOL, 1, 1, d).reshape(1, d)),
        pool_kv=ops.pack_linear([into[d:]], [into_bias[d:]], exact=True),
        pool=pool,
    )
    names = weights.keys()
    weights.ignore(*(key for key in names if key.startswith("text_model.")), "logit_scale", "logit_bias")
    weights.ignore(f"{root}embeddings.position_ids")  # a buffer that older versions of transformers saved
    weights.finish()
    return result
