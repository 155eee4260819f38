"""The embedded model's folder: complete, accounted for, and loadable in diffusers as it is."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from salon.engine.engine import EMBEDDED

LICENCES: dict[str, Any] = json.loads((EMBEDDED / "licences.json").read_text())
WEIGHTS = sorted(path.relative_to(EMBEDDED).as_posix() for path in EMBEDDED.rglob("*.safetensors"))


@pytest.mark.parametrize("asset", LICENCES["assets"], ids=lambda asset: str(asset["path"]))
def test_assets_are_the_ones_that_are_licensed(asset: dict[str, Any]) -> None:
    content = (EMBEDDED / asset["path"]).read_bytes()
    assert len(content) == asset["bytes"] < 95_000_000
    assert hashlib.sha256(content).hexdigest() == asset["sha256"]
    assert asset["licence"] == {"nouns.json": "Apache-2.0 AND WordNet-3.0"}.get(asset["path"], "Apache-2.0")
    assert asset["source"]


def test_every_weight_file_is_accounted_for() -> None:
    assert {"transformer", "vae", "text_encoder"} <= {name.partition("/")[0] for name in WEIGHTS}
    assets = {asset["path"]: asset["bytes"] for asset in LICENCES["assets"]}
    assert set(WEIGHTS) < set(assets)
    sizes = [size for name, size in assets.items() if name in WEIGHTS and not name.startswith("text_encoder")]
    assert sum(sizes) <= 62_000_000  # 60 MB of the model and its style adapter; the rest is for what is known of tastes
    assert (EMBEDDED / "text_encoder" / "model.safetensors").stat().st_size <= 46_000_000


def test_every_author_is_named() -> None:
    notice = (EMBEDDED / "NOTICE").read_text()
    flat = " ".join(notice.split())
    for name, entry in LICENCES["training_data"].items():
        assert name in flat
        assert entry["author_url"] in flat
        assert entry["licence"] in {"Apache-2.0", "MIT", "CC-BY-4.0", "CC-BY-3.0"}, "no share-alike, nothing unknown"


def test_the_card_names_what_the_data_says() -> None:
    card = " ".join((EMBEDDED / "README.md").read_text().split())
    salon = json.loads((EMBEDDED / "salon.json").read_text())
    words = [
        word for table in ("styles", "palettes", "backgrounds", "finishes") for word in salon["text"].get(table, ())
    ]
    assert [word for word in words if word not in card] == []
    assert f"{len(salon['vocabulary']['concepts'])} simple things" in card


@pytest.mark.filterwarnings("default")  # of the libraries, about themselves
def test_components_load_in_diffusers_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    transformers = pytest.importorskip("transformers")
    for library, kind, folder in (
        (diffusers, "FluxTransformer2DModel", "transformer"),
        (diffusers, "AutoencoderKL", "vae"),
        (transformers, "BertModel", "text_encoder"),
    ):
        _, info = getattr(library, kind).from_pretrained(EMBEDDED / folder, output_loading_info=True)
        assert not any(info.values()), f"{folder}: {info}"
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(EMBEDDED, subfolder="scheduler")
    assert scheduler.config.shift == 1.0
    tokenizer = transformers.BertTokenizer.from_pretrained(EMBEDDED / "tokenizer")
    assert tokenizer("a red apple").input_ids == [101, 1037, 2417, 6207, 102]


def test_no_stray_files() -> None:
    """What is in the folder goes into the package."""
    known = {"NOTICE", "README.md", "licences.json", "model_index.json", "salon.json", "text_stats.safetensors"}
    known |= {"neighbours.safetensors", "nouns.json", "taste.safetensors"}
    adapter = {"adapter.safetensors", "style_encoder.safetensors"}  # of a model that has one
    found = {path.name for path in Path(EMBEDDED).iterdir() if path.is_file()}
    assert found - adapter == known
    assert not found & adapter or adapter < found
