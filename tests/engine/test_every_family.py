"""What holds for every family, on the folders that diffusers itself saves of tiny random pipelines."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from PIL import Image

from salon.engine import families
from salon.engine.checkpoint import Checkpoint
from salon.engine.denoiser import Sample
from salon.engine.engine import Engine
from salon.engine.errors import UnknownArchitecture, WrongConfig
from salon.engine.files.opening import ModelPath
from salon.engine.limits import Limits
from salon.engine.loading import load_model
from salon.engine.survey import survey
from salon.engine.text.pipeline import TextEncoding
from salon.kernels.cpu import CpuOps

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file

from salon.bench.families import tiny_flux, tiny_flux2, tiny_krea2, tiny_qwen, tiny_unet, tiny_z_image

from .test_gguf import kept, write
from .test_quantised import E4M3, quantised

Float32 = np.ndarray[Any, np.dtype[np.float32]]
MAKERS: dict[str, Callable[[], Any]] = {
    "flux": tiny_flux.pipeline,
    "flux2": lambda: tiny_flux2.pipeline(dev=False),
    "krea2": tiny_krea2.pipeline,
    "qwen_image": tiny_qwen.pipeline,
    "sd15": tiny_unet.sd_pipeline,
    "sdxl": tiny_unet.xl_pipeline,
    "z_image": tiny_z_image.pipeline,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    for name, make in MAKERS.items():
        make().save_pretrained(root / name, safe_serialization=True)
    return {name: root / name for name in MAKERS}


def linked(folder: Path, to: Path, part: str = "") -> Path:
    """Return a copy of a model's folder: of one part the files, of others links to them."""
    to.mkdir()
    for path in folder.iterdir():
        if path.name == part:
            shutil.copytree(path, to / part)
        else:
            os.symlink(path, to / path.name)
    return to


# ---- without the libraries that saved them ---------------------------------------------------------------------------

BLOCKED = ("torch", "diffusers", "transformers")
SIDE = 32  # of a picture
ALONE = """
import sys

class Blocked:
    asked = []

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            self.asked.append(name)
            raise ModuleNotFoundError(f"{name} is not here", name=name)

sys.meta_path.insert(0, Blocked())
for name in sys.argv[1].split(","):
    assert name not in sys.modules
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")
Blocked.asked.clear()

from salon.frontends.cli import main

for model in sys.argv[2:]:
    words = ["imagine", "a big red apple --n 1 --seed 3 --steps 1", "--dtype", "float32", "--threads", "1"]
    code = main([*words, "--model", model, "-o", f"{model}.png"])
    assert code == 0, (model, code)
assert not Blocked.asked, Blocked.asked
"""


def test_the_command_line_draws_from_each_without_torch(folders: dict[str, Path], tmp_path: Path) -> None:
    """In one process in which what saved the folders cannot be imported."""
    for name, folder in folders.items():
        said = dict(families.PLUGINS.get(name).settings(Checkpoint(folder)))
        said["defaults"] = {**said["defaults"], "width": SIDE, "height": SIDE}
        (linked(folder, tmp_path / name) / "salon.json").write_text(json.dumps(said))
    environment = {key: value for key, value in os.environ.items() if key != "SALON_SERVER"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, ",".join(BLOCKED), *folders], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    seen = set()
    for name in folders:
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert (picture.size, picture.mode) == ((SIDE, SIDE), "RGB")
            assert len(picture.getcolors(SIDE * SIDE) or ()) > SIDE, f"{name}: of one colour"
            seen.add(picture.tobytes())
    assert len(seen) == len(folders)


# ---- text encoders of another model ---------------------------------------------------------------------------------


class NoWeights(CpuOps):
    """Ops that take no weight."""

    def array(self, *args: Any, **options: Any) -> NoReturn:
        raise AssertionError("a weight was packed")

    def pack_linear(self, *args: Any, **options: Any) -> NoReturn:
        raise AssertionError("a weight was packed")

    def pack_conv(self, *args: Any, **options: Any) -> NoReturn:
        raise AssertionError("a weight was packed")


