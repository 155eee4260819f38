"""IP-Adapter files of others, with their image encoders: against diffusers' and transformers' own."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import noise
from salon.engine.engine import Engine
from salon.engine.errors import (
    CheckpointError,
    MissingFile,
    MissingKey,
    SpecError,
    UnknownArchitecture,
    UnsafeFile,
    WrongConfig,
    WrongShape,
)
from salon.engine.export import open_export
from salon.engine.files import image_adapter
from salon.engine.files.image_adapter import EncoderComponent, encoder_file
from salon.engine.files.opening import ModelPath
from salon.engine.models import clip_vision
from salon.engine.survey import survey
from salon.frontends.cli import main
from salon.kernels import backends
from salon.studio.references import digest_of, read_picture
from salon.studio.studio import Studio

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from salon.bench.families import tiny_ip_adapter as ip_files
from salon.bench.families.tiny_flux import pipeline
from salon.bench.families.tiny_unet import WIDE, sd_pipeline, xl_pipeline

from .graphs import want_one_graph

SIDE = 32
PROMPT = "a big red apple on the house"
# Widths of attentions to the text in the order of the files: on the way down, on the way up, in the middle.
XL = [128] * 4 + [128] * 6 + [128] * 2
SD = [32, 64] + [64] * 2 + [32] * 2 + [64]
Pixels = np.ndarray[Any, Any]


def photo(seed: int = 4, size: tuple[int, int] = (61, 45)) -> Any:
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def stored(picture: Any, path: Path) -> bytes:
    picture.save(path)
    return path.read_bytes()


class Pair:
    """A pipeline of diffusers with an adapter, and an engine that loaded both from disk."""

    def __init__(self, built: Any, root: Path, arrays: ip_files.Arrays, activation: str = "gelu", **more: Any) -> None:
        self.built, self.folder, self.root = built, root / "model", root
        built.set_progress_bar_config(disable=True)
        built.save_pretrained(self.folder, safe_serialization=True)
        ip_files.encoder(root / "image_encoder", activation)
        self.file = ip_files.write(root / "ip.safetensors", arrays)
        built.load_ip_adapter(str(root), weight_name="ip.safetensors", **more)
        self.engine = Engine.load(self.folder, ip_adapter=self.file, dtype="float32", threads=1, require_text=True)

    def added(self, picture: Any) -> str:
        read = read_picture(stored(picture, self.root / "photo.png"))
        self.engine.add_style_picture(read.digest, read.square(ip_files.SIDE))
        return read.digest

    def drawn(self, *digests: str, **fields: Any) -> Pixels:
        given = {"style_references": list(digests)} if digests else {}
        spec = self.engine.make_spec(
            PROMPT, **{"seed": 7, "width": SIDE, "height": SIDE, "steps": 2, **given, **fields}
        )
        first: Pixels = finished(self.engine, [self.engine.open(spec)])[0][0]
        return first

    def theirs(self, picture: Any, scale: float = 1.0, **fields: Any) -> Pixels:
        self.built.set_ip_adapter_scale(scale)
        flux = hasattr(self.built, "transformer")
        rows = noise.normal(7, 0, 0, 64, 16) if flux else noise.normal(7, 0, 0, 256, 4).reshape(16, 16, 4)
        start = torch.from_numpy((rows if flux else rows.transpose(2, 0, 1)).copy())[None]
        made: Pixels = self.built(
            PROMPT, height=SIDE, width=SIDE, latents=start, output_type="np", num_inference_steps=2,
            ip_adapter_image=picture, **fields,
        ).images[0]  # fmt: skip
        return made


def finished(engine: Engine, generations: list[Any]) -> list[Pixels]:
    while any(g.state == "running" for g in generations):
        engine.step([g for g in generations if g.state == "running"])
    made = [engine.finish(g) for g in generations]
    for g in generations:
        engine.close(g)
    return made


def decibels(got: Pixels, want: Pixels) -> float:
    error = float(np.mean((got.astype(np.float64) / 255 - want) ** 2))
    return -10 * math.log10(max(error, 1e-12))


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    root = tmp_path_factory.mktemp("flux")
    more = {
        "image_encoder_pretrained_model_name_or_path": str(root / "image_encoder"),
        "image_encoder_dtype": torch.float32,
    }
    return Pair(pipeline(dev=True), root, ip_files.flux(1, 128, 32, xlabs=True), "quick_gelu", **more)


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    arrays = ip_files.unet(XL, sum(WIDE))
    return Pair(xl_pipeline(), tmp_path_factory.mktemp("sdxl"), arrays, subfolder="")


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    arrays = ip_files.unet(SD, WIDE[0], plus=True)
    return Pair(sd_pipeline(), tmp_path_factory.mktemp("sd15"), arrays, subfolder="")


@pytest.mark.parametrize(("activation", "whole"), [("quick_gelu", False), ("gelu", False), ("quick_gelu", True)])
def test_the_image_encoder_sees_what_that_of_transformers_sees(tmp_path: Path, activation: str, whole: bool) -> None:
    from transformers import CLIPImageProcessor

    theirs = ip_files.encoder(tmp_path, activation, whole=whole)
    ops = backends.create("cpu", dtype="float32", threads=1)
    weights = clip_vision.load_clip_vision(ops, EncoderComponent(tmp_path))
    process = CLIPImageProcessor(size=ip_files.SIDE, crop_size=ip_files.SIDE)
    for number, size in enumerate([(61, 45), (20, 90), (28, 28)]):
        picture = photo(number, size)
        square = read_picture(stored(picture, tmp_path / "photo.png")).square(ip_files.SIDE)
        seen = process(picture, return_tensors="pt").pixel_values
        ours = clip_vision.normalised(square)
        np.testing.assert_allclose(ours, seen[0].permute(1, 2, 0).numpy(), atol=1e-5)
        with torch.no_grad():
            want = theirs(seen, output_hidden_states=True)
        for states, values in ((False, want.image_embeds), (True, want.hidden_states[-2][0])):
            got, scale = clip_vision.encode(ops, weights, ours, states=states), float(values.abs().max())
            assert np.abs(got - values.numpy()).max() <= 1e-4 * scale


def test_a_single_file_is_the_image_encoder_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its config follows from the shapes, with the widths that the three of CLIP have."""
    ip_files.encoder(tmp_path, "quick_gelu")
    file, ops = tmp_path / "model.safetensors", backends.create("cpu", dtype="float32", threads=1)
    folder = clip_vision.load_clip_vision(ops, EncoderComponent(tmp_path))
    with pytest.raises(WrongShape, match="unknown width.*1024, 1280, 1664 columns, found 64.*config.json"):
        encoder_file(file)
    monkeypatch.setitem(image_adapter.ACTIVATIONS, ip_files.WIDTH, "quick_gelu")
    monkeypatch.setattr(image_adapter, "HEADS", 2)
    alone = clip_vision.load_clip_vision(ops, encoder_file(file))
    assert alone.config == folder.config
    seen = clip_vision.normalised(np.asarray(photo().resize((ip_files.SIDE, ip_files.SIDE))))
    ours, want = (clip_vision.encode(ops, each, seen) for each in (alone, folder))
    np.testing.assert_array_equal(ours, want)
    with pytest.raises(UnknownArchitecture, match="no image encoder"):
        encoder_file(ip_files.write(tmp_path / "other.safetensors", ip_files.flux(1, 8, 8)))


