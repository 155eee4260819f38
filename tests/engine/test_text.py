"""The text pipeline over a fake encoder: slots, statistics, truncation said aloud, the cache."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from salon.engine.clauses import Slot, Vocabulary
from salon.engine.errors import PromptError
from salon.engine.text import TextPipeline, TextStats

WIDTH = 5
SLOTS = [Slot("subject", 4), Slot("style", 3, "{} style"), Slot("background", 2, "{} background")]
VOCABULARY = Vocabulary({"style": {"3d": "3d render", "3d render": "3d render"}, "background": {"teal": "teal"}})
STATS = TextStats(*(np.random.default_rng(i).random(WIDTH).astype(np.float32) + np.float32(0.5) for i in range(4)))


class FakeEncoder:
    """Words of up to four letters are one token, longer ones more; states are a function of the clause."""

    def __init__(self) -> None:
        self.encoded: list[list[list[int]]] = []

    def tokenize(self, text: str) -> list[int]:
        return [
            sum(map(ord, word[i : i + 4])) for word in text.split() for i in range(0, len(word), 4) if word.isalnum()
        ]

    def encode(self, clauses: Sequence[Sequence[int]]) -> list[Any]:
        self.encoded.append([list(clause) for clause in clauses])
        return [np.random.default_rng(list(ids)).random((len(ids), WIDTH)).astype(np.float32) for ids in clauses]


def make(**options: int) -> tuple[TextPipeline, FakeEncoder]:
    encoder = FakeEncoder()
    return TextPipeline(encoder, SLOTS, VOCABULARY, STATS, **({"max_chars": 100, "cache_size": 3} | options)), encoder


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
