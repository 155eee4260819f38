"""FLUX.2 as people have it: folders that diffusers saves and single files, against diffusers' own pipelines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.denoiser import AdapterTable
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, MissingKey, UnexpectedKey, UnknownArchitecture, WrongConfig
from salon.engine.files.opening import ModelPath
from salon.engine.reading import load_reader
from salon.engine.survey import survey

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families import references, tiny_flux2, tiny_language
from salon.bench.families.flux2 import drawn, parts, picture, with_references
from salon.bench.families.tiny_flux import LONG

from .graphs import want_one_graph

SIDE = 32  # of a picture, which is 8 x 8 tokens
PROMPT = "a big red apple on the house"
MODELS = ("dev", "klein")


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    return {name: tiny_flux2.pipeline(dev=name == "dev", distilled=False) for name in MODELS}


@pytest.fixture(scope="module")
def folders(built: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("flux2")
    for name, each in built.items():
        each.save_pretrained(root / name)
    index = json.loads((root / "dev" / "model_index.json").read_text())  # as FLUX.2 [dev] has it; it needs torchvision
    index["tokenizer"] = ["transformers", "PixtralProcessor"]
    (root / "dev" / "model_index.json").write_text(json.dumps(index))
    return {name: root / name for name in MODELS}


@pytest.fixture(scope="module")
def engines(folders: dict[str, Path]) -> dict[str, Engine]:
    return {name: Engine.load(folder, dtype="float32", require_text=True) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def files(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    root = tmp_path_factory.mktemp("originals")
    return {name: tiny_flux2.originals(folder, root / name) for name, folder in folders.items()}


def decibels(got: Any, want: Any) -> float:
    return float(-10 * np.log10(max(float(np.mean((got / 255 - want) ** 2)), 1e-12)))


def test_folders_of_diffusers_draw_what_diffusers_draws(engines: dict[str, Engine], built: dict[str, Any]) -> None:
    dev, klein = engines["dev"], engines["klein"]
    spec, other = dev.make_spec("a cat"), klein.make_spec("a cat")
    assert (spec.steps, spec.guidance_scale, spec.width, spec.height) == (50, 1.0, 256, 256)  # 128 latents of 2 pixels
    assert (other.steps, other.guidance_scale, other.width) == (50, 4.0, 256)
    assert dev.model.architecture.embedded_guidance == 4.0
    assert klein.model.architecture.embedded_guidance is None
    assert decibels(drawn(dev, PROMPT), picture(built["dev"], PROMPT)) >= 50  # of 8 bits' own rounding 58.9
    theirs = picture(built["dev"], "a cat", guidance_scale=1.5, num_inference_steps=2, width=48)
    assert decibels(drawn(dev, "a cat", embedded_guidance=1.5, steps=2, width=48), theirs) >= 50
    theirs = picture(built["klein"], PROMPT)
    assert decibels(drawn(klein, PROMPT), theirs) >= 50
    # and the numbers do tell prompts and guidance apart
    assert decibels(drawn(klein, "a cat"), theirs) < 40
    assert decibels(drawn(klein, PROMPT, guidance_scale=1.0), theirs) < 40


@pytest.mark.parametrize("name", MODELS)
def test_parts_are_those_of_diffusers(name: str, engines: dict[str, Engine], built: dict[str, Any]) -> None:
    rows = list(parts(name, engines[name], built[name]))
    assert len(rows) == 5
    assert max(row.error for row in rows if row.error is not None) < 1e-4


def test_models_look_at_pictures_as_in_diffusers(engines: dict[str, Engine], built: dict[str, Any]) -> None:
    engine, theirs = engines["klein"], built["klein"]
    for each in engines.values():
        rule = each.model.architecture.references
        assert rule is not None
        assert (rule.most, rule.area) == (8, 1024 * 1024)
    velocity, drawn_beside = references.rows(
        "klein", engine, theirs, several=True, theirs=partial(with_references, theirs)
    )
    assert velocity.error is not None
    assert velocity.error < 1e-4
    assert drawn_beside.decibels is not None
    assert drawn_beside.decibels >= 50
    # and the number does tell whether there are references, and their order
    given = references.pictures(2)
    want = with_references(theirs, given)
    assert references.decibels(references.drawn(engine, references.looking(engine, ()))[0], want) < 45
    other = references.drawn(engine, references.looking(engine, given[::-1]))[0]
    assert references.decibels(other, want) < 45


def test_pictures_are_encoded_as_diffusers_encodes_them(engines: dict[str, Engine], built: dict[str, Any]) -> None:
    engine, theirs = engines["klein"], built["klein"]
    pixels = np.random.default_rng(1).uniform(-1, 1, (24 * 40, 3)).astype(np.float32)
    codec, grid = engine.model.denoiser.codec, np.array([(6, 10)], np.int32)
    tokens = engine.ops.numpy(codec.encode(engine.ops, engine.ops.array(pixels), grid))
    with torch.no_grad():
        image = torch.from_numpy(pixels.reshape(24, 40, 3).transpose(2, 0, 1).copy())[None]
        want = theirs._encode_vae_image(image, None)[0].permute(1, 2, 0).reshape(-1, 16).numpy()
    np.testing.assert_allclose(tokens, want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("prompt", ["ALL [IMG] CAPS  and\nspaces", "naïve ☕️ 猫 <|im_end|> [INST]"])
def test_states_of_odd_prompts(prompt: str, engines: dict[str, Engine], built: dict[str, Any]) -> None:
    for name in MODELS:
        with torch.no_grad():
            want = built[name].encode_prompt(prompt)[0][0].numpy()
        got = engines[name].model.text.encode(prompt).tokens  # type: ignore[union-attr]
        np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())


def test_a_prompt_is_cut_where_the_pipeline_cuts_it_and_that_is_told(
    engines: dict[str, Engine], folders: dict[str, Path]
) -> None:
    for name, encoder in (("dev", "Mistral"), ("klein", "Qwen3")):
        reader = load_reader(folders[name])
        assert reader is not None
        assert reader.read(PROMPT).warnings == ()
        (note,) = reader.read(LONG).warnings
        assert note.startswith(f"the prompt has more than the 512 tokens that {encoder} reads: left out is 'on of in a")
        generation = engines[name].open(engines[name].make_spec(LONG, width=SIDE, height=SIDE, guidance_scale=1.0))
        assert generation.warnings == (note,)
        engines[name].close(generation)
    # where only the end of the template is cut, no word of the prompt is left out
    words = " ".join(["in"] * 500)  # of the template's end not all fits
    reader = load_reader(folders["klein"])
    assert reader is not None
    assert reader.read(words).warnings == ()


def test_pictures_are_the_same_alone_in_a_batch_and_parked(engines: dict[str, Engine]) -> None:
    engine = engines["klein"]
    specs = [
        engine.make_spec(prompt, seed=seed, width=width, height=SIDE, steps=steps, guidance_scale=guidance)
        for prompt, seed, width, steps, guidance in (("a cat", 1, 32, 2, 1.0), (PROMPT, 2, 48, 3, 4.0))
    ]
    alone = []
    for spec in specs:
        generation = engine.open(spec)
        while generation.state == "running":
            engine.step([generation])
        alone.append(engine.finish(generation))
    open_ones = [engine.open(spec) for spec in specs]
    engine.step(open_ones)
    open_ones[1] = engine.resume(engine.park(open_ones[1]))
    while running := [g for g in open_ones if g.state == "running"]:
        engine.step(running)
    for generation, pixels in zip(open_ones, alone, strict=True):
        np.testing.assert_array_equal(engine.finish(generation), pixels)
        engine.close(generation)


@pytest.mark.parametrize("name", MODELS)
def test_single_files_draw_the_same_bits_as_the_folder(
    name: str, engines: dict[str, Engine], folders: dict[str, Path], files: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    these = files[name]
    single = Engine.load(
        these["transformer"], text_encoder=[these["text"], folders[name] / "tokenizer"], vae=these["vae"],
        dtype="float32", require_text=True,
    )  # fmt: skip
    guidance = engines[name].make_spec("a").guidance_scale
    np.testing.assert_array_equal(drawn(single, PROMPT, guidance_scale=guidance), drawn(engines[name], PROMPT))
    # of a file's [klein] the name tells whether it is the base form
    base = tmp_path / "flux-2-klein-base-4b.safetensors"
    base.symlink_to(these["transformer"])
    defaults = [
        (spec.steps, spec.guidance_scale)
        for spec in (Engine.load(path, vae=these["vae"]).make_spec("a") for path in (these["transformer"], base))
    ]
    assert defaults == ([(50, 1.0), (50, 1.0)] if name == "dev" else [(4, 1.0), (50, 4.0)])


def edited(folder: Path, to: Path, file: str, **values: Any) -> Path:
    """Return a copy of a model folder with other values in a config; None takes a key out."""
    copy = to / "model"
    shutil.copytree(folder, copy)
    config = json.loads((copy / file).read_text()) | values
    (copy / file).write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return copy


def test_the_distilled_klein_takes_four_steps(folders: dict[str, Path], tmp_path: Path) -> None:
    engine = Engine.load(edited(folders["klein"], tmp_path, "model_index.json", is_distilled=True))
    spec = engine.make_spec("a cat")
    assert (spec.steps, spec.guidance_scale) == (4, 1.0)


@pytest.mark.parametrize(
    ("file", "values", "kind", "said"),
    [
        ("transformer/config.json", {"axes_dims_rope": [64, 64]}, WrongConfig, "four even numbers that sum to"),
        ("transformer/config.json", {"in_channels": 64}, WrongConfig, "'in_channels', expected 16, 2 x 2 of the"),
        ("transformer/config.json", {"joint_attention_dim": 64}, WrongConfig, "expected 48, the width of the text"),
        ("transformer/config.json", {"timestep_guidance_channels": 64}, CheckpointError, r"linear_1.*\[128, 64\]"),
        ("transformer/config.json", {"num_layers": 2}, MissingKey, "transformer_blocks.1.attn.to_q.weight"),
        ("transformer/config.json", {"num_single_layers": 1}, UnexpectedKey, "single_transformer_blocks.1"),
        ("transformer/config.json", {"surprise": 1}, UnknownArchitecture, "surprise"),
        ("vae/config.json", {"patch_size": [1, 1]}, WrongConfig, "patch_size"),
        ("vae/config.json", {"decoder_block_out_channels": [33, 64]}, WrongConfig, "multiples of norm_num_groups 32"),
        ("vae/config.json", {"_class_name": "AutoencoderKL"}, UnknownArchitecture, "AutoencoderKLFlux2"),
        ("text_encoder/config.json", {"num_hidden_layers": 9}, WrongConfig, "at least 27: the model reads the states"),
        ("model_index.json", {"text_encoder": ["transformers", "T5EncoderModel"]}, WrongConfig, "without a text"),
        ("model_index.json", {"vae": ["diffusers", "AutoencoderKL"]}, UnknownArchitecture, "AutoencoderKLFlux2"),
    ],
)
def test_what_does_not_fit_is_named(
    file: str, values: dict[str, Any], kind: type[CheckpointError], said: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(kind, match=said):
        Engine.load(edited(folders["klein"], tmp_path, file, **values), require_text=True)


def test_original_files_that_do_not_fit_are_refused(
    folders: dict[str, Path], files: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    arrays = load_file(files["klein"]["transformer"])

    def loaded(changed: dict[str, Any]) -> Callable[[], Engine]:
        save_file(changed, tmp_path / "edited.safetensors")
        return lambda: Engine.load(
            tmp_path / "edited.safetensors", text_encoder=[folders["klein"]], vae=folders["klein"]
        )

    without = {key: array for key, array in arrays.items() if key != "single_blocks.1.linear2.weight"}
    with pytest.raises(MissingKey, match="single_transformer_blocks.1.attn.to_out.weight"):
        loaded(without)()
    with pytest.raises(UnexpectedKey, match="double_blocks.0.odd.weight"):
        loaded(arrays | {"double_blocks.0.odd.weight": np.zeros(3, np.float32)})()
    for key in (
        "img_in.weight",
        "txt_in.weight",
        "single_blocks.0.norm.query_norm.scale",
        "single_blocks.0.linear2.weight",
    ):
        for bad in (np.zeros((0, 3), np.float32), np.zeros((2, 2, 2), np.float32), np.zeros(5, np.float32)):
            with pytest.raises(CheckpointError):
                loaded(arrays | {key: bad})()
    words = load_file(files["klein"]["text"])  # which alone of these may lack its last norm: Mistral's do
    save_file({key: array for key, array in words.items() if key != "model.norm.weight"}, tmp_path / "text.safetensors")
    with pytest.raises(MissingKey, match="norm.weight"):
        Engine.load(folders["klein"], text_encoder=[tmp_path / "text.safetensors", folders["klein"] / "tokenizer"])
    with pytest.raises(WrongConfig, match="joint_attention_dim.*the width of the text encoder's three states"):
        Engine.load(edited(folders["dev"], tmp_path, "transformer/config.json"), text_encoder=_wide(tmp_path))


def _wide(folder: Path) -> list[Path]:
    """Return a text encoder of another width, with a tokenizer that goes with it."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = tiny_language.qwen3_tokenizer()
    tokenizer.save_pretrained(folder / "wide" / "tokenizer")
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=27, num_attention_heads=1,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder / "wide" / "text_encoder")
    return [folder / "wide"]


