"""FLUX.1 as people have it: folders that diffusers saves and single files, against diffusers' own pipeline.

Long because it is one subject: every test opens one of the tiny checkpoints that the makers at the top write.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import noise
from salon.engine.engine import Engine
from salon.engine.errors import (
    CheckpointError,
    MissingFile,
    MissingKey,
    ModelNotFound,
    NotEnoughMemory,
    PromptError,
    SpecError,
    TruncatedFile,
    UnexpectedKey,
    UnknownArchitecture,
    UnsafeFile,
    WrongConfig,
)
from salon.engine.export import open_export
from salon.engine.files.opening import ModelPath, open_checkpoint, salon_of
from salon.engine.lora_rules import load_lora_rules
from salon.engine.lora_uses import LoraUse
from salon.engine.memory import weight_bytes
from salon.engine.reading import load_reader
from salon.engine.signatures import describe_file
from salon.engine.start import Start
from salon.engine.survey import survey
from salon.engine.text.pipeline import TakesTextLoras
from salon.frontends import selftest
from salon.frontends.cli import main
from salon.studio.studio import Studio

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families import references, tiny_flux
from salon.bench.families.flux import filled, hole, hole_spec, with_references
from salon.bench.families.tiny_flux import LONG, originals, pipeline

from . import lora_files
from .graphs import want_one_graph

SIDE = 32  # of a picture, which is 8 x 8 tokens
PROMPT = "a big red apple on the house"


@pytest.fixture(scope="module")
def dev() -> Any:
    return pipeline(dev=True)


@pytest.fixture(scope="module")
def folder(dev: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dev")
    dev.save_pretrained(path, safe_serialization=True)
    return path


@pytest.fixture(scope="module")
def files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return originals(folder, tmp_path_factory.mktemp("originals") / "files")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine.load(folder, dtype="float32", require_text=True)


def drawn(engine: Engine, prompt: str = PROMPT, **fields: Any) -> np.ndarray[Any, Any]:
    spec = engine.make_spec(prompt, **{"seed": 7, "width": SIDE, "height": SIDE, "steps": 3, **fields})
    generation = engine.open(spec)
    while generation.state == "running":
        engine.step([generation])
    pixels = engine.finish(generation)
    engine.close(generation)
    return pixels


def of_diffusers(built: Any, prompt: str = PROMPT, *, tokens: int = 512, width: int = SIDE, **fields: Any) -> Any:
    """The picture of diffusers' own pipeline from the same noise."""
    start = noise.normal(7, 0, 0, (width // 4) * (SIDE // 4), 16)
    built.set_progress_bar_config(disable=True)
    return built(
        prompt, height=SIDE, width=width, latents=torch.from_numpy(start)[None], output_type="np",
        max_sequence_length=tokens, **{"num_inference_steps": 3, **fields},
    ).images[0]  # fmt: skip


def decibels(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> float:
    error = np.mean((got.astype(np.float64) / 255 - want) ** 2)
    return float(-10 * np.log10(max(error, 1e-12)))


def test_a_folder_of_diffusers_draws_what_diffusers_draws(engine: Engine, dev: Any) -> None:
    assert engine.make_spec("a cat").steps == 28
    assert engine.model.architecture.embedded_guidance == 3.5
    assert decibels(drawn(engine)[0], of_diffusers(dev)) >= 50  # of 8 bits' own rounding 58.9
    other = of_diffusers(dev, "a cat", guidance_scale=1.5, num_inference_steps=2, width=48)
    assert decibels(drawn(engine, "a cat", embedded_guidance=1.5, steps=2, width=48)[0], other) >= 50
    # and the numbers do tell prompts, guidance and negative prompts apart
    assert decibels(drawn(engine, "a cat")[0], of_diffusers(dev)) < 45
    guided = of_diffusers(dev, true_cfg_scale=2.0, negative_prompt="a dog")
    assert decibels(drawn(engine, guidance_scale=2.0, negative_prompt="a dog")[0], guided) >= 50


def as_kontext(folder: Path, to: Path) -> Path:
    """Write [dev]'s folder as that of Kontext, which differs in its weights alone."""
    shutil.copytree(folder, to)
    index = json.loads((folder / "model_index.json").read_text()) | {"_class_name": "FluxKontextPipeline"}
    (to / "model_index.json").write_text(json.dumps(index))
    return to


def test_kontext_looks_at_a_picture_as_in_diffusers(engine: Engine, dev: Any, folder: Path, tmp_path: Path) -> None:
    from diffusers import FluxKontextPipeline

    theirs, given = FluxKontextPipeline(**dev.components), references.pictures(1)
    kontext = Engine.load(as_kontext(folder, tmp_path / "kontext"), dtype="float32")
    made = references.rows("kontext", kontext, theirs, several=False, theirs=partial(with_references, theirs))
    velocity, picture = made
    assert velocity.error is not None
    assert velocity.error < 1e-4
    assert picture.decibels is not None
    assert picture.decibels >= 50
    plain = references.drawn(kontext, references.looking(kontext, ()))[0]  # and the number does tell without
    assert references.decibels(plain, with_references(theirs, given)) < 45
    assert engine.model.architecture.references is None  # [dev] itself looks at none
    with pytest.raises(SpecError, match="--oref: got it with another model, allowed models that"):
        engine.open(references.looking(engine, given))


@pytest.fixture(scope="module")
def fill(dev: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    built, path = tiny_flux.fill(dev), tmp_path_factory.mktemp("fill")
    built.save_pretrained(path / "folder")
    return built, path


def test_fill_draws_into_a_picture_as_diffusers_does(fill: tuple[Any, Path]) -> None:
    built, path = fill
    engine = Engine.load(path / "folder", dtype="float32", require_text=True)
    assert engine.make_spec("a cat").embedded_guidance == 30.0
    assert engine.make_spec("a cat").steps == 50
    ours, theirs = filled(engine, built)
    assert references.decibels(ours, theirs) >= 50
    whole = references.drawn(engine, hole_spec(engine))[0]
    pixels, mask = hole()
    np.testing.assert_array_equal(whole[mask == 0], pixels[mask == 0])  # what stands around it stays to the bit
    beside = references.drawn(engine, hole_spec(engine, start=Start("a" * 64, 1.0, place=(8, 0, 32, 32))))[0]
    np.testing.assert_array_equal(
        beside[:, 8:], pixels[:, 8:]
    )  # the picture as it lies there, and new pixels beside it
    assert not np.array_equal(beside[:, :8], pixels[:, :8])
    specs = [hole_spec(engine), hole_spec(engine, images=2, seed=3, steps=2, guidance_scale=2.0)]
    alone = [references.drawn(engine, spec) for spec in specs]
    opened = [engine.open(spec) for spec in specs]
    engine.step(opened)
    opened = [engine.resume(engine.park(generation)) for generation in opened]
    while running := [generation for generation in opened if generation.state == "running"]:
        engine.step(running)
    for generation, want in zip(opened, alone, strict=True):
        np.testing.assert_array_equal(engine.finish(generation), want)
        engine.close(generation)
    assert selftest.picture(engine)["steps"] == 2
    for fields in ({"start": None}, {"start": Start("a" * 64, 0.5)}):
        with pytest.raises(SpecError, match="image: got no picture with a mask, allowed one: the model fills"):
            engine.open(hole_spec(engine, **fields))


def test_a_lora_changes_what_fill_reads_beside_its_tokens(fill: tuple[Any, Path], tmp_path: Path) -> None:
    """One of Fill changes all columns of that layer, one of [dev] the first."""
    built, path = fill
    engine = Engine.load(path / "folder", dtype="float32", require_text=True)
    weight = built.transformer.state_dict()["x_embedder.weight"]
    plain = filled(engine, built)[0]
    for columns, name in ((48, "transformer.x_embedder"), (16, "diffusion_model.img_in")):
        ((_, (down, up)),) = lora_files.changes({"x": (len(weight), columns)}, seed=columns, scale=0.5).items()
        arrays = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
        digest, file = lora_files.write(tmp_path / f"{columns}.safetensors", arrays)
        engine.add_lora(digest, file)
        kept = weight.clone()
        weight[:, :columns] += torch.from_numpy(up @ down)
        ours, theirs = filled(engine, built, loras=(LoraUse(digest),))
        weight.copy_(kept)
        assert references.decibels(ours, theirs) >= 50
        assert not np.array_equal(ours, plain)
    wrong = {key: array[:, :32] if "lora_A" in key else array for key, array in arrays.items()}
    wrong["diffusion_model.img_in.lora_A.weight"] = np.ones((len(down), 32), np.float32)
    with pytest.raises(CheckpointError, match=r"expected \[128, 48\].*found \[128, 32\]"):
        engine.add_lora(*lora_files.write(tmp_path / "wrong.safetensors", wrong))


def test_a_single_file_of_fill_draws_the_same_and_other_widths_are_refused(
    fill: tuple[Any, Path], folder: Path, tmp_path: Path
) -> None:
    path = fill[1]
    files = originals(path / "folder", tmp_path / "files")
    parts: dict[str, Any] = {"text_encoder": [folder], "vae": files["vae"]}
    one, whole = (
        Engine.load(where, dtype="float32", **more)
        for where, more in ((files["transformer"], parts), (path / "folder", {}))
    )
    assert one.make_spec("a cat", seed=1).embedded_guidance == 30.0
    assert one.model.architecture.fills
    made = [references.drawn(engine, hole_spec(engine)) for engine in (one, whole)]
    np.testing.assert_array_equal(made[0], made[1])
    shutil.copytree(path / "folder", tmp_path / "control")
    config = tmp_path / "control" / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"in_channels": 32}))  # as control models have it
    with pytest.raises(UnknownArchitecture, match=r"'out_channels', expected 32, found 16"):
        Engine.load(tmp_path / "control")


def test_a_single_file_is_kontext_by_its_name(files: dict[str, Path], tmp_path: Path) -> None:
    named = tmp_path / "flux1-Kontext-dev.safetensors"
    named.symlink_to(files["transformer"])
    assert "references" in salon_of(open_checkpoint(ModelPath.of(named))).values
    assert "references" not in salon_of(open_checkpoint(ModelPath.of(files["transformer"]))).values


ORIGINALS = {  # of the tiny pipeline: names of the makers' layers -> (N, K); diffusers wants real widths of others
    "double_blocks.0.img_attn.qkv": (384, 128), "double_blocks.0.txt_mlp.2": (128, 512),
    "double_blocks.0.img_mod.lin": (768, 128), "double_blocks.0.txt_attn.proj": (128, 128),
    "single_blocks.0.linear2": (128, 640),
}  # fmt: skip


@pytest.mark.parametrize("layout", ["kohya", "peft"])
def test_a_lora_draws_what_diffusers_draws_with_it(
    engine: Engine, dev: Any, folder: Path, tmp_path: Path, layout: str
) -> None:
    """diffusers reads the file. With peft it loads it, too; without, what it read is added to the weights here."""
    from diffusers import FluxPipeline
    from diffusers.utils import is_peft_available

    if layout == "kohya":
        arrays: Any = lora_files.kohya(lora_files.changes(ORIGINALS, rank=4), alpha=2)
    else:
        layers = {name.removesuffix(".weight"): tuple(w.shape) for name, w in dev.transformer.state_dict().items()
                  if w.ndim == 2 and ("attn" in name or "ff" in name or "proj" in name)}  # fmt: skip
        arrays = lora_files.peft(lora_files.changes(layers, rank=2, scale=0.05))
    digest, path = lora_files.write(tmp_path / "lora.safetensors", arrays)
    engine.add_lora(digest, path)
    got, plain = drawn(engine, loras=[(digest, 0.8)])[0], drawn(engine)[0]
    if is_peft_available():
        dev.load_lora_weights(path)
        dev.set_adapters(dev.get_active_adapters(), 0.8)
        want = of_diffusers(dev)
        dev.unload_lora_weights()
    else:
        weights = dev.transformer.state_dict()
        kept = {name: w.clone() for name, w in weights.items()}
        read = FluxPipeline.lora_state_dict(path)
        for key, down in read.items():
            if key.endswith(".lora_A.weight"):
                up = read[key.replace("lora_A", "lora_B")]
                weights[key.removeprefix("transformer.").replace("lora_A.", "")] += 0.8 * (up @ down)
        want = of_diffusers(dev)
        dev.transformer.load_state_dict(kept)
    assert decibels(got, want) >= 50
    assert decibels(got, plain / 255) < 40


@pytest.mark.parametrize("layout", ["kohya", "peft"])
def test_a_lora_changes_how_clip_and_t5_read(engine: Engine, dev: Any, tmp_path: Path, layout: str) -> None:
    """States of merged weights. The embedded words and norms of the encoders are no layers of LoRAs."""
    models, arrays, deltas = (
        {"text_encoder": dev.text_encoder, "text_encoder_2": dev.text_encoder_2},
        dict[str, Any](),
        {},
    )
    for number, (part, model) in enumerate(models.items()):
        shapes = {key.removesuffix(".weight"): tuple(w.shape) for key, w in model.state_dict().items() if w.ndim == 2}
        names = [name for name in shapes if not any(other in name for other in ("embed", "shared", "relative"))]
        made = lora_files.changes({name: shapes[name] for name in names}, rank=2, seed=number)
        for name, (down, up) in made.items():
            inside = name if part == "text_encoder_2" or name.startswith("text_model.") else f"text_model.{name}"
            at = f"{part}.{inside}"
            if layout == "kohya":
                at = f"{'lora_te1' if part == 'text_encoder' else 'lora_te3'}_{inside.replace('.', '_')}"
            keys = ("lora_down", "lora_up") if layout == "kohya" else ("lora_A", "lora_B")
            arrays |= {f"{at}.{key}.weight": array for key, array in zip(keys, (down, up), strict=True)}
            deltas[part, name] = up @ down
    digest, path = lora_files.write(tmp_path / "text.safetensors", arrays)
    _, placed = load_lora_rules(engine.model.checkpoint.path).open(path)
    assert len(placed) == len(deltas), "by a studio's rules, which have no weights"
    engine.add_lora(digest, path)
    use = (LoraUse(digest, 0.8),)
    loras, text = engine.loras.reading(use), engine.model.text
    assert loras is not None
    assert isinstance(text, TakesTextLoras)
    got, plain = text.encode_with(loras, PROMPT), engine.model.text.encode(PROMPT)
    kept = {part: {key: w.clone() for key, w in model.state_dict().items()} for part, model in models.items()}
    for (part, name), delta in deltas.items():
        models[part].state_dict()[f"{name}.weight"] += torch.from_numpy(np.float32(0.8) * delta)
    with torch.no_grad():
        states, pooled, _ = dev.encode_prompt(PROMPT, PROMPT)
    for part, model in models.items():
        model.load_state_dict(kept[part])
    for ours, theirs, other in ((got.tokens, states, plain.tokens), (got.pooled, pooled, plain.pooled)):
        want = theirs[0].numpy()
        assert np.abs(ours - want).max() <= 1e-4 * np.abs(want).max()
        assert np.abs(ours - other).max() > 0.01 * np.abs(want).max()
    generation = engine.open(engine.make_spec(PROMPT, width=SIDE, height=SIDE, steps=1, loras=use))
    assert generation.warnings == ()
    np.testing.assert_array_equal(generation.text.tokens, got.tokens)
    engine.close(generation)


def test_schnell_takes_four_steps_and_256_tokens(tmp_path: Path) -> None:
    built = pipeline(dev=False)
    built.save_pretrained(tmp_path, variant="fp16", max_shard_size="100KB")
    assert len(list((tmp_path / "transformer").glob("*.fp16*.safetensors"))) > 1
    engine = Engine.load(tmp_path, dtype="float32", require_text=True)
    spec = engine.make_spec(PROMPT)
    assert (spec.steps, spec.guidance_scale, engine.model.text and engine.model.text.num_rows) == (4, 1.0, 256)
    assert engine.model.architecture.embedded_guidance is None
    assert decibels(drawn(engine, steps=4)[0], of_diffusers(built, tokens=256, num_inference_steps=4)) >= 50


def test_a_prompt_is_cut_where_the_pipeline_cuts_it_and_that_is_told(engine: Engine, dev: Any) -> None:
    assert decibels(drawn(engine, LONG)[0], of_diffusers(dev, LONG)) >= 50
    generation = engine.open(engine.make_spec(LONG, width=SIDE, height=SIDE))
    engine.close(generation)
    of_clip, of_t5 = generation.warnings
    assert of_clip.startswith("CLIP reads 77 tokens")
    assert of_t5.startswith("the prompt has more than the 512 tokens that T5 reads: left out is ")
    reader = engine.reader
    assert reader is not None
    assert reader.read(LONG).warnings == generation.warnings
    assert reader.read(PROMPT).warnings == ()
    for prompt in ("", " \n"):
        with pytest.raises(PromptError, match="prompt: got .*, allowed some words"):
            reader.read(prompt)
    with pytest.raises(PromptError, match="max_prompt_chars"):
        reader.read("a " * 2000)
    with pytest.raises(PromptError, match="strict: got .*left out is"):
        engine.make_spec(LONG, strict=True)


@pytest.mark.parametrize("prompt", ["", "ALL CAPS  and   spaces\n", "naïve café ☕️ 猫", "a" * 700, LONG])
def test_tokens_are_those_of_the_pipeline(engine: Engine, dev: Any, prompt: str) -> None:
    uses = engine.reader.uses  # type: ignore[union-attr]
    for use, tokenizer in zip(uses, (dev.tokenizer, dev.tokenizer_2), strict=True):
        want = tokenizer(prompt, padding="max_length", max_length=use.length, truncation=True).input_ids
        assert use.ids(prompt).tolist() == want


def test_pictures_are_the_same_alone_in_a_batch_and_parked(engine: Engine) -> None:
    specs = [
        engine.make_spec(prompt, seed=seed, width=width, height=SIDE, steps=steps)
        for prompt, seed, width, steps in (("a cat", 1, 32, 2), (LONG, 2, 48, 3), ("a dog", 3, 16, 2))
    ]
    alone = [drawn(engine, spec.prompt, seed=spec.seed, width=spec.width, steps=spec.steps) for spec in specs]
    open_ones = [engine.open(spec) for spec in specs]
    engine.step(open_ones)
    parked = engine.park(open_ones[1])
    open_ones[1] = engine.resume(parked)
    while running := [g for g in open_ones if g.state == "running"]:
        engine.step(running)
    for generation, pixels in zip(open_ones, alone, strict=True):
        np.testing.assert_array_equal(engine.finish(generation), pixels)
        engine.close(generation)


def test_single_files_draw_the_same_bits_as_the_folder(engine: Engine, folder: Path, files: dict[str, Path]) -> None:
    tokenizers = [folder / "tokenizer", folder / "tokenizer_2"]
    single = Engine.load(
        files["transformer"], text_encoder=[files["t5"], files["clip"], *tokenizers], vae=files["vae"],
        dtype="float32", require_text=True,
    )  # fmt: skip
    np.testing.assert_array_equal(drawn(single), drawn(engine))
    assert single.make_spec("a cat").steps == 28
    assert single.model.digest != engine.model.digest
    everything = Engine.load(files["everything"], text_encoder=tokenizers, dtype="float32")
    np.testing.assert_array_equal(drawn(everything), drawn(engine))
    # the rest may come from a whole folder
    mixed = Engine.load(files["transformer"], text_encoder=[folder], vae=folder, dtype="float32")
    np.testing.assert_array_equal(drawn(mixed), drawn(engine))
    # or be files that transformers 5 saved, whose CLIP leaves out a prefix of its names
    saved = [folder / part / "model.safetensors" for part in ("text_encoder", "text_encoder_2")]
    again = load_reader(ModelPath.of(files["transformer"], [*saved, *tokenizers], files["vae"]))
    assert again is not None
    own = Engine.load(folder, text_encoder=saved, dtype="float32")
    np.testing.assert_array_equal(drawn(own), drawn(engine))


def test_a_part_named_apart_takes_the_place_of_the_models_own(engine: Engine, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "vae"
    shutil.copytree(folder / "vae", other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"shift_factor": 0.5}))
    changed = Engine.load(folder, vae=other, dtype="float32")
    assert (drawn(changed) != drawn(engine)).any()
    assert load_reader(ModelPath.of(folder, [folder / "tokenizer_2"])) is not None


