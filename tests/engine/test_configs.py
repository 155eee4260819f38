"""Every key of every config is read, known to be harmless, or refused by name: on folders that diffusers writes.

faults.md 3: keys that change the picture were never read. A folder of another scheduler, another pipeline or another
class was drawn as plain flow Euler without a word.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from salon.engine.checkpoint import Checkpoint
from salon.engine.config import BOOKKEEPING, Config
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, UnknownArchitecture, WrongConfig
from salon.engine.families import SCHEDULERS, family_of
from salon.engine.pipeline import want_components
from salon.engine.sigmas import SigmaConfig
from salon.engine.weights import bert
from salon.engine.weights.bert import BertConfig
from salon.engine.weights.flux import FluxConfig
from salon.engine.weights.vae import HARMLESS, AutoencoderConfig

from .conftest import SALON, write_tiny
from .test_loading import edit_json
from .test_weight_files import text_encoder, transformer, vae

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("default")  # of the libraries, about themselves

SCHEDULER = "scheduler/scheduler_config.json"
TEXT: Any = SALON["text"]
NOTHING: list[Any] = [None, False, [], {}, ""]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that diffusers saved, without text encoders, and a text encoder beside it."""
    folder = tmp_path_factory.mktemp("pipeline")
    none = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    diffusers.FluxPipeline(scheduler=scheduler, vae=vae(), transformer=transformer(), **none).save_pretrained(folder)
    text_encoder().save_pretrained(folder / "bert")
    return folder


def config(folder: Path, file: str, **changes: Any) -> Config:
    path = folder / file
    return Config(path, {**json.loads(path.read_text()), **changes})


def copy(saved: Path, folder: Path, file: str, **changes: Any) -> Path:
    """The folder with changed keys in one of its files."""
    for path in saved.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(saved)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    edit_json(folder / file, **changes)
    return folder


def test_the_folder_loads_as_it_was_saved(saved: Path) -> None:
    model = Engine.load(saved, backend="reference").model
    assert model.text is None
    assert model.sigmas == SigmaConfig()


# ---- what was drawn all the same -------------------------------------------------------------------------------------

OTHER_SCHEDULERS: list[tuple[str, dict[str, Any]]] = [
    ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}),
    ("UniPCMultistepScheduler", {"use_flow_sigmas": True, "flow_shift": 3.0}),
    ("DDIMScheduler", {"prediction_type": "epsilon"}),
    ("EulerDiscreteScheduler", {"prediction_type": "v_prediction"}),
    ("FlowMatchHeunDiscreteScheduler", {"shift": 3.0}),
]


