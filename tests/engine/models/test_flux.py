"""The Flux transformer against diffusers', sample by sample, and its own promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.engine import denoiser, errors
from salon.engine.checkpoint import Checkpoint, Component
from salon.engine.denoiser import AdapterTable
from salon.engine.models import flux
from salon.engine.models.rope import grid_tables
from salon.engine.text.pipeline import TextEncoding
from salon.kernels.ops import Ops
from salon.kernels.reference import ReferenceOps

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

Float32 = NDArray[np.float32]

MINI = Path(__file__).parents[3] / "models" / "mini"
CONFIG: dict[str, Any] = {
    "in_channels": 12,
    "num_layers": 2,
    "num_single_layers": 2,
    "attention_head_dim": 22,
    "num_attention_heads": 3,
    "joint_attention_dim": 17,
    "pooled_projection_dim": 9,
    "axes_dims_rope": (4, 8, 10),
}
WIDTH, TEXT, EMBEDDING = 66, 17, 13

TEXT_LENGTHS = (5, 1, 0, 11)
GRIDS = np.array([[3, 4], [1, 1], [5, 2], [2, 7]], np.int32)


@dataclass(frozen=True)
class Sample:
    """One sample's inputs, in numpy."""

    latents: Float32
    text: Float32
    pooled: Float32
    sigma: float
    guidance: float
    grid: tuple[int, int]


def samples(lengths: Sequence[int] = TEXT_LENGTHS, grids: NDArray[np.int32] = GRIDS) -> list[Sample]:
    rng = np.random.default_rng(3)

    def draw(*shape: int) -> Float32:
        return rng.standard_normal(shape).astype(np.float32)

    return [
        Sample(draw(h * w, 12), draw(n, TEXT), draw(9), float(rng.random()), float(1 + 4 * rng.random()), (h, w))
        for n, (h, w) in zip(lengths, grids.tolist(), strict=True)
    ]


def velocity(
    ops: Ops[Any, Any],
    weights: flux.FluxWeights,
    parts: Sequence[Sample],
    guided: bool,
    adapters: AdapterTable | None = None,
    pages: Any = None,
) -> Float32:
    """One evaluation of a batch of these samples."""
    inputs = [denoiser.Sample(s.grid, TextEncoding(s.text, s.pooled), s.guidance if guided else None) for s in parts]
    layout = flux.layout(ops, weights, inputs, adapters)
    latents = ops.array(np.concatenate([s.latents for s in parts]), "float32")
    times = np.array([s.sigma for s in parts], np.float32) * np.float32(1000)
    return ops.numpy(flux.velocity(ops, weights, layout, latents, times, pages))


def run_diffusers(model: Any, sample: Sample, embeds: list[Float32] | None = None) -> Float32:
    """One sample through diffusers' own module."""
    ids = torch.zeros(*sample.grid, 3)
    ids[..., 1] += torch.arange(sample.grid[0])[:, None]
    ids[..., 2] += torch.arange(sample.grid[1])[None, :]
    extra = {}
    if embeds is not None:
        extra["joint_attention_kwargs"] = {"ip_adapter_image_embeds": [torch.from_numpy(e)[None, None] for e in embeds]}
    with torch.no_grad():
        result: Float32 = model(
            hidden_states=torch.from_numpy(sample.latents)[None],
            encoder_hidden_states=torch.from_numpy(sample.text)[None],
            pooled_projections=torch.from_numpy(sample.pooled)[None],
            timestep=torch.tensor([sample.sigma]),
            guidance=torch.tensor([sample.guidance]) if model.config.guidance_embeds else None,
            img_ids=ids.reshape(-1, 3),
            txt_ids=torch.zeros(len(sample.text), 3),
            return_dict=False,
            **extra,
        )[0][0].numpy()
    return result


def split(rows: Float32, parts: Sequence[Sample]) -> list[Float32]:
    return np.split(rows, np.cumsum([len(s.latents) for s in parts])[:-1])


