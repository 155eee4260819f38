"""Weights that are given more latent channels do at first what they did. Needs the `train` extra."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="needs the train extra")

from salon.models.mini.recipe import autoencoder, transformer
from salon.models.mini.recipe.adapter import refit
from salon.models.mini.recipe.config import smoke
from salon.models.mini.recipe.errors import CacheError
from salon.models.mini.recipe.network import Velocity, build
from salon.models.mini.recipe.style import StyleAdapter, StyleEncoder
from salon.models.mini.recipe.text import WIDTH
from salon.models.mini.recipe.widen import even_out

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
HAD, NOW = 4, 6


@pytest.fixture
def narrow(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    autoencoder.build(replace(smoke().autoencoder, latents=HAD)).save_pretrained(tmp_path / "narrow")
    return tmp_path / "narrow"


def models(narrow: Path) -> tuple[Any, Any]:
    config = replace(smoke().autoencoder, warm=str(narrow))
    return autoencoder.build(replace(config, latents=HAD)), autoencoder.build(replace(config, latents=NOW))


def test_a_wider_autoencoder_rebuilds_as_before(narrow: Path) -> None:
    old, new = models(narrow)
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        means, more = old.encoder(x), new.encoder(x)
        assert torch.allclose(more[:, :HAD], means[:, :HAD], atol=1e-6)
        assert torch.allclose(more[:, NOW : NOW + HAD], means[:, HAD:], atol=1e-6)
        assert more[:, HAD:NOW].std() > 1e-4  # the new ones say something, so that the decoder can learn to listen
        noise = torch.randn(2, NOW, 4, 4)
        assert torch.allclose(new.decoder(noise), old.decoder(noise[:, :HAD]), atol=1e-6)


def test_an_autoencoder_of_more_channels_is_refused(narrow: Path) -> None:
    with pytest.raises(CacheError, match="has 4 latent channels, 3 are wanted"):
        autoencoder.build(replace(smoke().autoencoder, warm=str(narrow), latents=HAD - 1))


def test_evening_out_changes_deviations_and_nothing_else(narrow: Path) -> None:
    _, new = models(narrow)
    torch.nn.init.normal_(new.decoder.conv_in.weight, std=0.1)
    x = torch.rand(4, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        before = new.encoder(x)
        picture = new.decoder(before[:, :NOW])
        deviation = before[:, :NOW].std((0, 2, 3))
        even_out(new, HAD, deviation)
        after = new.encoder(x)
        assert torch.allclose(new.decoder(after[:, :NOW]), picture, atol=1e-4)
        usual = float(deviation[:HAD].pow(2).mean().sqrt())
        assert torch.allclose(after[:, HAD:NOW].std((0, 2, 3)), torch.full((NOW - HAD,), usual), rtol=1e-3)
        relative = (after[:, NOW + HAD :] - before[:, NOW + HAD :]).mean((0, 2, 3))  # the posterior's noise goes along
        assert torch.allclose(relative, 2 * (usual / deviation[HAD:]).log(), atol=1e-3)


def test_a_wider_transformer_draws_the_first_channels_as_before(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = smoke().transformer
    old, new = build(config, HAD), build(config, NOW)
    for name in ("weight", "bias"):
        torch.nn.init.normal_(getattr(old.proj_out, name))
    old.save_pretrained(tmp_path / "old")
    assert transformer.load_warm(new, str(tmp_path / "old")) == []
    x, t = torch.randn(2, 4, 4 * NOW), torch.rand(2)
    tokens, pooled = torch.randn(2, 5, WIDTH), torch.randn(2, WIDTH)
    with torch.no_grad():
        before, after = Velocity(old), Velocity(new)
        v = after(x, tokens, pooled, t, after.rotary(4, 4))
        told = before(x[..., : 4 * HAD], tokens, pooled, t, before.rotary(4, 4))
    assert told.abs().mean() > 0.1
    assert torch.allclose(v[..., : 4 * HAD], told, atol=1e-5)
    assert not v[..., 4 * HAD :].any()


def test_an_adapter_of_fewer_channels_is_refitted() -> None:
    torch.manual_seed(0)
    width, z = 8, torch.randn(64, NOW, 8, 8)
    old, new = StyleEncoder(HAD, width), StyleEncoder(NOW, width)
    adapter = StyleAdapter(width, 2, 16, 1)
    with torch.no_grad():
        told = adapter.project(old(z[:, :HAD]))
        apart = (adapter.project(new(z)) - told).norm()
        refit(adapter, old, new, z)
        assert (adapter.project(new(z)) - told).norm() < 0.9 * apart
