"""What users say in a conversation, and what the rules make of it."""

from __future__ import annotations

import pytest

from salon.parameters.errors import PromptRefused
from salon.parameters.language.printing import printed
from salon.parameters.language.reading import parse_one
from salon.studio.chat import phrases
from salon.studio.chat.rules import rewrite
from salon.studio.chat.types import Rewrite, Scene

BASE = "a red apple, 3d, on teal --seed 7"


def said(sentence: str, prompt: str = BASE, *, pictures: int = 4, earlier: str = "") -> Rewrite:
    before = Scene(prompt=parse_one(earlier)) if earlier else None
    return rewrite(Scene(prompt=parse_one(prompt), job="j", pictures=pictures, earlier=before), sentence)


@pytest.mark.parametrize(
    ("sentence", "prompt"),
    [
        ("make it blue", "a blue apple, 3d, on teal --seed 7"),
        ("Please make it orange!", "an orange apple, 3d, on teal --seed 7"),
        ("paint it black", "a black apple, 3d, on teal --seed 7"),
        ("blue", "a blue apple, 3d, on teal --seed 7"),
        ("change the colour to green", "a green apple, 3d, on teal --seed 7"),
        ("bigger", "a big red apple, 3d, on teal --seed 7"),
        ("make it bigger and blue", "a big blue apple, 3d, on teal --seed 7"),
        ("make it more colourful", "a colourful red apple, 3d, on teal --seed 7"),
        ("darker", "a red apple, 3d, on teal, dark --seed 7"),
        ("make it a dog", "a dog, 3d, on teal --seed 7"),
        ("turn it into a dog", "a dog, 3d, on teal --seed 7"),
        ("turn the apple into a pear", "a pear, 3d, on teal --seed 7"),
        ("swap apple for pear", "a red pear, 3d, on teal --seed 7"),
        ("two pears instead of the apple", "two pears, 3d, on teal --seed 7"),
        ("make it a watercolor", "a red apple, watercolor, on teal --seed 7"),
        ("in pixel art", "a red apple, pixel art, on teal --seed 7"),
        ("make it look like a photo", "a red apple, photo, on teal --seed 7"),
        ("in the style of van gogh", "a red apple, 3d, on teal, in the style of van gogh --seed 7"),
        ("pink background", "a red apple, 3d, on pink --seed 7"),
        ("the background should be pink", "a red apple, 3d, on pink --seed 7"),
        ("make the background pink", "a red apple, 3d, on pink --seed 7"),
        ("add a hat", "a red apple with a hat, 3d, on teal --seed 7"),
        ("give it a hat", "a red apple with a hat, 3d, on teal --seed 7"),
        ("could you add a hat to it and make it blue?", "a blue apple with a hat, 3d, on teal --seed 7"),
        ("wearing a hat", "a red apple wearing a hat, 3d, on teal --seed 7"),
        ("without the tree", "a red apple, 3d, on teal --no tree --seed 7"),
        ("no 3d", "a red apple, on teal --seed 7"),
        ("at night", "a red apple, 3d, on teal, at night --seed 7"),
        ("make it night", "a red apple, 3d, on teal, at night --seed 7"),
        ("put it on the moon", "a red apple, 3d, on teal, on the moon --seed 7"),
        ("make it smaller, at night", "a small red apple, 3d, on teal, at night --seed 7"),
        ("wider", "a red apple, 3d, on teal --ar 4:3 --seed 7"),
        ("make it a bit taller", "a red apple, 3d, on teal --ar 3:4 --seed 7"),
        ("16:9", "a red apple, 3d, on teal --ar 16:9 --seed 7"),
        ("square", "a red apple, 3d, on teal --ar 1:1 --seed 7"),
        ("again", "a red apple, 3d, on teal"),
        ("just one", "a red apple, 3d, on teal --seed 7 --n 1"),
        ("three pictures", "a red apple, 3d, on teal --seed 7 --n 3"),
        ("draw a cat", "a cat"),
        ("--ar 2:1 --n 2", "a red apple, 3d, on teal --ar 2:1 --seed 7 --n 2"),
        ("make it taller --q 2", "a red apple, 3d, on teal --quality 2 --ar 3:4 --seed 7"),
    ],
)
def test_what_is_understood(sentence: str, prompt: str) -> None:
    found = said(sentence)
    assert (printed(found.prompt), found.notes, found.source) == (prompt, (), None)


