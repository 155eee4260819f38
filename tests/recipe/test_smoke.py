"""The whole recipe at toy size, from made-up drawings to an exported folder. Needs the `train` extra."""

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

for name in ("torch", "diffusers", "transformers", "resvg_py"):
    pytest.importorskip(name, reason="needs the train extra")

import torch
from PIL import Image
from safetensors.torch import load_file

from salon.bench.facts import SHIPPED, digests
from salon.bench.report import problems
from salon.engine.default_style import load_default_style
from salon.engine.engine import EMBEDDED, Engine
from salon.engine.safetensors_file import SafetensorsFile
from salon.engine.spec import AdapterUse
from salon.engine.text.clauses import ClauseReader, Slot, Vocabulary
from salon.engine.text.pipelines.clauses import ClausePipeline
from salon.models.mini.recipe import (
    adapter,
    autoencoder,
    compose,
    evaluate,
    export,
    latents,
    sheets,
    transformer,
)
from salon.models.mini.recipe.captions import caption
from salon.models.mini.recipe.config import Run, smoke, with_changes
from salon.models.mini.recipe.crops import KeptCrops
from salon.models.mini.recipe.errors import CacheError, GateError, LicenceError, SpaceError
from salon.models.mini.recipe.looks import Look
from salon.models.mini.recipe.painter import open_painter, open_stylist
from salon.models.mini.recipe.pictures import composed, open_pictures
from salon.models.mini.recipe.sets import SETS
from salon.models.mini.recipe.smoke import run_smoke
from salon.models.mini.recipe.store import open_stage, write_json
from salon.models.mini.recipe.torch_tools import from_bytes

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
DRAWING = ("fetch", "raster", "plan", "autoencoder", "text", "latents", "transformer", "style_encoder", "adapter")
STAGES = (*DRAWING, "judge", "evaluate")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    run_smoke(folder, threads=1, drawn=True)
    return folder


def test_every_stage_is_finished_and_whole(work: Path) -> None:
    for name in STAGES:
        assert open_stage(work, name).key


def test_sheets_and_export_are_written(work: Path) -> None:
    assert {p.name for p in (work / "sheets").glob("*.png")} >= {"real.png", "random.png", "styles.png", "weights.png"}
    licences = json.loads((work / "export" / "licences.json").read_text())
    paths = {a["path"] for a in licences["assets"]}
    weights = {p.relative_to(work / "export").as_posix() for p in (work / "export").rglob("*.safetensors")}
    assert paths == weights | {"nouns.json"}
    assert {"transformer/diffusion_pytorch_model.safetensors", "adapter.safetensors"} < paths
    notice = (work / "export" / "NOTICE").read_text()
    assert all(f"({name})" in notice for name in licences["training_data"])
    assert licences["training_data"]["meteocons"]["trained"] == ["autoencoder"]
    salon = json.loads((work / "export" / "salon.json").read_text())
    assert [s["name"] for s in salon["text"]["slots"]] == ["subject", "style", "background", "palette", "finish"]
    card = (work / "export" / "README.md").read_text()
    assert "nobody" in card  # the made-up drawings' author is credited
    assert "missed" in card  # and a toy misses its goals, which the card says


