"""Which known name stands in for other words. Needs the `train` extra."""

import numpy as np
import pytest

pytest.importorskip("torch")

from salon.models.mini.recipe.text import LEAST, bare_names, nearest, nearest_share
from salon.models.mini.recipe.vocabulary import Concept

NAMES = np.array([[2, 0], [0, 0.5], [-1, 0]], np.float32)


def test_the_nearest_in_angle_or_none() -> None:
    words = np.array([[9, 1], [0.1, 5], [-1, -9], [0, 0]], np.float32)
    assert nearest(NAMES, words).tolist() == [0, 1, -1, -1]
    edge = np.array([[-np.sqrt(1 - (LEAST + 0.01) ** 2), -(LEAST + 0.01)]])
    assert nearest(NAMES[:1] * -1, edge.astype(np.float32)).tolist() == [0]


def test_names_are_found_among_the_forms_in_the_vocabularys_order() -> None:
    concepts = [Concept("dog", ("hound",), (), (), {}), Concept("cat", (), (), (), {})]
    assert bare_names(["cat", "a cat", "hound", "dog", "a dog"], concepts) == [3, 2, 0]


def test_the_share_counts_words_that_are_near_nothing_as_missed() -> None:
    table = {
        "subject_pooled": NAMES,
        "subject_concept": np.array([0, 1, 2]),
        "held_pooled": np.array([[1, 0], [1, 0], [0, -1], [-1, 0.1]], np.float32),
        "held_concept": np.array([0, 1, 1, 2]),
    }
    assert nearest_share(table, [0, 1, 2]) == 0.5
