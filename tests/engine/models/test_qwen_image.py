"""Qwen-Image's transformer and autoencoder against diffusers', sample by sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.engine import denoiser, errors
from salon.engine.checkpoint import Component
from salon.engine.models import qwen_image, qwen_vae
from salon.engine.text.pipeline import TextEncoding
from salon.kernels.reference import ReferenceOps

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

Float32 = NDArray[np.float32]

CONFIG: dict[str, Any] = {
    "in_channels": 12,
    "out_channels": 3,
    "num_layers": 3,
    "attention_head_dim": 22,
    "num_attention_heads": 3,
    "joint_attention_dim": 17,
    "axes_dims_rope": (4, 8, 10),
}
VAE: dict[str, Any] = {
    "base_dim": 6,
    "z_dim": 3,
    "dim_mult": [1, 2, 2],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True],
    "latents_mean": [0.5, -0.5, 0.0],
    "latents_std": [1.5, 1.0, 0.5],
}
TEXTS = (5, 1, 0, 11)
GRIDS = ((3, 4), (1, 1), (5, 2), (2, 7))


def liven(model: Any) -> Any:
    """Give every norm and bias random values, so that none can be left out unnoticed."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.2)
            elif name.endswith("gamma") or parameter.ndim == 1:
                parameter.normal_(1, 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    with torch.random.fork_rng():
        torch.manual_seed(20261130)
        transformer = liven(diffusers.QwenImageTransformer2DModel(**CONFIG))
        vae = liven(diffusers.AutoencoderKLQwenImage(**VAE))
    path = tmp_path_factory.mktemp("qwen")
    transformer.save_pretrained(path / "transformer")
    vae.save_pretrained(path / "vae")
    return transformer, vae, path


def samples() -> list[tuple[Float32, Float32, float, tuple[int, int]]]:
    """Latents, text, sigma and grid of each."""
    draw = np.random.default_rng(3).standard_normal
    return [
        (draw((h * w, 12), np.float32), draw((n, 17), np.float32), 0.1 + 0.2 * n, (h, w))
        for n, (h, w) in zip(TEXTS, GRIDS, strict=True)
    ]


def velocity(ops: Any, weights: Any, parts: list[Any]) -> list[Float32]:
    inputs = [denoiser.Sample(grid, TextEncoding(text, np.zeros(0, np.float32))) for _, text, _, grid in parts]
    layout = qwen_image.layout(ops, weights, inputs)
    latents = ops.array(np.concatenate([part[0] for part in parts]), "float32")
    times = np.array([part[2] for part in parts], np.float32) * np.float32(1000)
    rows = ops.numpy(qwen_image.velocity(ops, weights, layout, latents, times))
    return np.split(rows, np.cumsum([len(part[0]) for part in parts])[:-1])


def test_velocities_are_those_of_diffusers_alone_and_in_a_batch(backend: Any, folder: Any) -> None:
    model, _, path = folder
    parts = samples()
    weights = qwen_image.load_qwen_image(backend.ops, Component(path / "transformer"))
    together = velocity(backend.ops, weights, parts)
    for (latents, text, sigma, (height, width)), mine in zip(parts, together, strict=True):
        alone = velocity(backend.ops, weights, [(latents, text, sigma, (height, width))])
        np.testing.assert_array_equal(alone[0], mine)
        if not len(text):  # which diffusers cannot do
            continue
        with torch.no_grad():
            want = model(
                hidden_states=torch.from_numpy(latents)[None], encoder_hidden_states=torch.from_numpy(text)[None],
                timestep=torch.tensor([sigma]), img_shapes=[[(1, height, width)]], return_dict=False,
            )[0][0].numpy()  # fmt: skip
        backend.close(mine, want)


def test_pictures_are_those_of_diffusers_autoencoder(backend: Any, folder: Any) -> None:
    _, model, path = folder
    ops, grids = backend.ops, np.array([[3, 5], [1, 1], [4, 2]], np.int32)
    weights = qwen_vae.load_qwen_vae(ops, Component(path / "vae"))
    draw = np.random.default_rng(2).standard_normal
    for side, channels in ((1, 3), (4, 3)):
        sizes = (grids * side).tolist()
        images = [draw((h, w, channels), np.float32) for h, w in sizes]
        rows = ops.array(np.concatenate([image.reshape(-1, channels) for image in images]))
        if side == 1:
            got = ops.numpy(qwen_vae.decode(ops, weights, rows, grids))
        else:
            got = ops.numpy(qwen_vae.encode(ops, weights, rows, grids * np.int32(4)))
        per = [h * w * 16 if side == 1 else h * w // 16 for h, w in sizes]
        for image, mine in zip(images, np.split(got, np.cumsum(per)[:-1]), strict=True):
            given = torch.from_numpy(image).permute(2, 0, 1)[None, :, None]
            with torch.no_grad():
                model.clear_cache()
                made = model.decoder(model.post_quant_conv(given)) if side == 1 else model._encode(given)
            backend.close(mine, made[0, :, 0].permute(1, 2, 0).reshape(-1, made.shape[1]).numpy())
    with pytest.raises(ValueError, match=r"encode: grids: got \[\[8, 6\]\], want multiples of 4"):
        qwen_vae.encode(ops, weights, ops.zeros(48, 3), np.array([[8, 6]], np.int32))


@pytest.mark.parametrize(
    ("part", "changes", "kind", "message"),
    [
        ("transformer", {"_class_name": "SD3Transformer2DModel"}, errors.UnknownArchitecture, "QwenImageTransformer"),
        ("transformer", {"patch_size": 1}, errors.UnknownArchitecture, "patch_size"),
        ("transformer", {"out_channels": 4}, errors.UnknownArchitecture, "'out_channels', expected 3"),
        ("transformer", {"guidance_embeds": True}, errors.UnknownArchitecture, "guidance_embeds"),
        ("transformer", {"use_layer3d_rope": True}, errors.UnknownArchitecture, "use_layer3d_rope"),
        ("transformer", {"axes_dims_rope": [4, 8, 8]}, errors.WrongConfig, "axes_dims_rope"),
        ("transformer", {"in_channels": 10}, errors.WrongConfig, "in_channels"),
        ("transformer", {"num_layers": 4}, errors.MissingKey, "transformer_blocks.3.img_mod.1.weight"),
        ("transformer", {"num_layers": 2}, errors.UnexpectedKey, "transformer_blocks.2"),
        ("transformer", {"odd": 1}, errors.UnknownArchitecture, "'odd', expected no such setting"),
        ("vae", {"attn_scales": [1.0]}, errors.UnknownArchitecture, "attn_scales"),
        ("vae", {"latents_std": [1.0, 0.0, 1.0]}, errors.WrongConfig, "latents_std"),
        ("vae", {"latents_mean": [1.0]}, errors.WrongConfig, "latents_mean', expected 3 numbers"),
        ("vae", {"temperal_downsample": [True]}, errors.WrongConfig, "temperal_downsample"),
        ("vae", {"temperal_downsample": [True, True]}, errors.MissingKey, "time_conv"),
        ("vae", {"num_res_blocks": 2}, errors.CheckpointError, "decoder.up_blocks.0.resnets.2"),
        ("vae", {"base_dim": 3, "dim_mult": [1, 1, 2]}, errors.WrongConfig, "even widths"),
        ("vae", {"z_dim": 4, "latents_mean": [0] * 4, "latents_std": [1] * 4}, errors.WrongShape, "wrong shape"),
    ],
)
def test_wrong_folders(
    part: str, changes: dict[str, Any], kind: type[errors.CheckpointError], message: str, folder: Any, zoo: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    for file in (folder[2] / part).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    zoo.edit_config(tmp_path, **changes)
    load: Any = qwen_image.load_qwen_image if part == "transformer" else qwen_vae.load_qwen_vae
    with pytest.raises(kind, match=message):
        load(ReferenceOps(), Component(tmp_path, part))


def test_layouts_refuse_what_does_not_fit(folder: Any) -> None:
    ops = ReferenceOps()
    weights = qwen_image.load_qwen_image(ops, Component(folder[2] / "transformer"))
    text = TextEncoding(np.zeros((1, 17), np.float32), np.zeros(0, np.float32))
    for sample, said in (
        (denoiser.Sample((0, 3), text), "grid: got"),
        (denoiser.Sample((2, 3), text, 3.5), "guidance: got 3.5, want None"),
    ):
        with pytest.raises(ValueError, match=said):
            qwen_image.layout(ops, weights, [sample])
