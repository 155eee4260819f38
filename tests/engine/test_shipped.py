"""The model that Salon ships: every file of it loads and is drawn with, and its settings resolve to what they are.

Numbers here are golden: who changes a default of the shipped model on purpose changes it here too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from salon.engine.checkpoint import Checkpoint
from salon.engine.config import Config
from salon.engine.default_style import load_default_style
from salon.engine.digests import content_digest, shipped_files
from salon.engine.engine import EMBEDDED, Engine
from salon.engine.errors import MissingFile, PromptError
from salon.engine.generation import State
from salon.engine.lora_rules import load_lora_rules
from salon.engine.safetensors_file import SafetensorsFile
from salon.engine.spec import AdapterUse
from salon.engine.text.neighbours import names_of
from salon.engine.text.pipelines.clauses import ClausePipeline
from salon.kernels.bfloat16 import widen

from .conftest import write_tiny
from .lora_files import changes, peft, write
from .test_loading import edit_json

SALON: dict[str, Any] = json.loads((EMBEDDED / "salon.json").read_text())
PROMPT = "a red apple"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(dtype="float32")


def pixels(engine: Engine, *uses: AdapterUse, prompt: str = PROMPT) -> Any:
    """A picture in two steps."""
    generation = engine.open(engine.make_spec(prompt, steps=2, seed=3, adapters=uses))
    while generation.state is State.RUNNING:
        engine.step([generation])
    picture = engine.finish(generation)
    engine.close(generation)
    return picture


# ---- every file -----------------------------------------------------------------------------------------------------


def copy_of_shipped(path: Path) -> Path:
    """The shipped folder, its components' weights cut short: the digest is of bytes, whatever they mean."""
    shutil.copytree(EMBEDDED, path, ignore=shutil.ignore_patterns("recipe"))
    for file in path.glob("*/*.safetensors"):
        os.truncate(file, 1000)
    return path


def digest_of(folder: Path) -> str:
    """The digest of a folder that need not load."""
    checkpoint = Checkpoint(folder)
    salon = Config(folder / "salon.json", json.loads((folder / "salon.json").read_text()))
    return content_digest(checkpoint, checkpoint.components, shipped_files(salon))


def test_the_digest_covers_every_file_that_the_model_ships(tmp_path: Path, engine: Engine) -> None:
    """house.md 4, drift: the adapter was in no digest, and the style encoder only where it gives the default style, so
    that a picture in a style was vouched for by the digest of a model that draws it differently."""
    folder = copy_of_shipped(tmp_path / "model")
    whole, noticed = digest_of(folder), {}
    assert set(Checkpoint(folder).components) == set(engine.model.components)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.name in ("README.md", "NOTICE", "licences.json"):
            continue  # about the model, not of it
        if file.name == "taste.safetensors":
            continue  # it decides what is learned of a user; a code has what came of that, and draws without it
        content = file.read_bytes()
        file.write_bytes(content + b"\n")
        noticed[file.relative_to(folder).as_posix()] = digest_of(folder) != whole
        file.write_bytes(content)
    assert {"adapter.safetensors", "style_encoder.safetensors", "neighbours.safetensors"} < noticed.keys()
    assert len(noticed) >= 16
    assert [name for name, was in noticed.items() if not was] == []


def test_a_step_with_the_shipped_adapter_and_default_style(engine: Engine) -> None:
    """house.md 6: nothing noticed when the adapter was cut, made random or given other style vectors' width."""
    style = load_default_style(EMBEDDED, SALON)
    assert style is not None
    adapter = engine.model.denoiser.adapter_file(engine.ops, EMBEDDED / "adapter.safetensors")
    assert adapter.projection.embedding_width == len(style.vector)
    assert (adapter.projection.num_tokens, adapter.branch.token_width) == (4, 384)
    engine.add_branch(adapter)
    engine.register_adapter("style", adapter.projection.tokens(engine.ops, style.vector[None]))
    engine.register_adapter("null", adapter.projection.tokens(engine.ops, style.null[None]))
    plain = pixels(engine)
    half = pixels(engine, AdapterUse("style", 0.5, "null"))
    np.testing.assert_array_equal(pixels(engine, AdapterUse("style", 0.0, "null")), plain)
    difference = np.abs(half.astype(int) - plain.astype(int))
    assert difference.max() > 0
    assert 1 < difference.mean() < 40, "a style changes a picture and does not destroy it"


