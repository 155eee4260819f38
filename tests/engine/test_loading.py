"""A folder becomes a model: what the parts must have in common, and the error for what is wrong with them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, MalformedFile
from salon.engine.generation import State
from salon.engine.safetensors_file import SafetensorsFile
from salon.engine.text.pipelines.clauses import ClausePipeline

from .conftest import autoencoder, transformer, write_tiny
from .test_checkpoint import write


def picture(engine: Engine) -> Any:
    """What a model draws."""
    generation = engine.open(engine.make_spec("a red apple, 3d, on teal", seed=0))
    while generation.state is State.RUNNING:
        engine.step([generation])
    return engine.finish(generation)


def test_factors_that_a_config_leaves_out_are_diffusers_own(tmp_path: Path, backend: str) -> None:
    pictures = []
    for name, factors in (("absent", {}), ("given", {"scaling_factor": 0.18215, "shift_factor": 0.0})):
        folder = write_tiny(tmp_path / name)
        file = folder / "vae" / "config.json"
        config = json.loads(file.read_text())
        for key in ("scaling_factor", "shift_factor"):
            del config[key]
        file.write_text(json.dumps(config | factors))
        pictures.append(picture(Engine.load(folder, backend=backend)))
    np.testing.assert_array_equal(*pictures)


def test_a_checkpoint_may_keep_its_statistics_in_bfloat16(tmp_path: Path, tiny_model: Path) -> None:
    folder = write_tiny(tmp_path / "model")
    file = SafetensorsFile(folder / "text_stats.safetensors")
    bits = {name: (file.array(name).view(np.uint32) >> 16).astype(np.uint16) for name in file.tensors}
    write(folder / "stats", {name: ("BF16", b.shape, b.tobytes()) for name, b in bits.items()})
    (folder / "stats").replace(folder / "text_stats.safetensors")
    text, want = Engine.load(folder, backend="reference").model.text, Engine.load(tiny_model, backend="reference").model
    assert isinstance(text, ClausePipeline)
    assert isinstance(want.text, ClausePipeline)
    np.testing.assert_allclose(text.stats.token_mean, want.text.stats.token_mean, rtol=2**-7)
    np.testing.assert_allclose(text.stats.pooled_std, want.text.stats.pooled_std, rtol=2**-7)


TEXT_WITH = '{"text": {"pipeline": "clauses", "version": 1, "slots": [{"name": "subject", %s}]}}'


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("salon.json", "{"),
        ("salon.json", '{"text": {"pipeline": "magic"}}'),
        ("salon.json", '{"text": {"pipeline": "clauses", "version": 1, "slots": [{"nome": 1}]}}'),
        ("salon.json", '{"text": 3}'),
        ("salon.json", '{"defaults": {"width": 17, "height": 16}}'),
        ("salon.json", '{"defaults": {"size": 17}}'),
        ("salon.json", '{"defaults": null}'),
        ("salon.json", '{"defaults": [1]}'),
        ("salon.json", '{"vocabulary": ["cat"]}'),
        *(
            ("salon.json", TEXT_WITH % slot)
            for slot in (
                '"tokens": "4"',
                '"tokens": 0',
                '"tokens": 4.0',
                '"tokens": 4, "form": "{x}"',
                '"tokens": 4, "endings": [3]',
            )
        ),
        ("scheduler/scheduler_config.json", '{"use_karras_sigmas": true}'),
        ("scheduler/scheduler_config.json", '{"shift": "much"}'),
        ("scheduler/scheduler_config.json", '{"base_shift": "0.5"}'),
        ("scheduler/scheduler_config.json", '{"max_shift": NaN}'),
        ("scheduler/scheduler_config.json", '{"base_image_seq_len": [256]}'),
        ("scheduler/scheduler_config.json", '{"use_dynamic_shifting": "no"}'),
        ("scheduler/scheduler_config.json", None),
        ("tokenizer/tokenizer.json", None),
        ("text_stats.safetensors", "short"),
        ("text_stats.safetensors", None),
    ],
)
def test_a_damaged_folder_is_a_checkpoint_error(tmp_path: Path, file: str, content: str | None) -> None:
    folder = write_tiny(tmp_path / "model")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(CheckpointError, match=Path(file).name) as caught:
        Engine.load(folder, backend="reference")
    assert "\n" not in str(caught.value)


Tensors = dict[str, Any]


def other_autoencoder(**changes: Any) -> tuple[dict[str, Any], Tensors]:
    """The tiny one with other channels at the decoder's ends, whole in itself."""
    config, weights = autoencoder()
    config |= changes
    latents, colours = config["latent_channels"], config["out_channels"]
    weights["decoder.conv_in.weight"] = np.zeros((8, latents, 3, 3), np.float32)
    weights["encoder.conv_out.weight"] = np.zeros((2 * latents, 8, 3, 3), np.float32)
    weights["encoder.conv_out.bias"] = np.zeros(2 * latents, np.float32)
    weights["decoder.conv_out.weight"] = np.zeros((colours, 8, 3, 3), np.float32)
    weights["decoder.conv_out.bias"] = np.zeros(colours, np.float32)
    return config, weights