# Family, component, keys of its config that are twice as large -> what is refused.
OTHERS = [
    ("flux", "text_encoder", ["hidden_size"], "'pooled_projection_dim', expected 128, the width of the text encoder,"),
    ("flux", "text_encoder_2", ["d_model"], "'joint_attention_dim', expected 64, the width of the text encoder,"),
    ("flux2", "text_encoder", ["hidden_size"], "'joint_attention_dim', expected 96, .*three states, found 48"),
    ("krea2", "text_encoder", ["hidden_size"], "'text_hidden_dim', expected states of 768 columns.*12 of 32"),
    ("qwen_image", "text_encoder", ["hidden_size", "num_attention_heads"], "'joint_attention_dim', expected 256,.*128"),
    ("sd15", "text_encoder", ["hidden_size"], "'cross_attention_dim', expected 128, .* found 64"),
    ("sdxl", "text_encoder", ["hidden_size"], "'cross_attention_dim', expected 256, .* found 192"),
    ("sdxl", "text_encoder_2", ["projection_dim"], "_input_dim', expected 256 more than six times .*, found 1664"),
    ("z_image", "text_encoder", ["hidden_size"], "'cap_feat_dim', expected 32, .* text encoder, found 16"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "part", "keys", "said"), OTHERS)
def test_a_text_encoder_of_another_size_is_refused_before_any_weight_is_packed(
    family: str, part: str, keys: list[str], said: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = linked(folders[family], tmp_path / family, part)
    file = folder / part / "config.json"
    config = json.loads(file.read_text())
    own = config.get("text_config", config)
    own.update({key: 2 * own[key] for key in keys})
    file.write_text(json.dumps(config))
    with pytest.raises(WrongConfig, match=said):
        load_model(NoWeights(dtype="float32", threads=1), folder, Limits())
    found = survey(ModelPath(folder), "float32")
    assert found.family == family
    assert re.search(said, found.problem)


def test_of_a_text_encoder_in_a_file_the_header_tells_the_size(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folders["z_image"]
    arrays = load_file(folder / "text_encoder" / "model.safetensors")
    key = "model.embed_tokens.weight"
    save_file({**arrays, key: torch.zeros(len(arrays[key]), 24)}, tmp_path / "qwen_3.safetensors")
    model = ModelPath.of(folder, [tmp_path / "qwen_3.safetensors", folder / "tokenizer"], None)
    said = "'cap_feat_dim', expected 24, the width of the text encoder, found 16"
    with pytest.raises(WrongConfig, match=said):
        load_model(NoWeights(dtype="float32", threads=1), model, Limits())
    assert re.search(said, survey(model, "float32").problem)


def test_a_text_encoder_that_sees_is_read_from_the_file_that_transformers_saves(folders: dict[str, Path]) -> None:
    folder, states = folders["krea2"], []
    for given in ([], [folder / "text_encoder" / "model.safetensors"]):
        model = Engine.load(folder, text_encoder=given, dtype="float32", threads=1).model
        assert model.text is not None
        states.append(model.text.encode("a big red apple").tokens)
    np.testing.assert_array_equal(states[0], states[1])


@pytest.mark.parametrize("family", MAKERS)
def test_a_whole_folder_packs_weights_of_the_widths_that_configs_say(family: str, folders: dict[str, Path]) -> None:
    """The other side of the test above: nothing stands in the way but what it changed."""
    with pytest.raises(AssertionError, match="a weight was packed"):
        load_model(NoWeights(dtype="float32", threads=1), folders[family], Limits())
    model = Engine.load(folders[family], dtype="float32", threads=1, require_text=True).model
    assert model.text is not None
    sizes = model.architecture
    assert tuple(model.text.widths) == (sizes.text_width, sizes.pooled_width)
    encoding = model.text.encode("a big red apple")
    assert (encoding.tokens.shape[1], len(encoding.pooled)) == tuple(model.text.widths)


@pytest.mark.parametrize("family", ["flux2", "krea2", "qwen_image", "z_image"])
def test_an_ip_adapter_is_refused_before_its_image_encoder_is_looked_for(
    family: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = ModelPath.of(folders[family], ip_adapter=tmp_path / "ip-adapter.safetensors")
    with pytest.raises(UnknownArchitecture, match=f"for a model that takes none, .*, found one of family {family};"):
        load_model(NoWeights(dtype="float32", threads=1), model, Limits())
    assert "takes none" in survey(model, "float32").problem


# ---- quantised files under the makers' names ------------------------------------------------------------------------

ORIGINALS: dict[str, Callable[[Path, Path], Any]] = {
    "flux2": lambda folder, to: tiny_flux2.originals(folder, to)["transformer"],
    "krea2": lambda folder, to: tiny_krea2.originals(folder, to)["transformer"],
    "qwen_image": lambda folder, to: tiny_qwen.originals(folder, to)["transformer"],
    "sdxl": lambda folder, to: tiny_unet.original(folder, to.with_suffix(".safetensors")),
    "z_image": lambda folder, to: tiny_z_image.originals(folder, to)["transformer"],
}
Q8_0, FP8, NVFP4 = "GGUF Q8_0", "fp8 (e4m3), scaled", "nvfp4"
QUANTISED = [
    *((family, layout) for family in ("flux2", "krea2", "qwen_image", "z_image") for layout in (FP8, Q8_0)),
    ("flux2", NVFP4), ("sdxl", "fp8 (e4m3)"),
]  # fmt: skip
# Into and out of a model, which those who quantise spare.
SPARED = ("img_in", "x_embedder", "x_pad", "cap_pad", "first", "final_layer", "last", "proj_out")
UNET = "model.diffusion_model."


@pytest.fixture(scope="module")
def originals(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The denoiser of each family as the single file that its makers publish."""
    root = tmp_path_factory.mktemp("originals")
    return {name: make(folders[name], root / name) for name, make in ORIGINALS.items()}


def velocity(file: Path, folder: Path) -> Float32:
    """What a model of a single file answers to two samples of different sizes, of texts that are numbers."""
    whole = (folder / "unet").is_dir()  # then all but the tokenizers lies in the file
    tokenizers = sorted(folder.glob("tokenizer*"), reverse=True) if whole else []
    engine = Engine.load(file, text_encoder=tokenizers, vae=None if whole else folder, dtype="float32", threads=1)
    ops, denoiser, sizes = engine.ops, engine.model.denoiser, engine.model.architecture
    random, grids = np.random.default_rng(5), ((8, 8), (4, 6))
    states, pooled = (random.standard_normal(n, np.float32) for n in ((7, sizes.text_width), sizes.pooled_width))
    text = TextEncoding(states, pooled)
    guidance = None if sizes.embedded_guidance is None else 3.5
    layout = denoiser.layout(ops, [Sample(grid, text, guidance) for grid in grids])
    latents = random.standard_normal((sum(a * b for a, b in grids), sizes.token_channels), np.float32)
    (times,) = ops.vectors(denoiser.times(np.array([0.7, 0.4], np.float32)))
    found: Float32 = ops.numpy(denoiser.velocity(ops, layout, ops.array(latents, "float32"), times))
    return found


def stored(family: str, layout: str, original: Path, to: Path) -> tuple[Path, dict[str, Any]]:
    """Write a file in a layout; return it, and the numbers that its arrays stand for."""
    arrays = load_file(original)
    made: Any
    plain: dict[str, Any]
    if layout == Q8_0:
        made, plain = kept({key: array.numpy() for key, array in arrays.items()}, Kind.Q8_0)
        return write(to / f"{original.stem}.gguf", family, made), {key: torch.tensor(a) for key, a in plain.items()}
    if family == "sdxl":  # all arrays of the UNet but vectors, convolutions too, without scales
        made = {k: a.to(E4M3) if k.startswith(UNET) and a.ndim > 1 else a for k, a in arrays.items()}
        plain = {k: a.float() if a.dtype == E4M3 else a for k, a in made.items()}
    else:
        made, plain = quantised(arrays, layout, SPARED)
    path = to / f"{original.stem}.safetensors"
    save_file(made, path)
    return path, plain


@pytest.mark.parametrize(("family", "layout"), QUANTISED)
def test_a_quantised_file_of_each_answers_as_its_numbers_do(
    family: str, layout: str, folders: dict[str, Path], originals: dict[str, Path], tmp_path: Path
) -> None:
    """To the bit as the plain file of the numbers that its codes stand for, and near to the file before rounding.

    How near: rounding changes each weight by a random part `step` of it (root mean square), so each product's output
    by as much, and those of all layers add up like independent errors. Rows that are cut wrongly are off by 1.
    """
    (tmp_path / "quantised").mkdir()
    path, numbers = stored(family, layout, originals[family], tmp_path / "quantised")
    plain = tmp_path / path.with_suffix(".safetensors").name
    save_file({key: array.contiguous() for key, array in numbers.items()}, plain)
    got, want, before = (velocity(file, folders[family]) for file in (path, plain, originals[family]))
    np.testing.assert_array_equal(got, want)
    own = load_file(originals[family])
    rounded = [(own[key].float(), array.float()) for key, array in numbers.items() if not torch.equal(own[key], array)]
    assert len(rounded) >= 8
    step = max(float((b - a).norm() / a.norm()) for a, b in rounded)
    assert 0 < step < {Q8_0: 0.01, NVFP4: 0.16}.get(layout, 0.06)
    off = float(np.linalg.norm(got - before) / np.linalg.norm(before))
    assert 0 < off < 2 * step * math.sqrt(len(rounded))


LLAMA = {
    "model.embed_tokens.": "token_embd.", "model.norm.": "output_norm.", "lm_head.": "output.", "model.layers.": "blk.",
    **{f".self_attn.{x}_proj.": f".attn_{x}." for x in "qkv"}, ".self_attn.o_proj.": ".attn_output.",
    **{f".mlp.{x}_proj.": f".ffn_{x}." for x in ("gate", "up", "down")},
    ".input_layernorm.": ".attn_norm.", ".post_attention_layernorm.": ".ffn_norm.",
}  # fmt: skip


def test_qwen_image_reads_by_a_text_encoder_of_llama_cpp(folders: dict[str, Path], tmp_path: Path) -> None:
    """Which has the language side alone, with its biases: what sees pictures is a file of its own there."""
    folder = folders["qwen_image"]
    files = tiny_qwen.originals(folder, tmp_path / "files")
    text = {key: a.numpy() for key, a in load_file(files["text"]).items() if not key.startswith("visual.")}
    made, plain = kept(text, Kind.Q8_0)

    def named(name: str) -> str:
        for own, theirs in LLAMA.items():
            name = name.replace(own, theirs)
        return name

    arrays = [(named(name), *rest) for name, *rest in made]
    assert "blk.1.attn_k.bias" in [name for name, *_ in arrays]
    save_file({key: torch.tensor(array) for key, array in plain.items()}, tmp_path / "plain.safetensors")
    states = []
    path = write(tmp_path / "Qwen2.5-VL-7B-Instruct-Q8_0.gguf", "qwen2vl", arrays)
    for file in (path, tmp_path / "plain.safetensors"):
        named_apart: dict[str, Any] = {"text_encoder": [file, folder / "tokenizer"], "vae": folder}
        engine = Engine.load(files["transformer"], **named_apart, dtype="float32", threads=1, require_text=True)
        assert engine.model.text is not None
        states.append(engine.model.text.encode("a big red apple").tokens)
    np.testing.assert_array_equal(states[0], states[1])