def test_the_shipped_default_style() -> None:
    style = load_default_style(EMBEDDED, SALON)
    assert style is not None
    assert style.words == "3d render"
    assert style.points == ((0.0, 0.0), (100.0, 0.4), (1000.0, 1.6))
    assert [style.weight(s) for s in (0, 50, 100, 1000)] == pytest.approx([0.0, 0.2, 0.4, 1.6])
    vectors = style_vectors()
    rows = SALON["style_vectors"]["rows"]
    assert np.array_equal(style.vector, vectors[rows.index("3d render")])


def style_vectors() -> Any:
    entry = SALON["style_vectors"]
    return widen(SafetensorsFile(EMBEDDED / entry["file"]).array(entry["tensor"]), "styles")


def test_every_style_vector_is_a_drawing_style_of_its_own() -> None:
    vectors = style_vectors()
    assert SALON["style_vectors"]["rows"] == list(SALON["text"]["styles"])
    assert vectors.shape == (12, 256)
    assert np.isfinite(vectors).all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.triu(unit @ unit.T, 1).max() < 0.99


ENCODER = {  # PyTorch's layers of `models/mini/recipe/style.py`, by name
    "encoder.first.0": (96, 16, 3, 3),
    "encoder.second.0": (96, 96, 3, 3),
    "encoder.third.0": (192, 96, 3, 3),
    "encoder.out.0": (512, 800),
    "encoder.out.2": (256, 512),
    "heads.style": (12, 256),
    "heads.background": (18, 256),
    "heads.palette": (7, 256),
    "heads.finish": (4, 256),
}


def test_the_style_encoders_tensors() -> None:
    file = SafetensorsFile(EMBEDDED / "style_encoder.safetensors")
    wanted = {"styles": (12, 256), "null": (256,)}
    for name, shape in ENCODER.items():
        wanted |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    assert {name: info.shape for name, info in file.tensors.items()} == wanted
    for name in wanted:
        assert np.isfinite(widen(file.array(name), name)).all(), name


def test_statistics_and_neighbours(engine: Engine) -> None:
    text = engine.model.text
    assert isinstance(text, ClausePipeline)
    assert 0.05 < text.stats.token_std.min() < text.stats.token_std.max() < 5
    neighbours = text.neighbours
    assert neighbours is not None
    assert (len(neighbours.names), neighbours.least) == (988, 0.3)
    assert len(neighbours.names) == len(names_of(SALON["vocabulary"]))
    for name in ("abacus", "red apple", "cat", "zebra"):  # each name's row is its own
        assert neighbours.nearest(text.encode(name).pooled) == name


def test_no_file_is_shipped_that_no_test_here_reads() -> None:
    read = {"adapter.safetensors", "style_encoder.safetensors", "neighbours.safetensors", "text_stats.safetensors"}
    read.add("taste.safetensors")  # tests/engine/taste, tests/recipe/test_taste.py
    assert {path.name for path in EMBEDDED.glob("*.safetensors")} == read


def test_a_file_that_salon_json_names_and_nobody_has_is_refused(tmp_path: Path) -> None:
    """It was left out of the digest without a word."""
    folder = write_tiny(tmp_path / "model")
    edit_json(folder / "salon.json", default_style={"file": "style.safetensors", "tensor": "styles", "row": 0})
    with pytest.raises(MissingFile, match=r"style.safetensors: no such file, expected .* default_style.file of salon"):
        Engine.load(folder, backend="reference")


# ---- the digest of the architecture ---------------------------------------------------------------------------------


