"""Licences: what is refused, what is recorded."""

import pytest

from salon.models.mini.recipe.errors import LicenceError
from salon.models.mini.recipe.sets import ALLOWED, EXTRA_SETS, SETS, attribution, check_licence

INFO = {
    "name": "Noto Emoji",
    "author": {"name": "Google Inc", "url": "https://github.com/googlefonts/noto-emoji"},
    "license": {"title": "Apache 2.0", "spdx": "Apache-2.0", "url": "https://example.org/LICENSE"},
}


@pytest.mark.parametrize("spdx", ["CC-BY-SA-4.0", "CC-BY-SA-3.0", "cc-by-sa-4.0"])
def test_share_alike_is_refused(spdx: str) -> None:
    with pytest.raises(LicenceError, match=r"openmoji.*share-alike"):
        check_licence("openmoji", "1.0", INFO | {"license": {"spdx": spdx}})


@pytest.mark.parametrize("spdx", ["GPL-3.0", "CC-BY-NC-4.0", "proprietary"])
def test_unknown_licences_are_refused(spdx: str) -> None:
    with pytest.raises(LicenceError, match=spdx):
        check_licence("x", "1.0", INFO | {"license": {"spdx": spdx}})


@pytest.mark.parametrize("licence", [None, {}, {"title": "MIT"}, {"spdx": ""}])
def test_a_missing_licence_is_refused(licence: object) -> None:
    with pytest.raises(LicenceError, match="names no licence"):
        check_licence("x", "1.0", INFO | {"license": licence})


@pytest.mark.parametrize("author", [None, {}, {"url": "https://example.org"}])
def test_a_missing_author_is_refused(author: object) -> None:
    with pytest.raises(LicenceError, match="names no author"):
        check_licence("x", "1.0", INFO | {"author": author})


@pytest.mark.parametrize("spdx", ALLOWED)
def test_allowed_licences_are_recorded(spdx: str) -> None:
    licence = check_licence("noto", "1.2.9", INFO | {"license": {"spdx": spdx}})
    assert (licence.spdx, licence.author, licence.package, licence.version) == (spdx, "Google Inc", "noto", "1.2.9")


def test_attribution_names_every_author_and_licence() -> None:
    text = attribution([check_licence("noto", "1.2.9", INFO)])
    for word in (
        "Noto Emoji",
        "Google Inc",
        "Apache-2.0",
        "@iconify-json/noto",
        "1.2.9",
        "https://example.org/LICENSE",
    ):
        assert word in text


def test_style_names_and_words_are_unique() -> None:
    names = [s.name for s in SETS + EXTRA_SETS]
    words = [s.words for s in SETS]
    assert len(set(names)) == len(names)
    assert len(set(words)) == len(words) >= 8
    assert all(words)
