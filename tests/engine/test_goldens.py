"""Pictures of the shipped model, by their hashes: a change of bits that nobody meant is a failure. See goldens.py."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from salon.bench.facts import SHIPPED, digests
from salon.kernels.cpu import isa_levels

from . import goldens

KEPT = goldens.read()
OLD = "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-SSE4_1,-ERMS"


def test_they_are_of_the_model_that_ships() -> None:
    assert KEPT["model"] == digests(SHIPPED), f"other weights draw other pictures: run `{goldens.COMMAND}`"


def test_they_cover_what_a_spec_can_say() -> None:
    assert len(goldens.CASES) == 24
    for name in goldens.CASES["apple"]:
        if name not in ("embedded_guidance",):  # the model has none
            assert len({repr(case[name]) for case in goldens.CASES.values()}) > 1, f"{name} is the same in all"


@pytest.mark.parametrize(("isa", "dtype"), goldens.variants())
def test_every_picture_is_what_it_was(isa: str, dtype: str) -> None:
    want = KEPT["pictures"].get(f"{isa} {dtype}")
    assert want is not None, f"no hashes for {isa} {dtype} yet: run `{goldens.COMMAND}`"
    other = goldens.changed(want, goldens.draw(isa, dtype))
    assert not other, f"other pixels at {isa} {dtype}: {'; '.join(other)}. If that is meant: `{goldens.COMMAND}`"


def test_a_machine_with_older_libraries_draws_the_same() -> None:
    """Ruling 18: numpy and the C library choose other code on other CPUs; no pixel may depend on which."""
    internal: Any = pytest.importorskip("numpy._core._multiarray_umath")
    features = [name for name in internal.__cpu_dispatch__ if internal.__cpu_features__[name]]
    isa = isa_levels()[0]
    dtype = "bfloat16" if isa.endswith("bf16") else "float32"
    environment = {
        **os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(features), "GLIBC_TUNABLES": OLD,
        "OPENBLAS_CORETYPE": "Nehalem",
    }  # fmt: skip
    command = [sys.executable, goldens.__file__, "--show", isa, dtype]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert goldens.changed(KEPT["pictures"][f"{isa} {dtype}"], json.loads(done.stdout)) == []
