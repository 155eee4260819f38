"""Size on disk of a default install: salon and what it requires, no extras."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, PackagePath, distribution
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
NOT_INSTALLED = {".git", ".ci", ".venv", "build", "tests", "csrc", "docs", "results"}


def install_mib(root: str = "salon") -> float | None:
    """Return the MiB of `root` and of the closure of its default requirements; None where it is not installed."""
    seen: set[str] = set()
    waiting, total = [root], 0
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            if name == root:
                return None
            continue
        sizes = [path.stat().st_size for path in map(_located, found.files or []) if path.is_file()]
        total += sum(sizes)
        if name == root and len(sizes) < 20:  # an editable install: its files are in the checkout
            total += _checkout_bytes()
        for requirement in found.requires or []:
            if "extra ==" not in requirement:
                waiting.append(re.split(r"[ ;<>=!~\[(]", requirement, maxsplit=1)[0])
    return total / 2**20


def _located(file: PackagePath) -> Path:
    return Path(str(file.locate()))


def _checkout_bytes() -> int:
    total = 0
    for folder in PACKAGE.iterdir():
        if folder.name.startswith(".") or folder.name in NOT_INSTALLED or not folder.is_dir():
            continue
        total += sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return total
