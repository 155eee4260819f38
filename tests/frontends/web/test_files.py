"""The page's files: what others wrote is as they published it, all is there, and small."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
WEB = ROOT / "frontends" / "web"
STATIC = WEB / "static"
VENDORED: list[dict[str, Any]] = json.loads((WEB / "vendor.json").read_text())
MOST = 150_000  # bytes of the whole page, in gzip
SENT = {".js", ".css", ".html", ".svg"}
IMPORTED = re.compile(r"""(?:^|;|})(?:import|export)\b[^;]*?\bfrom ?["']([^"']+)["']""", re.MULTILINE)  # before it runs
IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""")


def modules() -> list[Path]:
    return sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.parts)


@pytest.mark.parametrize("package", VENDORED, ids=lambda package: package["package"])
def test_what_others_wrote_is_as_they_published_it(package: dict[str, Any]) -> None:
    for name, file in package["files"].items():
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == file["sha256"], name
    words = {"MIT": "MIT License", "Apache-2.0": "Apache License"}[package["licence"]]
    assert words in (STATIC / "vendor" / package["licence_file"]).read_text()
    checked = json.loads((ROOT / ".ci/web/package.json").read_text())["devDependencies"]
    assert checked[package["package"]] == package["version"]  # types are checked against the same


def test_nothing_else_is_vendored() -> None:
    listed = {name for package in VENDORED for name in package["files"]}
    assert {path.name for path in (STATIC / "vendor").glob("*.js")} == listed


def test_the_whole_page_is_small() -> None:
    sizes = {path: len(gzip.compress(path.read_bytes(), 9)) for path in STATIC.rglob("*") if path.suffix in SENT}
    assert sum(sizes.values()) < MOST


def test_what_modules_import_is_there() -> None:
    index = (STATIC / "index.html").read_text()
    found = re.search(r'<script type="importmap">(.*?)</script>', index)
    assert found is not None
    names = json.loads(found[1])["imports"]
    assert all((STATIC / path.removeprefix("./web/")).is_file() for path in names.values())
    assert all((STATIC / path).is_file() for path in re.findall(r'(?:src|href)="web/([^"]+)"', index))
    for module in modules():
        for name in IMPORT.findall(module.read_text()):
            if name.startswith("."):
                assert (module.parent / name).is_file(), f"{module.name}: {name}"
            else:
                assert name in names, f"{module.name}: {name}"


def test_all_modules_are_asked_for_at_once() -> None:
    """No module waits until the one that imports it is there; neither do those of the view in the address."""
    index = (STATIC / "index.html").read_text()
    names = dict(re.findall(r'"([^"]+)":"./web/([^"]+)"', index))

    def needed(path: str, seen: set[str]) -> set[str]:
        for name in IMPORTED.findall((STATIC / path).read_text()):
            there = (STATIC / path).parent.joinpath(name).resolve()
            found = names.get(name) or str(there.relative_to(STATIC.resolve()))
            if found not in seen:
                seen.add(found)
                needed(found, seen)
        return seen

    asked = set(re.findall(r'<link rel="modulepreload" href="web/([^"]+)">', index))
    assert asked == needed("app.js", set())
    views = re.findall(r'import\("\./(\w+)\.js"\)', (STATIC / "views" / "index.js").read_text())
    listed = re.findall(r"^    (\w+): \[(.*)\],$", (STATIC / "first.js").read_text(), re.M)
    assert [view for view, _ in listed] == views
    for view, modules in listed:
        found = {f"{name}.js" for name in re.findall(r'"([^"]+)"', modules)}
        assert found == {f"views/{view}.js", *needed(f"views/{view}.js", set())} - asked, view


def test_nothing_that_the_policy_forbids() -> None:
    """No script or style inside a page but the import map, and nothing from elsewhere."""
    index = (STATIC / "index.html").read_text()
    assert re.findall(r"<script[^>]*>[^<]+</script>", index) == re.findall(r'<script type="importmap">.*', index)
    assert not re.search(r"""<style|\son\w+=|\sstyle=|javascript:""", index)
    for module in modules():
        text = module.read_text()
        assert not re.search(r"(inner|outer|insertAdjacent)HTML|\beval\(|new Function|dangerouslySet", text), module
        assert not re.search(r"""["'`]https?://(?!…)""", text), module
