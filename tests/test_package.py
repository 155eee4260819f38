"""The package as a whole: its names, its floors, and what importing it costs."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

import salon

ROOT = Path(__file__).parents[1]

# A module may import its own folder and folders on lower floors. engine and scheduler do not know each other.
FLOORS = {"parameters": 0, "kernels": 1, "engine": 2, "scheduler": 2, "studio": 3, "frontends": 4}
ROOTS = ("__version__", "bounds", "errors", "given", "plugins", "recipe_text", "system", "values", "zips")  # below all
# One level deeper: what stands on one floor, and who of it may not import whom.
INSIDE = {
    "frontends/client": (  # fmt: skip
        "frontends/zmq",
        "frontends/fake",
        "frontends/commands",
        "studio",
        "scheduler",
        "engine",
        "kernels",
    ),
    "frontends/wire": ("frontends/zmq", "frontends/client", "frontends/commands", "studio", "scheduler", "engine"),
    "frontends/zmq": ("frontends/client", "frontends/commands", "frontends/fake"),
    "frontends/http": ("frontends/client", "frontends/commands", "frontends/fake"),
    "frontends/commands": ("frontends/fake",),
    "studio/store": ("studio/service", "studio/scheduling", "studio/workers"),
    "studio/workers": ("studio/service", "studio/scheduling", "studio/store"),
    "studio/scheduling": ("studio/service",),
    "studio": ("studio/service",),  # its own modules, not those of its folders
}
TRITON = ROOT / "kernels" / "triton"  # of the floors this folder alone may import torch, and nothing imports it at once
GRAPHS = (
    "kernels/onnx",
    "kernels/backends/onnx.py",
    "kernels/backends/openvino.py",
)  # likewise of onnx and what runs it
DOORS = ("frontends/client/fake.py",)  # names for what lies elsewhere: the fake server is the real one
ERRORS = ("studio/errors", "engine/errors", "scheduler/errors")  # which anybody above may catch
BESIDE = ("bench", "models")  # these may import anything below; nothing imports them, but that
# Within the engine likewise; its own files (the loop, checkpoints, protocols) stand beside them.
ENGINE_FLOORS = {"adapters": 0, "weights": 1, "models": 2, "codecs": 3, "text": 3, "families": 4}
KINDS = ("families", "codecs", "pipelines")  # folders of the engine in which every module is one thing of its kind
MEASURES = ("models", "bench")  # the embedded model's recipe describes machine and goals as benchmarks do


def modules(*folders: str) -> list[Path]:
    """The Python files of these folders; not the micro-benchmarks, which are for pytest and import what it tests."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if path.parent != ROOT / "bench" / "micro")


class Imports(NamedTuple):
    """What a module of ours imports.

    Attributes:
        names: (absolute module name, relative?) of everything, wherever in it.
        first: modules, as they are written, that it imports names from when it is imported itself.
    """

    names: tuple[tuple[str, bool], ...]
    first: tuple[str, ...]


@cache
def read(path: Path) -> Imports:
    """Read a module of ours, which several tests look at."""
    tree = ast.parse(path.read_text(), str(path))
    first = tuple(node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom))
    return Imports(tuple(_names(path, tree)), first)


def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    return read(path).names


