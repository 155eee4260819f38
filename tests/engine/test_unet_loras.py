"""LoRAs of SDXL and Stable Diffusion 1.5: what diffusers' models draw with the changed weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.denoiser import Sample
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError
from salon.engine.files.unet import original_name
from salon.engine.lora_rules import load_lora_rules
from salon.engine.lora_uses import LoraUse
from salon.engine.trained import input_factors
from salon.engine.weights.unet import UNetConfig
from salon.engine.weights.unet_lora import lora_map
from salon.kernels.cpu import isa_levels

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families.tiny_unet import sd_pipeline, xl_pipeline

from .lora_files import write
from .test_unets import PROMPT, SIDE, Pair, decibels, finished, relative

ENCODERS = ("text_encoder", "text_encoder_2")
Made = dict[str, tuple[Any, Any]]  # component and name of a layer -> down, up, in the shapes of files


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    built = {"sdxl": xl_pipeline(), "sd15": sd_pipeline("v_prediction")}
    return {name: Pair(each, tmp_path_factory.mktemp(name)) for name, each in built.items()}


def config_of(pair: Pair) -> UNetConfig:
    denoiser: Any = pair.engine.model.denoiser
    config: UNetConfig = denoiser.config
    return config


def parts_of(pair: Pair) -> dict[str, Any]:
    return {name: part for name in ("unet", *ENCODERS) if (part := getattr(pair.built, name, None)) is not None}


def changes(pair: Pair, seed: int, rank: int = 2, scale: float = 0.15) -> Made:
    """Random factors of every linear layer and convolution, of the encoders too, under transformers' older names."""
    rng, made = np.random.default_rng(seed), Made()
    for part, model in parts_of(pair).items():
        for key, weight in model.state_dict().items():
            name, shape = key.removesuffix(".weight"), tuple(weight.shape)
            if len(shape) < 2 or "embedding" in name and part != "unet":
                continue
            depth = int(np.prod(shape[1:]))
            down = rng.standard_normal((rank, *shape[1:])).astype(np.float32) / np.float32(np.sqrt(depth))
            up = np.float32(scale) * rng.standard_normal((shape[0], rank)).astype(np.float32)
            inside = part == "unet" or name.startswith(("text_model.", "text_projection"))
            made[f"{part}.{name if inside else f'text_model.{name}'}"] = (
                down,
                up.reshape(-1, rank, *[1] * len(shape[2:])),
            )
    return made


def named(pair: Pair, made: Made, layout: str) -> dict[str, Any]:
    """The arrays as files have them; kohya's have an alpha of half the rank."""
    config, arrays = config_of(pair), dict[str, Any]()
    two = hasattr(pair.built, "text_encoder_2")
    for name, (down, up) in made.items():
        part, _, rest = name.partition(".")
        if layout == "peft":
            arrays |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
            continue
        if part == "unet" and layout == "kohya, original names":
            rest = original_name(rest, config.layers_per_block, config.up_attends)
        start = {"unet": "lora_unet", "text_encoder": "lora_te1" if two else "lora_te"}.get(part, "lora_te2")
        at = f"{start}_{rest.replace('.', '_')}"
        arrays |= {f"{at}.lora_down.weight": down, f"{at}.lora_up.weight": up}
        arrays[f"{at}.alpha"] = np.float32(down.shape[0] / 2)
    return arrays


@contextmanager
def merged(pair: Pair, deltas: dict[str, Any], scale: float) -> Iterator[None]:
    """Add the changes to the weights of diffusers' pipeline, and take them away again."""
    kept = {part: {key: w.clone() for key, w in model.state_dict().items()} for part, model in parts_of(pair).items()}
    for name, delta in deltas.items():
        part, _, rest = name.partition(".")
        weights = parts_of(pair)[part].state_dict()
        key = f"{rest}.weight" if f"{rest}.weight" in weights else f"{rest.removeprefix('text_model.')}.weight"
        weights[key] += torch.from_numpy(scale * delta.reshape(tuple(weights[key].shape)))
    try:
        yield
    finally:
        for part, model in parts_of(pair).items():
            model.load_state_dict(kept[part])


