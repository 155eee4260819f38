"""A denoiser's file in diffusers' own layout, copied out of a model's folder, draws what that folder draws."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from PIL import Image

from salon.engine.checkpoint import Checkpoint
from salon.engine.engine import Engine
from salon.engine.errors import MissingFile, MissingKey, UnknownArchitecture, WrongConfig
from salon.engine.files.opening import ModelPath, open_checkpoint, salon_of
from salon.engine.survey import survey
from salon.frontends.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file

from salon.bench.families import tiny_flux, tiny_flux2, tiny_krea2, tiny_qwen, tiny_unet, tiny_z_image

from .test_gguf import kept, write
from .test_quantised import quantised

Pixels = np.ndarray[Any, Any]
FILE = "diffusion_pytorch_model.safetensors"
MAKERS: dict[str, Callable[[], Any]] = {
    "flux": tiny_flux.pipeline,
    "flux2": lambda: tiny_flux2.pipeline(dev=False),
    "krea2": tiny_krea2.pipeline,
    "qwen_image": tiny_qwen.pipeline,
    "sd15": tiny_unet.sd_pipeline,
    "sdxl": tiny_unet.xl_pipeline,
    "z_image": tiny_z_image.pipeline,
}
UNETS = ("sd15", "sdxl")
SAYS = {"flux": "FLUX.1", "flux2": "FLUX.2", "krea2": "Krea 2", "qwen_image": "Qwen-Image", "sdxl": "SDXL",
        "sd15": "Stable Diffusion 1 or 2", "z_image": "Z-Image"}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    for name, make in MAKERS.items():
        make().save_pretrained(root / name, safe_serialization=True)
    return {name: root / name for name in MAKERS}


def home(folder: Path) -> Path:
    """The folder of a model's denoiser."""
    return folder / ("unet" if (folder / "unet").is_dir() else "transformer")


def copied(folder: Path, to: Path, name: str = FILE) -> Path:
    """The denoiser's one file, copied out of a model's folder."""
    to.mkdir(parents=True, exist_ok=True)
    shutil.copy(home(folder) / FILE, to / name)
    return to / name


def apart(folder: Path) -> dict[str, Any]:
    """The other parts of a model, each by its own folder, which says nothing of the whole model."""
    return {"vae": folder / "vae", "text_encoder": [*folder.glob("text_encoder*"), *folder.glob("tokenizer*")]}


def beside(folder: Path) -> dict[str, Any]:
    """The whole model's folder, for the other parts."""
    return {"vae": folder, "text_encoder": [folder]}


def drawn(model: Path, parts: Mapping[str, Any] | None = None, **fields: Any) -> Pixels:
    engine = Engine.load(model, **(parts or {}), dtype="float32", threads=1, require_text=True)
    generation = engine.open(engine.make_spec("a big red apple", seed=7, width=32, height=32, steps=2, **fields))
    while generation.state == "running":
        engine.step([generation])
    return engine.finish(generation)