def test_the_architecture_is_the_same_with_other_values(tmp_path: Path) -> None:
    def of(folder: Path) -> tuple[str, str]:
        model = Engine.load(folder, backend="reference").model
        return model.digest, model.architecture_digest

    folder = write_tiny(tmp_path / "model")
    first = of(folder)
    assert len(first[1]) == 64
    seen, path = {first[0]}, folder / "transformer" / "diffusion_pytorch_model.safetensors"
    for change in (
        lambda: save_file({n: 2 * a for n, a in arrays(path).items()}, path),
        lambda: edit_json(folder / "vae" / "config.json", scaling_factor=0.5),
        lambda: edit_json(folder / "salon.json", name="other", defaults=SALON_TINY | {"guidance_scale": 2.0}),
        lambda: edit_json(folder / "scheduler" / "scheduler_config.json", shift=2.0),
    ):
        change()
        digest, architecture = of(folder)
        assert architecture == first[1]
        seen.add(digest)
    assert len(seen) == 5
    slots = json.loads((folder / "salon.json").read_text())["text"]
    slots["slots"][0]["tokens"] += 1
    edit_json(folder / "salon.json", text=slots)
    rows = of(folder)[1]
    save_file({n: a.astype(np.float16) for n, a in arrays(path).items()}, path)
    halves = of(folder)[1]
    save_file({"vectors": np.ones((2, 3), np.float32)}, folder / "adapter.safetensors")
    adapter = of(folder)[1]
    assert len({first[1], rows, halves, adapter}) == 4


SALON_TINY = {"width": 16, "height": 16, "steps": 3, "solver": "euler"}


def arrays(path: Path) -> dict[str, Any]:
    """All arrays of a file, read whole, so that it can be written again."""
    file = SafetensorsFile(path)
    return {name: file.array(name).copy() for name in file.tensors}


# ---- the settings ---------------------------------------------------------------------------------------------------


def test_the_shipped_defaults_as_the_engine_resolves_them(engine: Engine) -> None:
    """house.md 6: no test noticed another guidance, number of steps or draft in salon.json."""
    spec = engine.make_spec(PROMPT)
    assert (spec.width, spec.height, spec.steps, spec.solver) == (128, 128, 20, "euler")
    assert (spec.guidance_scale, spec.embedded_guidance, spec.shift) == (4.0, None, None)
    assert (spec.images, spec.adapters, spec.negative_prompt) == (1, (), "")
    assert dict(engine.model.draft) == {"steps": 4, "solver": "euler", "shift": 2.0}
    assert engine.model.architecture.granularity == 16
    assert engine.size_for_aspect(16, 9) == (176, 96)
    assert engine.make_spec(PROMPT, aspect=(9, 16)).width == 96
    assert (engine.model.name, engine.model.version) == ("salon-mini", "1")


def test_the_shipped_text_pipeline(engine: Engine) -> None:
    text = engine.model.text
    assert isinstance(text, ClausePipeline)
    slots = [(slot.name, slot.tokens, slot.form) for slot in text.slots]
    assert slots == [
        ("subject", 6, "{}"), ("style", 4, "{} style"), ("background", 3, "{} background"), ("palette", 3, "{}"),
        ("finish", 3, "{}"),
    ]  # fmt: skip
    assert text.num_rows == 19
    assert [len(SALON["text"][key]) for key in ("styles", "palettes", "backgrounds", "finishes")] == [12, 6, 18, 3]


def test_full_width_punctuation_draws_what_ascii_draws(engine: Engine) -> None:
    """faults.md 5: style and background were lost."""
    ascii = pixels(engine, prompt="a red apple, 3d render, teal background")
    wide = pixels(engine, prompt="a red apple\uff0c3d render\uff0cteal background")
    np.testing.assert_array_equal(wide, ascii)
    assert (wide != pixels(engine)).any()