def diffusers_velocity(pair: Pair, latents: Any, grid: tuple[int, int], sigma: float) -> Any:
    """dx/dsigma [P, 4] of a picture, by diffusers' own text encoders and UNet."""
    denoiser: Any = pair.engine.model.denoiser
    states, pooled, _, _ = pair.encoded()
    sigmas = np.array([sigma], np.float32)
    c, p, q = input_factors(sigmas, denoiser.schedule.prediction)
    height, width = grid
    seen = torch.from_numpy((c * latents).reshape(height, width, 4).transpose(2, 0, 1).copy())[None]
    sizes = torch.tensor([[2 * height, 2 * width, 0, 0, 2 * height, 2 * width]], dtype=torch.float32)
    added = {"text_embeds": pooled[None], "time_ids": sizes} if len(pooled) else None
    with torch.no_grad():
        out = pair.built.unet(
            seen, float(denoiser.schedule.times(sigmas)[0]), encoder_hidden_states=states[None],
            added_cond_kwargs=added, return_dict=False,
        )[0]  # fmt: skip
    return p * out[0].permute(1, 2, 0).reshape(-1, 4).numpy() + q * latents


def velocities(engine: Engine, samples: list[tuple[tuple[int, int], tuple[LoraUse, ...], Any]]) -> list[Any]:
    """dx/dsigma of samples (grid, LoRAs, latents) in one batch."""
    denoiser, ops, text = engine.model.denoiser, engine.ops, engine.model.text
    made = []
    for grid, uses, _ in samples:
        loras = engine.loras.reading(uses)
        encoding = text.encode(PROMPT) if loras is None else text.encode_with(loras, PROMPT)  # type: ignore
        made.append(Sample(grid, encoding, None, engine.loras.pin(uses)))
        engine.loras.unpin(uses)
    layout = denoiser.layout(ops, made)
    (numbers,) = ops.vectors(denoiser.times(np.full(len(made), 0.7, np.float32)))
    latents = ops.array(np.concatenate([each for _, _, each in samples]), "float32")
    whole = ops.numpy(denoiser.velocity(ops, layout, latents, numbers))
    return list(np.split(whole, np.cumsum([len(each) for _, _, each in samples])[:-1]))


@pytest.mark.parametrize(
    ("kind", "layout"),
    [("sdxl", "kohya, original names"), ("sd15", "peft")],
)
def test_the_velocity_is_that_of_merged_weights(kind: str, layout: str, pairs: dict[str, Pair], tmp_path: Path) -> None:
    """Of every layer of the UNet and of the text encoders; beside others in a batch it has the same bits."""
    pair = pairs[kind]
    made = changes(pair, 1)
    digest, path = write(tmp_path / "lora.safetensors", named(pair, made, layout))
    other, beside = write(tmp_path / "other.safetensors", named(pair, changes(pair, 2, rank=3), layout))
    pair.engine.add_lora(digest, path)
    pair.engine.add_lora(other, beside)
    use, random = (LoraUse(digest, 0.8),), np.random.default_rng(3)
    plans = (((4, 4), ()), ((5, 7), use), ((4, 6), (*use, LoraUse(other, -0.5))), ((4, 4), use))
    samples: list[Any] = [
        (grid, uses, random.standard_normal((grid[0] * grid[1], 4)).astype(np.float32)) for grid, uses in plans
    ]
    together = velocities(pair.engine, samples)
    for one, sample in zip(together, samples, strict=True):
        np.testing.assert_array_equal(velocities(pair.engine, [sample])[0], one)
    scale = 0.8 if layout == "peft" else 0.4
    deltas = {name: up.reshape(len(up), -1) @ down.reshape(len(down), -1) for name, (down, up) in made.items()}
    with merged(pair, deltas, scale):
        for place in (1, 3):
            grid, _, latents = samples[place]
            want = diffusers_velocity(pair, latents, grid, 0.7)
            assert relative(together[place], want) <= 1e-4
    assert relative(together[0], diffusers_velocity(pair, samples[0][2], samples[0][0], 0.7)) <= 1e-4
    assert relative(together[3], diffusers_velocity(pair, samples[3][2], samples[3][0], 0.7)) > 0.05