def _names(path: Path, tree: ast.Module) -> Iterator[tuple[str, bool]]:
    package = ("salon", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or "", False
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            assert base, f"{path}: a relative import above the package"
            stem = ".".join((*base, node.module)) if node.module else ".".join(base)
            yield from ((f"{stem}.{alias.name}", True) for alias in node.names)


def identify(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_look_at() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in modules(*FLOORS, *BESIDE)}
    assert {"kernels", "engine", "frontends", "bench"} <= found


@pytest.mark.parametrize("path", modules(*FLOORS, *BESIDE), ids=identify)
def test_imports_go_only_downwards(path: Path) -> None:
    here = path.relative_to(ROOT).parts[0]
    for name, relative in imports(path):
        top = name.split(".")
        assert relative or top[0] != "salon", f"{name}: inside the package, imports are relative"
        if top[0] != "salon" or len(top) < 2:
            continue
        there = top[1]
        if there in (here, *ROOTS) or (here, there) == MEASURES:
            continue
        assert there not in BESIDE, f"{name}: nothing imports {there}"
        assert there in FLOORS, f"{name}: import it from where it is defined"
        if here in FLOORS:
            assert FLOORS[there] < FLOORS[here], f"{name}: {here} stands below {there}, or beside it"


@pytest.mark.parametrize("path", modules(*(f"engine/{folder}" for folder in ENGINE_FLOORS)), ids=identify)
def test_imports_go_only_downwards_within_the_engine(path: Path) -> None:
    here = path.relative_to(ROOT).parts[1]
    for name, _ in imports(path):
        there = [*name.split("."), "", ""][2] if name.startswith("salon.engine.") else ""
        if there in ENGINE_FLOORS and there != here:
            assert ENGINE_FLOORS[there] < ENGINE_FLOORS[here], f"{name}: {here} stands below {there}, or beside it"


@pytest.mark.parametrize("path", modules("engine"), ids=identify)
def test_the_engine_knows_no_family_codec_or_text_pipeline_by_name(path: Path) -> None:
    """They are found by listing their folders. A family names the codec that it has, and their files what they use."""
    if path.parent.name in KINDS and path.name != "__init__.py":
        return
    for name, _ in imports(path):
        parts = name.split(".")[1:]
        for kind in {*parts} & {*KINDS}:
            file = ROOT.joinpath(*parts[: parts.index(kind) + 2]).with_suffix(".py")
            assert not file.is_file(), f"{name}: ask for it by the name that the checkpoint gives it"


@pytest.mark.parametrize("folder", INSIDE)
def test_imports_inside_a_floor_go_only_downwards(folder: str) -> None:
    """The wire and its clients know no server; a store knows no service, and the studio's own modules know none."""
    here = ROOT / folder
    whole = "/" in folder  # with the folders in it
    found = [path for path in modules(folder) if path.parent == here or (whole and here in path.parents)]
    assert found
    for path in [path for path in found if identify(path) not in DOORS]:
        for name, relative in imports(path):
            there = "/".join(name.split(".")[1:])
            if relative and not there.startswith(tuple(f"{one}/" for one in ERRORS)):
                assert not there.startswith(tuple(f"{other}/" for other in INSIDE[folder])), f"{identify(path)}: {name}"


@pytest.mark.parametrize("path", modules(*FLOORS), ids=identify)
def test_only_the_backends_that_need_a_peer_import_it(path: Path) -> None:
    needs = {name.split(".")[0] for name, relative in imports(path) if not relative}
    allowed = {"torch", "triton"} if TRITON in path.parents else set()
    if identify(path).startswith(GRAPHS):
        allowed = {"onnx", "onnxruntime", "openvino", "tensorrt_rtx"}
    peers = {
        "torch",
        "diffusers",
        "transformers",
        "onnx",
        "onnxruntime",
        "openvino",
        "tensorrt_rtx",
        "triton",
        "psutil",
    }
    assert not needs & (peers - allowed)


def test_the_triton_backend_is_imported_when_it_is_created() -> None:
    """Without torch everything else works: only its own folder, and functions, import what needs torch."""
    for path in [path for path in modules(*FLOORS) if TRITON not in path.parents]:
        assert not any(name == "triton" or name.startswith("triton.") for name in read(path).first), identify(path)


def test_the_default_install_brings_what_every_floor_imports() -> None:
    """`salon serve` asked for an extra; what is optional is imported where it is used, and missed in one line."""
    optional = {"opentelemetry", "psycopg", "torch", "triton", "onnx", "onnxruntime", "openvino", "tensorrt_rtx"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    brought = {re.split(r"[<>=!~; \[]", line)[0].lower() for line in project["dependencies"]}
    called = {"PIL": "pillow", "zmq": "pyzmq"}
    called |= {name: name.replace("_", "-") for name in ("prometheus_client", "python_multipart")}
    needed = {name.split(".")[0] for path in modules(*FLOORS) for name, relative in imports(path) if not relative}
    needed -= {*sys.stdlib_module_names, *optional, "salon"}
    needed = {called.get(name, name) for name in needed}
    assert needed <= brought
    assert brought - needed <= {"safetensors"}, "nothing needs it"  # benchmarks read weights for rivals with that one
    assert project["optional-dependencies"]["server"] == [], "an alias of the default install"


def test_exported_names() -> None:
    assert salon.__all__ == sorted(salon.__all__)
    for name in salon.__all__:
        assert getattr(salon, name) is not None
    assert salon.Engine.__module__ == "salon.engine.engine"
    assert salon.GenerationSpec.__module__ == "salon.engine.spec"
    assert salon.DurableStudio.__module__ == "salon.studio.service.embedded"
    assert salon.Client.__module__ == "salon.frontends.client.client"
    assert salon.AsyncClient.__module__ == "salon.frontends.client.aio"
    assert issubclass(salon.SalonError, Exception)


def test_its_names_are_listed() -> None:
    """faults.md 27: what is imported when first used was hidden from `dir` and completion."""
    assert set(salon.__all__) <= {*dir(salon)}


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="module 'salon' has no attribute 'nothing'"):
        _ = salon.nothing


def test_version() -> None:
    assert salon.__version__ == version("salon")


def test_it_says_that_it_is_typed() -> None:
    assert Path(str(salon.__file__)).with_name("py.typed").exists() or (ROOT / "py.typed").exists()


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_import_is_lazy() -> None:
    heavy = "{'numpy', 'salon.engine', 'salon.kernels', 'msgspec', 'zmq', 'PIL', 'rich'}"
    run(f"import sys, salon; salon.__version__; found = {heavy} & set(sys.modules); assert not found, found")


def test_a_picture_needs_no_torch() -> None:
    """The cpu path end to end, with every import of a peer forbidden."""
    run(
        "import sys\n"
        "for name in ('torch', 'diffusers', 'transformers', 'onnx', 'onnxruntime', 'openvino', 'triton', 'psutil'):\n"
        "    sys.modules[name] = None\n"
        "import salon\n"
        "engine = salon.Engine.load()\n"
        "generation = engine.open(engine.make_spec('a red apple', steps=1))\n"
        "engine.step([generation])\n"
        "assert engine.finish(generation).std() > 0\n"
    )


def test_every_module_of_the_floors_imports() -> None:
    for path in modules(*FLOORS):
        parts = path.relative_to(ROOT).with_suffix("").parts
        importlib.import_module(".".join(("salon", *(part for part in parts if part != "__init__"))))
