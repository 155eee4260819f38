"""Qwen-Image-Edit as people have it, in its three forms, against diffusers' pipelines and transformers' Qwen2.5-VL."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.engine.checkpoint import Checkpoint
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, SpecError, UnknownArchitecture
from salon.engine.export import export
from salon.engine.families import qwen_image
from salon.engine.files import qwen_image as originals
from salon.engine.files.opening import ModelPath
from salon.engine.models.language import Sight, places_of
from salon.engine.models.rope import line_tables, place_tables
from salon.engine.reference_rule import TextSight
from salon.engine.references import ReferenceUse
from salon.engine.start import PictureForm, PictureUse
from salon.engine.survey import survey
from salon.engine.text.seeing import SeeingPipeline
from salon.frontends import selftest
from salon.scheduler.tickets import Lane
from salon.studio.references import ReferencePicture, aspect_of
from salon.studio.scheduling.tickets import ticket_of

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families import tiny_qwen
from salon.bench.families.blocks import relative
from salon.bench.families.qwen_edit import PROMPT, looking, photos, seen, shown, theirs, velocities
from salon.bench.families.references import decibels, drawn

from . import lora_files
from .graphs import want_one_graph


class Model:
    """A pipeline of diffusers, its folder, and an engine with it."""

    def __init__(self, folder: Path, *, plus: bool = True, still: bool = False) -> None:
        self.built = tiny_qwen.edit_pipeline(plus=plus, still=still)
        self.built.set_progress_bar_config(disable=True)
        self.folder = tiny_qwen.save_edit(self.built, folder)
        self.engine = Engine.load(self.folder, dtype="float32", require_text=True, threads=1)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Version 2511: references at timestep 0."""
    return Model(tmp_path_factory.mktemp("still"), still=True)


@pytest.fixture(scope="module")
def plus(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Version 2509."""
    return Model(tmp_path_factory.mktemp("plus"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The first version, which looks at one picture."""
    return Model(tmp_path_factory.mktemp("first"), plus=False)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (56, 140), (168, 84)])