@pytest.mark.parametrize(
    "prompt",
    [
        "一只红色的苹果在桌子上",
        "猫",
        "un gato negro",
        "supercalifragilisticexpialidocious",
        "Донаудампфшиффартсгезельшафт",
    ],
)
def test_a_text_that_it_cannot_read_is_refused(engine: Engine, prompt: str) -> None:
    """faults.md 4: note and recipe claimed that all of it is used, and something was drawn."""
    with pytest.raises(PromptError, match="allowed a thing that the model was taught"):
        engine.open(engine.make_spec(prompt))


def test_what_is_left_out_is_on_the_generation(engine: Engine) -> None:
    """Of both prompts, and of its size; a strict spec is refused for the words alone."""
    asked: dict[str, Any] = {"negative_prompt": "people", "width": 256, "height": 32}
    generation = engine.open(engine.make_spec("a puppy", **asked))
    words, avoided, size = generation.warnings
    assert words == "'a puppy' is drawn as 'dog', the nearest thing that the model knows"
    assert avoided == "negative_prompt: 'people' is left out: the model draws no such thing"
    assert size.startswith("256 x 32: the model was taught up to 16:9")
    assert generation.clauses == {"subject": "dog"}
    engine.close(generation)
    with pytest.raises(PromptError, match="strict: got 'a puppy' is drawn as 'dog', .* / negative_prompt: 'people' is"):
        engine.make_spec("a puppy", strict=True, **asked)
    assert engine.make_spec("a dog", strict=True, width=256, height=32).width == 256


def test_the_shipped_sigmas(engine: Engine) -> None:
    sigmas = engine.model.sigmas
    assert (sigmas.shift, sigmas.use_dynamic_shifting) == (1.0, False)
    np.testing.assert_array_equal(sigmas.sigmas(4, 64), np.array([1, 0.75, 0.5, 0.25, 0], np.float32))


THREADS = """
import os
if os.environ["ONE"]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from salon.kernels.cpu import CpuOps
print(CpuOps().threads, len(os.sched_getaffinity(0)))
"""


@pytest.mark.parametrize("one", ["", "yes"])
def test_threads_are_one_for_each_usable_core(one: str) -> None:
    """house.md 6: a default of one thread was noticed by nothing but the clock."""
    env = {key: value for key, value in os.environ.items() if key != "SALON_THREADS"} | {"ONE": one}
    run = subprocess.run([sys.executable, "-c", THREADS], env=env, capture_output=True, text=True, timeout=300)
    threads, cores = map(int, run.stdout.split())
    assert threads == min(cores, allowed_cores())


def allowed_cores() -> int:
    """What the control groups of this process leave it of the cores, rounded up."""
    own = Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip().lstrip("/")
    folder, least = Path("/sys/fs/cgroup") / own, 1 << 20
    for path in (folder, *folder.parents):
        file = path / "cpu.max"
        if file.is_file() and not file.read_text().startswith("max"):
            quota, period = map(int, file.read_text().split())
            least = min(least, max(1, -(-quota // period)))
    return least


def test_a_lora_of_its_width_changes_pictures_with_its_weight(engine: Engine, tmp_path: Path) -> None:
    where = load_lora_rules().where
    assert where is not None
    layers = {name: (max(place.stop for place in places), where.targets[places[0].target][1])
              for name, places in where.layers.items() if ".attn.to_" in name}  # fmt: skip
    digest, path = write(tmp_path / "lora.safetensors", peft(changes(layers, rank=8, scale=0.1)))
    engine.add_lora(digest, path)

    def latents(*loras: Any) -> Any:
        spec = engine.make_spec(PROMPT, steps=2, seed=1, width=64, height=64, loras=loras)
        generation = engine.open(spec)
        while generation.state == "running":
            engine.step([generation])
        found = engine.ops.numpy(generation.latents)
        engine.close(generation)
        return found

    plain = latents()
    np.testing.assert_array_equal(latents((digest, 0)), plain)
    apart = [float(np.abs(latents((digest, weight)) - plain).mean()) for weight in (0.25, 0.5, 1.0, 2.0)]
    assert apart[0] > 1e-3
    assert apart == sorted(apart)
