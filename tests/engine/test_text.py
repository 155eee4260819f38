"""The text pipeline over a fake encoder: slots, statistics, truncation said aloud, the cache."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from salon.engine.errors import PromptError
from salon.engine.text.clauses import Slot, Vocabulary
from salon.engine.text.neighbours import Neighbours
from salon.engine.text.pipelines.clauses import ClausePipeline, TextStats

WIDTH = 5
SLOTS = [Slot("subject", 4), Slot("style", 3, "{} style"), Slot("background", 2, "{} background")]
VOCABULARY = Vocabulary({"style": {"3d": "3d render", "3d render": "3d render"}, "background": {"teal": "teal"}})
STATS = TextStats(*(np.random.default_rng(i).random(WIDTH).astype(np.float32) + np.float32(0.5) for i in range(4)))


class FakeEncoder:
    """Words of up to four letters are one token, longer ones more; states are a function of the clause."""

    def __init__(self) -> None:
        self.encoded: list[list[list[int]]] = []
        self.characters = 0  # read by `tokenize` so far

    def tokenize(self, text: str) -> list[int]:
        self.characters += len(text)
        return [
            sum(map(ord, word[i : i + 4])) for word in text.split() for i in range(0, len(word), 4) if word.isalnum()
        ]

    def encode(self, clauses: Sequence[Sequence[int]]) -> list[Any]:
        self.encoded.append([list(clause) for clause in clauses])
        return [np.random.default_rng(list(ids)).random((len(ids), WIDTH)).astype(np.float32) for ids in clauses]


def make(**options: Any) -> tuple[ClausePipeline, FakeEncoder]:
    encoder = FakeEncoder()
    settings: dict[str, Any] = {"max_chars": 100, "cache_size": 3}
    return ClausePipeline(encoder, SLOTS, VOCABULARY, STATS, **(settings | options)), encoder


def known(*names: str, least: float = -1.0) -> Neighbours:
    """Neighbours of the fake encoder's, at the names' own pooled vectors."""
    plain, _ = make()
    vectors = np.stack([plain.encode(name).pooled for name in names])
    return Neighbours(names, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), least)


def test_a_subject_that_is_known_stays_as_it_is() -> None:
    pipeline, encoder = make(neighbours=known("cat", "dog"))
    plain, _ = make()
    for prompt in ("dog", "a dog, teal", "The Dog"):
        assert np.array_equal(pipeline.encode(prompt).tokens, plain.encode(prompt).tokens)
        assert pipeline.encode(prompt).warnings == plain.encode(prompt).warnings
    assert all(len(clauses) < 3 for clauses in encoder.encoded)


def test_the_nearest_known_subject_stands_in_for_others_and_is_said() -> None:
    plain, _ = make()
    pipeline, _ = make(neighbours=known("cat", "dog", "fox"))
    vector = plain.encode("puppy").pooled

    def cosine(name: str) -> float:
        other = plain.encode(name).pooled
        return float(vector @ other / np.linalg.norm(other))

    name = max(("cat", "dog", "fox"), key=cosine)
    got, want = pipeline.encode("puppy, 3d, teal"), plain.encode(f"{name}, 3d, teal")
    assert np.array_equal(got.tokens, want.tokens)
    assert np.array_equal(got.pooled, want.pooled)
    assert got.clauses == want.clauses
    assert got.warnings[-1] == f"'puppy' is drawn as {name!r}, the nearest thing that the model knows"


def test_words_that_are_near_nothing_stay() -> None:
    pipeline, _ = make(neighbours=known("cat", least=1.0))
    plain, _ = make()
    assert np.array_equal(pipeline.encode("puppy").tokens, plain.encode("puppy").tokens)
    assert pipeline.encode("puppy").warnings == ()
    assert known("cat").nearest(np.zeros(WIDTH, np.float32)) is None


def test_rows_stand_in_their_slots() -> None:
    pipeline, encoder = make()
    encoding = pipeline.encode("a cat, teal background")
    assert encoding.clauses == {"subject": "a cat", "background": "teal"}
    assert encoding.warnings == (
        "the background 'teal background' has 4 tokens, and 2 fit: only 'teal' is used (shorten it)",
    )
    subject, background = encoder.encode(encoder.encoded[0])
    assert encoding.tokens.shape == (9, WIDTH)
    assert encoding.tokens.dtype == encoding.pooled.dtype == np.float32
    np.testing.assert_allclose(encoding.tokens[:2], (subject - STATS.token_mean) / STATS.token_std, rtol=1e-6)
    np.testing.assert_array_equal(encoding.tokens[2:7], 0)
    np.testing.assert_allclose(encoding.tokens[7:8], (background - STATS.token_mean) / STATS.token_std, rtol=1e-6)
    np.testing.assert_array_equal(encoding.tokens[8:], 0)
    np.testing.assert_allclose(encoding.pooled, (subject.mean(0) - STATS.pooled_mean) / STATS.pooled_std, rtol=1e-5)


def test_unconditional_is_zeros_of_the_same_shape() -> None:
    pipeline, _ = make()
    assert pipeline.unconditional.tokens.shape == pipeline.encode("a cat").tokens.shape
    assert not pipeline.unconditional.tokens.any()
    assert not pipeline.unconditional.pooled.any()


def test_a_long_subject_is_cut_at_a_word_and_said() -> None:
    pipeline, encoder = make()
    encoding = pipeline.encode("one two elephants sing")
    assert encoding.clauses["subject"] == "one two"
    assert [len(clause) for clause in encoder.encoded[0]] == [2]
    assert encoding.warnings == (
        "the subject 'one two elephants sing' has 6 tokens, and 4 fit: only 'one two' is used (shorten it)",
    )


def test_one_endless_word_is_cut_inside() -> None:
    pipeline, encoder = make()
    encoding = pipeline.encode("x" * 40)
    assert [len(clause) for clause in encoder.encoded[0]] == [4]
    assert len(encoding.warnings) == 1


@pytest.mark.parametrize("rest", ["", " and more"])
def test_what_is_read_of_an_endless_word_is_said(rest: str) -> None:
    """faults.md 4: a text without spaces that did not fit was said to be used whole, in the note and in the recipe."""
    word = "abcdefghijklmnopqrstuvwxyz"
    pipeline, encoder = make()
    encoding = pipeline.encode(word + rest)
    assert encoding.clauses["subject"] == word[:16]
    assert encoding.warnings[0].endswith(f"and 4 fit: only {word[:16]!r} is used (shorten it)")
    assert encoder.encoded[0] == [encoder.tokenize(word)[:4]]
    assert np.array_equal(pipeline.encode(word[:16]).tokens, encoding.tokens)


def test_the_name_of_a_neighbour_stays_in_its_slot() -> None:
    """One longer than the subject's slot was written on into the style's."""
    long = Neighbours(("one two ten six five ace",), np.full((1, WIDTH), WIDTH**-0.5, np.float32), -1.0)
    tokens = make(neighbours=long)[0].encode("puppy").tokens
    assert tokens[:4].all()
    assert not tokens[4:].any()


@pytest.mark.parametrize("odd", [0, 1, 3, 9, 50])
def test_as_many_words_are_kept_as_fit(odd: int) -> None:
    """Also where words without a token stand between them."""
    pipeline, encoder = make(max_chars=1000)
    words = ["one"] + ["'"] * odd + ["two", "ten", "six", "five"]
    assert pipeline.reader._words_that_fit(" ".join(words), 3) == " ".join(words[:-2])


def test_the_work_grows_with_the_length_of_a_prompt_alone() -> None:
    """Not with its square: words that do not fit are not read again for every one of them."""
    pipeline, encoder = make(max_chars=100_000)
    prompt = " ".join(["cat"] * 10_000)
    assert pipeline.encode(prompt).clauses["subject"] == "cat cat cat cat"
    assert encoder.characters < 10 * len(prompt)


def test_a_prompt_that_grows_when_normalised_is_bounded() -> None:
    pipeline, encoder = make()
    with pytest.raises(PromptError, match=r"got 900 characters once normalised, allowed 4 times 100 .*; shorten it"):
        pipeline.encode("\ufdfa" * 50)  # 18 characters each
    assert not encoder.characters
    assert pipeline.encode("a cat" + "\u2026" * 95).clauses["subject"] == "a cat", "an ellipsis is three dots"


@pytest.mark.parametrize("prompt", ["", "   ", ",.;", "\n"])
def test_no_words(prompt: str) -> None:
    with pytest.raises(PromptError, match="prompt: got .*, allowed some words"):
        make()[0].encode(prompt)


def test_no_tokens() -> None:
    with pytest.raises(PromptError, match="allowed letters or figures"):
        make()[0].encode("it's")


def test_too_long_names_the_limit() -> None:
    with pytest.raises(
        PromptError, match=r"got 59,999 characters, allowed 100 \(Limits.max_prompt_chars\); shorten it"
    ):
        make()[0].encode(" ".join(["hello"] * 10_000))
    assert make()[0].encode("a" + " cat" * 24).warnings, "97 characters are within the limit"


def test_the_cache_is_bounded_and_least_recently_used() -> None:
    pipeline, encoder = make()
    first = pipeline.encode("a")
    for prompt in ("b", "c", "a", "d"):
        pipeline.encode(prompt)
    calls = len(encoder.encoded)
    assert calls == 4
    assert pipeline.encode("a") is first
    assert len(encoder.encoded) == calls
    pipeline.encode("b")
    assert len(encoder.encoded) == calls + 1
    none, encoder = make(cache_size=0)
    none.encode("a")
    none.encode("a")
    assert len(encoder.encoded) == 2


def test_an_encoding_that_is_shared_is_read_only() -> None:
    pipeline, _ = make()
    for encoding in (pipeline.encode("a cat"), pipeline.unconditional):
        for array in (encoding.tokens, encoding.pooled):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
        with pytest.raises(TypeError):
            encoding.clauses["subject"] = "a dog"  # type: ignore[index]
