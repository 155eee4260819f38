"""The autoencoder against diffusers', image by image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.engine import errors
from salon.engine.checkpoint import Checkpoint, Component
from salon.engine.models import vae
from salon.kernels.reference import ReferenceOps

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

Float32 = NDArray[np.float32]

MINI = Path(__file__).parents[3] / "models" / "mini"
CONFIG: dict[str, Any] = {
    "block_out_channels": (6, 9, 9),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 1,
    "latent_channels": 5,
    "norm_num_groups": 3,
    "shift_factor": 0.1,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "everything": {},
    "flux": {"use_quant_conv": False, "use_post_quant_conv": False},
    "mini": {"use_quant_conv": False, "use_post_quant_conv": False, "mid_block_add_attention": False},
    "deep": {"layers_per_block": 2, "mid_block_add_attention": False},
    "flat": {
        "block_out_channels": (6,),
        "down_block_types": ("DownEncoderBlock2D",),
        "up_block_types": ("UpDecoderBlock2D",),
    },
}
GRIDS = np.array([[3, 5], [1, 1], [4, 2]], np.int32)


def images(grids: NDArray[np.int32], channels: int) -> list[Float32]:
    rng = np.random.default_rng(2)
    return [rng.standard_normal((h, w, channels)).astype(np.float32) for h, w in grids.tolist()]


def rows(parts: list[Float32]) -> Float32:
    return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])


def chw(image: Float32) -> Any:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def hwc(image: Any) -> Float32:
    result: Float32 = image[0].permute(1, 2, 0).numpy()
    return result


def split(got: Float32, wanted: list[Float32]) -> list[Float32]:
    parts = np.split(got, np.cumsum([w.shape[0] * w.shape[1] for w in wanted])[:-1])
    return [part.reshape(w.shape) for part, w in zip(parts, wanted, strict=True)]


@pytest.fixture(params=list(VARIANTS))
def model(request: pytest.FixtureRequest, zoo: Any) -> Any:
    return zoo.liven(diffusers.AutoencoderKL(**{**CONFIG, **VARIANTS[request.param]}))


def test_agrees_with_diffusers(backend: Any, model: Any, zoo: Any, tmp_path: Path) -> None:
    ops = backend.ops
    weights = vae.load_autoencoder(ops, Component(zoo.save(model, tmp_path / "vae")))
    factor = weights.config.factor
    assert factor == 2 ** (len(model.config.block_out_channels) - 1)
    latents, pictures = images(GRIDS, 5), images(GRIDS * factor, 3)
    with torch.no_grad():
        decoded = [hwc(model.decode(chw(z), return_dict=False)[0]) for z in latents]
        moments = [hwc(model._encode(chw(x))) for x in pictures]
        means = [hwc(model.encode(chw(x)).latent_dist.mean) for x in pictures]

    got = ops.numpy(vae.decode(ops, weights, ops.array(rows(latents)), GRIDS))
    for mine, want in zip(split(got, decoded), decoded, strict=True):
        backend.close(mine, want)
    got = ops.numpy(vae.encode(ops, weights, ops.array(rows(pictures)), GRIDS * np.int32(factor)))
    for mine, want, mean in zip(split(got, moments), moments, means, strict=True):
        backend.close(mine, want)
        backend.close(mine[..., :5], mean)


def test_the_embedded_autoencoder(backend: Any) -> None:
    ops, component = backend.ops, Checkpoint(MINI).component("vae")
    weights = vae.load_autoencoder(ops, component)
    grid = np.array([[3, 2]], np.int32)
    z = images(grid, weights.config.latent_channels)[0]
    model = diffusers.AutoencoderKL.from_pretrained(component.path, torch_dtype=torch.float32).eval()
    with torch.no_grad():
        picture = hwc(model.decode(chw(z), return_dict=False)[0])
        moments = hwc(model._encode(chw(picture)))
    got = ops.numpy(vae.decode(ops, weights, ops.array(rows([z])), grid))
    backend.close(got.reshape(picture.shape), picture)
    got = ops.numpy(vae.encode(ops, weights, ops.array(rows([picture])), grid * np.int32(weights.config.factor)))
    backend.close(got.reshape(moments.shape), moments)


def test_images_do_not_depend_on_the_batch(backend: Any, model: Any, zoo: Any, tmp_path: Path) -> None:
    ops, latents = backend.ops, images(GRIDS, 5)
    weights = vae.load_autoencoder(ops, Component(zoo.save(model, tmp_path / "vae")))
    area = weights.config.factor**2
    together = ops.numpy(vae.decode(ops, weights, ops.array(rows(latents)), GRIDS))
    alone = ops.numpy(vae.decode(ops, weights, ops.array(rows(latents[2:])), GRIDS[2:]))
    np.testing.assert_array_equal(alone, together[16 * area :])
    latents[1][:] = np.nan
    poisoned = ops.numpy(vae.decode(ops, weights, ops.array(rows(latents)), GRIDS))
    assert np.isnan(poisoned[15 * area : 16 * area]).all()
    np.testing.assert_array_equal(poisoned[: 15 * area], together[: 15 * area])
    np.testing.assert_array_equal(poisoned[16 * area :], together[16 * area :])


@pytest.mark.parametrize("dims", [2, 4])
def test_old_names_of_attention(dims: int, zoo: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    ops = ReferenceOps()
    folder = zoo.save(zoo.liven(diffusers.AutoencoderKL(**CONFIG)), tmp_path / "vae")
    new = vae.load_autoencoder(ops, Component(folder))
    old_names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors = {}
    for key, value in load_file(path).items():
        before = key
        for name, old_name in old_names.items():
            key = key.replace(name, old_name)
        renamed = key != before and key.endswith("weight") and dims == 4
        tensors[key] = (value[:, :, None, None] if renamed else value).clone()
    save_file(tensors, path)
    old = vae.load_autoencoder(ops, Component(folder))
    z = ops.array(rows(images(GRIDS, 5)))
    np.testing.assert_array_equal(vae.decode(ops, old, z, GRIDS), vae.decode(ops, new, z, GRIDS))


def test_encode_refuses_sides_off_the_factor(zoo: Any, tmp_path: Path) -> None:
    ops = ReferenceOps()
    weights = vae.load_autoencoder(ops, Component(zoo.save(diffusers.AutoencoderKL(**CONFIG), tmp_path / "vae")))
    with pytest.raises(ValueError, match=r"encode: grids: got \[\[8, 6\]\], want multiples of 4"):
        vae.encode(ops, weights, ops.zeros(48, 3), np.array([[8, 6]], np.int32))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"_class_name": "AutoencoderTiny"}, errors.UnknownArchitecture, "expected AutoencoderKL"),
        ({"act_fn": "relu"}, errors.UnknownArchitecture, "act_fn"),
        ({"latents_mean": [0.0]}, errors.UnknownArchitecture, "latents_mean"),
        ({"up_block_types": ["AttnUpDecoderBlock2D"] * 3}, errors.UnknownArchitecture, "3 times UpDecoderBlock2D"),
        ({"down_block_types": 5}, errors.UnknownArchitecture, "3 times DownEncoderBlock2D"),
        ({"up_block_types": "Up"}, errors.UnknownArchitecture, "3 times UpDecoderBlock2D"),
        ({"norm_num_groups": 4}, errors.WrongConfig, "a divisor of"),
        ({"scaling_factor": 0}, errors.WrongConfig, "scaling_factor"),
        ({"layers_per_block": 2}, errors.MissingKey, "resnets.2"),
        ({"mid_block_add_attention": False}, errors.UnexpectedKey, "mid_block.attentions.0"),
        ({"use_quant_conv": False}, errors.UnexpectedKey, "quant_conv"),
        ({"latent_channels": 4}, errors.WrongShape, r"expected \[4, 4, 1, 1\], found \[5, 5, 1, 1\]"),
    ],
)
def test_wrong_folders(
    changes: dict[str, Any], kind: type[errors.CheckpointError], message: str, zoo: Any, tmp_path: Path
) -> None:
    folder = zoo.save(diffusers.AutoencoderKL(**CONFIG), tmp_path / "vae")
    zoo.edit_config(folder, **changes)
    with pytest.raises(kind, match=message):
        vae.load_autoencoder(ReferenceOps(), Component(folder))