@pytest.fixture(params=[False, True], ids=["plain", "guidance"])
def model(request: pytest.FixtureRequest, zoo: Any) -> Any:
    return zoo.liven(diffusers.FluxTransformer2DModel(**CONFIG, guidance_embeds=request.param))


def test_agrees_with_diffusers(backend: Any, model: Any, zoo: Any, tmp_path: Path) -> None:
    ops, parts = backend.ops, samples()
    weights = flux.load_flux(ops, Component(zoo.save(model, tmp_path / "transformer")))
    got = velocity(ops, weights, parts, model.config.guidance_embeds)
    for sample, mine in zip(parts, split(got, parts), strict=True):
        backend.close(mine, run_diffusers(model, sample))


def test_the_embedded_transformer(backend: Any) -> None:
    ops, component = backend.ops, Checkpoint(MINI).component("transformer")
    weights = flux.load_flux(ops, component)
    rng = np.random.default_rng(6)
    config = weights.config
    sample = Sample(
        rng.standard_normal((15, config.in_channels)).astype(np.float32),
        rng.standard_normal((16, config.joint_attention_dim)).astype(np.float32),
        rng.standard_normal(config.pooled_projection_dim).astype(np.float32),
        0.6,
        1.0,
        (3, 5),
    )
    model = diffusers.FluxTransformer2DModel.from_pretrained(component.path, torch_dtype=torch.float32).eval()
    backend.close(
        velocity(ops, weights, [sample], config.guidance_embeds),
        run_diffusers(model, sample),
    )


@pytest.mark.parametrize(("double", "single"), [(0, 1), (1, 0)])
def test_agrees_without_one_kind_of_block(double: int, single: int, tmp_path: Path, zoo: Any) -> None:
    model = zoo.liven(diffusers.FluxTransformer2DModel(**{**CONFIG, "num_layers": double, "num_single_layers": single}))
    ops, parts = ReferenceOps(), samples((3,), GRIDS[:1])
    weights = flux.load_flux(ops, Component(zoo.save(model, tmp_path / "t")))
    got = velocity(ops, weights, parts, False)
    zoo.exact(ops).close(got, run_diffusers(model, parts[0]))


def test_half_and_bfloat16_checkpoints(tmp_path: Path, zoo: Any) -> None:
    model = zoo.liven(diffusers.FluxTransformer2DModel(**CONFIG))
    ops, parts = ReferenceOps(), samples()
    for dtype in (torch.bfloat16, torch.float16):
        model = model.to(dtype)
        weights = flux.load_flux(ops, Component(zoo.save(model, tmp_path / str(dtype))))
        got = split(velocity(ops, weights, parts, False), parts)
        model = model.float()
        for sample, mine in zip(parts, got, strict=True):
            zoo.exact(ops).close(mine, run_diffusers(model, sample))


def test_samples_do_not_depend_on_the_batch(backend: Any, model: Any, zoo: Any, tmp_path: Path) -> None:
    ops, parts, guided = backend.ops, samples(), model.config.guidance_embeds
    weights = flux.load_flux(ops, Component(zoo.save(model, tmp_path / "t")))
    together = split(velocity(ops, weights, parts, guided), parts)
    for sample, mine in zip(parts, together, strict=True):
        alone = velocity(ops, weights, [sample], guided)
        np.testing.assert_array_equal(alone, mine)
    poisoned = [replace(parts[0], latents=np.full_like(parts[0].latents, np.nan)), *parts[1:]]
    got = split(velocity(ops, weights, poisoned, guided), parts)
    assert np.isnan(got[0]).all()
    for mine, want in zip(got[1:], together[1:], strict=True):
        np.testing.assert_array_equal(mine, want)


# ---- adapters


