"""Our folders are subpackages of `salon`; at the top level they must answer to no other package's name.

`python -m pytest` puts the checkout first on sys.path, where `kernels/__init__.py` would pass for Hugging Face's
package `kernels`, and transformers and diffusers would no longer import.
"""

from __future__ import annotations

import subprocess
import sys
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


@pytest.mark.parametrize("name", ["transformers", "diffusers"])
def test_its_neighbours_import_with_the_checkout_first(name: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    imports = {"transformers": "BertModel", "diffusers": "FluxTransformer2DModel, AutoencoderKL"}
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {name} import {imports[name]}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
