"""What files of transformers say of their heads: told alike in every family, where no shape says the rest."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import save_file

from salon.engine.errors import UnknownArchitecture
from salon.engine.files import flux, flux2, krea2, qwen_image, z_image
from salon.engine.files.renamed import prefix_with
from salon.engine.safetensors_file import SafetensorsFile
from salon.engine.tensor_file import TensorFile

Shapes = dict[str, tuple[int, ...]]
WIDTH = 192
BOTH = [
    (flux, "FLUX.1", "as all of FLUX.1 have it", "axes_dims_rope"),
    (flux2, "FLUX.2", "as all of FLUX.2 have it", "axes_dims_rope"),
    (krea2, "Krea 2", "as Krea 2 has it", "axes_dims_rope"),
    (z_image, "Z-Image", "as all of Z-Image have it", "axes_dims"),
]


def shapes_of(family: ModuleType, head: int, *, own: bool) -> tuple[Shapes, str]:
    """The arrays from which a family reads its config, and the norm as wide as a head, in diffusers' layout or the
    originals'. Heads are `head` wide."""
    d, h = WIDTH, head
    if family in (flux, flux2):
        part = "weight" if own else "scale"
        norm = f"{'transformer_blocks.0.attn.norm_q' if own else 'double_blocks.0.img_attn.norm.query_norm'}.{part}"
        new: Shapes = {"x_embedder": (d, 64), "context_embedder": (d, 32), "proj_out": (64, d)}
        if family is flux:
            new |= {"time_text_embed.text_embedder.linear_1": (d, 16)}
            names = {new: old for old, new in flux._TOP.items()}
        else:
            new |= {"time_guidance_embed.timestep_embedder.linear_1": (d, 256)}
            new |= {"single_stream_modulation.linear": (3 * d, d), "transformer_blocks.0.ff.linear_out": (d, 3 * d)}
            double = {f"transformer_blocks.0.{new}": f"double_blocks.0.{old}" for old, new in flux2.DOUBLE.items()}
            names = {new: old for old, new in flux2.TOP.items()} | double
        return {norm: (h,)} | {f"{name if own else names[name]}.weight": shape for name, shape in new.items()}, norm
    if family is krea2:
        blocks = ("transformer_blocks.0", "text_fusion.layerwise_blocks.0")
        new = {"img_in": (d, 64), "txt_in.linear_1": (d, 32), "time_embed.linear_1": (d, 256)}
        new |= {"text_fusion.projector": (1, 2)}
        for at in blocks:
            new |= {f"{at}.attn.norm_q": (h,), f"{at}.attn.to_k": (h, d), f"{at}.ff.gate": (2 * d, d)}
        shapes = {f"{name}.weight": shape for name, shape in new.items()}
        norm = f"{blocks[0]}.attn.norm_q.weight"
        if own:
            return shapes, norm
        return {krea2.original_name(name): shape for name, shape in shapes.items()}, krea2.original_name(norm)
    if family is qwen_image:
        norm = "transformer_blocks.0.attn.norm_q.weight"
        return {"transformer_blocks.0.img_mod.1.weight": (1,), "img_in.weight": (d, 64), "txt_in.weight": (d, 32),
                "proj_out.weight": (64, d), norm: (h,)}, norm  # fmt: skip
    norm = f"layers.0.attention.{'norm_q' if own else 'q_norm'}.weight"
    start, end = ("all_x_embedder.2-1", "all_final_layer.2-1") if own else ("x_embedder", "final_layer")
    return {"layers.0.adaLN_modulation.0.weight": (1,), "cap_embedder.1.weight": (d, 32), norm: (h,),
            f"{start}.weight": (d, 64), f"{end}.linear.weight": (64, d)}, norm  # fmt: skip


def written(path: Path, shapes: Shapes, prefix: str = "") -> TensorFile:
    save_file({f"{prefix}{name}": np.zeros(shape, np.float16) for name, shape in shapes.items()}, path)
    return SafetensorsFile(path)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize(("family", "entry"), [*((each[0], each[3]) for each in BOTH), (qwen_image, "axes_dims_rope")])
def test_a_lone_file_with_heads_of_another_width(family: ModuleType, entry: str, prefix: str, tmp_path: Path) -> None:
    shapes, norm = shapes_of(family, 64, own=True)
    file = written(tmp_path / "model.safetensors", shapes, prefix)
    assert family.prefix_of(file) == prefix
    model = family.transformer(file, prefix)
    said = re.escape(
        f"columns of a head for each axis of the rotation ({entry}) not known, key '{prefix}{norm}', expected a "
        "config.json that says it, since no shape does, found heads of 64 columns; name the folder of the model that "
        "it is of with --vae, whose transformer/config.json is read too, or put that config.json beside the file"
    )
    with pytest.raises(UnknownArchitecture, match=said):
        _ = model.config


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize(("family", "whose"), [(each[0], each[2]) for each in BOTH])
def test_an_original_file_with_heads_of_another_width(
    family: ModuleType, whose: str, prefix: str, tmp_path: Path
) -> None:
    shapes, norm = shapes_of(family, 64, own=False)
    shapes |= {flux.MARK: (64,)} if family is flux else {}
    file = written(tmp_path / "model.safetensors", shapes, prefix)
    assert family.prefix_of(file) == prefix
    found = "64, in 3 heads" if family is flux else "heads of 64 columns"
    said = re.escape(
        f"head width, key '{prefix}{norm}', expected 128, {whose}, found {found}; use a folder in diffusers' layout, "
        "whose config.json says more"
    )
    with pytest.raises(UnknownArchitecture, match=said):
        family.transformer(file, prefix)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("family", "name"), [*((each[0], each[1]) for each in BOTH[:3]), (qwen_image, "Qwen-Image")])
def test_heads_that_do_not_fill_the_width(family: ModuleType, name: str, own: bool, tmp_path: Path) -> None:
    shapes, norm = shapes_of(family, 80, own=own)
    file = written(tmp_path / "model.safetensors", shapes)
    said = f"head width, key '{re.escape(norm)}', expected a divisor of 192, found 80; the file is no transformer of "
    with pytest.raises(UnknownArchitecture, match=f"{said}{re.escape(name)}: take another"):
        family.transformer(file, "")


def test_a_component_is_told_by_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    file = written(tmp_path / "model.safetensors", {"a": (1,), "b": (1,), "in.b": (1,), "in.c": (1,)})
    assert prefix_with(file, ("", "in."), {"c"}) == "in."
    assert prefix_with(file, ("", "in."), {"b"}) == ""
    assert prefix_with(file, ("", "in."), {"b"}, without={"a"}) == "in."
    assert prefix_with(file, ("", "in."), {"a", "c"}) is None
    assert prefix_with(file, ("", "in."), {"a", "c"}, {"c"}) == "in."
    assert prefix_with(file, ("out.",), {"a"}) is None