def lycoris() -> tuple[dict[str, Any], dict[str, Any]]:
    """A LoHa and a LoKr of convolutions, one of the text encoder, one as diffusers named it in 2023; the changes."""
    rng = np.random.default_rng(8)

    def normal(*shape: int) -> Any:
        return (0.2 * rng.standard_normal(shape)).astype(np.float32)

    a1, b1, a2, b2 = normal(64, 2), normal(2, 64 * 9), normal(64, 2), normal(2, 64 * 9)
    at = "lycoris_mid_block_resnets_0_conv1"
    arrays: dict[str, Any] = {
        f"{at}.hada_w1_a": a1,
        f"{at}.hada_w1_b": b1,
        f"{at}.hada_w2_a": a2,
        f"{at}.hada_w2_b": b2,
    }
    deltas = {"unet.mid_block.resnets.0.conv1": (a1 @ b1) * (a2 @ b2)}
    w1, w2 = normal(8, 2), normal(8, 32, 3, 3)  # of the change [64, 64, 3, 3]
    at = "lora_unet_down_blocks_1_downsamplers_0_conv"
    arrays |= {f"{at}.lokr_w1": w1, f"{at}.lokr_w2": w2}
    deltas["unet.down_blocks.1.downsamplers.0.conv"] = np.einsum("ij,pqkl->ipjqkl", w1, w2)
    down, up = normal(2, 64), normal(96, 2)
    at = "lora_te_text_model_encoder_layers_1_mlp_fc1"
    arrays |= {f"{at}.lora_down.weight": down, f"{at}.lora_up.weight": up}
    deltas["text_encoder.text_model.encoder.layers.1.mlp.fc1"] = up @ down
    down, up = normal(2, 64), normal(64, 2)
    at = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora"
    arrays |= {f"{at}.down.weight": down, f"{at}.up.weight": up}
    deltas["unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"] = up @ down
    # Tucker decompositions, whose changes are LyCORIS' own formulas
    down, mid, up = normal(2, 64, 1, 1), normal(3, 2, 3, 3), normal(64, 3, 1, 1)
    at = "lora_unet_mid_block_resnets_0_conv2"
    arrays |= {f"{at}.lora_down.weight": down, f"{at}.lora_mid.weight": mid, f"{at}.lora_up.weight": up}
    deltas["unet.mid_block.resnets.0.conv2"] = np.einsum("oa,abkl,bi->oikl", up[:, :, 0, 0], mid, down[:, :, 0, 0])
    t1, t2, (wa1, wa2, wb1, wb2) = normal(2, 2, 3, 3), normal(2, 2, 3, 3), (normal(2, 64) for _ in range(4))
    at = "lycoris_mid_block_resnets_1_conv1"
    arrays |= {f"{at}.hada_t1": t1, f"{at}.hada_w1_a": wa1, f"{at}.hada_w1_b": wb1}
    arrays |= {f"{at}.hada_t2": t2, f"{at}.hada_w2_a": wa2, f"{at}.hada_w2_b": wb2}
    first, second = (
        np.einsum("ijkl,jr,ip->prkl", t, b, a, optimize=True) for t, b, a in ((t1, wb1, wa1), (t2, wb2, wa2))
    )
    deltas["unet.mid_block.resnets.1.conv1"] = first * second
    w1, core, wa, wb = normal(8, 2), normal(2, 2, 3, 3), normal(2, 8), normal(2, 32)
    at = "lora_unet_mid_block_resnets_1_conv2"
    arrays |= {f"{at}.lokr_w1": w1, f"{at}.lokr_t2": core, f"{at}.lokr_w2_a": wa, f"{at}.lokr_w2_b": wb}
    whole = np.einsum("ijkl,jr,ip->prkl", core, wb, wa, optimize=True)
    deltas["unet.mid_block.resnets.1.conv2"] = np.einsum("ij,pqkl->ipjqkl", w1, whole)
    return arrays, deltas


def test_pictures_are_those_of_merged_weights(pairs: dict[str, Pair], tmp_path: Path) -> None:
    """With a negative prompt, in layouts that are rare, and by a studio's rules, which have no weights."""
    pair = pairs["sd15"]
    arrays, deltas = lycoris()
    digest, path = write(tmp_path / "lora.safetensors", arrays)
    _, placed = load_lora_rules(pair.folder).open(path)
    assert len(placed) == len(deltas) == 7
    pair.engine.add_lora(digest, path)
    plain = pair.drawn(guidance_scale=2.0)[0]
    fields: dict[str, Any] = {"negative_prompt": "a dog", "guidance_scale": 2.0}
    got = pair.drawn(loras=[(digest, 1.5)], **fields)[0]
    with merged(pair, deltas, 1.5):
        assert decibels(got, pair.theirs(**fields)) >= 50
    assert decibels(got, plain / 255) < 40
    spec = pair.engine.make_spec(PROMPT, seed=7, width=SIDE, height=SIDE, steps=2, loras=[(digest, 1.5)])
    generation = pair.engine.open(spec)
    assert not generation.warnings
    pair.engine.step([generation])
    generation = pair.engine.resume(pair.engine.park(generation))
    while generation.state == "running":
        pair.engine.step([generation])
    np.testing.assert_array_equal(pair.engine.finish(generation), finished(pair.engine, spec))
    pair.engine.close(generation)
    np.testing.assert_array_equal(pair.drawn(guidance_scale=2.0)[0], plain)


