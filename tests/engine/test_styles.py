"""Styles: vectors of pictures and numbers, and the adapters that a request's styles become."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import pictures
from salon.engine.adapters import adapters as adapters_module
from salon.engine.engine import EMBEDDED, Engine
from salon.engine.errors import CheckpointError, SpecError
from salon.engine.generation import ParkedGeneration, State
from salon.engine.safetensors_file import SafetensorsFile
from salon.engine.spec import AdapterUse
from salon.engine.styles import names
from salon.engine.styles.choice import POINTS, Reference, StyleInfo, interpolate, style_uses
from salon.engine.styles.encoder import load_style_encoder, unit
from salon.kernels.bfloat16 import widen

from .test_shipped import pixels

INFO = StyleInfo(tokens=4, words=("a", "b"), default="a", stylize=((0.0, 0.0), (100.0, 0.4), (1000.0, 1.6)))
DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(dtype="float32")


def picture(seed: int = 0, height: int = 128, width: int = 128) -> Any:
    """A smooth picture, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (height // 16, width // 16, 3))
    return np.kron(coarse, np.ones((16, 16, 1))).astype(np.uint8)


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 4093, 2**32 - 1])
def test_the_name_of_a_number_says_the_number(number: int) -> None:
    assert names.number_of(names.of_number(number)) == number
    assert names.is_known(names.of_number(number))


@pytest.mark.parametrize("number", [-1, 2**32, 10**40])
def test_a_number_out_of_range_has_no_name(number: int) -> None:
    with pytest.raises(SpecError, match="style number.*allowed a whole number from 0 to 4294967295"):
        names.of_number(number)


@pytest.mark.parametrize(
    "name", ["style:number:", "style:number:01", "style:number:4294967296", "style:picture:ab", "x"]
)
def test_what_names_no_style(name: str) -> None:
    assert not names.is_known(name)
    assert names.number_of(name) is None
    assert names.picture_of(name) is None


def test_a_picture_is_named_by_its_digest() -> None:
    assert names.picture_of(names.of_picture(DIGEST)) == DIGEST
    for wrong in ("", DIGEST.upper(), DIGEST + "0"):
        with pytest.raises(SpecError, match="64 hex digits"):
            names.of_picture(wrong)


# ---- what a request asks for -----------------------------------------------------------------------------------------


def test_the_weights_of_strengths() -> None:
    assert [interpolate(POINTS, at) for at in (0, 50, 100, 550, 1000)] == [0.0, 0.5, 1.0, 1.75, 2.5]
    assert style_uses(INFO) == ()
    assert style_uses(INFO, stylize=0) == ()
    assert style_uses(INFO, stylize=100) == (AdapterUse(names.DEFAULT, 0.4, names.NONE),)
    assert style_uses(INFO, stylize=550) == (AdapterUse(names.DEFAULT, 1.0, names.NONE),)
    assert style_uses(INFO, raw=True) == ()
    assert style_uses(INFO, style_references=[7], style_weight=0) == ()


def test_references_share_the_weight() -> None:
    uses = style_uses(INFO, stylize=100, style_references=[(7, 3.0), Reference(DIGEST)], style_weight=200)
    assert [use.adapter for use in uses] == [names.DEFAULT, names.of_number(7), names.of_picture(DIGEST)]
    strong = interpolate(POINTS, 200)
    assert [use.weight for use in uses] == pytest.approx([0.4, 0.75 * strong, 0.25 * strong])
    assert {use.unconditional for use in uses} == {names.NONE}
    assert style_uses(INFO, style_references=7) == style_uses(INFO, style_references=[7])
    assert style_uses(INFO, style_references=[7], style_version=1) == style_uses(INFO, style_references=[7])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"stylize": -1}, "stylize: got -1, allowed a number from 0 to 1000"),
        ({"stylize": 1001}, "stylize: got 1001"),
        ({"stylize": float("nan")}, "stylize: got nan"),
        ({"stylize": "strong"}, "stylize: got 'strong'"),
        ({"stylize": 50, "raw": True}, "stylize: got 50 with raw"),
        ({"raw": "yes"}, "raw: got 'yes', allowed True or False"),
        ({"style_weight": 50}, "style_weight: got 50 without a style reference"),
        ({"style_weight": 1001, "style_references": [7]}, "style_weight: got 1001"),
        ({"style_version": 2, "style_references": [7]}, "style_version: got 2, allowed 1; there is one version"),
        ({"style_version": 1}, "style_version: got it without a style reference, allowed one with it"),
        ({"style_references": [7, 7]}, "style references: got 7 twice"),
        ({"style_references": [1, 2, 3, 4, 5]}, "style references: got 5, allowed up to 4"),
        ({"style_references": [-1]}, "style number: got -1"),
        ({"style_references": ["cat.png"]}, "style reference: got 'cat.png', allowed 64 hex digits"),
        ({"style_references": [(7, 0.0)]}, "weight of a style reference: got 0.0"),
        (
            {"style_references": [(7, 1.0, 2.0)]},
            "style reference: got .7, 1.0, 2.0., allowed a reference and its weight",
        ),
        ({"style_references": [None]}, "style reference: got None"),
    ],
)
def test_what_is_refused(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        style_uses(INFO, **asked)


def test_a_model_without_styles_says_so() -> None:
    assert style_uses(None, stylize=0) == ()
    assert style_uses(None, raw=True) == ()
    for asked in ({"stylize": 1}, {"style_references": [7]}):
        with pytest.raises(SpecError, match="the model has no style"):
            style_uses(None, **asked)
    with pytest.raises(SpecError, match="no default style"):
        style_uses(StyleInfo(tokens=4, words=()), stylize=1)


# ---- vectors ---------------------------------------------------------------------------------------------------------


def test_the_encoder_is_the_one_that_was_trained(engine: Engine) -> None:
    torch = pytest.importorskip("torch")
    from salon.models.mini.recipe.style import StyleEncoder, part

    file = SafetensorsFile(EMBEDDED / "style_encoder.safetensors")
    theirs = StyleEncoder(16, 256)
    theirs.load_state_dict(
        part({key: torch.from_numpy(widen(file.array(key), key)) for key in file.tensors}, "encoder.")
    )
    ours = load_style_encoder(engine.ops, file)
    assert (ours.channels, ours.width) == (16, 256)
    rng = np.random.default_rng(3)
    for height, width in ((16, 16), (2, 3), (5, 2), (13, 8)):
        latents = rng.standard_normal((height, width, 16)).astype(np.float32)
        with torch.no_grad():
            want = theirs(torch.from_numpy(latents).permute(2, 0, 1)[None])[0].numpy()
        got = ours.vector(engine.ops, latents)
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, want, atol=2e-5)