def other_transformer(**changes: Any) -> tuple[dict[str, Any], Tensors]:
    """The tiny one with other text inputs, whole in itself."""
    config, weights = transformer(False)
    config |= changes
    weights["context_embedder.weight"] = np.zeros((16, config["joint_attention_dim"]), np.float32)
    pooled = np.zeros((16, config["pooled_projection_dim"]), np.float32)
    weights["time_text_embed.text_embedder.linear_1.weight"] = pooled
    return config, weights


STATS = ("token_mean", "token_std", "pooled_mean", "pooled_std")


@pytest.mark.parametrize(
    ("name", "part", "kind", "message"),
    [
        ("vae", other_autoencoder(latent_channels=8), "WrongConfig", "'in_channels', expected 32, 2 x 2 .* found 16"),
        ("vae", other_autoencoder(out_channels=4), "WrongConfig", "'out_channels', expected 3, red, .*, found 4"),
        ("transformer", other_transformer(joint_attention_dim=8), "WrongConfig",
         "'joint_attention_dim', expected 12, the width of the text encoder, found 8"),
        ("transformer", other_transformer(pooled_projection_dim=16), "WrongConfig", "'pooled_projection_dim', .* 16"),
        ("", ({}, {name: np.ones(5, np.float32) for name in STATS}), "WrongShape",
         r"text_stats.safetensors: .*'token_mean', expected \[12\], the width of the text encoder, found \[5\]"),
        ("", ({}, {name: np.ones(12 + 4 * (name == "token_std"), np.float32) for name in STATS}), "WrongShape",
         r"'token_std', expected \[12\]"),
    ],
)  # fmt: skip
def test_parts_of_different_models_are_refused(
    tmp_path: Path, name: str, part: tuple[dict[str, Any], Tensors], kind: str, message: str
) -> None:
    """Each is right by itself."""
    folder = write_tiny(tmp_path / "model")
    if name:
        (folder / name / "config.json").write_text(json.dumps(part[0]))
        save_file(part[1], folder / name / "diffusion_pytorch_model.safetensors")
    else:
        save_file(part[1], folder / "text_stats.safetensors")
    with pytest.raises(CheckpointError, match=message) as caught:
        Engine.load(folder, backend="reference")
    assert type(caught.value).__name__ == kind


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("[CLS]", "[START]"), r"tokenizer.json: the tokenizer lacks a token, key '\[CLS\]'"),
        (lambda text: text.replace('"z"', '"zz": 900, "z"'), "tokenizer.json: other vocabulary, expected at most"),
        (lambda text: "{", "tokenizer.json: the tokenizer cannot be read"),
    ],
)
def test_a_damaged_tokenizer_is_a_checkpoint_error(tmp_path: Path, change: Any, message: str) -> None:
    """When it is first used: it is not read before."""
    folder = write_tiny(tmp_path / "model")
    file = folder / "tokenizer" / "tokenizer.json"
    file.write_text(change(file.read_text()))
    engine = Engine.load(folder, backend="reference")
    with pytest.raises(MalformedFile, match=message):
        engine.open(engine.make_spec("a cat"))


