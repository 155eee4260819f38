"""The held-out pairs."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from salon.models.mini.recipe.split import held_pairs

PAIRS = [(f"c{i}", f"s{j}") for i in range(60) for j in range(2 + i % 6)]


def test_the_order_of_the_pairs_does_not_matter() -> None:
    assert held_pairs(PAIRS, 0.1, 3) == held_pairs(PAIRS[::-1] + PAIRS, 0.1, 3)


def test_another_seed_chooses_others() -> None:
    assert held_pairs(PAIRS, 0.1, 3) != held_pairs(PAIRS, 0.1, 4)


def test_share_is_met() -> None:
    assert len(held_pairs(PAIRS, 0.1, 3)) == round(0.1 * len(PAIRS))


@given(st.sets(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz"))), st.floats(0, 1), st.integers(0, 99))
def test_no_concept_loses_two_pairs_or_one_of_few(pairs: set[tuple[str, str]], share: float, seed: int) -> None:
    out = held_pairs(pairs, share, seed)
    sizes = Counter(c for c, _ in pairs)
    assert set(out) <= pairs
    assert all(n == 1 for n in Counter(c for c, _ in out).values())
    assert all(sizes[c] >= 3 for c, _ in out)
    assert len(out) <= round(share * len(pairs))


def test_taken_pairs_stay_out() -> None:
    first = frozenset(held_pairs(PAIRS, 0.1, 3))
    second = held_pairs(PAIRS, 0.05, 4, taken=first)
    assert second
    assert not first & set(second)
    assert not {c for c, _ in first} & {c for c, _ in second}  # enough other concepts are there
