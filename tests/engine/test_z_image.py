"""Z-Image as people have it: a folder that diffusers saves and single files, against diffusers' own pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.checkpoint import Checkpoint
from salon.engine.denoiser import Sample
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, MissingKey, UnexpectedKey, UnknownArchitecture, WrongConfig
from salon.engine.families import z_image
from salon.engine.files.opening import ModelPath
from salon.engine.reading import load_reader
from salon.engine.survey import survey

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families import tiny_z_image
from salon.bench.families.tiny_flux import LONG
from salon.bench.families.z_image import drawn, parts, picture

from .graphs import want_one_graph

SIDE = 32  # of a picture, which is 8 x 8 tokens
PROMPT = "a big red apple on the house"


@pytest.fixture(scope="module")
def built() -> Any:
    return tiny_z_image.pipeline()


@pytest.fixture(scope="module")
def folder(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("z") / "saved"
    built.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine.load(folder, dtype="float32", require_text=True)


@pytest.fixture(scope="module")
def files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny_z_image.originals(folder, tmp_path_factory.mktemp("originals") / "files")


def decibels(got: Any, want: Any) -> float:
    return float(-10 * np.log10(max(float(np.mean((got / 255 - want) ** 2)), 1e-12)))


def test_a_folder_of_diffusers_draws_what_diffusers_draws(engine: Engine, built: Any) -> None:
    spec = engine.make_spec("a cat")
    assert (spec.steps, spec.guidance_scale, spec.width) == (50, 6.0, 1024)  # diffusers counts guidance from 0: 5
    theirs = picture(built, PROMPT)
    assert decibels(drawn(engine, PROMPT), theirs) >= 50  # of 8 bits' own rounding 58.9
    other = picture(built, "a cat", width=44, num_inference_steps=2, guidance_scale=0.0)  # 88 tokens: 8 learned rows
    assert decibels(drawn(engine, "a cat", width=44, steps=2, guidance_scale=1.0), other) >= 50
    guided = picture(built, "a cat", guidance_scale=1.0, negative_prompt="a dog")
    assert decibels(drawn(engine, "a cat", guidance_scale=2.0, negative_prompt="a dog"), guided) >= 50
    # and the numbers do tell prompts and guidance apart
    assert decibels(drawn(engine, "a cat"), theirs) < 40
    assert decibels(drawn(engine, PROMPT, guidance_scale=1.0), theirs) < 40


def test_parts_are_those_of_diffusers(engine: Engine, built: Any) -> None:
    rows = list(parts(engine, built))
    assert len(rows) == 4
    assert max(row.error for row in rows if row.error is not None) < 1e-4


def test_a_velocity_is_the_same_bits_in_any_company(engine: Engine) -> None:
    denoiser, ops, random = engine.model.denoiser, engine.ops, np.random.default_rng(5)
    assert engine.model.text is not None
    texts = [engine.model.text.encode(prompt) for prompt in ("a cat", PROMPT, LONG)]
    assert [len(text.tokens) for text in texts][2] == 512
    assert len(texts[0].tokens) < len(texts[1].tokens) < 32
    samples = [Sample(grid, text) for grid, text in zip(((3, 5), (8, 8), (1, 40)), texts, strict=True)]
    samples.append(Sample((8, 4), texts[1]))  # which shares its text
    latents = [random.standard_normal((s.grid[0] * s.grid[1], 16), np.float32) for s in samples]
    sigmas = np.array([1.0, 0.5, 0.03, 0.7], np.float32)

    def velocity(chosen: list[int]) -> np.ndarray[Any, Any]:
        layout = denoiser.layout(ops, [samples[i] for i in chosen])
        (times,) = ops.vectors(denoiser.times(sigmas[chosen]))
        joined = ops.array(np.concatenate([latents[i] for i in chosen]), "float32")
        return ops.numpy(denoiser.velocity(ops, layout, joined, times))

    alone = [velocity([i]) for i in range(4)]
    for order in ([0, 1, 2, 3], [3, 2, 0, 1], [1, 3]):
        np.testing.assert_array_equal(velocity(order), np.concatenate([alone[i] for i in order]))


def test_pictures_are_the_same_alone_in_a_batch_and_parked(engine: Engine) -> None:
    specs = [
        engine.make_spec(prompt, seed=seed, width=width, height=SIDE, steps=steps, guidance_scale=guidance, chaos=chaos)
        for prompt, seed, width, steps, guidance, chaos in (
            ("a cat", 1, 32, 2, 1.0, 0.0),
            (PROMPT, 2, 44, 3, 6.0, 0.0),
            (PROMPT, 2, 44, 3, 6.0, 50.0),
        )
    ]
    alone = []
    for spec in specs:
        generation = engine.open(spec)
        while generation.state == "running":
            engine.step([generation])
        alone.append(engine.finish(generation))
    assert (alone[1] != alone[2]).any()  # though this model reads no pooled vector to be noisy
    open_ones = [engine.open(spec) for spec in specs]
    engine.step(open_ones)
    open_ones[1] = engine.resume(engine.park(open_ones[1]))
    while running := [g for g in open_ones if g.state == "running"]:
        engine.step(running)
    for generation, pixels in zip(open_ones, alone, strict=True):
        np.testing.assert_array_equal(engine.finish(generation), pixels)
        engine.close(generation)


def test_a_prompt_is_cut_where_the_pipeline_cuts_it_and_that_is_told(engine: Engine, folder: Path) -> None:
    reader = load_reader(folder)
    assert reader is not None
    assert reader.read(PROMPT).warnings == ()
    (note,) = reader.read(LONG).warnings
    assert note.startswith("the prompt has more than the 512 tokens that Qwen3 reads: left out is '")
    assert engine.model.text is not None
    assert engine.model.text.encode(LONG).warnings == (note,)


def test_single_files_draw_the_same_bits_as_the_folder(engine: Engine, folder: Path, files: dict[str, Path]) -> None:
    rest: dict[str, Any] = {
        "text_encoder": [files["text"], folder / "tokenizer"], "vae": files["vae"], "dtype": "float32",
        "require_text": True,
    }  # fmt: skip
    base = Engine.load(files["prefixed"], **rest)
    np.testing.assert_array_equal(drawn(base, PROMPT), drawn(engine, PROMPT))
    turbo = Engine.load(files["transformer"], **rest)
    spec = turbo.make_spec("a cat")
    assert (spec.steps, spec.guidance_scale, turbo.model.sigmas.shift) == (8, 1.0, 3.0)
    # with diffusers' names, as some files have them: which of the two it is the folder says that it lies in
    own = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    same = Engine.load(own, text_encoder=[folder], vae=folder, dtype="float32")
    np.testing.assert_array_equal(drawn(same, PROMPT), drawn(engine, PROMPT))


@pytest.mark.parametrize(
    ("name", "shift", "turbo"),
    [
        ("Z-Image-Turbo", 6.0, True),
        ("Z-Image", 3.0, False),
        ("z_image_base", 3.0, False),
        ("mine", 3.0, True),
        ("mine", 6.0, False),
        ("models--Tongyi-MAI--Z-Image-Turbo/snapshots/04cc", 6.0, True),
        ("models--Tongyi-MAI--Z-Image/snapshots/04cc", 3.0, False),
    ],
)
def test_which_of_the_two_it_is(name: str, shift: float, turbo: bool, folder: Path, tmp_path: Path) -> None:
    to = tmp_path / name
    (to / "scheduler").mkdir(parents=True)
    shutil.copy(folder / "model_index.json", to)
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text()) | {"shift": shift}
    (to / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    assert z_image.is_turbo(Checkpoint(to)) is turbo
    defaults = z_image.settings(Checkpoint(to))["defaults"]
    assert defaults == ({"steps": 8} if turbo else {"steps": 50, "guidance_scale": 6.0})


@pytest.mark.parametrize(
    ("file", "values", "kind", "said"),
    [
        ("transformer/config.json", {"axes_dims": [64, 64]}, WrongConfig, "three even numbers that sum to 256 / 2"),
        ("transformer/config.json", {"in_channels": 16}, WrongConfig, "'in_channels', expected 4, the autoencoder's"),
        ("transformer/config.json", {"all_patch_size": [1]}, WrongConfig, "all_patch_size"),
        ("transformer/config.json", {"n_kv_heads": 1}, WrongConfig, "2, as n_heads"),
        ("transformer/config.json", {"n_layers": 3}, MissingKey, "layers.2.adaLN_modulation.0.weight"),
        ("transformer/config.json", {"n_layers": 1}, UnexpectedKey, "layers.1"),
        ("transformer/config.json", {"siglip_feat_dim": 8}, UnknownArchitecture, "siglip_feat_dim"),
        ("transformer/config.json", {"surprise": 1}, UnknownArchitecture, "surprise"),
        ("model_index.json", {"text_encoder": ["transformers", "T5EncoderModel"]}, WrongConfig, "without a text"),
        ("model_index.json", {"_class_name": "ZImageOmniPipeline"}, UnknownArchitecture, "it is Z-Image-Omni, which"),
    ],
)
def test_what_does_not_fit_is_named(
    file: str, values: dict[str, Any], kind: type[CheckpointError], said: str, folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    (copy / file).write_text(json.dumps(json.loads((copy / file).read_text()) | values))
    with pytest.raises(kind, match=said):
        Engine.load(copy, require_text=True)


def test_original_files_that_do_not_fit_are_refused(folder: Path, files: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    arrays = load_file(files["transformer"])

    def refused(changed: dict[str, Any], kind: type[CheckpointError], said: str) -> None:
        save_file(changed, tmp_path / "edited.safetensors")
        with pytest.raises(kind, match=said):
            Engine.load(tmp_path / "edited.safetensors", text_encoder=[folder], vae=folder)

    without = {key: array for key, array in arrays.items() if key != "layers.1.feed_forward.w2.weight"}
    refused(without, MissingKey, "layers.1.feed_forward.w2.weight")
    refused(arrays | {"layers.0.odd.weight": np.zeros(3, np.float32)}, UnexpectedKey, "layers.0.odd.weight")
    for key in ("cap_embedder.1.weight", "final_layer.linear.weight", "layers.0.attention.q_norm.weight"):
        for bad in (np.zeros((0, 3), np.float32), np.zeros((2, 2, 2), np.float32), np.zeros(5, np.float32)):
            refused(arrays | {key: bad}, CheckpointError, "expected")


def test_a_survey_names_the_parts(folder: Path, files: dict[str, Path]) -> None:
    found = survey(ModelPath(folder), "float32")
    assert (found.family, found.what, found.problem) == ("z_image", "ZImagePipeline (Z-Image)", "")
    assert {part.name for part in found.parts if part.read} == {
        "transformer", "vae", "text_encoder", "tokenizer", "scheduler",
    }  # fmt: skip
    assert survey(ModelPath(files["transformer"])).what == "a single file: Z-Image"


def test_one_onnx_graph_serves_mixed_batches(folder: Path) -> None:
    want_one_graph(folder)