@pytest.mark.parametrize(("name", "settings"), OTHER_SCHEDULERS)
def test_another_scheduler_is_refused_by_its_name(
    saved: Path, tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    folder = copy(saved, tmp_path / "model", "model_index.json")
    (folder / SCHEDULER).unlink()
    getattr(diffusers, name)(**settings).save_pretrained(folder / "scheduler")
    wanted = f"{SCHEDULER}: unknown architecture, key '_class_name', expected FlowMatchEuler.*, found \"{name}\""
    with pytest.raises(UnknownArchitecture, match=wanted):
        Engine.load(folder, backend="reference")
    edit_json(folder / "model_index.json", scheduler=["diffusers", name])
    with pytest.raises(UnknownArchitecture, match=f"model_index.json: .* key 'scheduler', .*{name}"):
        Engine.load(folder, backend="reference")


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (SCHEDULER, {"_class_name": 42}, "'_class_name', expected the name of a class, found 42"),
        (SCHEDULER, {"_class_name": None}, "'_class_name', expected the name of a class, found nothing"),
        (SCHEDULER, {"num_train_timesteps": 1}, "'num_train_timesteps', expected 1000, found 1$"),
        (SCHEDULER, {"flow_shift": 3.0}, "'flow_shift', expected no such setting .*, found 3.0"),
        (SCHEDULER, {"prediction_type": "epsilon"}, "'prediction_type', .* found \"epsilon\""),
        (SCHEDULER, {"invert_sigmas": True}, "'invert_sigmas', expected null .* found true"),
        (SCHEDULER, {"shift": 0}, "'shift', expected a number in .* found 0$"),
        (SCHEDULER, {"time_shift_type": "cubic"}, "'time_shift_type', .* found \"cubic\""),
        ("transformer/config.json", {"joint_attention_kwargs": 3}, "'joint_attention_kwargs', .* found 3"),
        ("vae/config.json", {"mid_block_type": "UNetMidBlock2DCrossAttn"}, "'mid_block_type', expected no such"),
        ("model_index.json", {"_class_name": "FluxControlPipeline"}, "expected .*FluxPip.*, found \"FluxControl"),
        ("model_index.json", {"_class_name": None}, "'_class_name', expected the name of a class, found nothing"),
        ("model_index.json", {"transformer": ["diffusers", "SD3Transformer2DModel"]}, "'transformer', .*SD3Transf"),
        ("model_index.json", {"transformer": ["mine", "FluxTransformer2DModel"]}, "'transformer', expected diffusers"),
        ("model_index.json", {"vae": ["diffusers", "AutoencoderTiny"]}, "'vae', .*AutoencoderKL, found .*Tiny"),
        ("model_index.json", {"controlnet": ["diffusers", "FluxControlNetModel"]}, "'controlnet', .* no such setting"),
        ("model_index.json", {"is_distilled": True}, "'is_distilled', expected no such setting .*, found true"),
    ],
)  # fmt: skip
def test_what_is_not_implemented_is_refused_by_name(
    saved: Path, tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = copy(saved, tmp_path / "model", file, **changes)
    with pytest.raises(UnknownArchitecture if "'shift'" not in message else WrongConfig, match=message) as error:
        Engine.load(folder, backend="reference")
    assert error.value.path == str(folder / file)
    assert "\n" not in str(error.value)


def test_an_empty_scheduler_config_is_refused(saved: Path, tmp_path: Path) -> None:
    folder = copy(saved, tmp_path / "model", SCHEDULER)
    (folder / SCHEDULER).write_text("{}")
    with pytest.raises(UnknownArchitecture, match=r"scheduler_config.json: .*'_class_name', .* found nothing"):
        Engine.load(folder, backend="reference")


@pytest.mark.parametrize("component", ["transformer", "vae"])
def test_quantized_weights_are_named(saved: Path, tmp_path: Path, component: str) -> None:
    """faults.md 18: a folder in 4 bits was "not of one model", for the shapes of its weights."""
    quantization = transformers.BitsAndBytesConfig(load_in_4bit=True).to_dict()
    file = f"{component}/config.json"
    folder = copy(saved, tmp_path / "model", file, quantization_config=json.loads(json.dumps(quantization)))
    wanted = (
        r"config.json: the weights are quantized, key 'quantization_config', expected plain weights, "
        r"found bitsandbytes load_in_4bit; use the folder"
    )
    with pytest.raises(UnknownArchitecture, match=wanted):
        Engine.load(folder, backend="reference")


def test_a_quantized_text_encoder_is_named(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model")
    edit_json(folder / "text_encoder" / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(UnknownArchitecture, match=r"text_encoder/config.json: the weights are quantized.* found gptq;"):
        Engine.load(folder, backend="reference")


@pytest.mark.parametrize("name", ["text_encoder", "tokenizer"])
def test_text_components_of_another_class(tmp_path: Path, name: str) -> None:
    folder = write_tiny(tmp_path / "model")
    edit_json(folder / "model_index.json", **{name: ["transformers", "T5Whatever"]})
    with pytest.raises(UnknownArchitecture, match=f"model_index.json: .* key '{name}', .*T5Whatever"):
        Engine.load(folder, backend="reference")
    (folder / "salon.json").unlink()  # then nobody reads it
    assert Engine.load(folder, backend="reference").model.text is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "'format', expected 1, found 2"),
        ({"defualts": {"steps": 4}}, "'defualts', expected no such setting"),
        ({"text": {**TEXT, "sytles": {"ink": []}}}, "'sytles', expected no such setting"),
    ],
)
def test_salon_json_of_another_format(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = write_tiny(tmp_path / "model")
    edit_json(folder / "salon.json", **changes)
    with pytest.raises(UnknownArchitecture, match=f"salon.json: .*{message}"):
        Engine.load(folder, backend="reference")


# ---- all keys --------------------------------------------------------------------------------------------------------

Read = Callable[[Config], Any]


def read_index(folder: Path, values: dict[str, Any]) -> list[str]:
    """Write model_index.json; the components that it then names."""
    (folder / "model_index.json").write_text(json.dumps(values))
    checkpoint = Checkpoint(folder)
    _, family = family_of(checkpoint)
    want_components(checkpoint, {**family.COMPONENTS, **SCHEDULERS}, family.UNREAD)
    return sorted(checkpoint.components)


FILES: list[tuple[str, Read, dict[str, str]]] = [
    ("transformer/config.json", FluxConfig.read, {}),
    ("vae/config.json", AutoencoderConfig.read, HARMLESS),
    ("bert/config.json", BertConfig.read, bert.HARMLESS),
    (SCHEDULER, SigmaConfig.read, {}),
]


def others(value: Any) -> list[Any]:
    """Values that a key might have instead, of its own type and of others."""
    different: list[Any] = ["something", 7, 0.125, True, [3, 4], {"a": 1}]
    if isinstance(value, bool):
        different.append(not value)
    elif isinstance(value, int | float):
        different += [value + 1, value * 2, -1]
    return [other for other in different if type(other) is not type(value) or other != value]


def outcome(read: Read, config: Config) -> Any:
    """What is read, or the error's whole text; an error names file, key and value."""
    try:
        return read(config)
    except CheckpointError as error:
        if error.path == str(config.path) and error.key is not None and error.found is not None:
            return str(error)
        raise


@pytest.mark.parametrize(("file", "read", "harmless"), FILES, ids=[file for file, _, _ in FILES])
def test_no_key_is_passed_over(saved: Path, file: str, read: Read, harmless: dict[str, str]) -> None:
    """Each key of the classes' own defaults, with other values: it counts, it is listed, or it is refused."""
    values = dict(config(saved, file).values)
    if file.startswith("bert"):  # transformers saves what differs from its defaults; these are all
        values = {**json.loads(json.dumps(transformers.BertConfig().to_dict())), **values}
    plain = read(Config(saved / file, values))
    assert len(values) > 9
    for key, value in values.items():
        for other in others(value):
            got = outcome(read, Config(saved / file, {**values, key: other}))
            if key in harmless or key in BOOKKEEPING:
                assert got == plain, f"{key}: {other!r} is listed as harmless"
            elif key not in ("_class_name", "architectures"):  # either names the class
                assert got != plain, f"{key}: {other!r} changes nothing and is not listed"
    assert all(len(reason) > 10 for reason in {**harmless, **BOOKKEEPING}.values())


@pytest.mark.parametrize(("file", "read", "harmless"), FILES, ids=[file for file, _, _ in FILES])
def test_an_unknown_key_may_ask_for_nothing(saved: Path, file: str, read: Read, harmless: dict[str, str]) -> None:
    """As newer versions of the libraries write an option that the model does without."""
    values = config(saved, file).values
    plain = read(Config(saved / file, values))
    for nothing in NOTHING:
        assert read(Config(saved / file, {**values, "of_a_newer_version": nothing})) == plain
    for something in (0, 0.0, True, "x", [0], {"a": None}):
        with pytest.raises(UnknownArchitecture, match=r"'of_a_newer_version', expected no such setting") as error:
            read(Config(saved / file, {**values, "of_a_newer_version": something}))
        assert error.value.found == json.dumps(something)


def test_no_key_of_another_scheduler_is_passed_over(saved: Path) -> None:
    """Every setting that diffusers' other schedulers have, in the config of the one that Salon implements."""
    own = config(saved, SCHEDULER).values
    seen = set()
    for name in (name for name in dir(diffusers) if re.fullmatch(r"\w+Scheduler", name)):
        try:
            with warnings.catch_warnings(action="ignore"):
                settings = json.loads(getattr(diffusers, name)().to_json_string())
        except Exception:  # a scheduler that needs another package, or has no config
            continue
        for key, value in settings.items():
            if key in own or key in BOOKKEEPING or json.dumps(value) in map(json.dumps, NOTHING):
                continue
            seen.add(key)
            with pytest.raises(UnknownArchitecture, match=f"'{key}', expected no such setting"):
                SigmaConfig.read(Config(saved / SCHEDULER, {**own, key: value}))
    assert {"flow_shift", "prediction_type", "beta_schedule", "timestep_spacing"} <= seen


def test_no_entry_of_the_index_is_passed_over(saved: Path, tmp_path: Path) -> None:
    index = config(saved, "model_index.json").values
    assert read_index(tmp_path, dict(index)) == ["scheduler", "transformer", "vae"]
    for key in index:
        for other in ("something", 7, True, ["a", "b"], ["diffusers", "AutoencoderTiny"]):
            changed = {**index, key: other}
            if key.startswith(("text_enc", "tokenizer", "image_enc", "feature_ex")) or key in BOOKKEEPING:
                read_index(tmp_path, changed)
            else:
                with pytest.raises(CheckpointError, match=re.escape(f"key '{key}'")):
                    read_index(tmp_path, changed)
