"""SDXL and Stable Diffusion 1.5 as people have them: what diffusers saves, against diffusers' own pipelines."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import noise
from salon.engine.denoiser import Sample
from salon.engine.engine import Engine
from salon.engine.errors import (
    CheckpointError,
    MissingKey,
    SpecError,
    UnexpectedKey,
    UnknownArchitecture,
    WrongConfig,
    WrongShape,
)
from salon.engine.files.opening import ModelPath
from salon.engine.files.parts import text_parts
from salon.engine.start import PictureForm, PictureUse, forms_of
from salon.engine.survey import survey
from salon.engine.trained import input_factors
from salon.engine.weights.clip import ClipConfig
from salon.studio.studio import Studio

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families.tiny_flux import LONG
from salon.bench.families.tiny_unet import original, sd_pipeline, xl_pipeline

from .graphs import want_one_graph

SIDE = 32  # of a picture: 16 x 16 latents of the tiny autoencoder
PROMPT = "a big red apple on the house"
KINDS = ("sdxl", "sd15")
Pixels = np.ndarray[Any, Any]


class Pair:
    """A pipeline of diffusers, and an engine that loaded what it saved."""

    def __init__(self, built: Any, folder: Path) -> None:
        self.built, self.folder = built, folder
        built.set_progress_bar_config(disable=True)
        built.save_pretrained(folder, safe_serialization=True)
        self.engine = Engine.load(folder, dtype="float32", threads=1, require_text=True)

    def drawn(self, prompt: str = PROMPT, **fields: Any) -> Pixels:
        spec = self.engine.make_spec(prompt, **{"seed": 7, "width": SIDE, "height": SIDE, "steps": 3, **fields})
        return finished(self.engine, spec)

    def theirs(self, prompt: str = PROMPT, width: int = SIDE, height: int = SIDE, steps: int = 3, **fields: Any) -> Any:
        """The picture of diffusers' own pipeline from the same noise."""
        start = drawn_noise(height // 2, width // 2)
        return self.built(
            prompt, height=height, width=width, latents=start, output_type="np", num_inference_steps=steps, **fields
        ).images[0]

    def encoded(self, prompt: str = PROMPT, negative: str | None = None) -> list[Any]:
        """States and pooled vector of a prompt, and of a negative one: as the pipeline's own encoders have them."""
        with torch.no_grad():
            if hasattr(self.built, "text_encoder_2"):
                states, others, pooled, more = self.built.encode_prompt(prompt, negative_prompt=negative)
                return [states[0], pooled[0], others[0], more[0]]
            states, others = self.built.encode_prompt(prompt, "cpu", 1, True, negative)
            return [states[0], torch.zeros(0), others[0], torch.zeros(0)]


def drawn_noise(height: int, width: int) -> Any:
    rows = noise.normal(7, 0, 0, height * width, 4)
    return torch.from_numpy(rows.reshape(height, width, 4).transpose(2, 0, 1).copy())[None]


def finished(engine: Engine, spec: Any) -> Pixels:
    generation = engine.open(spec)
    while generation.state == "running":
        engine.step([generation])
    pixels = engine.finish(generation)
    np.testing.assert_array_equal(engine.preview(generation), pixels)
    engine.close(generation)
    return pixels


def decibels(got: Pixels, want: Pixels) -> float:
    error = float(np.mean((got.astype(np.float64) / 255 - want) ** 2))
    return -10 * math.log10(max(error, 1e-12))


def relative(got: Pixels, want: Any) -> float:
    theirs: Pixels = np.asarray(want)
    assert got.shape == theirs.shape
    error: Pixels = got - theirs
    return float(np.abs(error).max() / np.abs(theirs).max()) if theirs.size else 0.0


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    built = {"sdxl": xl_pipeline(), "sd15": sd_pipeline("v_prediction")}
    return {name: Pair(each, tmp_path_factory.mktemp(name)) for name, each in built.items()}


@pytest.fixture(params=KINDS)
def pair(pairs: dict[str, Pair], request: pytest.FixtureRequest) -> Pair:
    return pairs[request.param]


def test_text_is_read_as_the_pipeline_reads_it(pair: Pair) -> None:
    text = pair.engine.model.text
    assert text is not None
    for prompt in (PROMPT, LONG):
        states, pooled, others, more = pair.encoded(prompt)
        encoding = text.encode(prompt)
        assert relative(encoding.tokens, states) <= 1e-5
        assert relative(encoding.pooled, pooled) <= 1e-5
        assert np.abs(text.unconditional.tokens - others.numpy()).max() <= 1e-5
        assert np.abs(text.unconditional.pooled - more.numpy()).max(initial=0) <= 1e-5
    note = "the prompt has more than the 77 tokens that CLIP reads: left out is "
    assert [warning[: len(note)] for warning in encoding.warnings] == [note]


@pytest.mark.parametrize("grid", [(8, 8), (7, 13), (5, 3), (4, 1)])
def test_the_velocity_is_that_of_diffusers(pair: Pair, grid: tuple[int, int]) -> None:
    """Of latents as flow matching has them: also of sides that are not halved evenly, and of one latent."""
    engine, (height, width), sigmas = pair.engine, grid, np.array([0.7], np.float32)
    denoiser: Any = engine.model.denoiser
    states, pooled, _, _ = pair.encoded()
    encoding = engine.model.text.encode(PROMPT)  # type: ignore[union-attr]
    x = np.random.default_rng(3).standard_normal((height * width, 4)).astype(np.float32)
    layout = denoiser.layout(engine.ops, [Sample(grid, encoding)])
    (numbers,) = engine.ops.vectors(denoiser.times(sigmas))
    ours = engine.ops.numpy(denoiser.velocity(engine.ops, layout, engine.ops.array(x, "float32"), numbers))
    c, p, q = input_factors(sigmas, denoiser.schedule.prediction)
    seen = torch.from_numpy((c * x).reshape(height, width, 4).transpose(2, 0, 1).copy())[None]
    sizes = torch.tensor([[2 * height, 2 * width, 0, 0, 2 * height, 2 * width]], dtype=torch.float32)
    added = {"text_embeds": pooled[None], "time_ids": sizes} if len(pooled) else None
    with torch.no_grad():
        theirs = pair.built.unet(
            seen, float(denoiser.schedule.times(sigmas)[0]), encoder_hidden_states=states[None],
            added_cond_kwargs=added, return_dict=False,
        )[0]  # fmt: skip
    out = theirs[0].permute(1, 2, 0).reshape(-1, 4).numpy()
    assert relative(ours, p * out + q * x) <= 1e-5
    assert relative((ours - q * x) / p, out) <= 1e-5


def test_a_folder_of_diffusers_draws_what_diffusers_draws(pair: Pair) -> None:
    guidance = 5.0 if "text_encoder_2" in pair.built.components else 7.5
    spec = pair.engine.make_spec("a cat")
    assert (spec.steps, spec.guidance_scale, spec.width, spec.height) == (50, guidance, 16, 16)
    whole = pair.theirs(guidance_scale=guidance)
    assert decibels(pair.drawn()[0], whole) >= 50
    other = pair.theirs("a cat", steps=4, width=48, height=24, negative_prompt="a dog", guidance_scale=3.0)
    fields = {"steps": 4, "width": 48, "height": 24, "negative_prompt": "a dog", "guidance_scale": 3.0}
    assert decibels(pair.drawn("a cat", **fields)[0], other) >= 50
    assert decibels(pair.drawn(LONG, guidance_scale=1.0)[0], pair.theirs(LONG, guidance_scale=1.0)) >= 50
    # and the numbers do tell prompts, guidance and negative prompts apart
    assert decibels(pair.drawn("a cat")[0], whole) < 45
    assert decibels(pair.drawn(guidance_scale=3.0)[0], whole) < 45


def test_pictures_are_the_same_alone_in_a_batch_and_parked(pair: Pair) -> None:
    engine = pair.engine
    specs = [
        engine.make_spec(prompt, seed=seed, width=width, height=height, steps=steps, images=images, solver=solver)
        for prompt, seed, width, height, steps, images, solver in (
            ("a cat", 1, 16, 24, 2, 1, "euler"), (LONG, 2, 22, 14, 3, 2, "dpmpp_2m"), ("a dog", 3, 2, 8, 2, 1, "heun"),
            ("a cat", 4, 14, 22, 3, 1, "euler_ancestral"),
        )
    ]  # fmt: skip
    alone = [finished(engine, spec) for spec in specs]
    open_ones = [engine.open(spec) for spec in specs]
    engine.step(open_ones)
    parked = engine.park(open_ones[1])
    engine.step(open_ones[::2])
    open_ones[1] = engine.resume(parked)
    while running := [g for g in open_ones if g.state == "running"]:
        engine.step(running)
    for generation, pixels in zip(open_ones, alone, strict=True):
        np.testing.assert_array_equal(engine.finish(generation), pixels)
        engine.close(generation)


def test_a_start_picture_begins_as_in_the_pipeline(pairs: dict[str, Pair]) -> None:
    """diffusers' image-to-image pipeline, from the picture's latents and the same noise."""
    from diffusers import StableDiffusionXLImg2ImgPipeline
    from diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl_img2img as module

    pair, random = pairs["sdxl"], np.random.default_rng(5)
    engine, pixels = pair.engine, random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    spec = engine.make_spec(
        PROMPT, seed=7, width=SIDE, height=SIDE, steps=5, image="a" * 64, image_strength=0.6, guidance_scale=1.0
    )
    (form,) = forms_of(spec)
    assert form == PictureForm(form.digest, PictureUse.START, (SIDE, SIDE))
    engine.add_picture(form, pixels)
    ours = finished(engine, spec)[0]
    theirs = StableDiffusionXLImg2ImgPipeline(**pair.built.components, add_watermarker=False)
    theirs.set_progress_bar_config(disable=True)
    moments = pair.built.vae.encode(torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None])
    clean = (moments.latent_dist.mean * pair.built.vae.config.scaling_factor).detach()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "randn_tensor", lambda *_, **__: drawn_noise(SIDE // 2, SIDE // 2))
        want = theirs(
            PROMPT, image=clean, strength=0.6, num_inference_steps=5, guidance_scale=1.0, output_type="np",
            original_size=(SIDE, SIDE), target_size=(SIDE, SIDE),
        ).images[0]  # fmt: skip
    assert decibels(ours, want) >= 50


def test_what_these_models_do_not_do_is_refused(pair: Pair) -> None:
    with pytest.raises(SpecError, match=r"shift: got 2.0, allowed nothing \(the model was trained on discrete"):
        pair.engine.open(pair.engine.make_spec(PROMPT, shift=2.0))
    with pytest.raises(SpecError, match="embedded_guidance: got"):
        pair.engine.open(pair.engine.make_spec(PROMPT, embedded_guidance=2.0))
    with pytest.raises(UnknownArchitecture, match="an adapter branch for a UNet"):
        pair.engine.add_branch({})


@pytest.mark.parametrize(
    ("part", "values", "kind", "said"),
    [
        (
            "unet",
            {"in_channels": 9, "out_channels": 9},
            WrongConfig,
            "'in_channels', expected 4, .*made for inpainting",
        ),
        ("unet", {"class_embed_type": "timestep"}, UnknownArchitecture, "'class_embed_type'"),
        ("unet", {"freq_shift": 1}, UnknownArchitecture, "'freq_shift', expected 0, found 1"),
        ("unet", {"cross_attention_dim": 64}, WrongConfig, "expected 192, the width of the text encoders' states, f"),
        (
            "unet",
            {"addition_time_embed_dim": 128, "projection_class_embeddings_input_dim": 128 + 6 * 128},
            WrongShape,
            "add_embedding.linear_1.weight.*config.json are not of one model",
        ),
        ("unet", {"attention_head_dim": [2, 3]}, WrongConfig, "'attention_head_dim', expected divisors"),
        ("unet", {"up_block_types": ["UpBlock2D"]}, UnknownArchitecture, "'up_block_types', expected 2 of"),
        ("unet", {"odd": 1}, UnknownArchitecture, "'odd'"),
        ("unet", {"layers_per_block": 3}, MissingKey, r"down_blocks.0.resnets.2.norm1"),
        ("scheduler", {"_class_name": "KDPM2DiscreteScheduler"}, UnknownArchitecture, "EulerDiscreteScheduler"),
        ("scheduler", {"use_beta_sigmas": True}, UnknownArchitecture, "'use_beta_sigmas'"),
        ("scheduler", {"timestep_spacing": "odd"}, UnknownArchitecture, '"leading" or "trailing" or "linspace"'),
    ],
)
def test_what_cannot_be_loaded_is_named(
    part: str, values: dict[str, Any], kind: type[CheckpointError], said: str, pairs: dict[str, Pair], tmp_path: Path
) -> None:
    shutil.copytree(pairs["sdxl"].folder, tmp_path / "model")
    file = next((tmp_path / "model" / part).glob("*config.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    with pytest.raises(kind, match=said):
        Engine.load(tmp_path / "model", dtype="float32", threads=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_file_draws_the_same_bits_as_the_folder(kind: str, pairs: dict[str, Pair], tmp_path: Path) -> None:
    """In the makers' own layout, text encoders and autoencoder inside; the tokenizers are the folder's."""
    pair = pairs[kind]
    marks = {"v_pred": np.zeros(1, np.float32)} if kind == "sd15" else {}
    path = original(pair.folder, tmp_path / "model.safetensors", **marks)
    tokenizers = sorted(pair.folder.glob("tokenizer*"), reverse=True)
    single = Engine.load(path, text_encoder=tokenizers, dtype="float32", threads=1, require_text=True)
    spec = single.make_spec(PROMPT, seed=7, width=SIDE, height=SIDE, steps=3)
    np.testing.assert_array_equal(finished(single, spec), pair.drawn())
    usual = single.make_spec(PROMPT)
    sides = (256, 256) if kind == "sdxl" else (128, 128)  # of the tiny autoencoder, which halves once
    assert (usual.steps, usual.guidance_scale, usual.solver, usual.width, usual.height) == (
        50, pair.engine.make_spec(PROMPT).guidance_scale, "euler", *sides,
    )  # fmt: skip
    found = survey(ModelPath(path, tuple(tokenizers)), "float32")
    assert (found.family, found.problem) == (kind, "")
    with pytest.raises(WrongConfig, match="'tokenizer', .*; name its folder with --text-encoder too"):
        Engine.load(path, require_text=True)


@pytest.mark.parametrize(
    ("drop", "add", "kind", "said"),
    [
        ("middle_block.2.in_layers.2.weight", "", MissingKey, "mid_block.resnets.1.conv1.weight"),
        ("", "output_blocks.1.7.odd.weight", UnexpectedKey, "up_blocks.0.attentions.1.odd.weight"),
        ("input_blocks.2.0.op.weight", "", UnknownArchitecture, "numbering"),
    ],
)
def test_a_single_file_that_does_not_fit_is_refused(
    drop: str, add: str, kind: type[CheckpointError], said: str, pairs: dict[str, Pair], tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    folder, prefix = pairs["sd15"].folder, "model.diffusion_model."
    arrays = load_file(original(folder, tmp_path / "whole.safetensors"))
    arrays.pop(f"{prefix}{drop}", None)
    save_file(arrays | ({f"{prefix}{add}": np.zeros(3, np.float32)} if add else {}), tmp_path / "bad.safetensors")
    with pytest.raises(kind, match=said):
        Engine.load(tmp_path / "bad.safetensors", text_encoder=[folder / "tokenizer"], dtype="float32", threads=1)


def test_a_file_of_the_second_encoder_alone_is_told_by_its_width(tmp_path: Path) -> None:
    """`clip_g.safetensors` has transformers' names, as `clip_l.safetensors`."""
    from safetensors.numpy import save_file

    at = "text_model.encoder.layers.0.mlp.fc1.weight"
    names = {"token_embedding": (9, 1280), "position_embedding": (77, 1280)}
    arrays = {f"text_model.embeddings.{name}.weight": np.zeros(shape, np.float16) for name, shape in names.items()}
    save_file(
        arrays | {at: np.zeros((8, 1280), np.float16), "text_projection.weight": np.zeros((1280, 1280), np.float16)},
        tmp_path / "clip_g.safetensors",
    )
    (part,) = text_parts(tmp_path / "clip_g.safetensors")
    assert part.kind == ("transformers", "CLIPTextModelWithProjection")
    config = ClipConfig.read(part.config)
    assert (config.projection_dim, config.hidden_act, config.num_attention_heads) == (1280, "gelu", 20)
    assert "text_projection.weight" in part.weights()


@pytest.mark.parametrize("key", ["input_blocks.0.0.weight", "middle_block.1.proj_in.weight", "out.2.weight"])
def test_hostile_shapes_are_refused(key: str, pairs: dict[str, Pair], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder, key = pairs["sd15"].folder, f"model.diffusion_model.{key}"
    arrays = load_file(original(folder, tmp_path / "whole.safetensors"))
    for bad in (np.zeros((0, 3), np.float32), np.zeros((2, 2, 2, 2), np.float32), np.zeros(5, np.float32)):
        save_file(arrays | {key: bad}, tmp_path / "bad.safetensors")
        with pytest.raises(CheckpointError):
            Engine.load(tmp_path / "bad.safetensors", text_encoder=[folder / "tokenizer"], dtype="float32", threads=1)


def test_a_survey_names_the_parts(pairs: dict[str, Pair]) -> None:
    for name, pair in pairs.items():
        found = survey(ModelPath(pair.folder), "float32")
        assert (found.family, found.problem) == (name, "")
        assert {part.name for part in found.parts if part.read} >= {"unet", "vae", "text_encoder", "scheduler"}
        assert found.needed == 4 * sum(part.parameters for part in found.parts)


def test_a_studio_draws(pair: Pair) -> None:
    fields: dict[str, Any] = {"seed": 7, "width": SIDE, "height": SIDE, "steps": 3, "images": 1}
    with Studio(pair.folder, dtype="float32", threads=1) as studio:
        np.testing.assert_array_equal(studio.imagine(PROMPT, **fields).result(60), pair.drawn(**fields))
        with pytest.raises(SpecError, match="shift"):
            studio.imagine(PROMPT, **fields, shift=3.0)


def test_one_onnx_graph_serves_mixed_batches(pair: Pair) -> None:
    """Of sides that are halved evenly, of others, and of both."""
    want_one_graph(pair.folder, more=([(7, 13), (8, 8), (1, 6)], [(5, 3)]))
