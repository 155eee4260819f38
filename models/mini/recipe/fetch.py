"""Stage `fetch`: the drawing sets' npm packages, their licences checked and recorded.

python -m salon.models.mini.recipe.fetch --work DIR
"""

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .config import Run, parser, run_of
from .errors import PackageError
from .progress import track
from .sets import EXTRA_SETS, SETS, attribution, check_licence
from .store import Done, Stage, atomic, open_stage


def packages(extra: bool) -> dict[str, str]:
    """Return package name to version, each once."""
    return {s.package: s.version for s in SETS + (EXTRA_SETS if extra else ())}


def stage(run: Run) -> Stage:
    return Stage(run.work, "fetch", packages(run.recipe.data.extra_sets), {})


def download(package: str, version: str, folder: Path) -> Path:
    """Pack one package into `folder` with npm. Raises PackageError when npm is missing or refuses."""
    target = folder / f"iconify-json-{package}-{version}.tgz"
    if target.is_file():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise PackageError("npm is not installed, and it fetches the drawings: install Node.js with npm")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        spec = f"@iconify-json/{package}@{version}"
        done = subprocess.run(
            [npm, "pack", "--silent", "--pack-destination", scratch, spec], capture_output=True, text=True, cwd=scratch
        )
        packed = Path(scratch) / target.name
        if done.returncode != 0 or not packed.is_file():
            raise PackageError(f"npm could not fetch {spec}: {done.stderr.strip()[-300:] or 'no output'}")
        packed.replace(target)
    return target


def read_member(archive: Path, member: str) -> Any:
    """Read one JSON file of a package. Raises PackageError when the archive is damaged or lacks it."""
    try:
        with tarfile.open(archive) as tar:
            f = tar.extractfile(f"package/{member}")
            if f is None:
                raise KeyError(member)
            return json.load(f)
    except (tarfile.TarError, KeyError, EOFError, OSError, json.JSONDecodeError) as e:
        raise PackageError(f"{archive} is damaged or lacks {member} ({e}): delete it and run fetch again") from e


def run_stage(run: Run) -> Done:
    """Fetch what is missing, check every licence, write `licences.json` and `ATTRIBUTION.md`."""
    s = stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    licences, sums = [], {}
    wanted = packages(run.recipe.data.extra_sets)
    for package, version in track(wanted.items(), "fetch", len(wanted)):
        archive = download(package, version, s.folder / "packages")
        licences.append(check_licence(package, version, read_member(archive, "info.json")))
        sums[package] = hashlib.sha256(archive.read_bytes()).hexdigest()
    s.write_json("licences.json", [asdict(x) | {"sha256": sums[x.package]} for x in licences])
    with atomic(s.path("ATTRIBUTION.md")) as f:
        f.write(attribution(licences).encode())
    s.finish(packages=len(licences))
    return open_stage(run.work, s.name)


if __name__ == "__main__":
    run_stage(run_of(parser(__doc__.split("\n")[0]).parse_args()))