def test_starting_imports_nothing_heavy(tiny_model: Path) -> None:
    code = (
        "import sys\n"
        "from salon.engine.engine import Engine\n"
        "Engine.load(sys.argv[1], backend='reference')\n"
        "heavy = {'torch', 'tokenizers', 'transformers', 'diffusers', 'PIL', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_model)], check=True, timeout=120)


def digest(folder: Path) -> str:
    return Engine.load(folder, backend="reference").model.digest


def edit_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_digest_covers_what_was_loaded(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model")
    digests = {digest(folder)}
    save_file({"styles": np.ones((2, 3), np.float32)}, folder / "style.safetensors")
    edit_json(folder / "salon.json", style_vectors={"file": "style.safetensors"})
    digests.add(digest(folder))
    save_file({"styles": np.zeros((2, 3), np.float32)}, folder / "style.safetensors")
    digests.add(digest(folder))
    (folder / "text_stats.safetensors").rename(folder / "other.safetensors")
    salon = json.loads((folder / "salon.json").read_text())
    edit_json(folder / "salon.json", text=salon["text"] | {"stats": "other.safetensors"})
    digests.add(digest(folder))
    stats = {name: np.ones(12, np.float32) for name in STATS}
    save_file(stats, folder / "other.safetensors")
    digests.add(digest(folder))
    edit_json(folder / "scheduler" / "scheduler_config.json", shift=2.0)
    digests.add(digest(folder))
    edit_json(folder / "vae" / "config.json", scaling_factor=0.5)
    digests.add(digest(folder))
    (folder / "tokenizer" / "tokenizer.json").write_text((folder / "tokenizer" / "tokenizer.json").read_text() + "\n")
    digests.add(digest(folder))
    assert len(digests) == 8


def test_components_that_nobody_loads_are_not_read(tmp_path: Path) -> None:
    """Not even for the digest: the text encoders of a large model, or what the index names and nobody downloaded."""
    folder = write_tiny(tmp_path / "model")
    edit_json(folder / "model_index.json", text_encoder_2=["transformers", "T5EncoderModel"])
    engine = Engine.load(folder, backend="reference")
    without = engine.model.digest
    assert engine.park(engine.open(engine.make_spec("a cat"))).model == without
    assert set(engine.model.components) == {"transformer", "vae", "scheduler", "text_encoder", "tokenizer"}
    (folder / "text_encoder_2").mkdir()
    (folder / "text_encoder_2" / "model.safetensors").write_bytes(b"whatever")
    assert digest(folder) == without

    (folder / "salon.json").unlink()
    wordless = digest(folder)
    (folder / "text_encoder" / "model.safetensors").unlink()
    assert digest(folder) == wordless


@pytest.mark.parametrize("name", ["../text_stats.safetensors", "/etc/passwd", "", 3, ["x"]])
def test_files_that_a_model_names_lie_in_its_folder(tmp_path: Path, name: Any) -> None:
    folder = write_tiny(tmp_path / "model")
    salon = json.loads((folder / "salon.json").read_text())
    edit_json(folder / "salon.json", text=salon["text"] | {"stats": name})
    with pytest.raises(MalformedFile, match=r"salon.json: wrong name, key 'text.stats', expected the name of a file"):
        Engine.load(folder, backend="reference")


def with_draft(folder: Path, draft: Any) -> Path:
    file = write_tiny(folder) / "salon.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"draft": draft}))
    return folder


def test_a_model_says_how_drafts_are_drawn(tmp_path: Path, tiny_model: Path) -> None:
    draft = {"steps": 3, "solver": "heun", "shift": 2.0}
    assert Engine.load(with_draft(tmp_path, draft), backend="reference").model.draft == draft
    assert Engine.load(tiny_model, backend="reference").model.draft == {}


@pytest.mark.parametrize("draft", [[], {"steps": 0}, {"solver": "best"}, {"guidance_scale": 2.0}, {"haste": 1}])
def test_settings_for_drafts_that_no_spec_takes_are_refused(tmp_path: Path, draft: Any) -> None:
    with pytest.raises(MalformedFile, match="draft"):
        Engine.load(with_draft(tmp_path, draft), backend="reference")
