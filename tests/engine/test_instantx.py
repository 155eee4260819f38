"""InstantX's IP-Adapter of FLUX.1, whose image encoder is SigLIP: against transformers, and against its own rule for
diffusers' blocks, since diffusers does not read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import noise
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, MissingFile
from salon.engine.files import image_adapter
from salon.engine.files.image_adapter import EncoderComponent, encoder_file
from salon.engine.files.opening import ModelPath
from salon.engine.models import siglip_vision
from salon.kernels import backends
from salon.studio.references import pictures_of
from salon.studio.resources import References, needed

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families import tiny_ip_adapter as ip_files
from salon.bench.families.references import decibels, drawn
from salon.bench.families.tiny_flux import pipeline

from .graphs import want_one_graph
from .test_ip_adapter import PROMPT, SIDE, finished, photo, stored

LAYERS, WIDTH, TEXT = 3, 128, 32  # one double and two single blocks


class Rule:
    """The attention of InstantX's own processor: as diffusers' `FluxAttnProcessor`, and beside it what the adapter's
    tokens say to queries that are normed and not rotated; keys and values are normed by heads."""

    def __init__(self, arrays: ip_files.Arrays, number: int) -> None:
        self.layers = [torch.from_numpy(arrays[f"ip_adapter.{number}.to_{kind}_ip.weight"]) for kind in "kv"]
        self.tokens: Any = None
        self.scale = 1.0

    def __call__(
        self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, attention_mask: Any = None,
        image_rotary_emb: Any = None,
    ) -> Any:  # fmt: skip
        from diffusers.models.embeddings import apply_rotary_emb

        q, k, v = (layer(hidden_states).unflatten(-1, (attn.heads, -1)) for layer in (attn.to_q, attn.to_k, attn.to_v))
        q, k = attn.norm_q(q), attn.norm_k(k)
        seen = 0
        if self.tokens is not None:
            theirs = []
            for layer in self.layers:
                rows = (self.tokens @ layer.T).unflatten(-1, (attn.heads, -1))
                theirs.append(rows * torch.rsqrt(rows.pow(2).mean(-1, keepdim=True) + 1e-5))
            seen = self.scale * _attended(q, *theirs)
        count = 0
        if encoder_hidden_states is not None:
            words = (
                layer(encoder_hidden_states).unflatten(-1, (attn.heads, -1))
                for layer in (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
            )
            first, second, third = words
            count = first.shape[1]
            q, k = torch.cat([attn.norm_added_q(first), q], 1), torch.cat([attn.norm_added_k(second), k], 1)
            v = torch.cat([third, v], 1)
        q, k = (apply_rotary_emb(each, image_rotary_emb, sequence_dim=1) for each in (q, k))
        found = _attended(q, k, v)
        if encoder_hidden_states is None:
            return found + seen
        return attn.to_out[0](found[:, count:] + seen), attn.to_add_out(found[:, :count])


def _attended(q: Any, k: Any, v: Any) -> Any:
    parts = (each.transpose(1, 2) for each in (q, k, v))
    return torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)


class Pair:
    """A pipeline of diffusers whose blocks follow the rule, and an engine with the same adapter's file."""

    def __init__(self, root: Path) -> None:
        self.arrays = ip_files.instantx(LAYERS, WIDTH, TEXT)
        self.built, self.root = pipeline(dev=True), root
        self.built.set_progress_bar_config(disable=True)
        self.built.save_pretrained(root / "model", safe_serialization=True)
        self.encoder = ip_files.siglip(root / "image_encoder")
        self.file = ip_files.write(root / "ip.safetensors", self.arrays)
        blocks = [*self.built.transformer.transformer_blocks, *self.built.transformer.single_transformer_blocks]
        self.rules = [Rule(self.arrays, number) for number in range(len(blocks))]
        for block, rule in zip(blocks, self.rules, strict=True):
            block.attn.processor = rule
        self.engine = Engine.load(root / "model", ip_adapter=self.file, dtype="float32", threads=1, require_text=True)

    def looking(self, *pictures: Any, **fields: Any) -> Any:
        files = {}
        for picture in pictures:
            data = stored(picture, self.root / "photo.png")
            from salon.studio.references import digest_of

            files[digest_of(data)] = data
        said = {"seed": 7, "width": SIDE, "height": SIDE, "steps": 2, "style_references": list(files), **fields}
        spec = self.engine.make_spec(said.pop("prompt", PROMPT), **{k: v for k, v in said.items() if v})
        made = pictures_of(spec, files.get, References(), self.engine.info)
        for form, pixels in needed(spec, made, self.engine.info).items():
            self.engine.add_picture(form, pixels)
        return spec

    def theirs(self, picture: Any, scale: float) -> Any:
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        side = ip_files.SIDE + 3
        process = SiglipImageProcessorPil(size={"height": side, "width": side})
        with torch.no_grad():
            embedding = self.encoder(**process(picture, return_tensors="pt")).pooler_output
            named = {key: torch.from_numpy(array) for key, array in self.arrays.items()}
            linear = torch.nn.functional.linear
            hidden = linear(embedding, named["image_proj.proj.0.weight"], named["image_proj.proj.0.bias"])
            hidden = torch.nn.functional.gelu(hidden)
            flat = linear(hidden, named["image_proj.proj.2.weight"], named["image_proj.proj.2.bias"])
            norm = named["image_proj.norm.weight"], named["image_proj.norm.bias"]
            tokens = torch.nn.functional.layer_norm(flat.reshape(1, -1, TEXT), (TEXT,), *norm)
        for rule in self.rules:
            rule.tokens, rule.scale = tokens, scale
        start = torch.from_numpy(noise.normal(7, 0, 0, 64, 16).copy())[None]
        return self.built(
            PROMPT, height=SIDE, width=SIDE, latents=start, output_type="np", num_inference_steps=2
        ).images[0]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("instantx"))