def adapter_file(path: Path, seed: int, num_tokens: int = 4, old_names: bool = False) -> Path:
    """A random adapter for the model of CONFIG, in diffusers' or in XLabs' naming."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Float32:
        return rng.standard_normal(shape).astype(np.float32) / np.float32(shape[-1] ** 0.5)

    proj = "ip_adapter_proj_model" if old_names else "image_proj"
    weights = {
        f"{proj}.proj.weight": draw(num_tokens * TEXT, EMBEDDING),
        f"{proj}.proj.bias": draw(num_tokens * TEXT),
        f"{proj}.norm.weight": 1 + draw(TEXT),
        f"{proj}.norm.bias": draw(TEXT),
    }
    for i in range(2):
        for name, old in (("to_k_ip", "k_proj"), ("to_v_ip", "v_proj")):
            at = (
                f"double_blocks.{i}.processor.ip_adapter_double_stream_{old}" if old_names else f"ip_adapter.{i}.{name}"
            )
            weights[f"{at}.weight"] = 2 * draw(WIDTH, TEXT)
            weights[f"{at}.bias"] = draw(WIDTH)
    save_file(weights, path)
    return path


def state_dict(path: Path) -> dict[str, dict[str, Any]]:
    from safetensors.torch import load_file

    parts: dict[str, dict[str, Any]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in load_file(path).items():
        part, name = key.split(".", 1)
        parts[part][name] = value
    return parts


@dataclass(frozen=True)
class Pages:
    """Keys and values of each layer."""

    keys: list[Any]
    values: list[Any]


def terms(
    ops: Ops[Any, Any], adapters: Sequence[flux.IpAdapter], uses: Sequence[tuple[int, int, Float32, float]]
) -> tuple[AdapterTable, Pages]:
    """Terms of (sample, adapter, tokens, weight), all rows in one array per layer."""
    offsets = np.cumsum([0, *(len(t) for _, _, t, _ in uses)]).astype(np.int32)
    tokens = [(adapters[a].branch, ops.array(t)) for _, a, t, _ in uses]
    table = AdapterTable(
        samples=np.array([sample for sample, *_ in uses], np.int32),
        offsets=offsets,
        rows=np.arange(offsets[-1], dtype=np.int32),
        weights=np.array([weight for *_, weight in uses], np.float32),
    )
    keys = [ops.concat([ops.linear(t, branch.keys[layer]) for branch, t in tokens]) for layer in range(2)]
    values = [ops.concat([ops.linear(t, branch.values[layer]) for branch, t in tokens]) for layer in range(2)]
    return table, Pages(keys, values)


def test_adapters_agree_with_diffusers(backend: Any, model: Any, zoo: Any, tmp_path: Path) -> None:
    ops, parts, guided = backend.ops, samples(), model.config.guidance_embeds
    weights = flux.load_flux(ops, Component(zoo.save(model, tmp_path / "t")))
    plain = [run_diffusers(model, sample) for sample in parts]
    files = [adapter_file(tmp_path / f"{i}.safetensors", i) for i in range(3)]
    adapters = [flux.load_ip_adapter(ops, weights, file) for file in files]
    assert [a.projection.num_tokens for a in adapters] == [4, 4, 4]
    rng = np.random.default_rng(5)
    # Sample 0 uses none, 1 one, 2 three, 3 two of which one is another picture for the same adapter.
    scales = {1: {1: 0.8}, 2: {0: 1.0, 1: -0.5, 2: 0.3}, 3: {0: 0.25, 2: 1.5}}
    embeds = {s: {a: rng.standard_normal(EMBEDDING).astype(np.float32) for a in used} for s, used in scales.items()}
    uses = [
        (s, a, adapters[a].projection.tokens(ops, embeds[s][a][None]), scale)
        for s, used in scales.items()
        for a, scale in used.items()
    ]
    got = split(velocity(ops, weights, parts, guided, *terms(ops, adapters, uses)), parts)
    backend.close(got[0], plain[0])

    for s, used in scales.items():
        model._load_ip_adapter_weights([state_dict(files[a]) for a in used])
        for processor in model.attn_processors.values():
            processor.scale = list(used.values())
        with_adapters = run_diffusers(model, parts[s], list(embeds[s].values()))
        backend.close(got[s], with_adapters)
        assert np.abs(with_adapters - plain[s]).max() > 0.3 * plain[s].std()

    alone = [(0, a, tokens, scale) for s, a, tokens, scale in uses if s == 2]
    single = velocity(ops, weights, [parts[2]], guided, *terms(ops, adapters, alone))
    np.testing.assert_array_equal(single, got[2])


def test_adapter_files(tmp_path: Path, zoo: Any) -> None:
    ops = ReferenceOps()
    weights = flux.load_flux(
        ops, Component(zoo.save(zoo.liven(diffusers.FluxTransformer2DModel(**CONFIG)), tmp_path / "t"))
    )
    new = flux.load_ip_adapter(ops, weights, adapter_file(tmp_path / "new.safetensors", 1, 3))
    old = flux.load_ip_adapter(ops, weights, adapter_file(tmp_path / "old.safetensors", 1, 3, old_names=True))
    assert new.projection.num_tokens == old.projection.num_tokens == 3
    for a, b in zip([*new.branch.keys, *new.branch.values], [*old.branch.keys, *old.branch.values], strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)
    layer = {"0.to_k_ip.weight": np.zeros((WIDTH, 5)), "0.to_k_ip.bias": np.zeros(WIDTH)}
    with pytest.raises(errors.MissingKey, match=r"x: missing weight, key '0.to_v_ip.weight', expected \[66, 5\]"):
        flux.load_adapter_branch(ops, weights, layer, "x")
    with pytest.raises(errors.WrongShape, match=r"key '0.to_k_ip.weight', expected \[66, any\], found \[65, 5\]"):
        flux.load_adapter_branch(ops, weights, {**layer, "0.to_k_ip.weight": np.zeros((65, 5))})
    with pytest.raises(ValueError, match="want \\[n, 13\\]"):
        new.projection.tokens(ops, np.zeros((2, 4), np.float32))
    bad = tmp_path / "bad.safetensors"
    from safetensors.numpy import save_file

    save_file({"unet.weight": np.zeros(3)}, bad)
    with pytest.raises(errors.UnexpectedKey, match="key 'unet.weight', expected a name that begins with"):
        flux.load_ip_adapter(ops, weights, bad)


# ---- tables, configs, refusals


def test_rope_tables_are_diffusers() -> None:
    embed = diffusers.models.transformers.transformer_flux.FluxPosEmbed(10000, [4, 8, 10])
    ids = torch.zeros(3, 5, 3)
    ids[..., 1] += torch.arange(3)[:, None]
    ids[..., 2] += torch.arange(5)[None, :]
    cos, sin = grid_tables(3, 5, (4, 8, 10))
    want_cos, want_sin = (table[:, ::2].numpy() for table in embed(ids.reshape(-1, 3)))
    np.testing.assert_array_equal(cos, want_cos)
    np.testing.assert_allclose(sin, want_sin, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"_class_name": "SD3Transformer2DModel"}, errors.UnknownArchitecture, "expected FluxTransformer2DModel"),
        ({"patch_size": 2}, errors.UnknownArchitecture, "key 'patch_size', expected 1, found 2"),
        ({"out_channels": 3}, errors.UnknownArchitecture, "key 'out_channels', expected 12, found 3"),
        ({"axes_dims_rope": [4, 8, 8]}, errors.WrongConfig, "axes_dims_rope"),
        ({"num_layers": "2"}, errors.WrongConfig, "num_layers"),
        ({"num_layers": 3}, errors.MissingKey, r"transformer_blocks.2.norm1.linear.weight', .*\[396, 66\]"),
        ({"num_single_layers": 1}, errors.UnexpectedKey, r"single_transformer_blocks.1"),
        ({"guidance_embeds": True}, errors.MissingKey, "guidance_embedder"),
        (
            {"joint_attention_dim": 18},
            errors.WrongShape,
            r"context_embedder.weight', expected \[66, 18\], found \[66, 17\]",
        ),
    ],
)
def test_wrong_folders(
    changes: dict[str, Any], kind: type[errors.CheckpointError], message: str, tmp_path: Path, zoo: Any
) -> None:
    folder = zoo.save(diffusers.FluxTransformer2DModel(**CONFIG), tmp_path / "t")
    zoo.edit_config(folder, **changes)
    with pytest.raises(kind, match=message):
        flux.load_flux(ReferenceOps(), Component(folder))


def test_text_that_samples_share_is_laid_out_once(backend: Any, zoo: Any, tmp_path: Path) -> None:
    """Samples of one text object give the bits of samples that each have a copy of it."""
    ops, (one, two, *_) = backend.ops, samples()
    weights = flux.load_flux(
        ops, Component(zoo.save(zoo.liven(diffusers.FluxTransformer2DModel(**CONFIG)), tmp_path / "t"))
    )
    shared, other = TextEncoding(one.text, one.pooled), TextEncoding(two.text, two.pooled)
    grids = [(3, 4), (1, 1), (3, 4), (2, 2)]
    texts = [shared, other, shared, shared]
    copies = [TextEncoding(text.tokens.copy(), text.pooled) for text in texts]
    layouts = [
        flux.layout(ops, weights, [denoiser.Sample(grid, text) for grid, text in zip(grids, each, strict=True)])
        for each in (texts, copies)
    ]
    want = np.concatenate([text.tokens for text in texts]).shape[0]
    assert [ops.numpy(layout.text).shape[0] for layout in layouts] == [want, want]
    rng = np.random.default_rng(8)
    latents = ops.array(rng.standard_normal((29, 12)).astype(np.float32), "float32")
    times = np.array([900, 10, 500, 1000], np.float32)
    first, second = (ops.numpy(flux.velocity(ops, weights, layout, latents, times)) for layout in layouts)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


def test_wrong_batches(tmp_path: Path, zoo: Any) -> None:
    ops, parts = ReferenceOps(), samples()
    weights = flux.load_flux(ops, Component(zoo.save(diffusers.FluxTransformer2DModel(**CONFIG), tmp_path / "t")))
    inputs = [denoiser.Sample(s.grid, TextEncoding(s.text, s.pooled)) for s in parts]
    table = AdapterTable(np.array([4], np.int32), np.zeros(2, np.int32), np.zeros(0, np.int32), np.ones(1, np.float32))
    for changes, message in (
        ({"grid": (0, 4)}, "layout: grid"),
        ({"guidance": 1.0}, "layout: guidance"),
        ({"text": TextEncoding(parts[0].text[:, 1:], parts[0].pooled)}, "along dimension|must match"),
    ):
        with pytest.raises(ValueError, match=message):
            flux.layout(ops, weights, [replace(inputs[0], **changes), *inputs[1:]])
    with pytest.raises(ValueError, match=r"layout: adapters: got samples \[4\], want 0..3"):
        flux.layout(ops, weights, inputs, table)
    layout, times = flux.layout(ops, weights, inputs), np.zeros(4, np.float32)
    latents = ops.zeros(37, 12)
    assert np.isfinite(flux.velocity(ops, weights, layout, latents, times)).all()
    with pytest.raises(ValueError, match="split: sizes"):
        flux.velocity(ops, weights, layout, latents[:36], times)
    with pytest.raises(ValueError, match="residual|modulate"):
        flux.velocity(ops, weights, layout, latents, times[:3])
    with_adapter = flux.layout(ops, weights, inputs, replace(table, samples=np.array([3], np.int32)))
    arrays = [ops.zeros(1, WIDTH)] * 2
    assert np.isfinite(flux.velocity(ops, weights, with_adapter, latents, times, Pages(arrays, arrays))).all()
    for pages in (None, Pages(arrays, arrays[:1])):
        with pytest.raises(ValueError, match="velocity: pages: got . keys and . values, want 2 of each"):
            flux.velocity(ops, weights, with_adapter, latents, times, pages)
