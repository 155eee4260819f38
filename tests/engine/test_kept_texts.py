"""UNets: keys and values of texts are computed once for a prompt, and no picture depends on where they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.models import unet_texts
from salon.engine.spec import GenerationSpec

from . import lora_files

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families.tiny_unet import xl_pipeline

ROWS = 77  # of a text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sdxl")
    xl_pipeline().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def plain(folder: Path) -> Engine:
    """An engine whose arena holds nothing: every layout computes the keys and values of all its texts."""
    engine = Engine.load(folder, dtype="float32", threads=1, require_text=True)
    return Engine(engine.ops, engine.model, replace(engine.limits, arena_bytes=0))


@pytest.fixture
def keeping(plain: Engine) -> Engine:
    return Engine(plain.ops, plain.model, plain.model.limits(4))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of every computation of keys and values that was begun the number of its texts."""
    calls, plainly = list[int](), unet_texts.text_keys

    def counting(ops: Any, weights: Any, readers: Any) -> Iterator[tuple[Any, Any]]:
        calls.append(len(readers))
        yield from plainly(ops, weights, readers)

    monkeypatch.setattr(unet_texts, "text_keys", counting)
    return calls


def draw(engine: Engine, *specs: GenerationSpec) -> list[Any]:
    """Draw specs together, each of which joins a step later than the one before; the first is parked behind the second
    step, and is resumed when the others have ended."""
    waiting, opened = list(specs), list[Any]()
    parked = None
    while waiting or any(generation.state == "running" for generation in opened) or parked is not None:
        if waiting:
            opened.append(engine.open(waiting.pop(0)))
        elif parked is not None and all(generation.state != "running" for generation in opened[1:]):
            opened[0], parked = engine.resume(parked), None
        if running := [generation for generation in opened if generation.state == "running"]:
            engine.step(running)
        if len(specs) > 1 and len(opened) == 2 and waiting and parked is None and opened[0].state == "running":
            parked = engine.park(opened[0])
    made = [engine.finish(generation) for generation in opened]
    for generation in opened:
        engine.close(generation)
    return made


def spec_of(engine: Engine, prompt: str, **fields: Any) -> GenerationSpec:
    return engine.make_spec(prompt, **{"width": 16, "height": 16, "steps": 3, "guidance_scale": 3.0, **fields})


def test_once_for_a_prompt_and_the_same_bits(plain: Engine, keeping: Engine, computed: list[int]) -> None:
    specs = [
        spec_of(plain, "a cat", seed=1),
        spec_of(plain, "a dog", seed=2, images=2, height=24),
        spec_of(plain, "a cat", seed=3, steps=2, negative_prompt="a house"),
        spec_of(plain, "a red apple", seed=4, chaos=50, images=2, guidance_scale=1.0),
    ]
    before = [draw(plain, spec)[0] for spec in specs]
    assert computed == [2] * 4, "each picture alone has one layout, of two texts"
    computed.clear()
    for got, want in zip(draw(keeping, *specs), before, strict=True):
        np.testing.assert_array_equal(got, want)
    arena = keeping.adapters.arena
    # Two prompts, the empty one, the negative one, and what each image makes of the apple: one by one, and not again.
    assert computed == [1] * 6
    assert (arena.misses, len(arena)) == (6, 6)
    assert all(not entry.pins for entry in arena._entries.values())
    again = [draw(keeping, spec)[0] for spec in specs]
    for got, want in zip(again, before, strict=True):
        np.testing.assert_array_equal(got, want)
    assert arena.misses == 6, "what nobody reads any more stays until its pages are needed"
    arena.check()


def test_loras_have_keys_of_their_own_where_they_change_them(
    plain: Engine, keeping: Engine, computed: list[int], tmp_path: Path
) -> None:
    at = "mid_block.attentions.0.transformer_blocks.0"
    digests = []
    for number, layers in enumerate(({f"{at}.attn2.to_k": (128, 192)}, {f"{at}.attn1.to_q": (128, 128)})):
        made = lora_files.changes(layers, rank=2, seed=number, scale=2.0)
        arrays = {f"unet.{name.removeprefix('transformer.')}": each for name, each in lora_files.peft(made).items()}
        digest, path = lora_files.write(tmp_path / f"{number}.safetensors", arrays)
        for engine in (plain, keeping):
            engine.add_lora(digest, path)
        digests.append(digest)
    specs = [
        spec_of(plain, "a cat", guidance_scale=1.0, loras=loras)
        for loras in ([], [(digests[0], 0.8)], [(digests[0], 0.5)], [(digests[1], 0.8)])
    ]
    before = [draw(plain, spec)[0] for spec in specs]
    computed.clear()
    for got, want in zip(draw(keeping, *specs), before, strict=True):
        np.testing.assert_array_equal(got, want)
    assert computed == [1] * 3, "without, and with either weight of the LoRA that changes them"
    assert len({pixels.tobytes() for pixels in before}) == 4


def test_texts_make_room_for_adapters_and_come_back(plain: Engine, computed: list[int]) -> None:
    page = plain.adapters.arena.page_bytes
    engine = Engine(plain.ops, plain.model, replace(plain.limits, arena_bytes=40 * page))  # of two texts
    arena, texts = engine.adapters.arena, [spec_of(plain, "a cat"), spec_of(plain, "a dog", guidance_scale=1.0)]
    before = [draw(plain, spec)[0] for spec in texts]
    computed.clear()
    opened = [engine.open(spec) for spec in texts]
    assert (len(arena), computed) == (2, [1, 1]), "there is no room for a third"
    engine.step(opened)
    assert computed == [1, 1, 1], "which the layout computes"
    arena.pin("adapter", ROWS, lambda *_: None)
    assert len(arena) == 2
    engine.step(opened[:1])
    assert computed == [1, 1, 1, 1], "of the two that it reads the one that went"
    arena.unpin("adapter")
    while running := [generation for generation in opened if generation.state == "running"]:
        engine.step(running)
    for generation, want in zip(opened, before, strict=True):
        np.testing.assert_array_equal(engine.finish(generation), want)
        engine.close(generation)
    assert "adapter" not in arena
    arena.check()
    assert all(not entry.pins for entry in arena._entries.values())


def test_the_arena_has_room_for_what_four_pictures_read(plain: Engine) -> None:
    model, wide = plain.model, 10**6  # bytes of a number, so that it is more than the usual
    denoiser: Any = model.denoiser
    assert 2 * sum(model.text_widths) == denoiser.config.text_columns
    assert model.limits(4).arena_bytes == 2**28
    assert model.limits(wide).arena_bytes == 8 * (ROWS + 3) * denoiser.config.text_columns * wide