@pytest.mark.parametrize(
    ("prompt", "sentence", "after"),
    [
        ("a cat with a hat and a bird, neon", "remove the hat", "a cat with a bird, neon"),
        ("a cat with a hat and a bird, neon", "without the bird", "a cat with a hat, neon"),
        ("a cat with a hat", "add a bird", "a cat with a hat and a bird"),
        ("a photo of a cat on a sofa", "make it white", "a photo of a white cat on a sofa"),
        ("a photo of a cat on a sofa", "make the sofa red", "a photo of a cat on a red sofa"),
        ("a photo of a cat on a sofa", "a dog instead of the cat", "a photo of a dog on a sofa"),
        ("a cat, at night, in winter", "in summer", "a cat, at night, in summer"),
        ("a cat, at night", "at dawn", "a cat, at dawn"),
        ("a cat --no hat, dog", "add a hat", "a cat with a hat --no dog"),
        ("a cat --no dog", "without a hat", "a cat --no dog, a hat"),
        ("a __colour__ cat:: a dog::0.5", "add a hat", "a __colour__ cat with a hat::1 a dog::0.5"),
        ("an old apple", "make it new", "a new old apple"),
        ("a cat --ar 16:9", "wider", "a cat --ar 2:1"),
        ("a cat --ar 16:9", "narrower", "a cat --ar 3:2"),
        ("a cat, blue background", "on a red background", "a cat, red background"),
    ],
)
def test_what_becomes_of_other_prompts(prompt: str, sentence: str, after: str) -> None:
    assert printed(said(sentence, prompt).prompt) == after


@pytest.mark.parametrize(
    ("sentence", "index"),
    [("more like the second", 1), ("2", 1), ("use number 3", 2), ("the last one", 3), ("I like the 1st", 0)],
)
def test_more_like_one_of_them(sentence: str, index: int) -> None:
    found = said(sentence, BASE + " --ar 2:1")
    assert found.source is not None
    assert (found.source.job, found.source.index, found.kind) == ("j", index, "vary")
    assert printed(found.prompt) == "a red apple, 3d, on teal"
    scene = Scene(prompt=found.prompt, source=found.source, job="k", pictures=4)
    assert rewrite(scene, "make it blue").source == found.source
    assert rewrite(scene, "again").source == found.source
    wide = rewrite(scene, "wider")
    assert (wide.source, wide.notes) == (
        None,
        ("a picture of another shape is drawn anew, and not from the one before",),
    )
    assert rewrite(scene, "draw a cat").source is None


@pytest.mark.parametrize(
    ("sentence", "note"),
    [
        ("a dragon flying", "not understood, so its words are added to the prompt: a dragon flying"),
        ("blue hat", "the prompt has no 'hat', so it is added: blue hat"),
        ("swap the pear with a plum", "the prompt has no 'pear', so it is only added: a plum"),
        ("remove the apple", "'apple' is what the picture shows, so it stays; say what to draw in its place"),
        ("number 9", "there is no picture 9 to go on from; the last turn has 4 pictures, so it is drawn again"),
        ("more like this", 'drawn again; to go on from one picture, say which: "more like the second"'),
        ("thanks!", "nothing was asked for, so it is drawn again"),
        ("undo", "there is nothing before this to go back to"),
    ],
)
def test_what_is_not_understood_is_told(sentence: str, note: str) -> None:
    assert said(sentence).notes == (note,)


def test_words_that_are_added_are_words_only() -> None:
    found = said("a {cat, dog} dancing: wow")
    assert parse_one(printed(found.prompt)).terms[0].text == "a red apple, 3d, on teal, a {cat, dog} dancing: wow"


def test_back_to_the_turn_before() -> None:
    assert printed(said("undo", earlier="a pear --seed 1").prompt) == "a pear --seed 1"


def test_parameters_that_cannot_be_read() -> None:
    with pytest.raises(PromptRefused, match="--n"):
        said("--n 99")


def test_any_sentence_takes_little_time() -> None:
    for sentence in ("and " * 250, "make it " * 125, "a " * 500, ", ".join(["blue"] * 160), "with a" * 160):
        assert printed(said(sentence[:1000]).prompt)


def test_articles() -> None:
    assert phrases.with_articles("a orange, an blue hour, A apple, a unicorn") == (
        "an orange, a blue hour, An apple, a unicorn"
    )
