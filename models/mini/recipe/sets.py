"""The drawing sets: packages, versions, the words that name each style, and the licence check.

Licences that are allowed ask at most for attribution. Share-alike sets are refused, because weights trained from them
could be held to be adapted material.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import LicenceError

ALLOWED = ("Apache-2.0", "MIT", "ISC", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0")


@dataclass(frozen=True)
class DrawingSet:
    """One style. `suffix` picks a variant of a package that holds several; `ink` sets are black on nothing."""

    name: str
    package: str
    version: str
    words: str  # "" = drawings that train the autoencoder alone
    suffix: str = ""
    ink: bool = False


SETS = (
    DrawingSet("noto", "noto", "1.2.9", "soft shaded"),
    DrawingSet("twemoji", "twemoji", "1.2.5", "flat cartoon"),
    DrawingSet("fluent-flat", "fluent-emoji-flat", "1.2.6", "clean modern"),
    DrawingSet("fluent-3d", "fluent-emoji", "1.2.7", "3d render"),
    DrawingSet("fluent-ink", "fluent-emoji-high-contrast", "1.2.6", "bold ink", ink=True),
    DrawingSet("emojione", "emojione", "1.2.3", "storybook"),
    DrawingSet("fxemoji", "fxemoji", "1.2.2", "retro poster"),
    DrawingSet("streamline", "streamline-emojis", "1.2.4", "doodle"),
    DrawingSet("phosphor-light", "ph", "1.2.2", "thin line", suffix="-light", ink=True),
    DrawingSet("phosphor-duotone", "ph", "1.2.2", "grey duotone", suffix="-duotone", ink=True),
    DrawingSet("icon-park", "icon-park", "1.2.4", "bold blue"),
    DrawingSet("game-icons", "game-icons", "1.2.4", "woodcut", ink=True),
)
EXTRA_SETS = (
    DrawingSet("noto-v1", "noto-v1", "1.2.5", ""),
    DrawingSet("emojione-ink", "emojione-monotone", "1.2.1", "", ink=True),
    DrawingSet("flat-color", "flat-color-icons", "1.2.3", ""),
    DrawingSet("meteocons", "meteocons", "1.2.4", ""),
    DrawingSet("fluent-color", "fluent-color", "1.2.21", ""),
)
STYLES = tuple(s.name for s in SETS)
BY_NAME = {s.name: s for s in SETS + EXTRA_SETS}


@dataclass(frozen=True)
class Licence:
    package: str
    version: str
    title: str
    spdx: str
    url: str
    set_title: str
    author: str
    author_url: str


def check_licence(package: str, version: str, info: Mapping[str, Any]) -> Licence:
    """Read licence and author from a package's `info.json`.

    Raises LicenceError when either is missing, when the licence is share-alike, or when it is not in `ALLOWED`.
    """
    licence, author = info.get("license") or {}, info.get("author") or {}
    spdx, name = str(licence.get("spdx") or ""), str(author.get("name") or "")
    if not spdx:
        raise LicenceError(f"{package}: info.json names no licence (license.spdx); leave the set out")
    if not name:
        raise LicenceError(f"{package}: info.json names no author; leave the set out")
    if "-SA" in spdx.upper():
        raise LicenceError(f"{package}: {spdx} is share-alike; such sets are left out")
    if spdx not in ALLOWED:
        raise LicenceError(f"{package}: licence {spdx} is not one of {', '.join(ALLOWED)}; leave the set out")
    return Licence(
        package=package,
        version=version,
        title=str(licence.get("title") or spdx),
        spdx=spdx,
        url=str(licence.get("url") or ""),
        set_title=str(info.get("name") or package),
        author=name,
        author_url=str(author.get("url") or ""),
    )


def attribution(licences: list[Licence]) -> str:
    """Write the attribution text (Markdown) that must stay with the weights."""
    lines = [
        "# Drawings that the embedded model was trained from",
        "",
        "The pictures were rasterised, recoloured and composed on other backgrounds before training.",
        "",
        "| set | author | licence | package |",
        "|---|---|---|---|",
    ]
    for x in sorted(licences, key=lambda x: x.package):
        author = f"[{x.author}]({x.author_url})" if x.author_url else x.author
        licence = f"[{x.title}]({x.url})" if x.url else x.title
        lines.append(f"| {x.set_title} | {author} | {licence} (`{x.spdx}`) | `@iconify-json/{x.package}` {x.version} |")
    return "\n".join(lines) + "\n"
