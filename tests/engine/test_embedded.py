"""The embedded model end to end: text and pictures agree with transformers and diffusers in float32."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import EMBEDDED, Engine
from salon.engine.errors import LimitError

PROMPT = "a red apple, 3d render, on a teal background"
STEPS = 4
GUIDANCE = 3.0
WORDS = {"subject": "a red apple", "style": "3d render style", "background": "teal background"}


def load(dtype: Any) -> Engine:
    try:
        return Engine.load(dtype=dtype, threads=2)
    except ImportError:
        return Engine.load(backend="reference")


@pytest.fixture(scope="module")
def exact() -> Engine:
    return load("float32")


def run(engine: Engine, steps: int = STEPS) -> tuple[Any, Any, Any]:
    """(noise, final latents, pictures) of the prompt."""
    generation = engine.open(engine.make_spec(PROMPT, steps=steps, guidance_scale=GUIDANCE, seed=1))
    noise = engine.ops.numpy(generation.latents)
    for _ in range(steps):
        engine.step([generation])
    latents, pictures = engine.ops.numpy(generation.latents), engine.finish(generation)
    engine.close(generation)
    return noise, latents, pictures


@pytest.fixture(scope="module")
def text() -> tuple[Any, Any]:
    """The prompt encoded as in training: tokens float32 [rows, 384], pooled [384]."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from safetensors.numpy import load_file

    stats = load_file(EMBEDDED / "text_stats.safetensors")
    encoder = transformers.BertModel.from_pretrained(EMBEDDED / "text_encoder").float().eval()
    tokenizer = transformers.BertTokenizer.from_pretrained(EMBEDDED / "tokenizer")

    def states(clause: str) -> Any:
        with torch.no_grad():
            return encoder(**tokenizer(clause, return_tensors="pt")).last_hidden_state[0, 1:-1].numpy()

    rows = []
    for slot in json.loads((EMBEDDED / "salon.json").read_text())["text"]["slots"]:
        part = np.zeros((slot["tokens"], 384), np.float32)
        if slot["name"] in WORDS:
            found = (states(WORDS[slot["name"]]) - stats["token_mean"]) / stats["token_std"]
            part[: len(found)] = found
        rows.append(part)
    pooled = (states(WORDS["subject"]).mean(0) - stats["pooled_mean"]) / stats["pooled_std"]
    return np.concatenate(rows), pooled


@pytest.fixture(scope="module")
def theirs(exact: Engine, text: tuple[Any, Any]) -> tuple[Any, Any]:
    """(latents, pictures in -1..1) of diffusers in float32 from the same noise."""
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    transformer = diffusers.FluxTransformer2DModel.from_pretrained(EMBEDDED / "transformer").float().eval()
    vae = diffusers.AutoencoderKL.from_pretrained(EMBEDDED / "vae").float().eval()
    x = torch.from_numpy(run(exact)[0])[None]
    tokens, pooled = (torch.from_numpy(part)[None] for part in text)
    places = torch.zeros(8, 8, 3)
    places[..., 1] += torch.arange(8)[:, None]
    places[..., 2] += torch.arange(8)[None]
    sigmas = np.linspace(1, 0, STEPS + 1)
    with torch.no_grad():
        for now, after in zip(sigmas[:-1], sigmas[1:], strict=True):
            v, u = (
                transformer(
                    hidden_states=x,
                    encoder_hidden_states=scale * tokens,
                    pooled_projections=scale * pooled,
                    timestep=torch.tensor([now], dtype=torch.float32),
                    img_ids=places.reshape(-1, 3),
                    txt_ids=torch.zeros(tokens.shape[1], 3),
                    return_dict=False,
                )[0]
                for scale in (1, 0)
            )
            x = x + (after - now) * (u + GUIDANCE * (v - u))
        channels = vae.config.latent_channels
        grid = x.reshape(1, 8, 8, channels, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(1, channels, 16, 16)
        image = vae.decode(grid / vae.config.scaling_factor + vae.config.shift_factor, return_dict=False)[0]
    return x[0].numpy(), image.permute(0, 2, 3, 1).numpy()


def levels(image: Any) -> Any:
    return (np.clip(image, -1, 1) + 1) * 127.5


@pytest.mark.filterwarnings("default")  # of the libraries, about themselves
def test_float32_agrees_with_diffusers(exact: Engine, text: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    encoding = exact.model.text.encode(PROMPT) if exact.model.text else None
    assert encoding is not None
    assert encoding.warnings == ()
    for ours, wanted in ((encoding.tokens, text[0]), (encoding.pooled, text[1])):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-4)
    _, latents, pictures = run(exact)
    assert np.isfinite(latents).all()
    np.testing.assert_allclose(latents, theirs[0], rtol=0, atol=1e-3)
    np.testing.assert_allclose(pictures, levels(theirs[1]), rtol=0, atol=0.5 + 1e-3 * 127.5)


@pytest.mark.filterwarnings("default")
def test_bfloat16_is_close_to_diffusers_float32(theirs: tuple[Any, Any]) -> None:
    engine = load(None)
    _, _, pictures = run(engine)
    error = np.square(pictures.astype(np.float64) - levels(theirs[1])).mean()
    assert error >= 0
    assert 10 * np.log10(255**2 / max(error, 1e-9)) >= 35


def test_the_pictures_are_red_things_on_teal(exact: Engine) -> None:
    """What a person sees, as far as colours go: corners are teal, the middle is red, now and then another apple's."""
    generation = exact.open(exact.make_spec(PROMPT, steps=16, guidance_scale=GUIDANCE, seed=1, images=4))
    while generation.state == "running":
        exact.step([generation])
    red = 0
    for picture in exact.finish(generation).astype(int):
        corners = picture[[4, 4, -4, -4], [4, -4, 4, -4]]
        assert (corners[:, 0] < 90).all()
        assert (corners[:, 1:] > 100).all()
        middle = picture[56:72, 56:72].mean(axis=(0, 1))
        red += middle[0] > 180 and middle[0] > 2 * max(middle[1:])
    assert red >= 3


def test_a_prompt_of_ten_thousand_words(exact: Engine) -> None:
    with pytest.raises(LimitError, match=r"prompt: got 59,999 characters, allowed 2,000 \(Limits.max_prompt_chars\)"):
        exact.open(exact.make_spec(" ".join(["apple"] * 10_000)))
    longest = exact.open(exact.make_spec(" ".join(["apple"] * 333)))
    assert "is drawn as 'apple'; left out: " in longest.text.warnings[0]
    exact.close(longest)
