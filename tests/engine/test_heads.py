"""Which words of a phrase name its thing, by a small table of nouns."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.engine.text.clauses import normalise
from salon.engine.text.heads import head_of
from salon.engine.text.nouns import Nouns
from salon.engine.text.subjects import NotDrawn, avoided_of, subject_of

NAMES = (
    "cat|dog|red apple|apple|house|bowl of soup|bow and arrow|smiling face with sunglasses|glasses|framed picture|"
    "painting|blueberries|axe|knife|key|teddy bear|bear|hot dog|airplane"
)
NOUNS = Nouns(
    names=frozenset(NAMES.split("|")),
    drawn={"puppy": "dog", "kitten": "cat", "jet": "airplane", "berry": "blueberries"},
    without={
        "lighthouse": ("house",),
        "woman": (),
        "hat": (),
        "dog house": (),
        "cliff": (),
        "jump": (),
        "black bear": (),
        "little black bear": (),
        "wild dog house": (),
        "red hat": ("cat",),
    },
)


@pytest.mark.parametrize(
    ("phrase", "noun", "left_out"),
    [
        ("a cat", "cat", ()),
        ("an old lighthouse in the fog", "lighthouse", ("old", "in the fog")),
        ("a lighthouse on a cliff", "lighthouse", ("on a cliff",)),
        ("a puppy wearing a hat", "puppy", ("wearing a hat",)),
        ("a puppy dressed as a cat", "puppy", ("dressed as a cat",)),
        ("two red apples on a wooden table", "red apple", ("two", "on a wooden table")),
        ("apples", "apple", ()),
        ("a photo of two cats", "cat", ("photo of two",)),
        ("a close up of a pair of kittens", "kitten", ("close up of a pair of",)),
        ("a steaming bowl of soup in the kitchen", "bowl of soup", ("steaming", "in the kitchen")),
        ("a bow and arrow", "bow and arrow", ()),
        ("a cat and a dog", "cat", ("and a dog",)),
        ("a dog house", "dog house", ()),
        ("a house for a dog", "house", ("for a dog",)),
        ("a smiling face with sunglasses", "smiling face with sunglasses", ()),
        ("a sleeping cat", "cat", ("sleeping",)),
        ("a cat sleeping on a bear", "cat", ("sleeping on a bear",)),
        ("a painting", "painting", ()),
        ("a painting of a woman", "woman", ("painting of",)),
        ("apple 7", "apple", ("7",)),
        ("cat's eyes", "cat", ("s eyes",)),
        ("a black bear", "bear", ("black",)),
        ("two little black bears in the fog", "bear", ("two little black", "in the fog")),
        ("an angry black bear", "bear", ("angry black",)),
        ("axes", "axe", ()),
        ("knives", "knife", ()),
        ("berries", "berry", ()),
        ("a picture of", "picture", None),
        ("quartz", "", None),
        ("un gato negro", "", None),
        ("猫", "", None),
        ("not a cat", "", None),
        ("without a dog", "", None),
        ("", "", None),
    ],
)
def test_the_head_noun(phrase: str, noun: str, left_out: Sequence[str] | None) -> None:
    head = head_of(phrase, NOUNS)
    if left_out is None:
        assert head is None
    else:
        assert head is not None
        assert (head.match.noun, head.left_out) == (noun, left_out)


@pytest.mark.parametrize(
    ("clauses", "text", "said"),
    [
        (["a cat"], "a cat", ()),
        (["the red apple"], "the red apple", ()),
        (["apples"], "apple", ("'apples' is drawn as 'apple'",)),
        (["a puppy"], "dog", ("'a puppy' is drawn as 'dog', the nearest thing that the model knows",)),
        (
            ["an old puppy in a hat"],
            "dog",
            (
                "'an old puppy in a hat' is drawn as 'dog', the nearest thing that the model knows; left out: 'old', "
                "'in a hat'",
            ),
        ),
        (
            ["a cat", "oil painting"],
            "a cat",
            (
                "'oil painting' is left out: the model draws one thing, and has no style, palette, background or "
                "finish of this name",
            ),
        ),
        (
            ["masterpiece", "best quality", "red apple"],
            "red apple",
            (
                "'masterpiece', 'best quality' are left out: the model draws one thing, and has no style, palette, "
                "background or finish of these names",
            ),
        ),
    ],
)
def test_the_subject_of_clauses(clauses: list[str], text: str, said: tuple[str, ...]) -> None:
    subject = subject_of(clauses, NOUNS)
    assert (subject.text, subject.warnings) == (text, said)


@pytest.mark.parametrize("clauses", [["oil painting", "a cat"], ["a cat", "oil painting"], ["photo", "a cat"]])
def test_how_a_thing_is_shown_is_not_the_thing(clauses: list[str]) -> None:
    """faults.md 25: "a cat, oil painting" drew a painting."""
    assert subject_of(clauses, NOUNS).text == "a cat"
    assert subject_of(["oil painting"], NOUNS).text == "painting", "alone it is one"


@pytest.mark.parametrize(
    ("clauses", "noun", "near"),
    [
        (["a lighthouse on a cliff"], "lighthouse", ("house",)),
        (["a dog house"], "dog house", ("house",)),
        (["a wild dog house"], "wild dog house", ("house",)),
        (["a red hat"], "red hat", ("cat",)),
        (["a woman", "a cat"], "woman", ()),
        (["a woman with a cat"], "woman", ()),
        (["a teddy baer"], "", ("teddy bear",)),
        (["a kiten"], "", ("cat",)),
        (["best quality"], "", ()),
        (["un gato negro"], "", ()),
    ],
)
def test_what_cannot_be_drawn_is_refused(clauses: list[str], noun: str, near: tuple[str, ...]) -> None:
    with pytest.raises(NotDrawn) as refused:
        subject_of(clauses, NOUNS)
    assert refused.value.noun == noun
    assert set(near) <= set(refused.value.near) or not noun


def test_what_is_avoided_need_not_be_drawn() -> None:
    assert avoided_of(["a puppy"], NOUNS).text == "dog"
    avoided = avoided_of(["people", "blurry"], NOUNS)
    assert avoided.text == ""
    assert avoided.warnings == tuple(
        f"{word!r} is left out: the model draws no such thing" for word in ("people", "blurry")
    )


SAMPLE = "a an two old cat puppy of photo in and bow arrow wearing painting woman hats 7 — 猫"
WORDS = st.sampled_from(SAMPLE.split())


@given(st.lists(WORDS, max_size=30).map(" ".join))
def test_every_word_is_drawn_or_named(text: str) -> None:
    phrase = normalise(text)
    head = head_of(phrase, NOUNS)
    if head is None:
        return
    said = " ".join((head.before, *head.match.noun.split(), head.behind)).split()
    for word in phrase.split():
        assert word in said or word in ("a", "an", "—", "puppies", "hats"), word


@given(st.text(max_size=300))
def test_any_phrase_has_a_head_or_none(text: str) -> None:
    head = head_of(normalise(text), NOUNS)
    assert head is None or head.match.noun


def test_a_long_phrase_takes_time_with_its_length_alone() -> None:
    phrase = "photo of " * 5000 + "cat"
    head = head_of(phrase, NOUNS)
    assert head is not None
    assert head.match.name == "cat"


def test_a_name_that_says_no_is_a_name() -> None:
    signs = Nouns(names=frozenset(("cat", "no entry")), drawn={}, without={})
    found = head_of("a no entry", signs)
    assert found is not None
    assert found.match.name == "no entry"
    assert head_of("no cats", signs) is None
