"""Read IP-Adapter files of Flux models and of UNets.

One safetensors file holds the branch (`ip_adapter.N.to_k_ip.weight`, the same for `to_v_ip`) and the projection that
turns what an image encoder says of a picture into tokens: `image_proj.proj` and `image_proj.norm` that of an embedding,
`image_proj.latents` and others that of all states (IP-Adapter Plus, `resampler.py`). Of Flux models N counts the double
blocks, and the layers have biases; the naming of XLabs' files (`double_blocks.N.processor.
ip_adapter_double_stream_k_proj`, `ip_adapter_proj_model`) is read too. InstantX's adapter of FLUX.1 has layers for the
single blocks behind those of the double ones, without biases, and a projection of two layers. Of UNets N is 1, 3, 5 ...
over the attentions to the text on the way down, then on the way up, then in the middle. Source: IP-Adapter
(2308.06721), section 3.2.
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
from ..errors import MissingKey, UnexpectedKey, UnknownArchitecture, WrongShape
from ..safetensors_file import SafetensorsFile
from .resampler import NORM_EPS, Resampler, load_resampler

if TYPE_CHECKING:
    from .flux import FluxWeights
    from .unet import UNetWeights

IMAGE: Final = "image_proj."
OF_ANOTHER: Final = "the adapter belongs to another model"
OTHER_FORMS: Final = {  # an array that only this form of an adapter has -> what it is
    "image_proj.proj.0.weight": "a projection of several layers (Full Face or FaceID)",
    "image_proj.perceiver_resampler.proj_in.weight": "FaceID Plus",
    "0.to_q_lora.down.weight": "FaceID",
}
INSTANTX: Final = ("image_proj.proj.0.weight", "image_proj.proj.2.weight", "0.to_k_ip.weight")  # together of no other
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
class DeepProjection(ImageProjection):
    """The same with a linear of `hidden` columns and gelu before: InstantX's.

    Attributes:
        first: packed linear [hidden, embedding_width].
    """

    first: Any = None

    def tokens(self, ops: Ops[Any, Any], embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `ImageProjection`."""
        if embeddings.ndim != 2 or embeddings.shape[1] != self.embedding_width:
            raise ValueError(f"tokens: embeddings: got {list(embeddings.shape)}, want [n, {self.embedding_width}]")
        hidden = ops.linear(ops.array(embeddings), self.first, activation="gelu")
        flat = ops.numpy(ops.linear(hidden, self.proj, dtype="float32"))
        rows = ops.array(flat.reshape(-1, self.token_width), "float32")
        return ops.numpy(ops.norm(rows, self.weight, self.bias, eps=NORM_EPS, dtype="float32"))


@dataclass(frozen=True, eq=False)
class IpAdapter:
    """A loaded adapter file.

    Attributes:
        branch: makes keys and values of tokens.
        projection: makes tokens of an image embedding, or, a `Resampler`, of all states of the image encoder.
        zeros: whether the unconditional branch reads what stands for no picture: an embedding of zeros, or the states
            of an input of zeros (UNets). Else it reads a black picture (Flux models). So diffusers' pipelines do.
    """

    branch: AdapterBranch
    projection: ImageProjection | Resampler
    zeros: bool = False

    @property
    def reads_states(self) -> bool:
        """Whether the projection reads the image encoder's states, and not its embedding."""
        return isinstance(self.projection, Resampler)


def load_ip_adapter(ops: Ops[Any, Any], transformer: FluxWeights, path: str | Path) -> IpAdapter:
    """Read an adapter file for a transformer.

    `Engine.add_branch` takes the result. `projection.tokens` turns an image embedding into what
    `Engine.register_adapter` takes.

    Raises:
        CheckpointError: anything is wrong with the file, or it is made for another transformer.
    """
    path = Path(path)
    projection, own = _parts(ops, path)
    if isinstance(projection, DeepProjection):
        branch = _joined_branch(ops, transformer, own, str(path))
    else:
        branch = load_adapter_branch(ops, transformer, own, str(path))
    _want_width(path, projection, branch.token_width)
    return IpAdapter(branch, projection)