def test_the_card_shows_the_sheets_that_are_there(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "mini"
    sheets.Folder(tmp_path / "docs" / "images" / "mini", "webp").write(
        sheets.sheet(np.zeros((3, 8, 8, 3)), 2), "random"
    )
    export.export(Run(work, smoke(), 1), out, "1")
    shown = re.findall(r"!\[.*\]\((.*)\)", (out / "README.md").read_text())
    assert shown == ["../../docs/images/mini/random.webp"]
    with Image.open(out / shown[0]) as image:
        assert (image.format, image.size) == ("WEBP", (20, 20))


def test_the_report_has_every_row_and_goal(work: Path) -> None:
    report = json.loads((work / "evaluate" / "report.json").read_text())
    rows = {r["row"] for r in report["rows"]}
    assert {"real, seen pairs", "reconstructed, seen pairs", "generated, seen pairs", "generated, by reference"} <= rows
    assert "style" not in next(r for r in report["rows"] if r["row"] == "generated, name only"), "nobody asked for one"
    assert report["model"] == {}  # `--out` names the folder that these weights were exported to
    assert problems(report | {"model": digests(SHIPPED)}) == []
    assert all({"goal", "target", "value", "met"} <= set(g) for g in report["goals"])
    assert all(np.isfinite(r["concept"]) for r in report["rows"])


def test_finished_stages_are_not_run_again(work: Path) -> None:
    before = (work / "autoencoder" / "model" / "config.json").stat().st_mtime_ns
    autoencoder.run_stage(Run(work, smoke(), 1))
    assert (work / "autoencoder" / "model" / "config.json").stat().st_mtime_ns == before


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(work: Path, tmp_path: Path) -> None:
    for name in STAGES[:6]:
        (tmp_path / name).symlink_to(work / name)
    run = Run(tmp_path, smoke(), 1)
    assert transformer.run_stage(run, stop_at=32) is None
    done = transformer.run_stage(run)
    assert done is not None
    first = json.loads((work / "transformer" / "curve.json").read_text())[-1]
    second = json.loads((tmp_path / "transformer" / "curve.json").read_text())[-1]
    assert second["samples"] == first["samples"]
    assert second["seen"] == pytest.approx(first["seen"], rel=1e-3)


def test_a_damaged_latent_cache_stops_the_transformer(work: Path, tmp_path: Path) -> None:
    for name in ("plan", "raster", "text", "autoencoder"):
        (tmp_path / name).symlink_to(work / name)
    (tmp_path / "latents").mkdir()
    for path in (work / "latents").iterdir():
        if path.is_file():
            (tmp_path / "latents" / path.name).write_bytes(path.read_bytes())
    victim = next((tmp_path / "latents").glob("z_*.npy"))
    victim.write_bytes(victim.read_bytes()[:-8])
    with pytest.raises(CacheError, match=victim.name):
        transformer.run_stage(Run(tmp_path, smoke(), 1))


def test_kept_pictures_are_those_that_would_be_composed(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work, tmp_path / "run")
    run = Run(tmp_path / "run", smoke(), 1)
    pictures = open_pictures(run)
    groups = [np.flatnonzero(pictures.entries[:, 4] == b)[::-3] for b in (2, 0)]
    before = [np.concatenate([*composed(run, pictures, [group])]) for group in groups]
    compose.run_stage(run)
    shutil.rmtree(run.work / "raster")  # from now on they can only be read
    for group, expected in zip(groups, before, strict=True):
        assert np.array_equal(np.concatenate([*composed(run, pictures, [group])]), expected)
    crops = KeptCrops(run, pictures, run.recipe.data.size, np.random.default_rng(0), torch.device("cpu"))
    for crop in (16, 32):
        x = crops.batch(9, crop)
        assert x.shape == (9, 3, crop, crop)
        assert -1.2 <= x.min() < -0.3 < 0.3 < x.max() <= 1.2  # random colours overshoot a little
    plain = crops.batch(9, 32)[8]  # the last of a batch is a whole picture in its own colours, mirrored or not
    seen = [from_bytes(crops.whole[i : i + 1], torch.device("cpu"))[0] for i in range(len(crops.whole))]
    assert any(torch.equal(plain, one) or torch.equal(plain, one.flip(2)) for one in seen)


def test_an_autoencoder_below_its_gate_stops_the_recipe(work: Path, tmp_path: Path) -> None:
    for name in ("fetch", "raster", "plan"):
        (tmp_path / name).symlink_to(work / name)
    run = Run(tmp_path, with_changes(smoke(), autoencoder={"gate_psnr": 60.0, "crops": 8}), 1)
    with pytest.raises(GateError, match="below its gate"):
        autoencoder.run_stage(run)
    with pytest.raises(CacheError, match="has not finished"):
        open_stage(tmp_path, "autoencoder")


def linked(work: Path, to: Path, *names: str) -> Run:
    """A work folder that has some finished stages of another one."""
    for name in names:
        (to / name).symlink_to(work / name)
    return Run(to, smoke(), 1)


def test_a_state_of_another_configuration_is_refused(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *STAGES[:6])
    assert transformer.run_stage(run, stop_at=8) is None
    other = replace(run, recipe=with_changes(run.recipe, transformer={"head_width": 32}))
    with pytest.raises(CacheError, match=r"state\.pt belongs to another configuration"):
        transformer.run_stage(other)


def test_weights_to_start_from_must_be_there(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *STAGES[:6])
    run = replace(run, recipe=with_changes(run.recipe, transformer={"warm": str(tmp_path / "nowhere")}))
    with pytest.raises(CacheError, match=r"nowhere.*is missing"):
        transformer.run_stage(run)


def test_the_adapter_keeps_the_style_encoder_as_it_is(work: Path) -> None:
    taught, shipped = (load_file(work / name / "style_encoder.safetensors") for name in ("style_encoder", "adapter"))
    assert all(torch.equal(shipped[k], taught[k]) for k in taught)
    assert set(shipped) - set(taught) == {"null", "styles"}


def test_an_adapter_of_another_configuration_is_refused(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *STAGES[:9])
    painter = open_painter(run, torch.device("cpu"))
    other = replace(run, recipe=with_changes(run.recipe, adapter={"width": 128}))
    with pytest.raises(CacheError, match=r"(?s)holds no adapter of this configuration.*style_encoder\.safetensors"):
        open_stylist(other, painter)


def test_an_adapter_to_start_from_must_be_one_of_this_configuration(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *STAGES[:8])

    def started(folder: Path) -> Any:
        return adapter.run_stage(replace(run, recipe=with_changes(run.recipe, adapter={"warm": str(folder)})))

    with pytest.raises(CacheError, match=r"nowhere holds no adapter"):
        started(tmp_path / "nowhere")
    before = load_file(work / "adapter" / "adapter.safetensors")
    after = load_file(started(work / "adapter").folder / "adapter.safetensors")
    layers = [k for k in before if k.startswith("ip_adapter.")]
    assert 0 < max(float((after[k] - before[k]).abs().max()) for k in layers) < 0.1  # a new one lies further away


def test_square_pictures_may_follow_another_transformer(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *STAGES[:6])
    model = str(work / "transformer" / "model")

    def loss(**change: object) -> float:
        change |= {"warm": model, "samples": 32, "large_share": 0.0, "aspect_share": 0.0}
        done = transformer.run_stage(replace(run, recipe=with_changes(run.recipe, transformer=change)))
        assert done is not None
        shutil.rmtree(tmp_path / "transformer")
        return float(done.figures["validation"]["loss"])

    assert loss(follow=model) < 0.1 * loss()  # it is that transformer, and has nothing to learn
    with pytest.raises(CacheError, match=r"nowhere.*is missing: --follow"):
        loss(follow=str(tmp_path / "nowhere"))


def test_weights_that_are_trained_on_say_what_they_were_before(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *STAGES[:6])
    warm = {"warm": str(work / "transformer" / "model"), "samples": 16}
    done = transformer.run_stage(replace(run, recipe=with_changes(run.recipe, transformer=warm)))
    assert done is not None
    figures = open_stage(work, "transformer").figures
    assert done.figures["before"]["samples"] == figures["samples"]
    assert done.figures["before"]["curve"][-1]["held"] == figures["validation"]["held"]


def test_training_does_not_begin_on_a_full_disk(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = linked(work, tmp_path, *STAGES[:6])
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(SpaceError, match=r"transformer needs .* are free"):
        transformer.run_stage(run)
    assert not (tmp_path / "transformer" / "stage.json").exists()


def test_a_damaged_part_of_the_latents_is_named_and_a_whole_one_used(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, "plan", "raster", "autoencoder")
    key = latents.stage(run).key
    part = tmp_path / "latents" / "resume" / f"{key}-32x32-0.npy"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\x93NUMPY")
    with pytest.raises(CacheError, match=part.name):
        latents.run_stage(run)
    part.unlink()
    assert latents.run_stage(run).figures["pictures"] == open_stage(work, "latents").figures["pictures"]


@pytest.mark.parametrize("name", ["transformer", "adapter", "autoencoder"])
def test_damaged_weights_are_not_exported(work: Path, tmp_path: Path, name: str) -> None:
    names = [other for other in STAGES if other != name]
    run = linked(work, tmp_path, *names)
    shutil.copytree(work / name, tmp_path / name)
    victim = next((tmp_path / name).glob("**/*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(CacheError, match=f"{victim.name} is damaged"):
        export.export(run, tmp_path / "out", "1")
    assert not (tmp_path / "out" / "licences.json").exists()


def test_a_text_encoder_that_is_not_the_licensed_one_is_not_exported(work: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.txt").write_text("another")
    entry = {"path": "tokenizer/vocab.txt", "source": "elsewhere", "sha256": "0"}
    write_json(tmp_path / "licences.json", {"assets": [entry]})
    with pytest.raises(LicenceError, match=r"vocab\.txt is not the file that licences\.json names"):
        export.export(Run(work, smoke(), 1), tmp_path, "1")
    assert json.loads((tmp_path / "licences.json").read_text()) == {"assets": [entry]}


def test_an_unfinished_transformer_is_not_exported(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *STAGES[:6])
    transformer.run_stage(run, stop_at=8)
    with pytest.raises(CacheError, match="transformer has not finished"):
        export.export(run, tmp_path / "out", "1")


def test_an_evaluation_that_was_stopped_goes_on(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *STAGES[:10])
    saved = tmp_path / "evaluate" / "resume" / f"{evaluate.stage(run).key}.json"
    figures = json.loads((work / "evaluate" / "resume" / saved.name).read_text())
    figures["visible"] = 0.5  # as no run would find it: so it was not measured again
    write_json(saved, figures)
    assert evaluate.finished(run) is None
    evaluate.run_stage(run)
    report = evaluate.finished(run)
    assert report is not None
    assert problems(report | {"model": digests(SHIPPED)}) == []
    goals = {g["goal"]: g["value"] for g in report["goals"]}
    assert goals["pictures whose object does not vanish in its background, share"] == 0.5
    assert report["goals"][-1]["goal"].startswith("pictures that a person names correctly")
    assert not report["goals"][-1]["met"], "nobody has looked yet"
    evaluate.keep_eye(run, 0.93)
    again = evaluate.finished(run)
    assert again is not None
    assert again["goals"][-1]["met"]


def test_figures_of_other_weights_are_not_exported(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *(name for name in STAGES if name != "evaluate"))
    shutil.copytree(work / "evaluate", tmp_path / "evaluate")
    stamp = json.loads((tmp_path / "evaluate" / "stage.json").read_text())
    write_json(tmp_path / "evaluate" / "stage.json", stamp | {"key": "of others"})
    with pytest.raises(CacheError, match="evaluate in .* was made with another configuration"):
        export.export(run, tmp_path / "out", "1")


def test_an_unfinished_transformer_is_not_measured(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *STAGES[:6], "judge")
    transformer.run_stage(run, stop_at=8)
    with pytest.raises(CacheError, match="transformer has not finished"):
        evaluate.run_stage(run)


def test_a_training_begun_anew_leaves_no_old_weights_in_its_curve(work: Path, tmp_path: Path) -> None:
    run = linked(work, tmp_path, *STAGES[:6])
    transformer.run_stage(run, stop_at=32)
    assert [path.stem for path in transformer.snapshots(run)] == ["000000032"]
    (tmp_path / "transformer" / "resume" / "state.pt").unlink()
    transformer.run_stage(run, stop_at=8)
    assert transformer.snapshots(run) == []


def test_the_report_says_how_to_draw(work: Path) -> None:
    report = json.loads((work / "evaluate" / "report.json").read_text())
    salon = json.loads((work / "export" / "salon.json").read_text())
    assert salon["defaults"]["guidance_scale"] == report["details"]["sampler"]["guidance"]
    assert salon["draft"] == report["details"]["draft"]
    probes = report["details"]["probes"]
    weights = probes["weights"]
    assert weights[0]["same"], "a reference of weight 0 is none"
    assert not weights[-1]["same"]
    assert [row["stylize"] for row in probes["default style"]] == [0, 100, 1000]
    assert len(probes["curve"]) == 2
    *asked, enlarged = probes["sizes"]
    sizes = [(32, 32), (16, 32), (32, 16), (64, 64), (16, 48), (48, 16)]
    assert [(row["height"], row["width"]) for row in asked] == sizes
    assert (enlarged["height"], enlarged["width"], enlarged["enlarged"]) == (64, 64, True)
    style = load_default_style(work / "export", salon)
    assert style is not None
    assert style.words == "3d render"


def test_pictures_do_not_depend_on_what_fills_the_last_batch(work: Path) -> None:
    painter = open_painter(Run(work, smoke(), 1), torch.device("cpu"))
    entry = painter.batches.buckets[0].entry[: painter.batch + 3]
    drawn = painter.paint(entry, seed=5)
    assert len(drawn) == len(entry)
    alone = painter.paint(entry[painter.batch :], seed=5 + painter.batch)
    np.testing.assert_allclose(drawn[painter.batch :], alone, atol=1e-3)


def test_enlarging_keeps_the_picture_and_adds_to_it(work: Path) -> None:
    painter = open_painter(Run(work, smoke(), 1), torch.device("cpu"))
    entry = painter.batches.buckets[0].entry[:3]
    small = painter.paint(entry, seed=5)
    large = painter.enlarge(entry, small, seed=5)
    assert large.shape == (3, 64, 64, 3)
    assert np.isfinite(large).all()
    again = painter.enlarge(entry, small, seed=5)
    np.testing.assert_array_equal(large, again)
    other = painter.enlarge(entry, 1 - small, seed=5)
    assert float(np.abs(other - large).max()) > 0  # it begins with the pictures


def test_kept_back_words_give_way_to_the_nearest_name(work: Path) -> None:
    painter = open_painter(Run(work, smoke(), 1), torch.device("cpu"))
    text, names = painter.batches.text, painter.batches.names
    text["held"] = text["subject"][names[:1]] * 2  # its direction is that name's
    text["held_pooled"] = text["subject_pooled"][names[:1]] * 2
    rows, pooled = painter._held(np.zeros(2, int), nearest_known=True)
    assert torch.equal(rows, text["subject"][names[:1]].expand_as(rows))
    assert torch.equal(pooled, text["subject_pooled"][names[:1]].expand_as(pooled))
    rows, pooled = painter._held(np.zeros(2, int), nearest_known=False)
    assert torch.equal(pooled, text["held_pooled"].expand_as(pooled))


def test_the_exported_words_are_read_by_the_engine(work: Path) -> None:
    text = json.loads((work / "export" / "salon.json").read_text())["text"]
    reader = ClauseReader(
        [Slot(**slot) for slot in text["slots"]], Vocabulary.from_json(text), lambda t: len(t.split())
    )
    assert reader.read("a fox, 3d, gold palette, on teal, with sticker outline").texts == {
        "subject": "a fox",
        "style": "3d render style",
        "background": "teal background",
        "palette": "gold palette",
        "finish": "sticker outline",
    }
    for drawing_set in SETS:
        for look in (Look("pastel", "sunset gradient", "halftone"), Look("ocean", "grey", "sticker")):
            made = caption("a fox", drawing_set.name, look)
            assert reader.read(made.text()).texts == {k: v for k, v in asdict(made).items() if v}


def test_the_exported_folder_draws_in_the_engine(work: Path, tmp_path: Path) -> None:
    export.export(Run(work, smoke(), 1), tmp_path, "1")
    for name in ("text_encoder", "tokenizer", "scheduler", "model_index.json"):
        (tmp_path / name).symlink_to(EMBEDDED / name)
    engine = Engine.load(tmp_path, backend="reference")
    assert isinstance(engine.model.text, ClausePipeline)
    known = engine.model.text.neighbours
    assert known is not None
    for name in known.names:  # every name lies where the engine's own text encoder puts it
        assert known.nearest(engine.model.text.encode(name).pooled) == name
    adapter = engine.model.denoiser.adapter_file(engine.ops, tmp_path / "adapter.safetensors")
    style = load_default_style(tmp_path, json.loads((tmp_path / "salon.json").read_text()))
    assert style is not None
    file = SafetensorsFile(tmp_path / "adapter.safetensors")
    layers = [key for key in file.tensors if key.startswith("ip_adapter.")]
    engine.add_branch({key.removeprefix("ip_adapter."): file.array(key) for key in layers}, "style")
    for name, vector in (("default", style.vector), ("null", style.null)):
        engine.register_adapter(name, adapter.projection.tokens(engine.ops, vector[None]), branch="style")

    def draw(uses: tuple[AdapterUse, ...]) -> np.ndarray:
        generation = engine.open(engine.make_spec(f"{known.names[0]}, 3d, with sticker outline", seed=1, adapters=uses))
        for _ in range(2):
            engine.step([generation])
        latents = np.array(engine.ops.numpy(generation.latents))
        engine.close(generation)
        return latents

    plain = draw(())
    assert np.isfinite(plain).all()
    assert np.array_equal(draw((AdapterUse("default", style.weight(raw=True), unconditional="null"),)), plain)
    assert not np.array_equal(draw((AdapterUse("default", style.weight(), unconditional="null"),)), plain)
