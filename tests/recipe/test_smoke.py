"""The whole recipe at toy size, from made-up drawings to an exported folder. Needs the `train` extra."""

import json
from pathlib import Path

import numpy as np
import pytest

for name in ("torch", "diffusers", "transformers", "resvg_py"):
    pytest.importorskip(name, reason="needs the train extra")

from salon.models.mini.recipe import autoencoder, transformer  # noqa: E402
from salon.models.mini.recipe.config import Run, smoke, with_changes  # noqa: E402
from salon.models.mini.recipe.errors import CacheError, GateError  # noqa: E402
from salon.models.mini.recipe.smoke import run_smoke  # noqa: E402
from salon.models.mini.recipe.store import open_stage  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
STAGES = ("fetch", "raster", "plan", "autoencoder", "text", "latents", "transformer", "adapter", "judge", "evaluate")


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
    weights = json.loads((work / "export" / "weights.json").read_text())
    assert "transformer/diffusion_pytorch_model.safetensors" in weights
    assert "adapter.safetensors" in weights
    salon = json.loads((work / "export" / "salon.json").read_text())
    assert [s["name"] for s in salon["text"]["slots"]] == ["subject", "style", "background", "palette", "finish"]
    card = (work / "export" / "CARD.md").read_text()
    assert "nobody" in card  # the made-up drawings' author is credited
    assert "missed" in card  # and a toy misses its goals, which the card says


def test_the_report_has_every_row_and_goal(work: Path) -> None:
    report = json.loads((work / "evaluate" / "report.json").read_text())
    rows = {r["row"] for r in report["rows"]}
    assert {
        "real, seen pairs",
        "reconstructed, seen pairs",
        "generated, full caption",
        "generated, by reference",
    } <= rows
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


def test_an_autoencoder_below_its_gate_stops_the_recipe(work: Path, tmp_path: Path) -> None:
    for name in ("fetch", "raster", "plan"):
        (tmp_path / name).symlink_to(work / name)
    run = Run(tmp_path, with_changes(smoke(), autoencoder={"gate_psnr": 60.0, "crops": 8}), 1)
    with pytest.raises(GateError, match="below its gate"):
        autoencoder.run_stage(run)
    with pytest.raises(CacheError, match="has not finished"):
        open_stage(tmp_path, "autoencoder")
