"""A model family, a text pipeline and a latent codec are one file each: here one of each is added, and draws."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import save_file

from salon.engine import codecs, families
from salon.engine.checkpoint import Checkpoint
from salon.engine.engine import Engine
from salon.engine.errors import PromptError, SpecError, UnknownArchitecture, WrongConfig
from salon.engine.text import pipelines

from .conftest import SCHEDULER

Add = Callable[[ModuleType, str, str], None]

WASH = '''
"""A wash of one colour: the mean of the text."""
import numpy as np

from salon.engine import codecs
from salon.engine.info import Architecture
from salon.engine.memory import MemoryCoefficients

HELP = "one colour"
PIPELINES = ("WashPipeline",)
COMPONENTS = {"brush": ("mine", ("Brush",)), "paper": codecs.codec("paper").CLASSES}
UNREAD = {"easel": "it stands behind the picture"}
TEXT = {}
VAE = {}

class Wash:
    def __init__(self, strength, source, codec):
        self.strength, self.source, self.codec = strength, source, codec
        self.sizes = {"brush": {"width": 3}}

    def architecture(self, sigmas):
        return Architecture(
            granularity=self.codec.granularity, token_channels=3, text_width=3, pooled_width=1,
            embedded_guidance=None, adapter_layers=0, adapter_width=0, sigmas=sigmas,
        )

    def memory(self, itemsize):
        return MemoryCoefficients(row=12, image_row=12, sample=12, pixel=self.codec.pixel_bytes(itemsize))

    def times(self, sigmas):
        return sigmas

    def layout(self, ops, samples, adapters=None):
        rows = [s.text.tokens.mean(axis=0, keepdims=True).repeat(s.grid[0] * s.grid[1], axis=0) for s in samples]
        return ops.array(np.concatenate(rows), "float32")

    def velocity(self, ops, layout, latents, times, pages=None):
        pull = ops.numpy(layout) - self.strength * ops.numpy(latents)
        return ops.array(-pull, "float32")

def fits(checkpoint):
    return checkpoint.index["_class_name"] in PIPELINES

def of_file(file):
    return {}

def settings(checkpoint):
    return {}

def want_text(components, width, pooled):
    if width != 3:
        components["brush"].config.refuse("width", "3 numbers a word", width)

def load(ops, components):
    strength = components["brush"].weights()
    array = strength.take("strength", 1)
    strength.finish()
    source = components["brush"].config
    assert codecs.codec("paper").token_channels(components["paper"]) == 3
    return Wash(array[0], source, codecs.codec("paper").load(ops, components["paper"]))
'''
PAPER = '''
"""A token is a square of one colour."""
import numpy as np

HELP = "squares"
CLASSES = ("mine", ("Paper",))

class Paper:
    sizes = {}

    def __init__(self, side):
        self.granularity = side

    def pixel_bytes(self, itemsize):
        return 12

    def decode(self, ops, latents, grids, *, wrap=False):
        tokens, parts, start = ops.numpy(latents), [], 0
        for height, width in grids.tolist():
            image = tokens[start : start + height * width].reshape(height, width, 3)
            start += height * width
            parts.append(image.repeat(self.granularity, axis=0).repeat(self.granularity, axis=1).reshape(-1, 3))
        return ops.array(np.concatenate(parts), "float32")

def token_channels(component):
    return 3

def load(ops, component):
    return Paper(component.config.integer("side"))
'''
COLOURS = '''
"""Words are colours."""
import numpy as np

from salon.engine.errors import PromptError
from salon.engine.text.pipeline import read_only
from salon.engine.text.pipelines import settings_of

HELP = "names of colours"
COMPONENTS = {}

def files(salon):
    return {}

class Colours:
    parts = (2,)
    num_rows = 2
    sizes = {}
    widths = (3, 1)

    def __init__(self, table):
        self.table = table
        self.unconditional = read_only(np.zeros((2, 3), np.float32), np.zeros(1, np.float32))

    def encode(self, prompt, field="prompt"):
        words = prompt.split()
        if not set(words) <= self.table.keys():
            raise PromptError(f"{field}: got {prompt!r}, want colours")
        rows = np.array([self.table[word] for word in (words * 2)[:2]], np.float32)
        return read_only(rows, np.zeros(1, np.float32))

def widths(components, salon):
    return Colours.widths

def load(ops, components, salon, limits):
    return Colours(settings_of(salon).values["colours"])
'''


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    packages = (families, codecs, pipelines)
    for package in packages:
        folder = tmp_path / package.__name__
        folder.mkdir()
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        monkeypatch.setattr(package.PLUGINS, "_path", package.__path__)

    def add(package: ModuleType, name: str, text: str) -> None:
        (tmp_path / package.__name__ / f"{name}.py").write_text(text)
        package.PLUGINS.forget()

    yield add
    for package in packages:
        package.PLUGINS.forget()


def write_wash(folder: Path, **index: object) -> Path:
    """A checkpoint of the family `wash`."""
    configs = {
        "brush/config.json": {"width": 3},
        "paper/config.json": {"side": 8},
        "scheduler/scheduler_config.json": SCHEDULER,
        "salon.json": {
            "format": 1,
            "text": {"pipeline": "colours", "colours": {"red": [1, -1, -1], "blue": [-1, -1, 1]}},
            "defaults": {"width": 16, "height": 8, "steps": 1, "guidance_scale": 2.0, "solver": "euler"},
        },
        "model_index.json": {
            "_class_name": "WashPipeline",
            "brush": ["mine", "Brush"],
            "paper": ["mine", "Paper"],
            "scheduler": ["diffusers", SCHEDULER["_class_name"]],
            **index,
        },
    }
    for name, values in configs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(values))
    save_file({"strength": np.array([-1.0], np.float32)}, folder / "brush" / "model.safetensors")
    return folder


def test_new_files_are_a_family_a_text_pipeline_and_a_codec_that_draw(add: Add, tmp_path: Path) -> None:
    folder = write_wash(tmp_path / "model", easel=["mine", "Easel"])
    with pytest.raises(UnknownArchitecture, match='FluxPipeline.*, found "WashPipeline"; .* has: flux'):
        Engine.load(folder, backend="reference")
    add(codecs, "paper", PAPER)
    add(families, "wash", WASH)
    with pytest.raises(UnknownArchitecture, match='\'pipeline\', expected .*"clip_t5".*, found "colours"'):
        Engine.load(folder, backend="reference")
    add(pipelines, "colours", COLOURS)
    assert {"flux", "wash"} <= {*families.names()}
    engine = Engine.load(folder, backend="reference")

    apple, sea = engine.open(engine.make_spec("red", seed=1)), engine.open(engine.make_spec("blue red", seed=2))
    colours = {apple: (1, -1, -1), sea: (0, -1, 0)}
    # x = noise - v with v = -(text + noise), guided by 2 against no text.
    want = [2 * engine.ops.numpy(g.latents) + 2 * np.array(colour, np.float32) for g, colour in colours.items()]
    engine.step([apple, sea])
    for generation, latents in zip((apple, sea), want, strict=True):
        np.testing.assert_allclose(engine.ops.numpy(generation.latents), latents, rtol=1e-5, atol=1e-6)
        pixels = engine.finish(generation)
        squares = np.rint((latents.clip(-1, 1) + 1) * 127.5).astype(np.uint8).reshape(1, 2, 3)
        np.testing.assert_array_equal(pixels, squares.repeat(8, axis=0).repeat(8, axis=1)[None])
        assert pixels.std() > 0
    with pytest.raises(PromptError, match="want colours"):
        engine.open(engine.make_spec("loud"))
    with pytest.raises(SpecError, match="width: got 12, allowed multiples of 8"):
        engine.open(engine.make_spec("red", width=12))
    assert engine.info.text_rows == 2
    assert {*engine.model.components} == {"brush", "paper", "scheduler"}
    assert len(engine.model.architecture_digest) == 64


def test_what_does_not_belong_to_a_family_is_refused(add: Add, tmp_path: Path) -> None:
    add(codecs, "paper", PAPER)
    add(families, "wash", WASH)
    add(pipelines, "colours", COLOURS)
    folder = write_wash(tmp_path / "stand", stand=["mine", "Stand"])
    with pytest.raises(UnknownArchitecture, match="'stand', expected no such setting"):
        Engine.load(folder, backend="reference")
    folder = write_wash(tmp_path / "brush", brush=["mine", "Broom"])
    with pytest.raises(UnknownArchitecture, match="'brush', expected mine's Brush, found"):
        Engine.load(folder, backend="reference")
    add(pipelines, "colours", COLOURS.replace("(3, 1)", "(4, 1)"))
    (tmp_path / pipelines.__name__ / "colours.py").rename(tmp_path / pipelines.__name__ / "wide.py")
    pipelines.PLUGINS.forget()
    folder = write_wash(tmp_path / "wide")
    salon = json.loads((folder / "salon.json").read_text())
    salon["text"]["pipeline"] = "wide"
    (folder / "salon.json").write_text(json.dumps(salon))
    with pytest.raises(WrongConfig, match="'width', expected 3 numbers a word, found 4"):
        Engine.load(folder, backend="reference")


def test_two_families_of_one_name_are_refused(add: Add, tiny_model: Path) -> None:
    add(families, "flux", WASH)
    with pytest.raises(ValueError, match="model family 'flux': got two, in .* want one; rename one"):
        families.family_of(Checkpoint(tiny_model))


def test_a_codec_decodes_images_of_several_sizes_at_once(tiny_model: Path, backend: str) -> None:
    engine = Engine.load(tiny_model, backend=backend)
    ops, codec, rng = engine.ops, engine.model.denoiser.codec, np.random.default_rng(4)
    grids = np.array([[3, 5], [1, 1], [4, 2]], np.int32)
    images = [rng.standard_normal((height * width, 16)).astype(np.float32) for height, width in grids.tolist()]
    together = ops.numpy(codec.decode(ops, ops.array(np.concatenate(images), "float32"), grids))
    alone = [
        ops.numpy(codec.decode(ops, ops.array(image, "float32"), grids[j : j + 1])) for j, image in enumerate(images)
    ]
    assert [len(image) for image in alone] == (grids.prod(axis=1) * codec.granularity**2).tolist()
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("package", [families, codecs, pipelines])
def test_every_one_says_what_it_is(package: ModuleType) -> None:
    assert package.names()
    for name in package.names():
        assert package.PLUGINS.get(name).HELP