def test_a_cache_of_links_loads(engine: Engine, folder: Path, tmp_path: Path) -> None:
    """As huggingface_hub keeps snapshots: every file is a link to a blob of another name."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        shutil.copy(path, blobs / f"{number:064x}")
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(os.path.relpath(blobs / f"{number:064x}", link.parent), link)
    linked = Engine.load(snapshot, dtype="float32")
    assert linked.model.digest == engine.model.digest


def missing_vae(folder: Path, files: dict[str, Path], _: Path) -> ModelPath:
    return ModelPath(files["transformer"], (folder,))


def missing_tokenizer(folder: Path, files: dict[str, Path], _: Path) -> ModelPath:
    return ModelPath(files["transformer"], (files["t5"], files["clip"]), files["vae"])


def encoder_is_a_vae(folder: Path, files: dict[str, Path], _: Path) -> ModelPath:
    return ModelPath(files["transformer"], (files["vae"],), files["vae"])


def vae_is_an_encoder(folder: Path, files: dict[str, Path], _: Path) -> ModelPath:
    return ModelPath(folder, (), files["clip"])


def pickled(folder: Path, files: dict[str, Path], tmp: Path) -> ModelPath:
    (tmp / "flux.ckpt").write_bytes(b"\x80\x04")
    return ModelPath(tmp / "flux.ckpt")


def gguf(folder: Path, files: dict[str, Path], tmp: Path) -> ModelPath:
    (tmp / "flux.gguf").write_bytes(b"GGUF")
    return ModelPath(tmp / "flux.gguf")


def lacks_an_array(folder: Path, files: dict[str, Path], tmp: Path) -> ModelPath:
    return _edited(files["transformer"], tmp, drop="single_blocks.1.linear2.weight")


def has_another_array(folder: Path, files: dict[str, Path], tmp: Path) -> ModelPath:
    return _edited(files["transformer"], tmp, add="double_blocks.0.odd.weight")


def is_of_sd3(folder: Path, files: dict[str, Path], tmp: Path) -> ModelPath:
    from safetensors.numpy import save_file

    name = "joint_blocks.0.context_block.adaLN_modulation.1.bias"
    save_file({name: np.zeros(2, np.float32)}, tmp / "sd3.safetensors")
    return ModelPath(tmp / "sd3.safetensors")


def half_a_folder(folder: Path, files: dict[str, Path], tmp: Path) -> ModelPath:
    shutil.copytree(folder, tmp / "half")
    shutil.rmtree(tmp / "half" / "text_encoder_2")
    return ModelPath(tmp / "half")


def nothing(folder: Path, files: dict[str, Path], tmp: Path) -> ModelPath:
    return ModelPath(tmp / "nothing")


def no_encoder(folder: Path, files: dict[str, Path], tmp: Path) -> ModelPath:
    return ModelPath(folder, (tmp / "nothing",))


def _edited(path: Path, tmp: Path, drop: str = "", add: str = "") -> ModelPath:
    from safetensors.numpy import load_file, save_file

    arrays = load_file(path)
    if drop:
        del arrays[drop]
    if add:
        arrays[add] = np.zeros(3, np.float32)
    save_file(arrays, tmp / "edited.safetensors")
    return ModelPath(tmp / "edited.safetensors", (), None)


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (missing_vae, WrongConfig, "'vae', expected a diffusers component, AutoencoderKL.*; name it with --vae"),
        (missing_tokenizer, WrongConfig, "'tokenizer', .*; name its folder .* too; tokenizer_2 is missing as well"),
        (encoder_is_a_vae, UnknownArchitecture, "no text encoder, .*found an autoencoder"),
        (vae_is_an_encoder, UnknownArchitecture, "no autoencoder, .*found a CLIP text encoder"),
        (pickled, UnsafeFile, "the weights are pickled, .*safetensors"),
        (gguf, TruncatedFile, "truncated, expected at least 8 bytes, found 4"),
        (is_of_sd3, UnknownArchitecture, "found Stable Diffusion 3; the families that Salon has: flux"),
        (half_a_folder, MissingFile, "text_encoder_2: no such folder"),
        (nothing, ModelNotFound, "no such model"),
        (no_encoder, ModelNotFound, "no such file or folder"),
    ],
)
def test_what_cannot_be_loaded_is_named(
    make: Callable[..., ModelPath], kind: type[CheckpointError], said: str, folder: Path, files: dict[str, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    model = make(folder, files, tmp_path)
    with pytest.raises(kind, match=said):
        Engine.load(model, require_text=True)
    assert survey(model).problem


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lacks_an_array, MissingKey, "single_transformer_blocks.1.proj_out.weight"),
        (has_another_array, UnexpectedKey, "double_blocks.0.odd.weight"),
    ],
)
def test_an_original_file_that_does_not_fit_is_refused(
    make: Callable[..., ModelPath], kind: type[CheckpointError], said: str, folder: Path, files: dict[str, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    model = make(folder, files, tmp_path)
    with pytest.raises(kind, match=said):
        Engine.load(model.path, text_encoder=[folder], vae=folder)


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(cut: int, files: dict[str, Path], tmp_path: Path) -> None:
    data = files["transformer"].read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:cut])
    with pytest.raises(CheckpointError, match="truncated|malformed"):
        open_checkpoint(ModelPath(tmp_path / "cut.safetensors"))


def test_hostile_shapes_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    """Arrays that the config follows from, emptied or of other axes, one by one."""
    from safetensors.numpy import load_file, save_file

    arrays = load_file(files["transformer"])
    for key in ("img_in.weight", "txt_in.weight", "double_blocks.0.img_attn.norm.query_norm.scale"):
        for bad in (np.zeros((0, 3), np.float32), np.zeros((2, 2, 2), np.float32), np.zeros(5, np.float32)):
            save_file(arrays | {key: bad}, tmp_path / "bad.safetensors")
            with pytest.raises(CheckpointError):
                open_checkpoint(ModelPath(tmp_path / "bad.safetensors"))


def test_what_is_no_model_is_called_what_it_is(folder: Path, files: dict[str, Path], tmp_path: Path) -> None:
    """With the way on: these said "truncated", or that a file should be downloaded again."""
    (tmp_path / "readme.txt").write_text("hello, this is no model")
    shutil.copy(files["transformer"], tmp_path / "flux1.safetensors")
    both = "name its text encoders, and the folders of their tokenizers, with --text-encoder, and its autoencoder with"
    for place, told in (
        (tmp_path / "readme.txt", "readme.txt: no model file, expected a safetensors or GGUF file"),
        (folder / "vae", f"found a part of a model; name the model's folder, which may be {folder}"),
        (folder / "tokenizer", "found a part of a model; name the model's folder"),
        (tmp_path, f"found flux1.safetensors beside none; name that file: {tmp_path / 'flux1.safetensors'}"),
        (files["transformer"].parent, "beside none; name the one that draws, like .*, and others with --vae and"),
        (files["transformer"], f"flux1.safetensors: a model without a text pipeline, .* {both}"),
        (
            files["clip"],
            "found a CLIP text encoder .name it with --text-encoder.; name a model's folder or",
        ),
        (
            folder / "transformer" / "diffusion_pytorch_model.safetensors",
            f"{both} --vae; or name the folder of the whole model, {folder}$",
        ),
    ):
        with pytest.raises(CheckpointError, match=told):
            Engine.load(place, require_text=True, threads=1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ip_adapter.1.to_k_ip.weight", "an IP-Adapter (name it with --ip-adapter)"),
        ("double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight", "an IP-Adapter (name it with"),
        ("transformer.single_transformer_blocks.0.proj_out.lora_A.weight", "a LoRA (name it with --lora)"),
        ("controlnet_cond_embedding.conv_in.weight", "a ControlNet, with which Salon does not draw"),
        ("vision_model.embeddings.patch_embedding.weight", "an image encoder (name it with --image-encoder)"),
        ("embeddings.token_embedding.weight", "a CLIP text encoder (name it with"),
        ("down_blocks.0.resnets.0.conv1.weight", "Stable Diffusion 1 or 2, its UNet in diffusers' layout"),
        ("add_embedding.linear_1.weight", "SDXL, its UNet in diffusers' layout"),
        ("time_text_embed.text_embedder.linear_1.weight", "FLUX.1, its transformer in diffusers' layout"),
        ("single_stream_modulation.linear.weight", "FLUX.2, its transformer in diffusers' layout"),
        ("text_fusion.projector.weight", "Krea 2, its transformer in diffusers' layout"),
        ("pos_embed.proj.weight", "Stable Diffusion 3 or PixArt, a transformer in diffusers' layout"),
        ("odd", "nothing that Salon can tell"),
    ],
)
def test_a_file_that_goes_with_a_model_is_told(name: str, said: str) -> None:
    arrays = {name, "down_blocks.0.resnets.0.conv1.weight"} if "controlnet" in name else {name}
    assert describe_file(arrays).startswith(said)


@pytest.mark.parametrize("aspect", [(5, 4), (21, 9), (3, 5), (16, 10), (14, 1)])
def test_every_aspect_fits_the_limits_of_an_engine(engine: Engine, aspect: tuple[int, int]) -> None:
    """Rounded to whole tokens a picture of about a megapixel has some more than one."""
    spec = engine.make_spec(PROMPT, aspect=aspect)
    engine.admission.check_spec(spec, 0)


def test_a_style_wants_an_ip_adapter(engine: Engine) -> None:
    with pytest.raises(
        SpecError, match="style_references: got a style, allowed none .*, if it takes one .--ip-adapter."
    ):
        engine.make_spec(PROMPT, style_references=["0" * 64])


def test_a_survey_says_what_runs_and_what_fits(
    folder: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = survey(ModelPath(folder), "float32")
    assert (found.family, found.problem) == ("flux", "")
    assert "FLUX.1" in found.what
    read = {part.name: part for part in found.parts}
    assert read["text_encoder_2"].read
    assert read["text_encoder_2"].parameters > 1000
    assert found.needed == 4 * sum(part.parameters for part in found.parts)
    assert survey(ModelPath(files["transformer"])).what == "a single file: FLUX.1"
    monkeypatch.setattr("salon.engine.memory.available_memory", lambda: 1000)
    assert "not enough memory" in survey(ModelPath(folder)).problem
    with pytest.raises(NotEnoughMemory, match=r"expected 0.0 GB .*transformer.*found 0.0 GB free; free some memory"):
        Engine.load(folder)
    for isas, backend, ways in (
        (["avx2"], "cpu", " or --backend cpu_int8,"), (["avx2"], "cpu_int8", ""), (["avx2"], "onnx", ""),
        (["avx512_bf16"], "cpu", " or --dtype bfloat16, which takes half, or --backend cpu_int8,"),
        (["avx512_bf16"], "cpu_int8", " or --dtype bfloat16,"),
    ):  # fmt: skip
        monkeypatch.setattr("salon.kernels.backends.cpu.isa_levels", lambda isas=isas: isas)
        said = survey(ModelPath(folder), "float32", backend=backend).problem.partition("a smaller model")[2]
        assert said.startswith(f",{ways}") if ways else said == "", (isas, backend, said)


def test_a_studio_draws_with_parts_named_apart_and_embedded_guidance(
    engine: Engine, folder: Path, files: dict[str, Path]
) -> None:
    fields: dict[str, Any] = {
        "seed": 7,
        "width": SIDE,
        "height": SIDE,
        "steps": 3,
        "embedded_guidance": 1.5,
        "images": 1,
    }
    with Studio(files["everything"], text_encoder=[folder], dtype="float32", threads=1) as studio:
        job = studio.imagine(PROMPT, **fields)
        np.testing.assert_array_equal(job.result(60), drawn(engine, **fields))
        assert studio.loop.model.defaults["steps"] == 28
    assert (drawn(engine, **fields) != drawn(engine)).any()


def test_parts_of_one_file_are_weighed_by_what_each_packs(
    folder: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device's room is compared with this sum, which a file of many parts must not raise."""
    parts = open_checkpoint(ModelPath(files["everything"], (folder / "tokenizer", folder / "tokenizer_2"))).components
    whole = weight_bytes(parts, 2)
    assert whole.keys() == {"transformer", "vae", "text_encoder", "text_encoder_2"}
    assert whole["transformer"] == weight_bytes(open_checkpoint(ModelPath(folder)).components, 2)["transformer"]
    assert sum(whole.values()) < files["everything"].stat().st_size  # float32, in two bytes
    monkeypatch.setattr("salon.engine.memory.available_memory", lambda: 1000)
    assert survey(ModelPath(folder), on_host=False).problem == ""


