"""Hooks of mkdocs for pages that are read in the repository, too."""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "build" / "reference"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")


def on_startup(**_: Any) -> None:
    """Lay the package out for the reader of docstrings, which wants an `__init__.py` in every folder of it."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    for top in ("__init__.py", "errors.py", "bounds.py", "values.py", "system.py", "plugins.py"):
        _link(ROOT / top)
    for folder in ("engine", "frontends", "parameters", "scheduler", "studio"):
        for path in (ROOT / folder).rglob("*.py"):
            _link(path)
    for made in [SOURCES / "salon", *(path for path in (SOURCES / "salon").rglob("*") if path.is_dir())]:
        (made / "__init__.py").touch()


def _link(path: Path) -> None:
    there = SOURCES / "salon" / path.relative_to(ROOT)
    there.parent.mkdir(parents=True, exist_ok=True)
    there.symlink_to(path)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links to files outside of the documentation into their names, which have to exist in the repository."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def named(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found[3]))
        if path.startswith("docs/"):
            return found[0]
        if not (ROOT / path).exists():
            raise SystemExit(f"{page.file.src_uri}: got a link to {path}, which does not exist; correct it")
        return f"{found[2]} (`{path}`)" if found[2].strip("`") not in (path, posixpath.basename(path)) else f"`{path}`"

    return LINK.sub(named, markdown)
