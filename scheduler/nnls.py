"""Least squares with coefficients that cannot be negative, for the few unknowns of a cost model."""

from __future__ import annotations

from collections.abc import Sequence


def solve(matrix: Sequence[Sequence[float]], right: Sequence[float], chosen: Sequence[int]) -> list[float] | None:
    """Solve matrix u = right over the unknowns `chosen`, with 0 elsewhere; None if that part is not positive
    definite."""
    size = len(chosen)
    lower: list[list[float]] = []
    half: list[float] = []
    for i, row in enumerate(chosen):
        line: list[float] = []
        for j in range(i):
            other = lower[j]
            total = matrix[row][chosen[j]]
            for k in range(j):
                total -= line[k] * other[k]
            line.append(total / other[j])
        pivot = matrix[row][row]
        value = right[row]
        for k in range(i):
            pivot -= line[k] * line[k]
            value -= line[k] * half[k]
        if not pivot > 1e-14 * matrix[row][row]:
            return None
        pivot **= 0.5
        line.append(pivot)
        lower.append(line)
        half.append(value / pivot)
    answer = [0.0] * len(right)
    for i in range(size - 1, -1, -1):
        value = half[i]
        for k in range(i + 1, size):
            value -= lower[k][i] * answer[chosen[k]]
        answer[chosen[i]] = value / lower[i][i]
    return answer


def nnls(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Return the `u` >= 0 that minimises u'Mu/2 - r'u, M (`matrix`) symmetric and positive definite, r = `right`.

    Tries the sets of unknowns that may be above 0, largest first, and takes the best of the feasible answers; the one
    without any unknown at 0 is nearly always right and is found at the first try.
    """
    size = len(right)
    answer = solve(matrix, right, range(size))
    if answer is not None and min(answer) >= 0:
        return answer
    best = [0.0] * size
    best_value = 0.0
    for mask in range(1, 2**size - 1):
        chosen = [i for i in range(size) if mask >> i & 1]
        answer = solve(matrix, right, chosen)
        if answer is None or min(answer) < 0:
            continue
        value = -sum(right[i] * answer[i] for i in chosen)  # twice the objective at a stationary point
        if value < best_value:
            best, best_value = answer, value
    return best
