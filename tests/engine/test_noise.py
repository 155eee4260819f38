"""The noise source: a function of its key alone, normal, and the same to the last bit everywhere."""

import hashlib
import math

import numpy as np
import pytest

from salon.engine import noise

FIRST = [0.8208425045013428, 0.779655933380127, -2.5161666870117188, -1.07206392288208]
GOLDEN = "13a1500a86db2fc80a9107421336343f8bb1363ee9cd8046f097733b6e195616"


def test_bits_never_change() -> None:
    """A picture's seed must mean the same picture in every later version and on every machine."""
    x = noise.normal(seed=7, image=1, step=0, rows=64, width=32)
    assert hashlib.sha256(x.astype("<f4").tobytes()).hexdigest() == GOLDEN
    assert x[0, :4].tolist() == FIRST


@pytest.mark.parametrize("change", [{"seed": 8}, {"image": 2}, {"step": 1}])
def test_every_part_of_the_key_counts(change: dict[str, int]) -> None:
    key = {"seed": 7, "image": 1, "step": 0}
    x = noise.normal(**key, rows=16, width=8)
    y = noise.normal(**(key | change), rows=16, width=8)
    assert not np.isin(x, y).any()


def test_streams_of_neighbouring_keys_do_not_correlate() -> None:
    x = [noise.normal(seed, image, step, 1, 4096)[0] for seed in (0, 1) for image in (0, 1) for step in (0, 1)]
    correlation = np.corrcoef(np.stack(x)) - np.eye(8)
    assert np.abs(correlation).max() < 0.06


@pytest.mark.parametrize(("rows", "width"), [(0, 4), (1, 1), (3, 5), (4, 32)])
def test_a_longer_array_begins_with_the_shorter(rows: int, width: int) -> None:
    long = noise.normal(3, 0, 0, 40, 32).reshape(-1)
    short = noise.normal(3, 0, 0, rows, width)
    assert short.shape == (rows, width)
    assert short.dtype == np.float32
    np.testing.assert_array_equal(short.reshape(-1), long[: rows * width])


def test_is_standard_normal() -> None:
    x = np.sort(noise.normal(11, 0, 0, 1, 200_000)[0].astype(np.float64))
    assert np.isfinite(x).all()
    n = len(x)
    cdf = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    distance = max(np.max(np.arange(1, n + 1) / n - cdf), np.max(cdf - np.arange(n) / n))
    assert distance < 1.63 / math.sqrt(n)  # Kolmogorov-Smirnov at the 1 % level; the key is fixed, so no flicker
    assert abs(np.mean(x**4) - 3) < 0.05


@pytest.mark.parametrize("bad", [{"seed": -1}, {"seed": 2**64}, {"image": -1}, {"step": -1}, {"rows": -1}])
def test_out_of_range_is_an_error(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"got \[?(-1|18446744073709551616)"):
        noise.normal(**({"seed": 0, "image": 0, "step": 0, "rows": 2, "width": 2} | bad))


def test_largest_seed_works() -> None:
    assert np.isfinite(noise.normal(2**64 - 1, 0, 0, 4, 4)).all()
