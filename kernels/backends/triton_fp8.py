"""Provide the triton backend with weights of linear layers in float8: faster, and other pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import Options
from . import triton as exact

if TYPE_CHECKING:
    from ..triton.table import TritonOps

HELP = "the same with products in FP8, where a layer stands it: other pixels"
EXTRA = "gpu"
CORES = False


def create(options: Options) -> TritonOps:
    """See `Backend`. Without torch and triton this raises ImportError."""
    return exact.create(options, float8=True)
