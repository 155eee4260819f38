"""FLUX.2 [klein] KV: keys and values of references are computed once, and met in every step as in diffusers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import LimitError, WrongConfig
from salon.engine.files.lora import file_digest
from salon.engine.generation import ParkedGeneration
from salon.engine.lora_uses import LoraUse
from salon.engine.references import rows_of
from salon.engine.spec import GenerationSpec
from salon.scheduler.tickets import Lane
from salon.studio.pricing import work_of
from salon.studio.scheduling.tickets import ticket_of

from . import lora_files
from .conftest import SALON, write_tiny
from .graphs import want_one_graph

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families import references, tiny_flux2
from salon.bench.families.flux2 import kept


@pytest.fixture(scope="module")
def built() -> Any:
    return tiny_flux2.pipeline(dev=False, keeping=True)


@pytest.fixture(scope="module")
def folder(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("keeping")
    built.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine.load(folder, dtype="float32", threads=1, require_text=True)


def draw(engine: Engine, *specs: GenerationSpec, park: bool = False) -> list[Any]:
    """Draw specs together; with `park`, all are parked and resumed behind the first step."""
    opened = [engine.open(spec) for spec in specs]
    if park:
        engine.step(opened)
        parked = [engine.park(generation).to_bytes() for generation in opened]
        opened = [engine.resume(ParkedGeneration.from_bytes(data)) for data in parked]
    while running := [generation for generation in opened if generation.state == "running"]:
        engine.step(running)
    made = [engine.finish(generation) for generation in opened]
    for generation in opened:
        engine.close(generation)
    return made


def test_pictures_beside_references_are_those_of_diffusers(engine: Engine, built: Any) -> None:
    rows = list(kept(engine, built))
    assert max(row.error for row in rows if row.error is not None) < 1e-4
    (decibels,) = (row.decibels for row in rows if row.decibels is not None)
    assert decibels >= 50
    spec = references.looking(engine, references.pictures(2))
    alone = references.drawn(engine, replace(spec, references=()))[0]
    assert references.decibels(alone, references.drawn(engine, spec)[0] / 255) < 45, "references make a difference"


def test_the_model_says_what_it_is(engine: Engine, folder: Path, tmp_path: Path) -> None:
    spec = engine.make_spec("a cat")
    assert (spec.steps, spec.guidance_scale) == (4, 1.0)
    assert engine.info.architecture.references is not None
    assert engine.info.architecture.references.kept
    files = tiny_flux2.originals(folder, tmp_path / "files")
    named = tmp_path / "flux-2-klein-9b-kv-fp8.safetensors"
    named.symlink_to(files["transformer"])
    plain, keeping = (Engine.load(path, vae=files["vae"], dtype="float32") for path in (files["transformer"], named))
    rules = [each.model.architecture.references for each in (plain, keeping)]
    assert [rule is not None and rule.kept for rule in rules] == [False, True]
    assert plain.model.digest != keeping.model.digest, "of the same bytes, but not of the same pictures"
    write_tiny(tmp_path / "kontext")  # of another family, whose references stand in the rows
    salon = SALON | {"references": {"most": 1, "area": 4096, "kept": True}}
    (tmp_path / "kontext" / "salon.json").write_text(json.dumps(salon))
    with pytest.raises(WrongConfig, match="kept: false, as this model was trained"):
        Engine.load(tmp_path / "kontext")


def test_bits_are_the_same_alone_in_a_batch_parked_and_without_room(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    layers = {"transformer_blocks.0.attn.to_k": (128, 128), "single_transformer_blocks.1.attn.to_out": (128, 512)}
    path = tmp_path / "style.safetensors"
    lora_files.write(path, lora_files.peft(lora_files.changes(layers, rank=2, seed=1, scale=0.5)))
    digest = file_digest(path)
    engine.add_lora(digest, path)
    two = references.looking(engine, references.pictures(2))
    one = references.looking(engine, references.pictures(1))
    specs = [
        replace(two, images=2, steps=2),
        replace(one, references=(), prompt="a cat", steps=1),
        replace(one, steps=2),
        replace(one, loras=(LoraUse(digest, 0.8),), steps=2),
        replace(two, guidance_scale=3.0, seed=3, progressive=50.0, steps=2, prompt="the house"),
    ]
    alone = [draw(engine, spec)[0] for spec in specs]
    misses = engine.adapters.arena.misses
    assert misses == 3, "two lots of pictures, and one of them through a LoRA"
    tight = Engine(engine.ops, engine.model, replace(engine.limits, arena_bytes=0))
    tight.add_lora(digest, path)
    for each in (specs[0], specs[2]):
        for use, pixels in zip(each.references, references.pictures(2), strict=False):
            tight.add_picture(use.form, pixels)
    for made in (draw(engine, *specs[:4]), draw(engine, *specs[2:], park=True), draw(tight, *specs[:4])):
        wanted = alone[2:] if len(made) == 3 else alone
        for got, want in zip(made, wanted, strict=False):
            np.testing.assert_array_equal(got, want)
    assert engine.adapters.arena.misses == misses, "what is kept is not computed anew"
    assert not np.array_equal(alone[2], alone[3])
    engine.adapters.arena.check()
    assert all(not entry.pins for entry in engine.adapters.arena._entries.values())


def test_steps_have_rows_of_the_picture_alone(engine: Engine) -> None:
    info, spec = engine.info, replace(references.looking(engine, references.pictures(2)), images=2)
    plain, kept_rows = replace(spec, references=()), rows_of([(6, 10), (8, 4)])
    generation, bare = engine.open(spec), engine.open(plain)
    assert generation.image_rows == bare.image_rows == 2 * 64
    said: dict[str, Any] = {"job": "j", "account": "a", "lane": Lane.FAST, "max_running": 4, "adapters": {}}
    ticket, without = (ticket_of(info, each, **said).stages for each in (spec, plain))
    assert ticket[0].units == without[0].units + 2 * kept_rows, "which opening encodes, and takes through the model"
    first, second = ticket[1].shape, without[1].shape
    assert first is not None
    assert second is not None
    assert first.rows == second.rows == generation.text_rows + generation.image_rows
    assert first.squares == second.squares + kept_rows * first.rows
    for each in (generation, bare):
        engine.close(each)
    looking, alone = (work_of(info, each) for each in (spec, plain))
    assert not looking.omni
    assert looking.effort is not None
    assert alone.effort is not None
    assert looking.effort.evaluations == alone.effort.evaluations + 1
    most = replace(engine.limits, max_rows=first.rows + kept_rows - 1)
    with pytest.raises(LimitError, match=f"step: got {first.rows + kept_rows:,} rows"):
        ticket_of(msgspec.structs.replace(info, limits=most), spec, **said)


def test_one_onnx_graph_serves_batches_that_meet_kept_references(folder: Path) -> None:
    """Where one of the samples looks at pictures and another at none."""
    want_one_graph(folder, seen=[[(5, 4)], []])
