"""The packed client is that of its commit, and no other is imported in its place."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from . import make
from .conftest import START, Start, finish

MANIFEST = json.loads(make.MANIFEST.read_text())


def test_it_holds_what_the_manifest_says() -> None:
    with zipfile.ZipFile(make.ARCHIVE) as archive:
        held = {info.filename: archive.read(info) for info in archive.infolist()}
    digests = {path: hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() for path, data in held.items()}
    assert digests == {make.place(path): blob for path, blob in MANIFEST["files"].items()}
    assert make.ARCHIVE.stat().st_size < 250_000


def test_the_manifest_is_of_the_commit() -> None:
    assert MANIFEST["commit"] == make.COMMIT
    try:
        make.git("cat-file", "-e", f"{make.COMMIT}^{{commit}}")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a checkout without the history of that commit")
    assert make.blobs() == MANIFEST["files"]


def test_the_released_package_is_the_one_that_is_imported(start: Start, released: Path) -> None:
    """Also every module that its programs and commands need; and nothing of this checkout."""
    code = START + (
        "import salon.frontends.cli, salon.frontends.client.aio, salon.frontends.client.client\n"
        "from importlib import import_module\n"
        "for name in {{*salon.frontends.cli.COMMANDS.values()}} - {{'doctor', 'commands.serve'}}:\n"
        "    import_module(f'salon.frontends.{{name}}')\n"
        "print(*(module.__file__ for name, module in sys.modules.items() if name.split('.')[0] == 'salon'\n"
        "        and getattr(module, '__file__', None)), sep='\\n')"
    )
    result = finish(start(code))
    assert result.returncode == 0, result.stderr
    files = result.stdout.splitlines()
    assert len(files) > 20
    assert all(Path(file).is_relative_to(released) for file in files)