def test_adapters_are_refused(engines: dict[str, Engine]) -> None:
    denoiser = engines["dev"].model.denoiser
    with pytest.raises(UnknownArchitecture, match="a model that takes none"):
        denoiser.adapter_file(engines["dev"].ops, "ip-adapter.safetensors")
    with pytest.raises(UnknownArchitecture, match="none with Flux2Transformer2DModel"):
        denoiser.adapter_branch(engines["dev"].ops, {})
    one, pages = np.zeros(1, np.int32), np.array([0, 1], np.int32)
    with pytest.raises(ValueError, match="adapters: got 1 terms, want none"):
        denoiser.layout(engines["dev"].ops, [], AdapterTable(one, pages, one, np.ones(1, np.float32)))


def test_a_survey_names_the_parts(folders: dict[str, Path], files: dict[str, dict[str, Path]]) -> None:
    for name, pipeline in (("dev", "Flux2Pipeline"), ("klein", "Flux2KleinPipeline")):
        found = survey(ModelPath(folders[name]), "float32")
        assert (found.family, found.what, found.problem) == ("flux2", f"{pipeline} (FLUX.2)", "")
        read = {part.name for part in found.parts if part.read}
        assert read == {"transformer", "vae", "text_encoder", "tokenizer", "scheduler"}
    alone = survey(ModelPath(files["klein"]["transformer"]))
    assert alone.what == "a single file: FLUX.2"
    assert "name it with --vae" in alone.problem


@pytest.mark.parametrize("name", MODELS)
def test_one_onnx_graph_serves_mixed_batches(name: str, folders: dict[str, Path]) -> None:
    want_one_graph(folders[name], seen=[[(5, 4)], []])  # references are rows of the same graph