def test_a_picture_survives_its_latents(engine: Engine) -> None:
    drawn = pixels(engine)[0]
    codec = engine.model.denoiser.codec
    tokens = pictures.encode(engine.ops, codec, drawn)
    assert tokens.shape == (64, 64)
    assert codec.latents(tokens, (8, 8)).shape == (16, 16, codec.channels)
    back = pictures.decode(engine.ops, codec, engine.ops.array(tokens, "float32"), 1, (8, 8), 1)[0]
    error = np.mean((back.astype(float) - drawn.astype(float)) ** 2)
    assert 10 * np.log10(255**2 / error) > 24


def test_vectors_have_unit_mean_square_and_numbers_differ(engine: Engine) -> None:
    styles = engine.model.styles
    assert styles is not None
    vectors = np.stack([styles.vector(names.of_number(n)) for n in range(64)])
    np.testing.assert_allclose(np.mean(vectors.astype(float) ** 2, axis=1), 1, atol=1e-4)
    likeness = vectors @ vectors.T / vectors.shape[1]
    np.fill_diagonal(likeness, 0)
    assert likeness.max() < 0.9999, "no two numbers are one style"
    np.testing.assert_array_equal(styles.vector(names.of_number(7)), vectors[7])
    digest = hashlib.sha256(vectors[:8].tobytes()).hexdigest()
    assert digest == NUMBERS, "a number is the same style for ever: change this only with the model"


def test_unit_of_nothing_is_nothing() -> None:
    assert not unit(np.zeros(8)).any()


# ---- pictures in a style ---------------------------------------------------------------------------------------------


def styled(engine: Engine, **asked: Any) -> Any:
    return pixels(engine, *style_uses(engine.info.styles, **asked))


def test_styles_move_a_picture_and_weight_0_does_not(engine: Engine) -> None:
    plain = pixels(engine)
    engine.add_style_picture(DIGEST, picture())
    found = [plain]
    moved: list[dict[str, Any]] = [
        {"stylize": 100}, {"style_references": [7]}, {"style_references": [8]}, {"style_references": [DIGEST]},
        {"style_references": [7, DIGEST], "stylize": 50},
    ]  # fmt: skip
    unmoved: list[dict[str, Any]] = [
        {"stylize": 0}, {"raw": True}, {"style_references": [7], "style_weight": 0},
    ]  # fmt: skip
    for asked in moved:
        made = styled(engine, **asked)
        assert all(np.abs(made.astype(int) - other.astype(int)).max() > 2 for other in found), asked
        found.append(made)
    for asked in unmoved:
        np.testing.assert_array_equal(styled(engine, **asked), plain)
    for name in (names.DEFAULT, names.of_number(7)):
        np.testing.assert_array_equal(pixels(engine, AdapterUse(name, 0.0, names.NONE)), plain)


def test_make_spec_takes_styles(engine: Engine) -> None:
    assert engine.make_spec("cat").adapters == ()
    spec = engine.make_spec("cat", stylize=100, style_references=[4093])
    assert [use.adapter for use in spec.adapters] == [names.DEFAULT, "style:number:4093"]
    assert engine.info.make_spec("cat", stylize=100, style_references=[4093], seed=spec.seed) == spec


