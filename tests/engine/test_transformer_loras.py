"""LoRAs of FLUX.2, Z-Image and Krea 2: the velocities of diffusers' models with the changed weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from salon.engine.checkpoint import Component
from salon.engine.codecs.packed_kl import unpack
from salon.engine.denoiser import Sample
from salon.engine.errors import UnexpectedKey
from salon.engine.families import PLUGINS
from salon.engine.files import flux2 as flux2_files
from salon.engine.files import krea2 as krea2_files
from salon.engine.files import z_image as z_image_files
from salon.engine.lora_rules import LoraRules
from salon.engine.models import flux2, krea2, z_image
from salon.engine.safetensors_file import SafetensorsFile
from salon.engine.text.pipeline import TextEncoding
from salon.engine.weights import flux2_lora, krea2_lora, z_image_lora
from salon.engine.weights.lora import pack_lora
from salon.kernels.backends import create

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families import tiny_flux2, tiny_krea2, tiny_z_image

from . import lora_files

F32 = np.ndarray[Any, np.dtype[np.float32]]
SIGMA = 0.6


@dataclass(frozen=True)
class Case:
    """A family: its modules, a tiny transformer of diffusers, and how that is asked."""

    model: ModuleType
    names: ModuleType
    files: ModuleType
    theirs: Callable[[], Any]
    asked: Callable[[Any, F32, F32, int, int], F32]
    original: Callable[[dict[str, Any]], dict[str, Any]]
    columns: int  # of a token
    text: int  # columns of a text row
    guidance: float | None = None
    scale: float = 1.0  # of the model's times


def flux2_transformer() -> Any:
    from diffusers import Flux2Transformer2DModel

    made = Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=128, num_attention_heads=1,
        joint_attention_dim=48, guidance_embeds=True,
    ).eval()  # fmt: skip
    tiny_flux2.scramble(made, 2.0)
    return made


def ask_flux2(theirs: Any, latents: F32, states: F32, height: int, width: int) -> F32:
    rows, columns = np.divmod(np.arange(height * width), width)
    ids = np.stack([0 * rows, rows, columns, 0 * rows], axis=1)
    texts = np.zeros((len(states), 4), np.int64)
    texts[:, 3] = np.arange(len(states))
    found: F32 = theirs(
        hidden_states=torch.from_numpy(latents)[None], timestep=torch.tensor([SIGMA]), guidance=torch.tensor([3.5]),
        encoder_hidden_states=torch.from_numpy(states)[None], txt_ids=torch.from_numpy(texts)[None],
        img_ids=torch.from_numpy(ids)[None], return_dict=False,
    )[0][0].numpy()  # fmt: skip
    return found


def z_image_transformer() -> Any:
    from diffusers import ZImageTransformer2DModel

    made = ZImageTransformer2DModel(
        in_channels=4, dim=256, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16
    ).eval()
    tiny_flux2.scramble(made, 1.5)
    return made


def ask_z_image(theirs: Any, latents: F32, states: F32, height: int, width: int) -> F32:
    image = unpack(latents, height, width).reshape(2 * height, 2 * width, 4).transpose(2, 0, 1)[:, None]
    out = theirs(
        [torch.from_numpy(image.copy())], torch.tensor([1 - SIGMA]), [torch.from_numpy(states)], return_dict=False
    )[0][0][:, 0].numpy()  # [4, 2 h, 2 w], the way to the picture
    parts = out.reshape(4, height, 2, width, 2).transpose(1, 3, 0, 2, 4)
    return np.asarray(-parts.reshape(height * width, 16), np.float32)


def krea2_transformer() -> Any:
    from diffusers import Krea2Transformer2DModel

    made = Krea2Transformer2DModel(
        num_layers=2, attention_head_dim=128, num_attention_heads=2, num_key_value_heads=1, intermediate_size=96,
        timestep_embed_dim=32, text_hidden_dim=32, num_text_layers=3, text_num_attention_heads=4,
        text_num_key_value_heads=2, text_intermediate_size=48, num_layerwise_text_blocks=1, num_refiner_text_blocks=2,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.ndim == 1 or name.endswith("scale_shift_table"):
                parameter.normal_(0, 0.3)
    return made


def ask_krea2(theirs: Any, latents: F32, states: F32, height: int, width: int) -> F32:
    rows, columns = np.divmod(np.arange(height * width), width)
    ids = np.concatenate([np.zeros((len(states), 3)), np.stack([0 * rows, rows, columns], axis=1)])
    found: F32 = theirs(
        hidden_states=torch.from_numpy(latents)[None], timestep=torch.tensor([SIGMA]),
        encoder_hidden_states=torch.from_numpy(states).reshape(1, len(states), 3, 32), return_dict=False,
        position_ids=torch.from_numpy(ids.astype(np.float32)),
    )[0][0].numpy()  # fmt: skip
    return found


CASES = {
    "flux2": Case(
        flux2, flux2_lora, flux2_files, flux2_transformer, ask_flux2, tiny_flux2._transformer, 16, 48, guidance=3.5
    ),
    "z_image": Case(
        z_image, z_image_lora, z_image_files, z_image_transformer, ask_z_image, tiny_z_image._transformer, 16, 16
    ),
    "krea2": Case(krea2, krea2_lora, krea2_files, krea2_transformer, ask_krea2, tiny_krea2._transformer, 64, 96),
}


class Loaded:
    """A case with both models of the same weights, and what a LoRA has to fit."""

    def __init__(self, name: str, root: Path) -> None:
        self.case, self.name, self.root = CASES[name], name, root
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.theirs = self.case.theirs().requires_grad_(False)
        self.theirs.save_pretrained(root / "transformer")
        self.ops = create("cpu", dtype="float32", threads=1)
        load: Any = getattr(self.case.model, f"load_{name}")
        self.ours = load(self.ops, Component(root / "transformer", "transformer"))
        self.where = self.case.names.lora_map(self.ours.config)
        self.layers = {key.removesuffix(".weight"): w.shape for key, w in self.arrays().items() if w.ndim == 2}
        self.layers = {key: shape for key, shape in self.layers.items() if not key.endswith(("_table", "_token"))}

    def arrays(self) -> dict[str, Any]:
        return {key: w.numpy() for key, w in self.theirs.state_dict().items()}

    def packed(self, arrays: dict[str, Any], name: str) -> Any:
        _, path = lora_files.write(self.root / f"{name}.safetensors", arrays)
        file, placed = LoraRules(self.name, self.where).open(path)
        return pack_lora(self.ops, file, placed, self.where, 0)

    def velocities(self, samples: list[Sample], latents: list[F32]) -> list[F32]:
        layout = self.case.model.layout(self.ops, self.ours, samples)
        told = 1000 * (1 - SIGMA if self.name == "z_image" else SIGMA)
        (times,) = self.ops.vectors(np.full(len(samples), told, np.float32))
        joined = self.ops.array(np.concatenate(latents), "float32")
        whole = self.ops.numpy(self.case.model.velocity(self.ops, self.ours, layout, joined, times))
        return list(np.split(whole, np.cumsum([len(each) for each in latents])[:-1]))

    def merged(self, deltas: dict[str, Any], scale: float, ask: Callable[[], F32]) -> F32:
        weights = self.theirs.state_dict()
        kept = {key: w.clone() for key, w in weights.items()}
        for name, delta in deltas.items():
            weights[f"{name}.weight"] += torch.from_numpy(np.ascontiguousarray(scale * delta))
        found = ask()
        self.theirs.load_state_dict(kept)
        return found


@pytest.fixture(scope="module", params=CASES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(request.param, tmp_path_factory.mktemp(request.param))


def original_layers(loaded: Loaded) -> dict[str, Any]:
    """The shapes of all layers of the original file."""
    arrays = loaded.case.original(dict(loaded.arrays()))
    tables = ("mod.lin", "modulation.lin", "_token")
    return {
        key.removesuffix(".weight"): w.shape
        for key, w in arrays.items()
        if w.ndim == 2 and not (loaded.name == "krea2" and key.endswith(tables)) and not key.endswith("_token")
    }


def in_diffusers(loaded: Loaded, deltas: dict[str, Any]) -> dict[str, Any]:
    """Changes of original layers as diffusers' layers have them, by the reader of original files."""
    arrays = loaded.case.original(dict(loaded.arrays())) | {f"{name}.weight": each for name, each in deltas.items()}
    path = loaded.root / "deltas.safetensors"
    lora_files.write(path, arrays)
    weights = loaded.case.files.transformer(SafetensorsFile(path), "").weights()
    return {name: weights.take(f"{name}.weight", *shape) for name, shape in loaded.layers.items()}


