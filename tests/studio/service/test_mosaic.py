from __future__ import annotations

import numpy as np
import pytest

from salon.studio.service.mosaic import mosaic


@pytest.mark.parametrize(
    ("count", "size", "rows_columns"),
    [
        (1, (4, 4), (1, 1)),
        (2, (4, 4), (1, 2)),
        (3, (4, 4), (1, 3)),
        (4, (4, 4), (2, 2)),
        (5, (4, 4), (2, 3)),
        (6, (4, 4), (2, 3)),
        (7, (4, 4), (2, 4)),
        (8, (4, 4), (2, 4)),
        (2, (2, 6), (2, 1)),
        (4, (2, 28), (4, 1)),
        (4, (28, 2), (1, 4)),
    ],
)
def test_every_picture_has_its_cell_and_the_rest_is_black(
    count: int, size: tuple[int, int], rows_columns: tuple[int, int]
) -> None:
    height, width = size
    rows, columns = rows_columns
    rng = np.random.default_rng(count)
    pictures = rng.integers(1, 256, (count, height, width, 3), np.uint8)
    whole = mosaic(pictures)
    assert whole.shape == (rows * height, columns * width, 3)
    assert whole.dtype == np.uint8
    for cell in range(rows * columns):
        top, left = cell // columns * height, cell % columns * width
        part = whole[top : top + height, left : left + width]
        assert np.array_equal(part, pictures[cell] if cell < count else np.zeros_like(part))