def test_one_onnx_graph_serves_mixed_batches(folder: Path) -> None:
    want_one_graph(folder)


def test_one_onnx_graph_serves_batches_of_kontext(folder: Path, tmp_path: Path) -> None:
    want_one_graph(as_kontext(folder, tmp_path / "kontext"), seen=[[(5, 4)], []])  # references are rows of the graph


def test_one_onnx_graph_serves_batches_of_fill(fill: tuple[Any, Path]) -> None:
    want_one_graph(fill[1] / "folder")


def test_single_files_are_exported_with_the_parts_that_are_named(
    folder: Path, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="it makes and reads graphs (extra: onnx)")
    command, parts = ["export", str(files["transformer"]), "--quiet"], ["--vae", str(files["vae"])]
    for part in (files["t5"], files["clip"], folder / "tokenizer", folder / "tokenizer_2"):
        parts += ["--text-encoder", str(part)]
    assert main([*command, "-o", str(tmp_path / "without")]) == 2
    assert "name it with --vae" in capsys.readouterr().err
    assert main([*command, *parts, "-o", str(tmp_path / "graphs")]) == 0
    single = Engine.load(files["transformer"], text_encoder=parts[3::2], vae=files["vae"], dtype="float32", threads=1)
    assert open_export(tmp_path / "graphs").manifest["model"]["digest"] == single.model.digest
    assert main(["build-plan", *command[1:2], *parts, "-o", str(tmp_path), "--shapes", "7x7"]) == 2
    assert "--shapes: got 7x7" in capsys.readouterr().err