def _joined_branch(
    ops: Ops[Any, Any], transformer: FluxWeights, weights: Mapping[str, NDArray[Any]], path: str
) -> AdapterBranch:
    """Pack the layers of InstantX's adapter: of the double blocks, then of the single ones."""
    config, reader = transformer.config, _Reader(weights, path)
    d, count = config.width, config.num_layers + config.num_single_layers
    width = reader.take("0.to_k_ip.weight", d, None).shape[1]
    keys, values = (
        [ops.pack_linear([reader.take(f"{layer}.{name}.weight", d, width)]) for layer in range(count)]
        for name in LAYERS
    )
    reader.finish()
    return AdapterBranch(keys, values, width, (d,) * count, d // config.num_attention_heads)


def load_unet_adapter(ops: Ops[Any, Any], unet: UNetWeights, path: str | Path) -> IpAdapter:
    """Read an adapter file for a UNet.

    Raises:
        CheckpointError: anything is wrong with the file, or it is made for another UNet.
    """
    path = Path(path)
    projection, own = _parts(ops, path)
    reader, text = _Reader(own, str(path)), unet.config.cross_attention_dim
    packed = dict[str, list[Any]]()
    widths, number = dict[str, list[int]](), 1
    for part, blocks in {"down": unet.down, "up": unet.up, "middle": (unet.middle,)}.items():
        packed[part], widths[part] = [], []
        for width in (t.width for block in blocks for t in block.transformers for _ in t.layers):
            weights = [reader.take(f"{number}.{name}.weight", width, text) for name in LAYERS]
            packed[part].append([ops.pack_linear([weight]) for weight in weights])
            widths[part].append(width)
            number += 2
    reader.finish()
    _want_width(path, projection, text)
    computed = ("down", "middle", "up")
    pairs = [pair for part in computed for pair in packed[part]]
    keys, values = ([pair[i] for pair in pairs] for i in range(2))
    branch = AdapterBranch(keys, values, text, tuple(width for part in computed for width in widths[part]))
    return IpAdapter(branch, projection, zeros=True)


def encoder_width(path: Path) -> tuple[int, bool, bool]:
    """Return how many columns an adapter file reads of its image encoder, whether of its states, and whether that is
    SigLIP's and not CLIP's, by the file's header alone.

    Raises:
        CheckpointError: the file cannot be read, or is no IP-Adapter.
    """
    names = _named(path, SafetensorsFile(path))
    shapes = {name: shape for name, (_, shape) in names.items()}
    forms = ((f"{IMAGE}proj.weight", False), (f"{IMAGE}proj_in.weight", True), (INSTANTX[0], False))
    for key, states in forms:
        if len(shapes.get(key, ())) == 2:
            return shapes[key][1], states, key == INSTANTX[0]
    raise MissingKey(
        "no IP-Adapter", path=path, key=f"{IMAGE}proj.weight", expected="an image projection",
        found=f"{len(shapes)} others", remedy="name an IP-Adapter's safetensors file",
    )  # fmt: skip


def _named(path: Path, file: SafetensorsFile) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the file's name and the shape of every array, by diffusers' names without the branch's prefix."""
    found = {_diffusers_name(path, key): (key, info.shape) for key, info in file.tensors.items()}
    known = all(name in found for name in INSTANTX)
    for name, form in OTHER_FORMS.items():
        if name in found and not (known and name in INSTANTX):
            raise UnknownArchitecture(
                "an IP-Adapter of another form", path=path, key=name, expected="a plain one, or IP-Adapter Plus",
                found=form,
                remedy="use one of h94/IP-Adapter for SDXL and SD 1.5, or of XLabs or InstantX for FLUX.1",
            )  # fmt: skip
    return found


def _parts(ops: Ops[Any, Any], path: Path) -> tuple[ImageProjection | Resampler, dict[str, NDArray[Any]]]:
    """Return the packed projection of a file, and the arrays of its branch."""
    file = SafetensorsFile(path)
    weights = {name: file.array(key) for name, (key, _) in _named(path, file).items()}
    own = {key: array for key, array in weights.items() if not key.startswith(IMAGE)}
    image = {key: array for key, array in weights.items() if key.startswith(IMAGE)}
    reader = _Reader(image, str(path))
    projection: ImageProjection | Resampler
    if f"{IMAGE}latents" in image:
        layers = {key.split(".")[2] for key in image if key.startswith(f"{IMAGE}layers.")}
        projection = load_resampler(ops, lambda name, *shape: reader.take(IMAGE + name, *shape), len(layers))
    elif INSTANTX[0] in image:
        projection = _deep(ops, reader)
    else:
        projection = _projection(ops, reader)
    reader.finish()
    return projection, own


def _deep(ops: Ops[Any, Any], reader: _Reader) -> DeepProjection:
    width = reader.take(f"{IMAGE}norm.weight", None).shape[0]
    first = reader.take(f"{IMAGE}proj.0.weight", None, None)
    proj = reader.take(f"{IMAGE}proj.2.weight", None, first.shape[0])
    if proj.shape[0] % width:
        reader.refuse(f"{IMAGE}proj.2.weight", f"a multiple of {width} rows", str(list(proj.shape)))
    return DeepProjection(
        first=ops.pack_linear([first], [reader.take(f"{IMAGE}proj.0.bias", first.shape[0])], exact=True),
        proj=ops.pack_linear([proj], [reader.take(f"{IMAGE}proj.2.bias", proj.shape[0])], exact=True),
        weight=ops.array(reader.take(f"{IMAGE}norm.weight", width), "float32"),
        bias=ops.array(reader.take(f"{IMAGE}norm.bias", width), "float32"),
        num_tokens=proj.shape[0] // width,
        token_width=width,
        embedding_width=first.shape[1],
    )


def _projection(ops: Ops[Any, Any], reader: _Reader) -> ImageProjection:
    width = reader.take(f"{IMAGE}norm.weight", None).shape[0]
    proj = reader.take(f"{IMAGE}proj.weight", None, None)
    if proj.shape[0] % width:
        reader.refuse(f"{IMAGE}proj.weight", f"a multiple of {width} rows", str(list(proj.shape)))
    return ImageProjection(
        proj=ops.pack_linear([proj], [reader.take(f"{IMAGE}proj.bias", proj.shape[0])], exact=True),
        weight=ops.array(reader.take(f"{IMAGE}norm.weight", width), "float32"),
        bias=ops.array(reader.take(f"{IMAGE}norm.bias", width), "float32"),
        num_tokens=proj.shape[0] // width,
        token_width=width,
        embedding_width=proj.shape[1],
    )


def _want_width(path: Path, projection: ImageProjection | Resampler, width: int) -> None:
    """Refuse a projection whose tokens are not as wide as those that the branch reads."""
    if projection.token_width != width:
        key, expected = f"{IMAGE}norm.weight", f"[{width}], the width of to_k_ip"
        _Reader({}, str(path)).refuse(key, expected, f"[{projection.token_width}]")


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
            raise MissingKey(
                "missing weight", path=self.path, key=key, expected=expected, found=found, remedy=OF_ANOTHER
            )
        array = self.weights[key]
        sides = zip(array.shape, shape, strict=False)
        fits = array.ndim == len(shape) and all(side in (None, n) for n, side in sides)
        if not fits or 0 in array.shape:
            self.refuse(key, expected, str(list(array.shape)))
        self.taken.add(key)
        return array

    def refuse(self, key: str, expected: str, found: str) -> NoReturn:
        raise WrongShape("wrong shape", path=self.path, key=key, expected=expected, found=found, remedy=OF_ANOTHER)

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