def test_strangers_share_a_step_bit_for_bit(engine: Engine) -> None:
    engine.add_style_picture(DIGEST, picture())
    asked: list[dict[str, Any]] = [
        {}, {"stylize": 100}, {"style_references": [7]}, {"style_references": [DIGEST], "style_weight": 300},
    ]  # fmt: skip
    alone = [styled(engine, **each) for each in asked]
    together = [
        engine.open(engine.make_spec("a red apple", steps=2, seed=3, adapters=style_uses(engine.info.styles, **each)))
        for each in asked
    ]
    while together[0].state is State.RUNNING:
        engine.step(together)
    for generation, want in zip(together, alone, strict=True):
        np.testing.assert_array_equal(engine.finish(generation), want)
        engine.close(generation)


def test_a_parked_picture_goes_on_elsewhere(engine: Engine) -> None:
    engine.add_style_picture(DIGEST, picture())
    uses = style_uses(engine.info.styles, style_references=[7, DIGEST])
    want = pixels(engine, *uses)
    generation = engine.open(engine.make_spec("a red apple", steps=2, seed=3, adapters=uses))
    engine.step([generation])
    parked = ParkedGeneration.from_bytes(engine.park(generation).to_bytes())
    other = Engine.load(dtype="float32")
    with pytest.raises(SpecError, match=f"picture {DIGEST[:12]}, which is not here.*give the picture again"):
        other.resume(parked)
    assert other.num_open == 0
    other.add_style_picture(DIGEST, picture())
    resumed = other.resume(parked)
    other.step([resumed])
    np.testing.assert_array_equal(other.finish(resumed), want)


@pytest.mark.parametrize("name", ["style:", "style:number:x", "style:picture:12", "style:of mine"])
def test_a_name_that_says_no_style(engine: Engine, name: str) -> None:
    with pytest.raises(SpecError, match="style: got .*'style:number:N', 'style:picture:SHA256' or 'style:taste:CODE'"):
        engine.open(engine.make_spec("cat", adapters=(AdapterUse(name),)))
    assert engine.num_open == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((128, 128), np.uint8), r"got uint8 \[128, 128\], allowed uint8 \[height, width, 3\]"),
        (np.zeros((128, 128, 3), np.float32), "got float32"),
        (np.zeros((0, 128, 3), np.uint8), r"got uint8 \[0, 128, 3\]"),
        (np.zeros((120, 128, 3), np.uint8), "got 128 x 120, allowed sides that are multiples of 16"),
    ],
)
def test_pixels_that_are_no_reference(engine: Engine, given: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        engine.add_style_picture("cd" * 32, given)


def test_of_many_styles_the_least_recently_used_are_forgotten(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters_module, "MAX_DERIVED", 3)
    held = engine.open(engine.make_spec("cat", style_references=[100]))
    for number in range(101, 111):
        engine.close(engine.open(engine.make_spec("cat", style_references=[number])))
    kept = [number for number in range(100, 111) if names.of_number(number) in engine.adapters]
    assert 100 in kept, "one in use stays"
    assert len(kept) <= 4
    assert 110 in kept
    engine.close(held)
    engine.adapters.arena.check()


# ---- folders ---------------------------------------------------------------------------------------------------------


def test_damaged_style_files_are_refused_by_name(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from .test_shipped import copy_of_shipped

    whole = SafetensorsFile(EMBEDDED / "style_encoder.safetensors")
    arrays = {key: widen(whole.array(key), key) for key in whole.tensors}
    from salon.engine.config import Config, read_json
    from salon.engine.styles.space import load_styles

    engine = Engine.load(dtype="float32")
    folder = copy_of_shipped(tmp_path / "model")
    target = folder / "style_encoder.safetensors"
    salon = Config(folder / "salon.json", read_json(folder / "salon.json"))

    def load(changed: dict[str, Any]) -> None:
        save_file(changed, target)
        load_styles(engine.ops, folder, salon, engine.model.denoiser)

    load(arrays)
    broken: dict[str, dict[str, Any]] = {
        "null": {**arrays, "null": np.full(256, np.nan, np.float32)},
        "encoder.second.0.weight": {**arrays, "encoder.second.0.weight": np.zeros((96, 95, 3, 3), np.float32)},
        "encoder.out.2.bias": {**arrays, "encoder.out.2.bias": np.zeros(255, np.float32)},
        "heads.palette.weight": {**arrays, "heads.palette.weight": np.zeros((7, 255), np.float32)},
        "style_vectors.rows": {**arrays, "styles": arrays["styles"][:11]},
        "encoder.first.0.weight": {key: value for key, value in arrays.items() if key != "encoder.first.0.weight"},
    }
    for key, changed in broken.items():
        with pytest.raises(CheckpointError, match=key.replace(".", r"\.")):
            load(changed)


NUMBERS = "c75e7a4a1a21c94c89ac3419a281525552dbd6d1cdabe9e9b65b3431a5cee109"