def defaults(model: Path, parts: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for salon.json."""
    return dict(salon_of(open_checkpoint(ModelPath.of(model, **parts))).values)


# ---- of every family -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", MAKERS)
def test_it_draws_the_bits_of_the_folder_that_it_was_copied_out_of(
    family: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """With the other parts named one by one; with the folder named for them; and where it lies, in the folder."""
    folder = folders[family]
    own = copied(folder, tmp_path, "z_image_bf16.safetensors" if family == "z_image" else "some.safetensors")
    want = drawn(folder)
    np.testing.assert_array_equal(drawn(own, apart(folder)), want)
    for path in (own, copied(folder, tmp_path), home(folder) / FILE):
        np.testing.assert_array_equal(drawn(path, beside(folder)), want)
    whole = salon_of(Checkpoint(folder)).values
    assert defaults(tmp_path / FILE, beside(folder)) == whole
    assert defaults(home(folder) / FILE, apart(folder)) == whole


@pytest.mark.parametrize("family", MAKERS)
def test_a_survey_says_what_it_is_and_what_it_lacks(family: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder, own = folders[family], copied(folders[family], tmp_path)
    found = survey(ModelPath(own), "float32")
    assert (found.what.startswith(f"a single file: {SAYS[family]}"), found.family) == (True, family)
    assert "key 'vae'" in found.problem
    assert "name it with --vae" in found.problem
    assert str(folder) not in found.problem
    at_home = survey(ModelPath(home(folder) / FILE), "float32")
    assert at_home.problem.endswith(f"; or name the folder of the whole model, {folder}")
    with pytest.raises(WrongConfig, match=f"with --vae; or name the folder of the whole model, {folder}"):
        Engine.load(home(folder) / FILE, require_text=True)
    whole = survey(ModelPath.of(own, **beside(folder)), "float32")
    assert (whole.family, whole.problem) == (family, "")
    assert whole.notes == (
        f"it stands in place of the denoiser of {folder}: its config, scheduler and settings are that folder's",
    )


@pytest.mark.parametrize("family", UNETS)
def test_the_command_line_draws_it(
    family: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the size that the folder's config says, which for these is small."""
    monkeypatch.delenv("SALON_SERVER", raising=False)
    folder, own, seen = folders[family], copied(folders[family], tmp_path), []
    rest = ["--vae", str(folder), "--text-encoder", str(folder)]
    for number, parts in enumerate(([str(own), *rest], [str(home(folder) / FILE), *rest], [str(folder)])):
        words = ["imagine", "a big red apple --n 1 --seed 3", "--steps", "2", "--dtype", "float32", "--threads", "1"]
        out = str(tmp_path / f"{number}.png")
        assert main([*words, "--model", *parts, "-o", out]) == 0
        with Image.open(out) as picture:
            seen.append((picture.size, picture.tobytes()))
    assert seen[0] == seen[1] == seen[2]
    side = {"sdxl": 8 * 2, "sd15": 8 * 2}[family]
    assert seen[0][0] == (side, side)


SPARED = ("x_embedder", "img_in", "context_embedder", "time", "text_fusion", "proj_out", "final_layer", "all_")
FP8, NVFP4, Q8_0 = "fp8 (e4m3), scaled", "nvfp4", "GGUF Q8_0"
QUANTISED = [(family, FP8) for family in MAKERS] + [("flux", NVFP4), ("flux2", NVFP4)]
QUANTISED += [(family, Q8_0) for family in MAKERS if family not in UNETS]


@pytest.mark.parametrize(("family", "layout"), QUANTISED)
def test_a_quantised_one_draws_as_its_numbers_do(
    family: str, layout: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders[family]
    arrays = load_file(home(folder) / FILE)
    plain: dict[str, Any]
    if layout == Q8_0:
        made, numbers = kept({key: array.numpy() for key, array in arrays.items()}, Kind.Q8_0)
        path = write(tmp_path / "diffusion_pytorch_model.gguf", family, made)
        plain = {key: torch.tensor(array) for key, array in numbers.items()}
    else:
        others = {key: array for key, array in arrays.items() if not key.endswith(".weight")}  # tables and tokens
        stored, plain = quantised({key: arrays[key] for key in arrays.keys() - others.keys()}, layout, SPARED)
        stored, plain = stored | others, plain | others
        path = tmp_path / FILE
        save_file(stored, path)
    changed = sum(not torch.equal(plain[key].float(), array.float()) for key, array in arrays.items())
    assert changed > 8
    (tmp_path / "plain").mkdir()
    save_file({key: array.contiguous() for key, array in plain.items()}, tmp_path / "plain" / FILE)
    np.testing.assert_array_equal(drawn(path, beside(folder)), drawn(tmp_path / "plain" / FILE, beside(folder)))


# ---- what shapes do not say ------------------------------------------------------------------------------------------


def changed(folder: Path, to: Path, part: str, name: str = "config.json", **values: Any) -> Path:
    """A copy of a model's folder with other values in one file."""
    shutil.copytree(folder, to)
    file = to / part / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    return to


@pytest.fixture(scope="module")
def sd2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like Stable Diffusion 2's: other heads at every level, and v-prediction."""
    from diffusers import UNet2DConditionModel

    built = tiny_unet.sd_pipeline("v_prediction")
    kept = {key: value for key, value in built.unet.config.items() if key != "_use_default_values"}
    config = {**kept, "attention_head_dim": [1, 2, 4], "use_linear_projection": True, "sample_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        built.register_modules(unet=UNet2DConditionModel.from_config(config))
    folder = tmp_path_factory.mktemp("sd2") / "model"
    built.save_pretrained(folder, safe_serialization=True)
    return folder


def test_a_unet_like_those_of_stable_diffusion_2_wants_its_config(
    sd2: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    own, want = copied(sd2, tmp_path), drawn(sd2)
    said = (
        r"number of heads \(attention_head_dim\) not known, key 'mid_block.attentions.0.proj_in.weight', expected a "
        "config.json that says it, since no shape does, found a UNet like those of Stable Diffusion 2; name the folder "
        "of the model that it is of with --vae, whose unet/config.json is read too, or put that config.json beside"
    )
    for parts in (apart(sd2), beside(folders["sd15"])):  # nothing, and a folder of other shapes
        with pytest.raises(UnknownArchitecture, match=said):
            drawn(own, parts)
    assert "number of heads" in survey(ModelPath.of(own, **apart(sd2))).problem
    np.testing.assert_array_equal(drawn(own, beside(sd2)), want)
    assert defaults(own, beside(sd2))["defaults"]["width"] == 32
    shutil.copy(sd2 / "unet" / "config.json", tmp_path)
    np.testing.assert_array_equal(drawn(own, {**apart(sd2), "vae": sd2}), want)
    assert (drawn(own, apart(sd2)) != want).any(), "without its scheduler what it predicts is not known"


def test_heads_of_another_width_want_the_models_config(tmp_path: Path) -> None:
    from diffusers import FluxTransformer2DModel

    built = tiny_flux.pipeline()
    kept = {key: value for key, value in built.transformer.config.items() if key != "_use_default_values"}
    config = {**kept, "attention_head_dim": 64, "num_attention_heads": 2,
              "axes_dims_rope": (16, 16, 32)}  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        built.register_modules(transformer=FluxTransformer2DModel.from_config(config))
    folder = tmp_path / "model"
    built.save_pretrained(folder, safe_serialization=True)
    own = copied(folder, tmp_path / "alone")
    said = r"each axis of the rotation \(axes_dims_rope\) not known, .*norm_q.weight', .* found heads of 64 columns"
    with pytest.raises(UnknownArchitecture, match=said):
        drawn(own, apart(folder))
    np.testing.assert_array_equal(drawn(own, beside(folder)), drawn(folder))


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("sd15", {"norm_eps": 1e-2, "norm_num_groups": 16}),
        ("flux2", {"rope_theta": 100, "eps": 1e-3}),
        ("krea2", {"rope_theta": 100.0, "norm_eps": 1e-2}),
        ("z_image", {"rope_theta": 50.0, "t_scale": 500.0}),
        ("flux", {"axes_dims_rope": [32, 48, 48]}),
        ("qwen_image", {"axes_dims_rope": [32, 48, 48]}),
    ],
)
def test_what_no_shape_says_is_the_folders(
    family: str, values: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = changed(folders[family], tmp_path / "model", home(folders[family]).name, **values)
    own, want = copied(folder, tmp_path / "alone"), drawn(folder)
    np.testing.assert_array_equal(drawn(own, beside(folder)), want)
    assert (drawn(own, beside(folders[family])) != want).any()
    digests = [Engine.load(own, **beside(each)).model.digest for each in (folder, folders[family])]
    assert digests[0] != digests[1], "the file alone does not say what is drawn"


def test_the_folder_of_a_model_of_other_shapes_says_nothing_of_the_file(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """[dev]'s transformer beside the folder of [schnell], which is named for its other parts."""
    schnell = tmp_path / "schnell"
    tiny_flux.pipeline(dev=False).save_pretrained(schnell, safe_serialization=True)
    own = copied(folders["flux"], tmp_path)
    assert defaults(own, beside(schnell))["defaults"] == {"steps": 28}
    assert defaults(schnell / "transformer" / FILE, beside(folders["flux"]))["defaults"] == {"steps": 4}
    np.testing.assert_array_equal(drawn(own, beside(schnell)), drawn(own, apart(schnell)))
    # Of two folders the one that the file is of, whichever stands first.
    for vae, text in ((schnell, folders["flux"]), (folders["flux"], schnell)):
        assert open_checkpoint(ModelPath.of(own, [text], vae)).base == folders["flux"]


def test_the_folder_of_a_unet_of_other_levels_says_nothing_of_the_file(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    values: dict[str, Any] = {
        "block_out_channels": [32, 64], "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    }  # fmt: skip
    own, other = copied(folders["sd15"], tmp_path), changed(folders["sd15"], tmp_path / "other", "unet", **values)
    assert open_checkpoint(ModelPath.of(own, **beside(other))).base is None
    np.testing.assert_array_equal(drawn(own, beside(other)), drawn(folders["sd15"]))


@pytest.mark.parametrize("family", ["flux", "sdxl"])
def test_names_may_stand_behind_a_prefix(family: str, folders: dict[str, Path], tmp_path: Path) -> None:
    arrays = load_file(home(folders[family]) / FILE)
    path = tmp_path / "some.safetensors"
    save_file({f"model.diffusion_model.{key}": array for key, array in arrays.items()}, path)
    np.testing.assert_array_equal(drawn(path, beside(folders[family])), drawn(folders[family]))


def test_the_folder_may_be_quantised_itself(folders: dict[str, Path], tmp_path: Path) -> None:
    """In a way that Salon does not read, for which the file is named. Beside the file it says that the file is so."""
    said: dict[str, Any] = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    folder = changed(folders["flux"], tmp_path / "model", "transformer", **said, axes_dims_rope=[32, 48, 48])
    own = copied(folder, tmp_path / "alone")
    plain = changed(folders["flux"], tmp_path / "plain", "transformer", axes_dims_rope=[32, 48, 48])
    np.testing.assert_array_equal(drawn(own, beside(folder)), drawn(plain))
    with pytest.raises(UnknownArchitecture, match="the weights are quantized"):
        drawn(folder / "transformer" / FILE, beside(folder))


def test_a_config_that_salon_does_not_read_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(folders["sd15"], tmp_path / "model", "unet", resnet_time_scale_shift="scale_shift")
    with pytest.raises(UnknownArchitecture, match="unet/config.json: .*'resnet_time_scale_shift'"):
        drawn(copied(folder, tmp_path / "alone"), beside(folder))


# ---- which of several models of the same shapes ----------------------------------------------------------------------


def test_the_folder_says_which_of_several_models_it_is(folders: dict[str, Path], tmp_path: Path) -> None:
    index = "model_index.json"
    flux2, krea2, qwen = folders["flux2"], folders["krea2"], folders["qwen_image"]
    base = changed(flux2, tmp_path / "klein", "", index, is_distilled=False)
    own = copied(flux2, tmp_path / "flux2")
    assert defaults(own, apart(flux2))["defaults"]["steps"] == 4
    assert defaults(own, beside(base))["defaults"] == defaults(own, apart(flux2))["defaults"] | {
        "steps": 50, "guidance_scale": 4.0
    }  # fmt: skip
    keeping = changed(flux2, tmp_path / "kv", "", index, _class_name="Flux2KleinKVPipeline", is_distilled=None)
    assert defaults(own, beside(keeping))["references"]["kept"] is True
    assert defaults(own, beside(keeping))["defaults"]["steps"] == 4
    kontext = changed(folders["flux"], tmp_path / "kontext", "", index, _class_name="FluxKontextPipeline")
    assert "references" in defaults(copied(kontext, tmp_path / "flux"), beside(kontext))
    distilled = changed(krea2, tmp_path / "krea", "", index, is_distilled=True)
    assert defaults(copied(krea2, tmp_path / "krea2"), beside(distilled))["defaults"]["steps"] == 8
    edit = changed(qwen, tmp_path / "edit", "", index, _class_name="QwenImageEditPlusPipeline")
    unnamed, named = copied(qwen, tmp_path / "qwen"), copied(qwen, tmp_path / "qwen", "qwen_image_bf16.safetensors")
    assert "references" in defaults(unnamed, beside(edit))
    assert "references" not in defaults(named, beside(edit)), "its name says which it is"
    turbo = tmp_path / "Some-Turbo"
    tiny_z_image.pipeline(turbo=True).save_pretrained(turbo, safe_serialization=True)
    own = copied(turbo, tmp_path / "z")
    assert defaults(own, beside(turbo))["defaults"]["steps"] == 8
    np.testing.assert_array_equal(drawn(own, beside(turbo)), drawn(turbo))
    assert defaults(own, beside(folders["z_image"]))["defaults"]["steps"] == 50


def test_what_the_name_says_holds_beside_any_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    flux2, z_image = folders["flux2"], folders["z_image"]
    for family, name, steps in (
        ("flux2", "flux-2-klein-base-4b.safetensors", 50), ("z_image", "z_image_turbo_bf16.safetensors", 8)
    ):  # fmt: skip
        own = copied(folders[family], tmp_path, name)
        assert defaults(own, beside(folders[family]))["defaults"]["steps"] == steps
    named = tmp_path / "z_image_turbo_bf16.safetensors"
    np.testing.assert_array_equal(drawn(named, beside(z_image)), drawn(named, apart(z_image)))
    kept = copied(flux2, tmp_path, "flux-2-klein-4b-kv.safetensors")
    assert defaults(kept, beside(flux2))["references"]["kept"] is True


def test_marks_of_v_prediction_hold_beside_any_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    arrays = load_file(folders["sdxl"] / "unet" / FILE)
    save_file({**arrays, "v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, tmp_path / FILE)
    found = open_checkpoint(ModelPath.of(tmp_path / FILE, **beside(folders["sdxl"]))).components
    assert found["scheduler"].config.values["prediction_type"] == "v_prediction"
    assert found["scheduler"].config.values["rescale_betas_zero_snr"] is True
    assert (drawn(tmp_path / FILE, beside(folders["sdxl"])) != drawn(folders["sdxl"])).any()


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_one_of_several_files_is_refused_as_that(folders: dict[str, Path], tmp_path: Path) -> None:
    """Of the denoiser, and of parts that are named apart."""
    folder = tmp_path / "model"
    tiny_flux.pipeline().save_pretrained(folder, safe_serialization=True, max_shard_size="2MB")
    shard = sorted((folder / "transformer").glob("*-of-*.safetensors"))[0]
    said = "weights in several files, expected a file that has all of them, found number 1 of [2-9]; name a file that "
    with pytest.raises(MissingFile, match=f"{said}has all; or name the folder of the whole model, {folder}$"):
        drawn(shard, beside(folder))
    words = tmp_path / "model-00001-of-00002.safetensors"
    shutil.copy(folder / "text_encoder" / "model.safetensors", words)
    for parts in ({"text_encoder": [words]}, {"vae": words}):
        with pytest.raises(MissingFile, match=f"{said}has all; or name the folder that has all of these$"):
            Engine.load(copied(folders["flux"], tmp_path), **parts)


def test_arrays_that_are_missing_or_too_many_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    arrays = load_file(folders["sd15"] / "unet" / FILE)
    lost = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    save_file({key: array for key, array in arrays.items() if key != lost}, tmp_path / FILE)
    with pytest.raises(MissingKey, match=lost):
        drawn(tmp_path / FILE, beside(folders["sd15"]))
    control = "controlnet_cond_embedding.conv_in.weight"
    save_file({**arrays, control: torch.zeros(1)}, tmp_path / FILE)
    with pytest.raises(UnknownArchitecture, match="found a ControlNet, with which Salon does not draw"):
        drawn(tmp_path / FILE, beside(folders["sd15"]))
