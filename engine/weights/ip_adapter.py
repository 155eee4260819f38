"""Read adapters of Flux models in diffusers' IP-Adapter layout.

One safetensors file holds the branch (`ip_adapter.N.to_k_ip.weight`, `.bias`, the same for `to_v_ip`, N counting the
double blocks) and the image projection (`image_proj.proj`, `image_proj.norm`) that turns an image embedding into
tokens. The older naming of XLabs' files (`double_blocks.N.processor.ip_adapter_double_stream_k_proj`,
`ip_adapter_proj_model`) is read too. Source: IP-Adapter (2308.06721), section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Ops
from ..adapters.adapters import AdapterBranch
from ..errors import MissingKey, UnexpectedKey, WrongShape
from ..safetensors_file import SafetensorsFile

if TYPE_CHECKING:
    from .flux import FluxWeights

NORM_EPS: Final = 1e-5  # torch's LayerNorm default, which diffusers' ImageProjection takes
LAYERS: Final = ("to_k_ip", "to_v_ip")
_PREFIXES: Final = {
    "ip_adapter.": "",
    "double_blocks.": "",
    "image_proj.": "image_proj.",
    "ip_adapter_proj_model.": "image_proj.",
}
_OLD_NAMES: Final = {
    "processor.": "",
    "ip_adapter_double_stream_k_proj": "to_k_ip",
    "ip_adapter_double_stream_v_proj": "to_v_ip",
}


@dataclass(frozen=True, eq=False)
class ImageProjection:
    """The projection of an image embedding to `num_tokens` tokens: linear, reshape, layer norm.

    Attributes:
        proj: packed linear [num_tokens * token_width, embedding_width].
        weight, bias: float32 [1, token_width].
    """

    proj: Any
    weight: Any
    bias: Any
    num_tokens: int
    token_width: int
    embedding_width: int

    def tokens(self, ops: Ops[Any, Any], embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the tokens float32 [n * num_tokens, token_width] of n image embeddings float32 [n, embedding_width].

        Raises:
            ValueError: the embeddings have another width.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.embedding_width:
            raise ValueError(f"tokens: embeddings: got {list(embeddings.shape)}, want [n, {self.embedding_width}]")
        flat = ops.numpy(ops.linear(ops.array(embeddings), self.proj, dtype="float32"))
        rows = ops.array(flat.reshape(-1, self.token_width), "float32")
        return ops.numpy(ops.norm(rows, self.weight, self.bias, eps=NORM_EPS, dtype="float32"))


@dataclass(frozen=True, eq=False)
class IpAdapter:
    """A loaded adapter file."""

    branch: AdapterBranch
    projection: ImageProjection


def load_ip_adapter(ops: Ops[Any, Any], transformer: FluxWeights, path: str | Path) -> IpAdapter:
    """Read an adapter file for a transformer.

    `Engine.add_branch` takes the result. `projection.tokens` turns an image embedding into what
    `Engine.register_adapter` takes.

    Raises:
        CheckpointError: anything is wrong with the file, or it is made for another transformer.
    """
    path = Path(path)
    file = SafetensorsFile(path)
    weights = {_diffusers_name(path, key): file.array(key) for key in file.tensors}
    own = {key: array for key, array in weights.items() if not key.startswith("image_proj.")}
    reader = _Reader({key: array for key, array in weights.items() if key.startswith("image_proj.")}, str(path))
    width = reader.take("image_proj.norm.weight", None).shape[0]
    proj = reader.take("image_proj.proj.weight", None, None)
    if proj.shape[0] % width:
        reader.refuse("image_proj.proj.weight", f"a multiple of {width} rows", str(list(proj.shape)))
    projection = ImageProjection(
        proj=ops.pack_linear([proj], [reader.take("image_proj.proj.bias", proj.shape[0])]),
        weight=ops.array(reader.take("image_proj.norm.weight", width), "float32"),
        bias=ops.array(reader.take("image_proj.norm.bias", width), "float32"),
        num_tokens=proj.shape[0] // width,
        token_width=width,
        embedding_width=proj.shape[1],
    )
    reader.finish()
    branch = load_adapter_branch(ops, transformer, own, str(path))
    if branch.token_width != width:
        reader.refuse("image_proj.norm.weight", f"[{branch.token_width}], the width of to_k_ip", f"[{width}]")
    return IpAdapter(branch, projection)


def load_adapter_branch(
    ops: Ops[Any, Any], transformer: FluxWeights, weights: Mapping[str, NDArray[Any]], path: str = "adapter branch"
) -> AdapterBranch:
    """Pack the layers of an adapter that make keys and values.

    They are `N.to_k_ip.weight` [D, token_width], `N.to_k_ip.bias` [D], and the same for `N.to_v_ip`, for every double
    block N, of any float dtype, or bfloat16 bits as uint16.

    Args:
        path: the name of the source in errors.

    Raises:
        MissingKey, UnexpectedKey, WrongShape: the layout is not that of this transformer.
    """
    layers = transformer.config.num_layers
    token_width = want_adapter_branch(weights, layers, transformer.config.width, path)
    packed: dict[str, list[Any]] = {name: [] for name in LAYERS}
    for layer in range(layers):
        for name, parts in packed.items():
            at = f"{layer}.{name}"
            parts.append(ops.pack_linear([weights[f"{at}.weight"]], [weights[f"{at}.bias"]]))
    return AdapterBranch(packed["to_k_ip"], packed["to_v_ip"], token_width)


def want_adapter_branch(weights: Mapping[str, NDArray[Any]], layers: int, width: int, path: str) -> int:
    """Return the token width of an adapter branch, once its names and shapes are those of a model.

    Args:
        weights: see `load_adapter_branch`.
        layers: number of the model's double blocks.
        width: D of the model.
        path: the name of the source in errors.

    Raises:
        MissingKey, UnexpectedKey, WrongShape: the layout is another model's.
    """
    reader = _Reader(weights, path)
    token_width = reader.take("0.to_k_ip.weight", width, None).shape[1] if layers else 0
    for layer in range(layers):
        for name in LAYERS:
            reader.take(f"{layer}.{name}.weight", width, token_width)
            reader.take(f"{layer}.{name}.bias", width)
    reader.finish()
    return token_width


class _Reader:
    def __init__(self, weights: Mapping[str, NDArray[Any]], path: str) -> None:
        self.weights = weights
        self.path = path
        self.taken: set[str] = set()

    def take(self, key: str, *shape: int | None) -> NDArray[Any]:
        """Return an array whose sides are as given; None allows any."""
        expected = str([side if side is not None else "any" for side in shape]).replace("'", "")
        if key not in self.weights:
            found = f"{len(self.weights)} others"
            raise MissingKey("missing weight", path=self.path, key=key, expected=expected, found=found)
        array = self.weights[key]
        sides = zip(array.shape, shape, strict=False)
        fits = array.ndim == len(shape) and all(side in (None, n) for n, side in sides)
        if not fits or 0 in array.shape:
            self.refuse(key, expected, str(list(array.shape)))
        self.taken.add(key)
        return array

    def refuse(self, key: str, expected: str, found: str) -> NoReturn:
        remedy = "the adapter belongs to another transformer"
        raise WrongShape("wrong shape", path=self.path, key=key, expected=expected, found=found, remedy=remedy)

    def finish(self) -> None:
        left = sorted(set(self.weights) - self.taken)
        if left:
            raise UnexpectedKey("unexpected weight", path=self.path, key=left[0], found=f"{len(left)} others")


def _diffusers_name(path: Path, key: str) -> str:
    for old, new in _PREFIXES.items():
        if key.startswith(old):
            name = new + key[len(old) :]
            for part, replacement in _OLD_NAMES.items():
                name = name.replace(part, replacement)
            return name
    expected = " or ".join(_PREFIXES)
    raise UnexpectedKey("unexpected weight", path=path, key=key, expected=f"a name that begins with {expected}")
