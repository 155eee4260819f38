"""Pack the released client: `python tests/released/make.py` writes `5dbd8b1.zip` and `5dbd8b1.json` beside itself.

The archive has what `salon.Client`, `salon.AsyncClient` and the commands that talk to a server need of that commit,
and its description of the wire: text files only, each as the commit has it. The manifest names each one's git blob.
Both are kept, because a checkout may come without its history; nobody needs to pack them again for the same commit.
"""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
COMMIT: Final = "5dbd8b1c4f991183e486f4486280ca26cde6b3fc"
ARCHIVE: Final = HERE / f"{COMMIT[:7]}.zip"
MANIFEST: Final = ARCHIVE.with_suffix(".json")
PAGE: Final = "docs/wire.md"
WANTED: Final = re.compile(  # neither the server, nor the fake one, nor what computes here
    r"__init__\.py|errors\.py|engine/errors\.py|frontends/(arguments|cli|imagine|outputs|progress)\.py|"
    r"frontends/server/options\.py|frontends/client/(?!fake)\w+\.py|frontends/commands/(?!serve\b)\w+\.py|"
    rf"frontends/wire/\w+\.py|{re.escape(PAGE)}"
)


def git(*words: str) -> bytes:
    """What git prints. subprocess.CalledProcessError: it fails, such as without the commit."""
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, timeout=60).stdout


def blobs() -> dict[str, str]:
    """The digest of the git blob of each file that is packed, by its path in the commit."""
    found = {}
    for line in git("ls-tree", "-r", COMMIT).decode().splitlines():
        about, _, path = line.partition("\t")
        if WANTED.fullmatch(path):
            found[path] = about.split()[2]
    return found


def place(path: str) -> str:
    """Where a file of the commit stands in the archive: the repository's root is the package."""
    return path if path == PAGE else f"salon/{path}"


def main() -> None:
    """Write archive and manifest."""
    files = blobs()
    with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, blob in files.items():
            archive.writestr(zipfile.ZipInfo(place(path)), git("cat-file", "blob", blob), zipfile.ZIP_DEFLATED, 9)
    MANIFEST.write_text(json.dumps({"commit": COMMIT, "files": files}, indent=1) + "\n")


if __name__ == "__main__":
    main()