def test_velocities_are_those_of_merged_weights(loaded: Loaded) -> None:
    """Of every layer, in the makers' names and in diffusers', in one batch with pictures that have none."""
    case, random = loaded.case, np.random.default_rng(5)
    theirs = lora_files.changes(original_layers(loaded), rank=2, seed=1, scale=0.2)
    own = lora_files.changes(loaded.layers, rank=3, seed=2, scale=0.2)
    first = loaded.packed(lora_files.kohya(theirs, alpha=1), "kohya")
    second = loaded.packed(lora_files.peft(own), "peft")
    states = [random.standard_normal((rows, case.text), np.float32) for rows in (40, 5)]
    texts = [TextEncoding(each, np.zeros(0, np.float32)) for each in states]
    plans: list[Any] = [(0, (3, 5), ()), (0, (4, 4), ((first, 0.8),)), (1, (2, 7), ((second, -0.5),)),
                        (0, (3, 5), ((first, 0.8), (second, 0.5))), (1, (4, 4), ())]  # fmt: skip
    samples = [Sample(grid, texts[text], case.guidance, loras) for text, grid, loras in plans]
    latents = [random.standard_normal((h * w, case.columns), np.float32) for _, (h, w), _ in plans]
    together = loaded.velocities(samples, latents)
    for one, sample, each in zip(together, samples, latents, strict=True):
        np.testing.assert_array_equal(loaded.velocities([sample], [each])[0], one)

    by_makers = in_diffusers(loaded, {name: up @ down / 2 for name, (down, up) in theirs.items()})
    by_diffusers = {name: up @ down for name, (down, up) in own.items()}
    for place, deltas, scale in ((0, {}, 0.0), (1, by_makers, 0.8), (2, by_diffusers, -0.5)):
        text, (height, width), _ = plans[place]

        def ask(place: int = place, text: int = text, height: int = height, width: int = width) -> F32:
            return case.asked(loaded.theirs, latents[place], states[text], height, width)

        want = loaded.merged(deltas, scale, ask)
        assert np.abs(together[place] - want).max() <= 1e-4 * np.abs(want).max()
        if deltas:
            assert np.abs(ask() - want).max() > 0.05 * np.abs(want).max()


def test_every_layer_has_its_names_and_those_of_others_are_refused(loaded: Loaded) -> None:
    assert {*loaded.where.layers} == {*loaded.layers, *original_layers(loaded)}
    name = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    with pytest.raises(UnexpectedKey, match=rf"{loaded.name}.*a LoRA of SDXL or Stable Diffusion 1.5: take one"):
        loaded.packed(lora_files.peft(lora_files.changes({name: (8, 8)})), "other")
    assert hasattr(PLUGINS.get(loaded.name), "lora_map")
