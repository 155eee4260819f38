"""Names of profiles, and codes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from salon.bounds import CODE
from salon.studio.errors import TasteRefused
from salon.studio.taste.codes import code_of
from salon.studio.taste.names import Form, checked_name, new_id, read
from salon.studio.taste.pool import GROUP, MOST, group_of, orders, wanted

VECTOR = np.arange(4, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("abcdefghij234567", Form.CODE),
        ("p0123456789", Form.ID),
        ("m0123456789", Form.ID),
        ("@ann", Form.USER),
        ("ink", Form.NAME),
        ("abcdefghij234561", Form.NAME),  # 1 is in no code
        ("moonlight", Form.NAME),
    ],
)
def test_forms(text: str, form: Form) -> None:
    assert read(text).form is form


@pytest.mark.parametrize("kind", ["global", "profile", "moodboard", "tuner"])
def test_ids_are_of_their_form_and_no_names(kind: str) -> None:
    ids = {new_id(kind) for _ in range(50)}
    assert len(ids) == 50
    assert all(read(each).form is Form.ID for each in ids)
    assert all(each.startswith("m") == (kind == "moodboard") for each in ids)
    with pytest.raises(TasteRefused, match="looks like an id"):
        checked_name(ids.pop())


@pytest.mark.parametrize("name", ["", "two words", "@ann", "-x", "a" * 65, 7, None, "ä", "a\nb"])
def test_names_that_could_not_be_typed_again_are_refused(name: object) -> None:
    with pytest.raises(TasteRefused, match="name: got .*, allowed .*; choose another name"):
        checked_name(name)


def test_a_name_like_a_code_is_refused() -> None:
    with pytest.raises(TasteRefused, match="looks like a code"):
        checked_name("abcdefghij234567")


def test_codes_are_of_their_form_and_of_all_that_they_name() -> None:
    same = ("p1", 1, "model", 200, 210, VECTOR)
    code = code_of(*same)
    assert re.fullmatch(CODE, code)
    assert code_of(*same) == code
    for at, other in enumerate(("p2", 2, "other", 201, 211, VECTOR[::-1])):
        assert code_of(*(other if i == at else value for i, value in enumerate(same))) != code  # type: ignore[arg-type]


def test_a_known_code_stays() -> None:
    assert code_of("p0000000001", 1, "model", 200, 210, VECTOR) == "2qy355sitmdtbf7u"


def test_groups_are_one_thing_in_several_styles() -> None:
    made = orders(3, ("cat", "boat"))
    assert made == orders(3, ("cat", "boat"))
    assert len(made) == len({order.style for order in made}) == GROUP
    assert len({order.prompt for order in made}) == len({order.seed for order in made}) == 1
    assert [group_of(order.key) for order in made] == [3] * GROUP
    assert made[0].style != orders(4, ("cat", "boat"))[0].style
    assert group_of("k") is None


def test_who_answers_more_pairs_gets_more_groups() -> None:
    sizes = [wanted(answered) for answered in range(0, 1_000, 10)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == MOST
    for answered in range(0, 900, 10):
        assert wanted(answered) * GROUP * (GROUP - 1) // 2 > answered, "there is always a pair left"