def test_a_flux_adapter_draws_what_diffusers_draws(flux: Pair) -> None:
    picture = photo()
    digest = flux.added(picture)
    want = flux.theirs(picture)
    assert decibels(flux.drawn(digest), want) >= 50
    assert decibels(flux.drawn(digest, style_weight=40), flux.theirs(picture, 0.4)) >= 50
    assert decibels(flux.drawn(), want) < 40  # the picture is seen
    guided = flux.theirs(picture, true_cfg_scale=2.0, negative_prompt="a dog")
    assert decibels(flux.drawn(digest, guidance_scale=2.0, negative_prompt="a dog"), guided) >= 50


@pytest.mark.parametrize("kind", ["sdxl", "sd15"])
def test_an_adapter_of_a_unet_draws_what_diffusers_draws(request: pytest.FixtureRequest, kind: str) -> None:
    pair: Pair = request.getfixturevalue(kind)
    picture = photo()
    digest = pair.added(picture)
    want = pair.theirs(picture, 0.7)
    assert decibels(pair.drawn(digest, style_weight=70), want) >= 50
    assert decibels(pair.drawn(), want) < 40  # the picture is seen


@pytest.mark.parametrize("kind", ["flux", "sdxl"])
def test_pictures_share_a_batch_and_are_the_same_alone(request: pytest.FixtureRequest, kind: str) -> None:
    pair: Pair = request.getfixturevalue(kind)
    engine, digests = pair.engine, [pair.added(photo(seed)) for seed in (4, 5)]
    size: dict[str, Any] = {"width": SIDE, "height": SIDE, "steps": 2}
    asked: list[dict[str, Any]] = [
        {"style_references": [digests[0]]}, {}, {"style_references": digests, "style_weight": 150},
        {"style_references": [digests[1]], "guidance_scale": 2.0},
    ]  # fmt: skip
    specs = [engine.make_spec(PROMPT, seed=n, **size, **fields) for n, fields in enumerate(asked)]
    alone = [finished(engine, [engine.open(spec)])[0] for spec in specs]
    together = [engine.open(spec) for spec in specs]
    engine.step(together)
    again = engine.resume(engine.park(together[2]))
    made = finished(engine, [together[0], together[1], again, together[3]])
    for ours, theirs in zip(alone, made, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len({each.tobytes() for each in alone}) == 4


def test_a_studio_and_its_worker_process_use_the_adapter(flux: Pair, tmp_path: Path) -> None:
    data = stored(photo(), tmp_path / "photo.png")
    digest = flux.added(photo())
    with Studio(flux.folder, ip_adapter=flux.file, process=True, dtype="float32", threads=1) as studio:
        assert studio.add_reference(data) == digest == digest_of(data)
        job = studio.imagine(PROMPT, style_references=[digest], seed=7, width=SIDE, height=SIDE, steps=2)
        np.testing.assert_array_equal(job.result()[0], flux.drawn(digest))
        with pytest.raises(SpecError, match="style reference: got 7, allowed a picture .*IP-Adapter"):
            studio.imagine(PROMPT, style_references=[7])


def test_what_a_model_with_an_adapter_refuses(flux: Pair) -> None:
    engine = flux.engine
    size: dict[str, Any] = {"width": SIDE, "height": SIDE, "steps": 2}
    for given in (
        {"style_references": [7]},
        {"style_references": ["abcdefgh234567ab"]},
        {"profile": ["abcdefgh234567ab"]},
    ):
        with pytest.raises(SpecError, match="style reference: got .*a picture .*IP-Adapter.*name a picture's file"):
            engine.make_spec(PROMPT, **size, **given)
    with pytest.raises(SpecError, match="picture 0000.*not here"):
        engine.open(engine.make_spec(PROMPT, **size, style_references=["0" * 64]))
    with pytest.raises(SpecError, match=r"28 x 28"):
        engine.add_style_picture("1" * 64, np.zeros((32, 32, 3), np.uint8))
    chaotic = engine.make_spec(PROMPT, **size, chaos=50, images=2)  # numbers are no styles here
    assert len({picture.tobytes() for picture in finished(engine, [engine.open(chaotic)])[0]}) == 2
    assert engine.info.styles is not None
    assert engine.info.taste is None


def test_the_adapter_is_a_part_of_the_model(flux: Pair) -> None:
    assert {"ip_adapter", "image_encoder"} <= engine_parts(flux.engine)
    found = survey(ModelPath.of(flux.folder, ip_adapter=flux.file), "float32")
    assert not found.problem
    assert {"ip_adapter", "image_encoder"} <= {part.name for part in found.parts}
    plain = survey(ModelPath.of(flux.folder), "float32")
    assert found.needed > plain.needed


def engine_parts(engine: Engine) -> set[str]:
    return set(engine.model.identity.components)


@pytest.mark.parametrize("fault", ["encoder", "width", "model", "key", "form", "pickle", "none", "alone", "lora"])
def test_files_that_do_not_fit_are_refused(flux: Pair, tmp_path: Path, fault: str) -> None:
    arrays = ip_files.flux(1, 128, 32)
    place = ModelPath.of(
        flux.folder, ip_adapter=tmp_path / "a" / "ip.safetensors", image_encoder=flux.root / "image_encoder"
    )
    expected: tuple[type[CheckpointError], str] = (CheckpointError, "")
    if fault == "encoder":
        place, expected = replace(place, image_encoder=None), (MissingFile, "24 columns.*found none.*--image-encoder")
    elif fault == "width":
        arrays = ip_files.flux(1, 128, 32, inputs=768)
        expected = MissingFile, r"768 columns of an embedding \(CLIP ViT-L/14\).*found 24"
    elif fault == "model":
        arrays, expected = ip_files.flux(1, 64, 32), (WrongShape, "0.to_k_ip.weight.*another model")
    elif fault == "key":
        arrays, expected = ip_files.unet(XL, 32), (MissingKey, "0.to_k_ip.weight")
    elif fault == "form":
        arrays |= {"image_proj.proj.0.weight": np.zeros((2, 2), np.float32)}
        expected = UnknownArchitecture, "Full Face or FaceID"
    elif fault == "pickle":
        place, expected = replace(place, ip_adapter=tmp_path / "ip-adapter.bin"), (UnsafeFile, "pickled.*safetensors")
    elif fault == "none":
        place, expected = replace(place, ip_adapter=tmp_path / "no.safetensors"), (MissingFile, "no such file")
    elif fault == "alone":
        place, expected = replace(place, ip_adapter=None), (WrongConfig, "without an IP-Adapter.*--ip-adapter")
    elif fault == "lora":
        arrays = {"lora_unet_x.lora_down.weight": np.zeros((2, 2), np.float32)}
        expected = CheckpointError, "lora_unet_x.lora_down.weight.*begins with"
    ip_files.write(tmp_path / "a" / "ip.safetensors", arrays)
    with pytest.raises(expected[0], match=expected[1]):
        Engine.load(place, dtype="float32", threads=1)


def test_a_model_with_styles_of_its_own_takes_none(flux: Pair) -> None:
    with pytest.raises(WrongConfig, match="styles of its own"):
        Engine.load(ip_adapter=flux.file, dtype="float32", threads=1)


@pytest.mark.parametrize("kind", ["flux", "sdxl", "sd15"])
def test_one_onnx_graph_serves_batches_with_adapters(request: pytest.FixtureRequest, kind: str) -> None:
    pair: Pair = request.getfixturevalue(kind)
    want_one_graph(pair.folder, ip_adapter=pair.file)


def test_an_export_with_an_adapter_has_a_graph_of_both(flux: Pair, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="it makes graphs (extra: onnx)")
    pytest.importorskip("onnxruntime", reason="the backend that makes them computes with it (extra: onnx)")
    to = tmp_path / "graphs"
    assert main(["export", str(flux.folder), "--ip-adapter", str(flux.file), "-o", str(to), "--quiet"]) == 0
    made = open_export(to)
    assert {*made.manifest["graphs"]} == {"step", "step_adapters", "decoder"}
    for name, found in (("step", False), ("step_adapters", True)):
        assert ("AdapterTerms" in {node.op_type for node in onnx.load(str(made.graph(name))).graph.node}) is found
    onnx.checker.check_model(str(made.graph("step_adapters")), full_check=True)