def test_pictures_become_tokens_as_transformers_makes_them(plus: Model, height: int, width: int) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    ours, want = seen(plus.engine, plus.built, pixels)
    assert ours.shape == want.shape == (height * width // 28**2, tiny_qwen.HEAD)
    assert relative(ours, want) <= 1e-4


@pytest.mark.parametrize(("width", "height"), [(45, 30), (200, 300), (40, 25), (3, 40), (700, 60)])
def test_files_become_pixels_as_the_processor_makes_them(plus: Model, width: int, height: int) -> None:
    """Enlarged, brought down, and at the bounds of what the text encoder takes."""
    rgb = Image.fromarray(np.random.default_rng(2).integers(0, 256, (height, width, 3)).astype(np.uint8))
    processor = plus.built.processor.image_processor
    sight = TextSight(area=96 * 96, multiple=32, unit=28, least=56 * 56, most=28 * 28 * 64)
    for rule in (sight, TextSight(area=32 * 32, multiple=16, unit=28, least=56 * 56, most=28 * 28 * 64),
                 TextSight(area=384 * 384, multiple=32, unit=28, least=56 * 56, most=28 * 28 * 64)):  # fmt: skip
        through, size = rule.sizes_of(width, height)
        pixels = ReferencePicture("", rgb).fit(
            PictureForm("", PictureUse.REFERENCE, size, whole=True, through=through), plus.engine.info
        )
        want = processor(plus.built.image_processor.resize(rgb, through[1], through[0]), return_tensors="np")
        assert want["image_grid_thw"].tolist() == [[1, size[1] // 14, size[0] // 14]]
        got = processor(Image.fromarray(pixels), do_resize=False, return_tensors="np")
        np.testing.assert_array_equal(got["pixel_values"], want["pixel_values"])


def test_places_in_a_text_with_pictures_are_those_of_transformers(plus: Model) -> None:
    model, config = plus.built.text_encoder.model, plus.built.text_encoder.config
    sights = [Sight(3, (2, 5), None), Sight(15, (4, 1), None)]
    kinds = np.zeros((1, 22), np.int32)
    kinds[0, 3:13] = kinds[0, 15:19] = 1
    want, _ = model.get_rope_index(
        torch.full((1, 22), config.image_token_id), torch.from_numpy(kinds), torch.tensor([[1, 4, 10], [1, 8, 2]])
    )
    np.testing.assert_array_equal(places_of(22, sights), want[:, 0].numpy())
    words = place_tables(np.stack([np.arange(9)] * 3), (1, 4, 3), 16, 1e6)
    for got, plain in zip(words, line_tables([9], 16, 1e6), strict=True):
        np.testing.assert_array_equal(got, plain)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_prompts_with_pictures_are_read_as_the_pipeline_reads_them(plus: Model, first: Model, count: int) -> None:
    for model in (plus, first) if count == 1 else (plus,):
        for prompt in (PROMPT, "ALL  CAPS <|im_end|> naïve\n\n"):
            ours, want = shown(model.engine, model.built, photos(count), prompt)
            assert ours.shape == want.shape
            assert relative(ours, want) <= 1e-4
    pipeline = plus.engine.model.text
    assert isinstance(pipeline, SeeingPipeline)
    (use,) = pipeline.reader.uses
    long = "zq" * 900
    assert len(use.tokenizer.encode(long, use.length).ids) == use.length == 1024
    (note,) = pipeline.reader.read(long).warnings
    assert note.startswith("the prompt has more than the 1024 tokens that Qwen2.5-VL reads: left out is ")


def test_velocities_beside_references_are_those_of_diffusers(plus: Model, still: Model) -> None:
    found = [velocities(model.engine, model.built) for model in (plus, still)]
    for ours, want in found:
        assert relative(ours, want) <= 1e-4
    assert relative(found[0][0], found[1][0]) > 1e-3  # the weights are the same, so that is timestep 0


def test_pictures_are_those_of_diffusers(still: Model, first: Model) -> None:
    spec = still.engine.make_spec("a cat")
    assert (spec.steps, spec.guidance_scale) == (50, 4.0)
    sizes = {"a": photos(2)[0], "b": photos(2)[1]}
    both = {"omni_reference": ("a", "b")}
    assert [aspect_of(both, sizes.get, model.engine.model.references) for model in (still, first)] == [
        (60, 91),
        (45, 30),
    ]
    files = photos(2)
    want = theirs(still.built, files, negative_prompt=" ", true_cfg_scale=4.0)
    assert decibels(drawn(still.engine, looking(still.engine, files))[0], want) >= 56  # of 8 bits' own rounding 58.9
    # and the number does tell pictures, their order, prompts and guidance apart
    others: tuple[tuple[Any, dict[str, Any], float], ...] = (
        (files[::-1], {}, 54), (files[:1], {}, 40), (files, {"prompt": "a cat"}, 45),
        (files, {"guidance_scale": 2}, 45),
    )  # fmt: skip
    for given, said, most in others:
        assert decibels(drawn(still.engine, looking(still.engine, given, **said))[0], want) < most
    want = theirs(first.built, files[:1], negative_prompt="a dog", true_cfg_scale=2.0)
    fields: dict[str, Any] = {"negative_prompt": "a dog", "guidance_scale": 2.0}
    assert decibels(drawn(first.engine, looking(first.engine, files[:1], **fields))[0], want) >= 56


def test_pictures_are_the_same_alone_in_a_ragged_batch_and_parked(still: Model, tmp_path: Path) -> None:
    engine, files = still.engine, photos(3)
    weights = still.built.transformer.state_dict()
    layers = {name.removesuffix(".weight"): tuple(w.shape) for name, w in weights.items() if w.ndim == 2}
    made = lora_files.changes({name: layers[name] for name in layers if "mod" in name}, rank=2, scale=0.2)
    digest, path = lora_files.write(tmp_path / "lora.safetensors", lora_files.peft(made))
    engine.add_lora(digest, path)
    specs = [
        looking(engine, files[:2], guidance_scale=4.0),
        looking(engine, files[:2], loras=[(digest, 1.0)], width=48, guidance_scale=1.0, seed=3),
        looking(engine, files[2:], prompt="a cat", steps=2, images=2, guidance_scale=1.0),
    ]
    alone = [drawn(engine, spec) for spec in specs]
    assert not np.array_equal(alone[1], drawn(engine, replace(specs[1], loras=())))
    opened = [engine.open(spec) for spec in specs]
    engine.step(opened)
    opened[0] = engine.resume(engine.park(opened[0]))
    while running := [generation for generation in opened if generation.state == "running"]:
        engine.step(running)
    said: dict[str, Any] = {"job": "j", "account": "a", "lane": Lane.FAST, "max_running": 4, "adapters": {}}
    for generation, spec, pixels in zip(opened, specs, alone, strict=True):
        np.testing.assert_array_equal(engine.finish(generation), pixels)
        shape = ticket_of(engine.info, spec, **said).stages[1].shape
        assert shape is not None
        assert shape.rows >= generation.largest.text_rows + generation.largest.image_rows
        engine.close(generation)
    assert engine.start_pictures.pinned == {}


def test_what_is_refused(still: Model, first: Model) -> None:
    engine = still.engine
    with pytest.raises(SpecError, match="reference pictures: got none, allowed 1 to 3: the model changes pictures"):
        engine.open(engine.make_spec(PROMPT))
    with pytest.raises(SpecError, match="--oref: got 2 pictures, allowed up to 1 with this model"):
        looking(first.engine, photos(2))
    (use,) = looking(engine, photos(1)).references
    for wrong, told in (
        (replace(use, text=None, through=None), "got no size for the text encoder, allowed multiples of 28"),
        (replace(use, text=(29, 28)), "got 29 x 28 for the text encoder, allowed multiples of 28"),
    ):
        with pytest.raises(SpecError, match=told):
            engine.open(engine.make_spec(PROMPT, references=(wrong,)))
    for given in ({"text": (28, 28)}, {"text": (0, 28), "through": (28, 28)}, {"text": 28, "through": (28, 28)}):
        with pytest.raises(SpecError, match="omni reference"):
            ReferenceUse("0" * 64, 32, 32, True, **given)
    assert engine.num_open == 0
    assert selftest.picture(engine)["steps"] == 2


def test_folders_and_single_files(still: Model, tmp_path: Path) -> None:
    """What a folder is, and the same bits from single files under the names that people have."""
    folder = still.folder
    found = survey(ModelPath(folder), "float32")
    assert (found.family, found.problem) == ("qwen_image", "")
    assert len(still.engine.model.architecture_digest) == 64
    assert found.what == "QwenImageEditPlusPipeline (Qwen-Image-Edit)"
    files = tiny_qwen.originals(folder, tmp_path / "files")
    named = files["transformer"].rename(tmp_path / "files" / "qwen_image_edit_2511_bf16.safetensors")
    opened = ModelPath(named, (files["text"], folder / "tokenizer"), files["vae"])
    single = Engine.load(opened, dtype="float32", threads=1)
    rule = single.model.references
    assert rule is not None
    assert rule.text is not None
    assert (rule.fewest, rule.most, rule.area, rule.text.area) == (1, 3, 2**20, 384**2)
    # Its own rule has pictures of a megapixel, so it is given what the folder's rule makes of them; and windows of the
    # text encoder's file are those of the real one, which has a whole block in no other place.
    spec = looking(still.engine, photos(2))
    for use in spec.references:
        for form in use.forms:
            single.add_picture(form, still.engine.start_pictures._kept[form].pixels)
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    config["vision_config"]["fullatt_block_indexes"] = [7]
    other = tmp_path / "other"
    other.mkdir()
    for part in folder.iterdir():
        if part.name != "text_encoder":
            (other / part.name).symlink_to(part)
    (other / "text_encoder").mkdir()
    (other / "text_encoder" / "config.json").write_text(json.dumps(config))
    (other / "text_encoder" / "model.safetensors").symlink_to(folder / "text_encoder" / "model.safetensors")
    same = Engine.load(other, dtype="float32", threads=1)
    np.testing.assert_array_equal(drawn(single, spec), drawn(same, looking(same, photos(2))))


def test_names_of_single_files_tell_the_versions() -> None:
    for name, want in (
        ("qwen_image_fp8_e4m3fn", None), ("qwen_image_edit_fp8_e4m3fn", False), ("Qwen-Image-Edit-2509-Q4_K_M", True),
        ("qwen_image_edit_2511_bf16", True), ("qwen-image-edit-plus", True), ("credited", None),
    ):  # fmt: skip
        assert originals.edits(Path(f"/models/edit/{name}.safetensors")) is want


def test_a_text_encoder_without_eyes_and_a_strange_processor_are_refused(still: Model, tmp_path: Path) -> None:
    blind = tmp_path / "blind"
    tiny_qwen.pipeline().save_pretrained(tmp_path / "plain")
    blind.mkdir()
    for part in still.folder.iterdir():
        (blind / part.name).symlink_to(part)
    (blind / "text_encoder").unlink()
    (blind / "text_encoder").mkdir()
    config = json.loads((still.folder / "text_encoder" / "config.json").read_text())
    (blind / "text_encoder" / "config.json").write_text(json.dumps({**config, "vision_config": {}}))
    (blind / "text_encoder" / "model.safetensors").symlink_to(still.folder / "text_encoder" / "model.safetensors")
    with pytest.raises(UnknownArchitecture, match="vision_config.* name a text encoder that sees pictures"):
        Engine.load(blind, dtype="float32", threads=1)
    (blind / "processor").unlink()
    (blind / "processor").mkdir()
    (blind / "processor" / "preprocessor_config.json").write_text(json.dumps({"resample": 0}))
    with pytest.raises(CheckpointError, match="resample"):
        qwen_image.settings(Checkpoint(blind))
    said = json.loads((blind / "salon.json").read_text())
    said["text"] = {"pipeline": "qwen_image"}
    (blind / "salon.json").unlink()
    (blind / "salon.json").write_text(json.dumps(said))
    with pytest.raises(CheckpointError, match=r"references\.text"):
        Engine.load(blind, dtype="float32", threads=1)


def test_a_file_of_references_at_0_says_so_by_an_array(still: Model, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    arrays = load_file(still.folder / "transformer" / "diffusion_pytorch_model.safetensors")
    for name, more, want in (
        ("qwen_edit", {originals.STILL: np.zeros(1, np.float32)}, True), ("qwen_edit_2509", {}, False),
        ("qwen_edit_2511", {}, True),
    ):  # fmt: skip
        save_file(arrays | more, path := tmp_path / f"{name}.safetensors")
        from salon.engine.files.reading import open_file

        assert originals.transformer(open_file(path), "").config.values["zero_cond_t"] is want


def test_one_onnx_graph_serves_batches_that_look_at_pictures(still: Model, tmp_path: Path) -> None:
    """References at timestep 0 are another graph, which `salon export` writes beside that of other batches."""
    want_one_graph(still.folder, seen=[[(5, 4), (3, 9)], []])
    engine = Engine.load(still.folder, backend="onnx", threads=1)
    assert {*export(engine, tmp_path / "graphs").manifest["graphs"]} == {"step", "step_references", "decoder"}


def test_one_onnx_graph_serves_batches_of_earlier_versions(plus: Model) -> None:
    """Their references are rows at the picture's own timestep, in the graph of all batches."""
    want_one_graph(plus.folder, seen=[[(5, 4), (3, 9)], []])
