"""Checks of what was built and installed, for .ci/run: `check.py pictures FOLDER | install | serve | wheel FILE`."""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
import zipfile
from pathlib import Path

INSTALL_LIMIT = 300  # MiB of the default install, with weights, text encoder, server and compiled Python
WAIT_S = 120  # for a server or a picture
FOLDERS = ("parameters", "engine", "kernels", "scheduler", "studio", "frontends", "bench", "models/mini")
FILES = (
    "salon/__init__.py",
    "salon/errors.py",
    "salon/system.py",
    "salon/py.typed",
    "salon/kernels/_C.pyi",
    "salon/frontends/web/vendor.json",
    "salon/frontends/web/static/index.html",
    "salon/frontends/web/static/app.js",
    "salon/frontends/web/static/css/base.css",
    "salon/frontends/web/static/vendor/preact.js",
    "salon/frontends/web/static/vendor/licences/preact.txt",
    "salon/frontends/web/static/views/create.js",
    "salon/models/mini/NOTICE",
    "salon/models/mini/adapter.safetensors",
    "salon/models/mini/licences.json",
    "salon/models/mini/model_index.json",
    "salon/models/mini/salon.json",
    "salon/models/mini/style_encoder.safetensors",
    "salon/models/mini/neighbours.safetensors",
    "salon/models/mini/text_stats.safetensors",
    "salon/models/mini/tokenizer/tokenizer.json",
)
NOTICES = ("licenses/LICENSE", "licenses/NOTICE", "licenses/models/mini/NOTICE")
WEIGHTS = {"transformer": 45_000_000, "vae": 7_000_000, "text_encoder": 45_000_000}  # at least
STRANGERS = ("salon/tests/", "salon/csrc/", "salon/build/", "salon/docs/", "salon/.", "__pycache__", ".so.", "tests/")


def check_wheel(path: Path) -> None:
    """Every folder, the weights, the notices and the compiled module are in it, and nothing else."""
    with zipfile.ZipFile(path) as wheel:
        assert wheel.testzip() is None
        sizes = {info.filename: info.file_size for info in wheel.infolist()}
    missing = [name for name in FILES if name not in sizes]
    missing += [f"salon/{folder}/" for folder in FOLDERS if not any(n.startswith(f"salon/{folder}/") for n in sizes)]
    missing += [name for name in NOTICES if not any(n.endswith(f".dist-info/{name}") for n in sizes)]
    for component, least in WEIGHTS.items():
        found = sum(size for name, size in sizes.items() if name.startswith(f"salon/models/mini/{component}/"))
        if found < least:
            missing.append(f"salon/models/mini/{component}: {found:,} bytes, at least {least:,} expected")
    modules = [name for name in sizes if name.startswith("salon/kernels/_C.") and name.endswith(".so")]
    strange = [name for name in sizes if any(name.startswith(s) or (s in name and s[0] in "_.") for s in STRANGERS)]
    strange += [name for name in sizes if name.split("/")[0] != "salon" and ".dist-info/" not in name]
    assert not missing, f"{path.name} lacks {missing}"
    assert len(modules) == 1, f"{path.name}: compiled modules {modules}"
    assert not strange, f"{path.name} has strangers {strange}"
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(sizes)} files, all there")


def check_install() -> None:
    """What `pip install .` brought into this environment, without pip and setuptools themselves."""
    root = Path(sysconfig.get_paths()["purelib"])
    sizes: dict[str, int] = {}
    for file in root.rglob("*"):
        if file.is_file() and not file.is_symlink():
            top = file.relative_to(root).parts[0]
            sizes[top] = sizes.get(top, 0) + file.stat().st_size
    ours = {name: size for name, size in sizes.items() if not name.startswith(("pip", "setuptools", "pkg_resources"))}
    for name, size in sorted(ours.items(), key=lambda item: -item[1])[:8]:
        print(f"{size / 2**20:8.1f} MiB  {name}")
    total = sum(ours.values())
    assert "torch" not in ours, "torch came with the default install"
    assert total <= INSTALL_LIMIT * 2**20, f"the default install has {total / 2**20:.1f} MiB, allowed {INSTALL_LIMIT}"
    print(f"{total / 2**20:8.1f} MiB  the default install, {total / 1e6:.1f} MB ({INSTALL_LIMIT} MiB allowed)")


def check_serve() -> None:
    """The default install serves: a picture made by a server, metrics, and an orderly end."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--data", "data", "--listen", "tcp://127.0.0.1:0", "--metrics", "127.0.0.1:0", "--json"]
        words += ["--http", "127.0.0.1:0"]
        log = open(Path(folder, "log"), "w")  # noqa: SIM115  # closed with the process
        server = subprocess.Popen(["salon", "serve", *words], cwd=folder, stdout=subprocess.PIPE, stderr=log)
        assert server.stdout is not None
        try:
            assert select.select([server.stdout], [], [], WAIT_S)[0], "no server"
            places = json.loads(server.stdout.readline())
            address = places["listening"][0]
            with urllib.request.urlopen(f"{places['http']}/readyz", timeout=WAIT_S) as answer:
                assert answer.status == 200
            page = urllib.request.urlopen(places["http"], timeout=WAIT_S).read().decode()
            for path in re.findall(r'(?:src|href)="(web/[^"]+)"', page):
                assert urllib.request.urlopen(f"{places['http']}/{path}", timeout=WAIT_S).read(), path
            command = ["salon", "imagine", "a red apple", "--n", "1", "--server", address, "-o", "apple.png"]
            subprocess.run(command, cwd=folder, check=True, timeout=WAIT_S)
            assert Path(folder, "apple.png").stat().st_size > 1000
            server.terminate()
            assert server.wait(WAIT_S) == 0
        finally:
            server.kill()
            server.wait()
            log.close()
            text = Path(folder, "log").read_text()
        assert '"metrics"' in text, text
    print("salon serve: a picture, and an orderly end")


def check_pictures(folder: Path) -> None:
    """A grid and four pictures with their recipes, none of one colour."""
    from salon.frontends.recipe import pixel_hash, read_png

    files = sorted(folder.glob("*.png"))
    kinds = []
    for file in files:
        pixels, recipe = read_png(file)
        assert recipe.pixels == pixel_hash(pixels), f"{file}: other pixels than its recipe says"
        assert pixels.std() > 5, f"{file}: of one colour"
        kinds.append(recipe.kind)
    assert sorted(kinds) == ["grid", *["image"] * 4], f"{folder}: {kinds}"
    print(f"{folder}: {len(files)} pictures with their recipes")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["wheel", name]:
            check_wheel(Path(name))
        case ["install"]:
            check_install()
        case ["serve"]:
            check_serve()
        case ["pictures", name]:
            check_pictures(Path(name))
        case _:
            sys.exit(__doc__)
