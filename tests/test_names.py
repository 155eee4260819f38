"""Our folders are subpackages of `salon`; at the top level they must answer to no other package's name.

`python -m pytest` puts the checkout first on sys.path, where `kernels/__init__.py` would pass for Hugging Face's
package `kernels`, and transformers and diffusers would no longer import.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "parameters",
    "engine",
    "kernels",
    "csrc",
    "scheduler",
    "studio",
    "frontends",
    "bench",
    "tests",
    "models",
    "docs",
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_folders_are_there_and_no_packages(folder: str) -> None:
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_folder_shadows_a_package(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without __init__.py only makes a namespace package, which any real package of the name goes before."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delitem(sys.modules, folder, raising=False)
    spec = find_spec(folder)
    assert spec is None or spec.origin is None or not Path(spec.origin).is_relative_to(ROOT)


@pytest.mark.parametrize(
    ("name", "classes"),
    [("transformers", ("BertModel",)), ("diffusers", ("FluxTransformer2DModel", "AutoencoderKL"))],
)
def test_its_neighbours_import_with_the_checkout_first(
    name: str, classes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, where other tests may have imported them before, with the checkout as early on the path."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.syspath_prepend(str(ROOT))
    module = import_module(name)
    for each in classes:
        assert isinstance(getattr(module, each), type)
    found = {folder: getattr(sys.modules.get(folder), "__file__", None) for folder in FOLDERS}
    assert not [folder for folder, file in found.items() if file is not None and Path(file).is_relative_to(ROOT)]
