"""Qwen-Image as people have it: folders that diffusers saves and single files, against diffusers' own pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import noise
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, MissingKey, UnexpectedKey, UnknownArchitecture
from salon.engine.files.opening import ModelPath
from salon.engine.reading import load_reader
from salon.engine.survey import survey
from salon.engine.text.plain_reader import PlainReader

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families.tiny_qwen import LONG, originals, pipeline

from . import lora_files
from .graphs import want_one_graph

SIDE = 32  # of a picture, which is 8 x 8 tokens
PROMPT = "a big red apple on the house"


@pytest.fixture(scope="module")
def built() -> Any:
    made = pipeline()
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def folder(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("qwen")
    built.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine.load(folder, dtype="float32", require_text=True, threads=1)


def drawn(engine: Engine, prompt: str = PROMPT, **fields: Any) -> np.ndarray[Any, Any]:
    spec = engine.make_spec(prompt, **{"seed": 7, "width": SIDE, "height": SIDE, "steps": 3, **fields})
    generation = engine.open(spec)
    while generation.state == "running":
        engine.step([generation])
    pixels = engine.finish(generation)
    engine.close(generation)
    return pixels


def of_diffusers(built: Any, prompt: str = PROMPT, *, width: int = SIDE, **fields: Any) -> Any:
    """The picture of diffusers' own pipeline from the same noise."""
    start = noise.normal(7, 0, 0, (width // 4) * (SIDE // 4), 64)
    return built(
        prompt, height=SIDE, width=width, latents=torch.from_numpy(start)[None], output_type="np",
        **{"num_inference_steps": 3, **fields},
    ).images[0]  # fmt: skip


def decibels(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> float:
    error = np.mean((got.astype(np.float64) / 255 - want) ** 2)
    return float(-10 * np.log10(max(error, 1e-12)))


def test_a_folder_of_diffusers_draws_what_diffusers_draws(engine: Engine, built: Any) -> None:
    spec = engine.make_spec("a cat")
    assert (spec.steps, spec.guidance_scale, spec.width, spec.height) == (50, 4.0, 1024, 1024)
    guided = of_diffusers(built, negative_prompt=" ")
    assert decibels(drawn(engine)[0], guided) >= 50  # of 8 bits' own rounding 58.9
    assert decibels(drawn(engine, guidance_scale=1.0)[0], of_diffusers(built)) >= 50
    other = of_diffusers(built, "a cat", negative_prompt="a dog", true_cfg_scale=2.0, num_inference_steps=2, width=48)
    mine = drawn(engine, "a cat", negative_prompt="a dog", guidance_scale=2.0, steps=2, width=48)
    assert decibels(mine[0], other) >= 50
    # and the numbers do tell prompts and guidance apart
    assert decibels(drawn(engine, "a cat")[0], guided) < 40
    assert decibels(drawn(engine, guidance_scale=1.0)[0], guided) < 40


def test_a_prompt_is_read_and_cut_as_the_pipeline_does_and_that_is_told(
    engine: Engine, built: Any, folder: Path
) -> None:
    assert engine.model.text is not None
    for prompt in (PROMPT, "ALL CAPS  and   spaces\n", "naïve café ☕️ 猫 <|im_end|>", LONG):
        with torch.no_grad():
            want, mask = built.encode_prompt(prompt, max_sequence_length=512)
        assert mask is None
        states = engine.model.text.encode(prompt).tokens
        assert states.shape == want[0].shape
        assert np.abs(states - want[0].numpy()).max() <= 1e-5 * float(want.abs().max())
    assert decibels(drawn(engine, LONG)[0], of_diffusers(built, LONG, negative_prompt=" ")) >= 50
    reader = load_reader(ModelPath.of(folder))
    assert isinstance(reader, PlainReader)
    (note,) = reader.read(LONG).warnings
    assert note.startswith("the prompt has more than the 512 tokens that Qwen2.5-VL reads: left out is ")
    assert reader.read(PROMPT).warnings == ()
    # where only the template's end does not fit, nothing of the prompt is left out
    (use,) = reader.uses
    fits = LONG[: LONG.index("zq")] + "zq" * 246  # 7 + 492 tokens, with the template's end more than 512
    counted = [len(use.tokenizer.encode(text, 5000).ids) - 34 for text in (fits, LONG)]
    assert counted[0] - 5 <= 512 < counted[1]
    for length in range(counted[0] - 5, counted[0]):
        assert use.tokenizer.encode(fits, length).cut == ""
    assert use.tokenizer.encode(fits, counted[0] - 6).cut == "q"


def test_pictures_are_the_same_alone_in_a_ragged_batch_and_parked(engine: Engine) -> None:
    wanted = (("a cat", 1, 32, 2, 4.0), (LONG, 2, 48, 3, 1.0), ("a dog", 3, 16, 2, 1.5), ("a house", 4, 32, 2, 1.0))
    specs = [
        engine.make_spec(prompt, seed=seed, width=width, height=SIDE, steps=steps, guidance_scale=guidance)
        for prompt, seed, width, steps, guidance in wanted
    ]
    alone = [
        drawn(engine, s.prompt, seed=s.seed, width=s.width, steps=s.steps, guidance_scale=s.guidance_scale)
        for s in specs
    ]
    open_ones = [engine.open(spec) for spec in specs]
    engine.step(open_ones)
    open_ones[1] = engine.resume(engine.park(open_ones[1]))
    while running := [g for g in open_ones if g.state == "running"]:
        engine.step(running)
    for generation, pixels in zip(open_ones, alone, strict=True):
        np.testing.assert_array_equal(engine.finish(generation), pixels)
        engine.close(generation)


def test_a_lora_draws_what_diffusers_draws_with_it_and_only_for_its_own_picture(
    engine: Engine, built: Any, tmp_path: Path
) -> None:
    """diffusers reads the file. What it read is added to the weights here, which is what peft computes."""
    from diffusers import QwenImagePipeline

    weights = built.transformer.state_dict()
    layers = {name.removesuffix(".weight"): tuple(w.shape) for name, w in weights.items() if w.ndim == 2}
    made = lora_files.changes(layers, rank=2, scale=0.1)
    digest, path = lora_files.write(tmp_path / "lora.safetensors", lora_files.peft(made))
    engine.add_lora(digest, path)
    got, plain = drawn(engine, loras=[(digest, 0.8)]), drawn(engine)
    kept = {name: w.clone() for name, w in weights.items()}
    read = QwenImagePipeline.lora_state_dict(path)
    for key, down in read.items():
        if key.endswith(".lora_A.weight"):
            up = read[key.replace("lora_A", "lora_B")]
            weights[key.removeprefix("transformer.").replace("lora_A.", "")] += 0.8 * (up @ down)
    want = of_diffusers(built, negative_prompt=" ")
    built.transformer.load_state_dict(kept)
    assert len(read) == 2 * len(layers)
    assert decibels(got[0], want) >= 50
    assert decibels(got[0], plain[0] / 255) < 40
    size: dict[str, Any] = {"seed": 7, "width": SIDE, "height": SIDE, "steps": 3}
    specs = [engine.make_spec(PROMPT, loras=loras, **size) for loras in ([(digest, 0.8)], [])]
    together = [engine.open(spec) for spec in specs]
    for _ in range(3):
        engine.step(together)
    for generation, alone in zip(together, (got, plain), strict=True):
        np.testing.assert_array_equal(engine.finish(generation), alone)
        engine.close(generation)


def test_a_picture_can_start_from_another(engine: Engine, built: Any) -> None:
    """The autoencoder's own way back: what the codec encodes is what diffusers' pipelines make of a picture."""
    pixels = np.random.default_rng(1).uniform(-1, 1, (24 * 16, 3)).astype(np.float32)
    codec, ops = engine.model.denoiser.codec, engine.ops
    tokens = ops.numpy(codec.encode(ops, ops.array(pixels), np.array([[6, 4]], np.int32)))
    picture = torch.from_numpy(pixels.reshape(24, 16, 3)).permute(2, 0, 1)[None, :, None]
    with torch.no_grad():
        mean = built.vae.encode(picture).latent_dist.mode()[0, :, 0].numpy()
    config = built.vae.config
    want = (mean.transpose(1, 2, 0) - np.array(config.latents_mean)) / np.array(config.latents_std)
    np.testing.assert_allclose(codec.latents(tokens, (6, 4)), want, atol=1e-4 * float(np.abs(want).max()))


def test_single_files_draw_the_same_bits_as_the_folder(engine: Engine, folder: Path, tmp_path: Path) -> None:
    files, words = originals(folder, tmp_path / "files"), folder / "tokenizer"
    single = Engine.load(
        files["transformer"], text_encoder=[files["text"], words], vae=files["vae"], dtype="float32", threads=1
    )
    np.testing.assert_array_equal(drawn(single), drawn(engine))
    assert single.make_spec("a cat").steps == 50
    everything = Engine.load(files["everything"], text_encoder=[words], dtype="float32", threads=1)
    np.testing.assert_array_equal(drawn(everything), drawn(engine))
    assert survey(ModelPath(files["everything"], (words,))).what == "a single file: Qwen-Image"
    assert "an autoencoder of Wan or Qwen-Image (name it with --vae)" in survey(ModelPath(files["vae"])).what
    with pytest.raises(UnknownArchitecture, match="a part of another model|no autoencoder"):
        Engine.load(files["transformer"], text_encoder=[folder], vae=files["text"])


def test_what_does_not_fit_is_named(engine: Engine, folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    arrays = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    path = tmp_path / "edited.safetensors"
    bad: list[tuple[dict[str, Any], type[CheckpointError], str]] = [
        ({k: a for k, a in arrays.items() if "1.attn.to_q.bias" not in k}, MissingKey, "blocks.1.attn.to_q.bias"),
        (arrays | {"another.weight": np.zeros(1, np.float32)}, UnexpectedKey, "another.weight"),
        (arrays | {"transformer_blocks.0.attn.norm_q.weight": np.zeros(64, np.float32)}, UnknownArchitecture, "head"),
        (arrays | {"img_in.weight": np.zeros((0, 3), np.float32)}, CheckpointError, "img_in.weight"),
    ]
    for changed, kind, said in bad:
        save_file(changed, path)
        with pytest.raises(kind, match=said):
            Engine.load(path, text_encoder=[folder], vae=folder)
    with pytest.raises(UnknownArchitecture, match="adapter"):
        engine.model.denoiser.adapter_file(engine.ops, path)
    found = survey(ModelPath(folder), "float32")
    assert (found.family, found.problem) == ("qwen_image", "")
    assert {part.name for part in found.parts if part.read} == {
        *("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
    }


def test_one_onnx_graph_serves_mixed_batches(folder: Path) -> None:
    want_one_graph(folder)
