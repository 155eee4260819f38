"""The operations of a step, of which benchmarks report the share of the machine's peak."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from salon.bench.families import flux
from salon.bench.families.blocks import operations
from salon.bench.flux_width import CHANNELS, POOLED_WIDTH, TEXT_WIDTH, TINY


def test_operations_are_those_of_products_convolutions_and_attention() -> None:
    query, key = torch.ones(2, 4, 5, 8), torch.ones(2, 4, 7, 8)
    picture, kernel = torch.ones(1, 3, 6, 6), torch.ones(10, 3, 3, 3)

    def call() -> None:
        torch.nn.functional.linear(torch.ones(5, 8), torch.ones(16, 8))
        torch.nn.functional.scaled_dot_product_attention(query, key, key)
        torch.nn.functional.conv2d(picture, kernel, padding=1)

    assert operations(call) == 2e-9 * (5 * 8 * 16 + 2 * 4 * 5 * 7 * (8 + 8) + 36 * 10 * 27)


def test_a_flux_block_has_the_operations_of_its_formula(tmp_path: Path) -> None:
    with torch.no_grad():
        made = flux.blocks(tmp_path, 1, 64, True, False)
    image, text, width = made.rows - TINY.text_rows, TINY.text_rows, TINY.width
    inputs = width * (image * CHANNELS + text * TEXT_WIDTH + POOLED_WIDTH + 256 + 2 * width)  # and 256 numbers of time
    modulation, output = (2 * 6 + 3 + 2) * width**2, image * width * CHANNELS
    assert np.isclose(made.gflop, TINY.gflop(image) + 2e-9 * (inputs + modulation + output), rtol=1e-9)