@pytest.mark.parametrize("backend", ["cpu", "onnx"])
def test_packed_convolutions_do_not_change_with_their_file(
    pairs: dict[str, Pair], tmp_path: Path, backend: str
) -> None:
    """A table that runs graphs packs a weight at its first use."""
    if backend == "onnx":
        pytest.importorskip("onnxruntime", reason="it runs graphs (extra: onnx)")
    name, rng = "unet.down_blocks.0.resnets.0.conv1", np.random.default_rng(5)
    down, up = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 32, 3, 3), (32, 2, 1, 1)))
    digest, path = write(tmp_path / "lora.safetensors", named(pairs["sd15"], Made({name: (down, up)}), "peft"))
    engines = [Engine.load(pairs["sd15"].folder, backend=backend, dtype="float32", threads=1) for _ in range(2)]
    for engine in engines:
        engine.add_lora(digest, path)
    spec = engines[0].make_spec(PROMPT, seed=7, width=SIDE, height=SIDE, steps=1, loras=[(digest, 1.0)])
    want, changing = finished(engines[0], spec), engines[1].open(spec)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    engines[1].step([changing])
    np.testing.assert_array_equal(engines[1].finish(changing), want)


@pytest.mark.skipif("avx512_bf16" not in isa_levels(), reason="needs AVX512-BF16")
def test_rows_without_terms_keep_their_bits_in_bfloat16(pairs: dict[str, Pair], tmp_path: Path) -> None:
    """A convolution with terms of others is kept in float32 first, and rounded then."""
    pair = pairs["sd15"]
    engine = Engine.load(pair.folder, dtype="bfloat16", threads=1)
    digest, path = write(tmp_path / "lora.safetensors", named(pair, changes(pair, 4), "peft"))
    engine.add_lora(digest, path)
    random = np.random.default_rng(3)
    samples: list[Any] = [
        (grid, uses, random.standard_normal((grid[0] * grid[1], 4)).astype(np.float32))
        for grid, uses in (((4, 4), ()), ((5, 7), (LoraUse(digest, 0.8),)), ((5, 4), ()))
    ]
    for one, sample in zip(velocities(engine, samples), samples, strict=True):
        np.testing.assert_array_equal(velocities(engine, [sample])[0], one)


@pytest.mark.parametrize(
    ("name", "shapes", "said"),
    [
        ("lora_unet_double_blocks_0_img_attn_qkv", ((2, 64), (64, 2)), "of this model \\(sdxl\\)"),
        ("lora_unet_mid_block_resnets_0_conv1", ((2, 128, 1, 1), (128, 2, 1, 1)), r"\[128, 1152\].*\[128, 128\]"),
        ("lora_unet_conv_in", ((3, 4, 3, 3), (64, 2, 1, 1)), "the rank of"),
        ("lora_unet_conv_in", ((3, 4, 1, 1), (64, 2, 1, 1), (3, 3, 3, 3)), r"lora_mid.*\[2, 3, height, width\]"),
        ("lora_te1_text_model_encoder_layers_7_mlp_fc1", ((2, 64), (96, 2)), "lora_te1_.*layers_7.*does not have"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1", ((2, 64), (96, 2)), r"\[96, 128\].*\[96, 64\]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(
    name: str, shapes: tuple[Any, ...], said: str, pairs: dict[str, Pair], tmp_path: Path
) -> None:
    parts = zip(("lora_down", "lora_up", "lora_mid"), shapes, strict=False)
    arrays = {f"{name}.{part}.weight": np.ones(shape, np.float32) for part, shape in parts}
    digest, path = write(tmp_path / "bad.safetensors", arrays)
    with pytest.raises(CheckpointError, match=said):
        pairs["sdxl"].engine.add_lora(digest, path)


def test_every_layer_has_one_place_and_two_names(pairs: dict[str, Pair]) -> None:
    for pair in pairs.values():
        weights = pair.built.unet.state_dict()
        layers = {key.removesuffix(".weight"): tuple(w.shape) for key, w in weights.items() if w.ndim > 1}
        config = config_of(pair)
        where = lora_map(config)
        names = {key: original_name(key, config.layers_per_block, config.up_attends) for key in layers}
        assert {*where.layers} == {*names, *names.values()}
        for key, shape in layers.items():
            (place, *more) = where.layers[key]
            assert where.layers[names[key]] == (place, *more)
            rows = max(each.stop for each in (place, *more))
            assert (rows, where.targets[place.target][1]) == (shape[0], int(np.prod(shape[1:])))
