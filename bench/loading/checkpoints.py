"""Write random checkpoints of FLUX.1's shape: a folder in diffusers' layout, and single files of fewer bits."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

HEAD: Final = 128
TEXT, POOLED, CHANNELS, TIME = 4096, 768, 64, 256
NUMBERS: Final = 1 << 22  # random numbers that are drawn; arrays are cut from them again and again
Shapes = dict[str, tuple[int, ...]]
# Number formats of safetensors, of one array: names behind the layer's, dtype, shape, bytes.
Stored = list[tuple[str, str, tuple[int, ...], bytes]]


@dataclass(frozen=True)
class Size:
    """How large a transformer is.

    Attributes:
        heads: of 128 columns each.
        doubles, singles: numbers of blocks.
    """

    heads: int
    doubles: int
    singles: int

    @property
    def config(self) -> dict[str, Any]:
        """What config.json says."""
        return {
            "_class_name": "FluxTransformer2DModel", "in_channels": CHANNELS, "num_layers": self.doubles,
            "num_single_layers": self.singles, "attention_head_dim": HEAD, "num_attention_heads": self.heads,
            "joint_attention_dim": TEXT, "pooled_projection_dim": POOLED, "guidance_embeds": True,
            "axes_dims_rope": [16, 56, 56], "patch_size": 1,
        }  # fmt: skip

    def originals(self) -> Shapes:
        """Return names and shapes of the arrays in the makers' own layout."""
        d = self.heads * HEAD
        layers = {"img_in": (d, CHANNELS), "txt_in": (d, TEXT), "final_layer.linear": (CHANNELS, d)}
        layers["final_layer.adaLN_modulation.1"] = (2 * d, d)
        for name, inputs in (("time_in", TIME), ("vector_in", POOLED), ("guidance_in", TIME)):
            layers |= {f"{name}.in_layer": (d, inputs), f"{name}.out_layer": (d, d)}
        norms = Shapes()
        for i in range(self.doubles):
            for side in ("img", "txt"):
                at = f"double_blocks.{i}.{side}_"
                layers |= {f"{at}mod.lin": (6 * d, d), f"{at}attn.qkv": (3 * d, d), f"{at}attn.proj": (d, d)}
                layers |= {f"{at}mlp.0": (4 * d, d), f"{at}mlp.2": (d, 4 * d)}
                norms |= {f"{at}attn.norm.{x}_norm.scale": (HEAD,) for x in ("query", "key")}
        for i in range(self.singles):
            at = f"single_blocks.{i}."
            layers |= {f"{at}modulation.lin": (3 * d, d), f"{at}linear1": (7 * d, d), f"{at}linear2": (d, 5 * d)}
            norms |= {f"{at}norm.{x}_norm.scale": (HEAD,) for x in ("query", "key")}
        weights = {f"{name}.weight": shape for name, shape in layers.items()}
        return weights | {f"{name}.bias": shape[:1] for name, shape in layers.items()} | norms

    def diffusers(self) -> Shapes:
        """Return names and shapes of the arrays in diffusers' layout, as diffusers itself says."""
        import torch
        from diffusers import FluxTransformer2DModel

        values = {key: value for key, value in self.config.items() if not key.startswith("_")}
        with torch.device("meta"):
            made = FluxTransformer2DModel(**values)
        return {name: tuple(array.shape) for name, array in made.state_dict().items()}


def folder(path: Path, size: Size) -> Path:
    """Write a component's folder in bfloat16. Return its path."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps(size.config))
    _safetensors(path / "diffusion_pytorch_model.safetensors", size.diffusers(), lambda _, shape: _bfloat16(shape))
    return path


def fp8(path: Path, size: Size) -> Path:
    """Write a single file in fp8 with a scale for each weight."""

    def stored(name: str, shape: tuple[int, ...]) -> Stored:
        if len(shape) != 2:
            return _bfloat16(shape)
        scale = np.float32(2.0**-9).tobytes()
        return [(".weight", "F8_E4M3", shape, _bytes(shape)), (".weight_scale", "F32", (), scale)]

    return _safetensors(path, size.originals(), stored)


def nvfp4(path: Path, size: Size) -> Path:
    """Write a single file in nvfp4, but for its narrow ends."""

    def stored(name: str, shape: tuple[int, ...]) -> Stored:
        if len(shape) != 2 or "blocks" not in name:
            return _bfloat16(shape)
        tiles = (-(-shape[0] // 128) * 128, -(-(shape[1] // 16) // 4) * 4)
        half = (shape[0], shape[1] // 2)
        return [
            (".weight", "U8", half, _bytes(half)),
            (".weight_scale", "F8_E4M3", tiles, _bytes(tiles)),
            (".weight_scale_2", "F32", (), np.float32(2.0**-12).tobytes()),
        ]

    return _safetensors(path, size.originals(), stored)


def gguf(path: Path, size: Size) -> Path:
    """Write a single GGUF file: Q8_0, but for vectors and narrow ends."""
    from gguf import GGMLQuantizationType as Kind
    from gguf import GGUFWriter

    writer, made = GGUFWriter(path, "flux"), list[NDArray[Any]]()
    for name, shape in size.originals().items():
        if len(shape) != 2:
            made.append(np.ones(shape, np.float32))
            writer.add_tensor_info(name, shape, made[-1].dtype, made[-1].nbytes)
        else:
            blocks = np.empty((shape[0], shape[1] // 32, 34), np.uint8)
            blocks[:, :, 2:] = np.frombuffer(_bytes(shape), np.uint8).reshape(shape[0], -1, 32)
            blocks[:, :, :2] = np.frombuffer(np.float16(2.0**-12).tobytes(), np.uint8)
            data = blocks.reshape(shape[0], -1)
            writer.add_tensor_info(name, data.shape, data.dtype, data.nbytes, Kind.Q8_0)
            made.append(data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for data in made:
        writer.write_tensor_data(data)
    writer.close()
    return path


def _safetensors(path: Path, shapes: Shapes, stored: Callable[[str, tuple[int, ...]], Stored]) -> Path:
    """Write a file array by array. Data is made twice, so that no more than one array is in memory."""

    def arrays() -> Iterator[tuple[str, str, tuple[int, ...], bytes]]:
        for name, shape in shapes.items():
            for end, dtype, kept, data in stored(name, shape):
                yield (name if end == "" else name.removesuffix(".weight") + end), dtype, kept, data

    header, at = dict[str, Any](), 0
    for name, dtype, shape, data in arrays():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for *_, data in arrays():
            file.write(data)
    return path


def _bfloat16(shape: tuple[int, ...]) -> Stored:
    """Return random numbers about .02 in size, or ones for a vector."""
    count = math.prod(shape)
    bits = np.resize(_bits(), count) if len(shape) == 2 else np.full(count, 0x3F80, np.uint16)
    return [("", "BF16", shape, bits.tobytes())]


def _bytes(shape: tuple[int, ...]) -> bytes:
    """Return random bytes, none of which is NaN in fp8."""
    return np.resize(_bits().view(np.uint8) & 0xBE, math.prod(shape)).tobytes()


@cache
def _bits() -> NDArray[np.uint16]:
    numbers = np.random.default_rng(20261130).normal(0, 0.02, NUMBERS).astype(np.float32)
    return (numbers.view(np.uint32) >> 16).astype(np.uint16)
