"""What holds for every family, on the folders that diffusers itself saves of tiny random pipelines."""

from __future__ import annotations

import json
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
from PIL import Image

from salon.engine import families
from salon.engine.checkpoint import Checkpoint
from salon.engine.engine import Engine
from salon.engine.errors import WrongConfig
from salon.engine.files.opening import ModelPath
from salon.engine.limits import Limits
from salon.engine.loading import load_model
from salon.engine.survey import survey
from salon.kernels.cpu import CpuOps

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file

from salon.bench.families import tiny_flux, tiny_flux2, tiny_krea2, tiny_qwen, tiny_unet, tiny_z_image

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
        capture_output=True, text=True, timeout=120,
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