def test_siglip_sees_what_that_of_transformers_sees(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ops, side = backends.create("cpu", dtype="float32", threads=1), ip_files.SIDE + 3
    folder = siglip_vision.load_siglip_vision(ops, EncoderComponent(pair.root / "image_encoder"))
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3)).astype(np.uint8)
    seen = siglip_vision.normalised(pixels)
    with torch.no_grad():
        want = pair.encoder(torch.from_numpy(seen).permute(2, 0, 1)[None]).pooler_output.numpy()
    got = siglip_vision.encode(ops, folder, seen)
    assert np.abs(got - want).max() <= 1e-4 * float(np.abs(want).max())
    monkeypatch.setattr(image_adapter, "HEADS", 2)
    monkeypatch.setitem(image_adapter.SIDES, (side // ip_files.PATCH, ip_files.PATCH), side)
    file = encoder_file(pair.root / "image_encoder" / "model.safetensors")
    alone = siglip_vision.load_siglip_vision(ops, file)
    assert alone.config == folder.config
    np.testing.assert_array_equal(siglip_vision.encode(ops, alone, seen), got)


def test_a_picture_is_that_of_the_adapters_own_rule(pair: Pair) -> None:
    picture = photo()
    for weight in (100, 40):
        want = pair.theirs(picture, weight / 100)
        assert decibels(drawn(pair.engine, pair.looking(picture, style_weight=weight))[0], want) >= 50
    assert decibels(drawn(pair.engine, pair.looking())[0], want) < 40  # the picture is seen


def test_pictures_share_a_batch_and_are_the_same_alone(pair: Pair) -> None:
    engine = pair.engine
    specs = [
        pair.looking(photo(4)), pair.looking(seed=2), pair.looking(photo(4), photo(5), style_weight=150, seed=3),
        pair.looking(photo(5), guidance_scale=2.0, prompt="a dog"),
    ]  # fmt: skip
    alone = [finished(engine, [engine.open(spec)])[0] for spec in specs]
    together = [engine.open(spec) for spec in specs]
    engine.step(together)
    together[2] = engine.resume(engine.park(together[2]))
    for ours, want in zip(finished(engine, together), alone, strict=True):
        np.testing.assert_array_equal(ours, want)
    assert len({each.tobytes() for each in alone}) == 4


@pytest.mark.parametrize("fault", ["encoder", "blocks", "width", "tokens", "branch"])
def test_what_does_not_fit_is_refused(pair: Pair, tmp_path: Path, fault: str) -> None:
    arrays, encoder, told = dict(pair.arrays), pair.root / "image_encoder", ""
    if fault == "encoder":
        ip_files.encoder(encoder := tmp_path / "clip")
        told = "of a SiglipVisionModel: --image-encoder"
    elif fault == "blocks":
        arrays, told = ip_files.instantx(LAYERS - 1, WIDTH, TEXT), "missing weight.*2.to_k_ip.weight"
    elif fault == "width":
        arrays, told = ip_files.instantx(LAYERS, 64, TEXT), "0.to_k_ip.weight.*another model"
    elif fault == "tokens":
        arrays["image_proj.proj.2.weight"] = arrays["image_proj.proj.2.weight"][:-1]
        told = "a multiple of 32 rows"
    place = ModelPath.of(
        pair.root / "model", ip_adapter=ip_files.write(tmp_path / "a" / "ip.safetensors", arrays), image_encoder=encoder
    )
    if fault == "branch":
        plain = Engine.load(pair.root / "model", dtype="float32", threads=1)
        with pytest.raises(CheckpointError, match="ip_adapter"):
            plain.add_branch(plain.model.denoiser.adapter_file(plain.ops, pair.file))
        return
    with pytest.raises(MissingFile if fault == "encoder" else CheckpointError, match=told):
        Engine.load(place, dtype="float32", threads=1)


def test_one_onnx_graph_serves_batches_with_it(pair: Pair) -> None:
    """Its terms act on text too, and in single blocks."""
    want_one_graph(pair.root / "model", ip_adapter=pair.file)
