"""Held-out (concept, set) pairs: training never sees the concept in that style, though it sees both apart."""

import random
from collections import defaultdict
from collections.abc import Iterable

Pair = tuple[str, str]


def held_pairs(pairs: Iterable[Pair], share: float, seed: int, *, taken: frozenset[Pair] = frozenset()) -> list[Pair]:
    """Choose `share` of the pairs, at most one of a concept, never one of a concept with fewer than three pairs.

    Deterministic for the same pairs in any order. `taken` pairs (held out for another purpose) are left alone, and so
    are their concepts while enough others remain.
    """
    unique = sorted(set(pairs))
    by_concept: dict[str, list[Pair]] = defaultdict(list)
    for pair in unique:
        by_concept[pair[0]].append(pair)
    busy = {c for c, _ in taken}
    order = sorted(by_concept)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda c: c in busy)  # stable: busy concepts last
    wanted = round(share * len(unique))
    out: list[Pair] = []
    for concept in order:
        if len(out) >= wanted:
            break
        free = [p for p in by_concept[concept] if p not in taken]
        if len(free) >= 3:
            out.append(random.Random(f"{seed}:{concept}").choice(free))
    return sorted(out)
