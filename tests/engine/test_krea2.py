"""Krea 2 as people have it: folders that diffusers saves and single files, against diffusers' own pipeline."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import noise
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, MissingKey, UnexpectedKey, UnknownArchitecture, WrongConfig
from salon.engine.files.opening import ModelPath
from salon.engine.reading import load_reader
from salon.engine.survey import survey
from salon.engine.text.plain_reader import PlainReader

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families.tiny_krea2 import originals, pipeline
from salon.bench.families.tiny_qwen import LONG

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
    path = tmp_path_factory.mktemp("krea")
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
        **{"num_inference_steps": 3, "max_sequence_length": 32, **fields},
    ).images[0]  # fmt: skip


def decibels(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> float:
    error = np.mean((got.astype(np.float64) / 255 - want) ** 2)
    return float(-10 * np.log10(max(error, 1e-12)))


def test_a_folder_of_diffusers_draws_what_diffusers_draws(engine: Engine, built: Any) -> None:
    spec = engine.make_spec("a cat")
    assert (spec.steps, spec.guidance_scale, spec.width, spec.height) == (28, 5.5, 1024, 1024)
    guided = of_diffusers(built)
    assert decibels(drawn(engine)[0], guided) >= 50  # of 8 bits' own rounding 58.9
    other = of_diffusers(built, "a cat", negative_prompt="a dog", guidance_scale=1.0, num_inference_steps=2, width=48)
    mine = drawn(engine, "a cat", negative_prompt="a dog", guidance_scale=2.0, steps=2, width=48)
    assert decibels(mine[0], other) >= 50
    # and the numbers do tell prompts and guidance apart
    assert decibels(drawn(engine, "a cat")[0], guided) < 40
    assert decibels(drawn(engine, guidance_scale=1.0)[0], guided) < 40


def test_the_distilled_model_takes_8_steps_of_its_own_shift_without_guidance(
    engine: Engine, built: Any, folder: Path, tmp_path: Path
) -> None:
    for part in folder.iterdir():
        if part.is_dir():
            (tmp_path / part.name).symlink_to(part)
    index = json.loads((folder / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"is_distilled": True}))
    distilled = Engine.load(tmp_path, dtype="float32", threads=1)
    spec = distilled.make_spec("a cat")
    assert (spec.steps, spec.guidance_scale, spec.shift) == (8, 1.0, math.exp(1.15))
    built.register_to_config(is_distilled=True)
    try:
        want = of_diffusers(built, guidance_scale=0.0, num_inference_steps=4)
    finally:
        built.register_to_config(is_distilled=False)
    assert decibels(drawn(distilled, steps=4)[0], want) >= 50
    assert decibels(drawn(engine, steps=4, guidance_scale=1.0)[0], want) < 45


def test_a_prompt_is_read_and_cut_as_the_pipeline_does_and_that_is_told(
    engine: Engine, built: Any, folder: Path
) -> None:
    assert engine.model.text is not None
    for prompt in (PROMPT, "", "naïve café ☕️ 猫 <|im_end|>", LONG):
        with torch.no_grad():
            states, mask = built.encode_prompt(prompt, max_sequence_length=512 if prompt == LONG else 40)
        want = states[0][mask[0]].reshape(-1, 12 * 32).numpy()
        mine = (engine.model.text.encode(prompt) if prompt else engine.model.text.unconditional).tokens
        assert mine.shape == want.shape
        assert np.abs(mine - want).max() <= 1e-5 * float(np.abs(want).max())
    assert len(mine) == 512
    reader = load_reader(ModelPath.of(folder))
    assert isinstance(reader, PlainReader)
    (note,) = reader.read(LONG).warnings
    assert note.startswith("the prompt has more than the 512 tokens that Qwen3-VL reads: left out is ")
    assert reader.read(PROMPT).warnings == ()


def test_pictures_are_the_same_alone_in_a_ragged_batch_and_parked(engine: Engine) -> None:
    wanted = (("a cat", 1, 32, 2, 5.5), (LONG, 2, 48, 3, 1.0), ("a dog", 3, 16, 2, 1.5))
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


def test_single_files_draw_the_same_bits_as_the_folder(engine: Engine, folder: Path, tmp_path: Path) -> None:
    files, words = originals(folder, tmp_path / "files"), folder / "tokenizer"
    single = Engine.load(
        files["transformer"], text_encoder=[files["text"], words], vae=files["vae"], dtype="float32", threads=1
    )
    np.testing.assert_array_equal(drawn(single), drawn(engine))
    assert (single.make_spec("a cat").steps, single.make_spec("a cat").guidance_scale) == (28, 5.5)
    everything = Engine.load(files["everything"], text_encoder=[words], dtype="float32", threads=1)
    np.testing.assert_array_equal(drawn(everything), drawn(engine))
    assert survey(ModelPath(files["everything"], (words,))).what == "a single file: Krea 2"


def test_what_does_not_fit_is_named(engine: Engine, folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    files = originals(folder, tmp_path / "files")
    arrays = load_file(files["transformer"])
    path = tmp_path / "edited.safetensors"
    bad: list[tuple[dict[str, Any], type[CheckpointError], str]] = [
        ({k: a for k, a in arrays.items() if k != "blocks.1.mod.lin"}, MissingKey, "blocks.1.scale_shift_table"),
        (arrays | {"odd.weight": np.zeros(1, np.float32)}, UnexpectedKey, "odd.weight"),
        (arrays | {"blocks.0.attn.qknorm.qnorm.scale": np.zeros(64, np.float32)}, UnknownArchitecture, "head"),
        (arrays | {"txtmlp.1.weight": np.zeros((0, 3), np.float32)}, CheckpointError, "txtmlp.1.weight"),
    ]
    for changed, kind, said in bad:
        save_file(changed, path)
        with pytest.raises(kind, match=said):
            Engine.load(path, text_encoder=[folder], vae=folder)
    save_file({k: a for k, a in load_file(files["text"]).items() if "layers.35." not in k}, path)
    assert Engine.load(files["transformer"], text_encoder=[path, folder / "tokenizer"], vae=files["vae"]).model.text
    save_file({k: a for k, a in load_file(files["text"]).items() if not re.search(r"layers\.3\d\.", k)}, path)
    with pytest.raises(WrongConfig, match="'num_hidden_layers', expected at least 35: .*, found 30"):
        Engine.load(files["transformer"], text_encoder=[path, folder / "tokenizer"], vae=files["vae"])
    with pytest.raises(UnknownArchitecture, match="adapter"):
        engine.model.denoiser.adapter_file(engine.ops, path)
    found = survey(ModelPath(folder), "float32")
    assert (found.family, found.problem) == ("krea2", "")


def test_one_onnx_graph_serves_mixed_batches(folder: Path) -> None:
    want_one_graph(folder)
