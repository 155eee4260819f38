"""The request value: what it refuses, and sizes for an aspect."""

import dataclasses
import math
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.engine.errors import PromptError, SpecError
from salon.engine.guidance import TextTerm
from salon.engine.limits import Limits
from salon.engine.spec import AdapterUse, GenerationSpec, size_for_aspect

BAD: list[Any] = [
    ("negative_prompt", None),
    ("width", 0),
    ("width", 128.0),
    ("height", -16),
    ("height", True),
    ("steps", 0),
    ("steps", 1001),
    ("seed", -1),
    ("seed", 2**64),
    ("images", 0),
    ("guidance_scale", math.nan),
    ("guidance_scale", math.inf),
    ("guidance_scale", -0.1),
    ("guidance_scale", "3"),
    ("embedded_guidance", math.nan),
    ("solver", "ddim"),
    ("shift", 0),
    ("shift", math.nan),
    ("adapters", [AdapterUse("x")]),
    ("adapters", ("x",)),
    ("adapters", (AdapterUse("x"), AdapterUse("x", 0.5))),
    ("negative_prompt", "a caf\udce9 racer"),
    pytest.param("width", 10**5000, id="width-huge"),
    ("width", np.float64(128)),
    ("images", np.True_),
    ("guidance_scale", 10**400),
    ("guidance_scale", np.float32(np.nan)),
    ("solver", ["euler"]),
    ("terms", [TextTerm("a dog")]),
    ("terms", ("a dog",)),
    ("terms", (TextTerm("a dog"),) * 257),
    ("prompt_weight", math.nan),
    ("prompt_weight", 101),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_bad_value_is_named(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"^{field}: got .*, allowed .*; ") as caught:
        GenerationSpec(prompt="a cat", **{field: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prompt", ["", "  \n", None, 3, "a caf\udce9 racer"])
def test_empty_prompt(prompt: Any) -> None:
    with pytest.raises(PromptError, match="prompt: got"):
        GenerationSpec(prompt=prompt)


@pytest.mark.parametrize("weight", [math.nan, math.inf, 11, -11, "1", None])
def test_bad_adapter_weight(weight: Any) -> None:
    with pytest.raises(SpecError, match="adapter weight: got"):
        AdapterUse("x", weight)


@pytest.mark.parametrize("name", ["", "caf\udce9", 3])
def test_bad_adapter_name(name: Any) -> None:
    with pytest.raises(SpecError, match="adapter: got "):
        AdapterUse(name)
    with pytest.raises(SpecError, match="adapter: got "):
        AdapterUse("x", 1.0, name)


class Word(str, Enum):  # noqa: UP042 - whose own text is "Word.APPLE"
    APPLE = "a red apple"


def test_text_is_what_it_is_and_not_what_its_class_writes() -> None:
    """faults.md 7's kind: of somebody's own class of text, what `str` of it says was drawn."""
    assert GenerationSpec(prompt=Word.APPLE).prompt == "a red apple"
    assert type(GenerationSpec(prompt=Word.APPLE).prompt) is str
    assert GenerationSpec(prompt="x", guidance_scale=Decimal("2.5")).guidance_scale == 2.5  # type: ignore[arg-type]


def test_numpys_numbers_and_text_become_pythons_own() -> None:
    """Specs are sent as msgpack, which knows no others."""
    spec = GenerationSpec(
        prompt=np.str_("a cat"),
        negative_prompt=np.str_("a dog"),
        width=np.int64(64),  # type: ignore[arg-type]
        height=np.uint8(32),  # type: ignore[arg-type]
        steps=np.array(3),  # type: ignore[arg-type]
        seed=np.uint64(2**64 - 1),  # type: ignore[arg-type]
        images=np.int8(2),  # type: ignore[arg-type]
        guidance_scale=np.float64(3),
        embedded_guidance=np.float32(3.5),  # type: ignore[arg-type]
        solver=np.str_("heun"),
        shift=np.int32(3),  # type: ignore[arg-type]
        adapters=(AdapterUse(np.str_("x"), np.float16(0.5), np.str_("null")),),  # type: ignore[arg-type]
    )
    assert spec == GenerationSpec(
        prompt="a cat",
        negative_prompt="a dog",
        width=64,
        height=32,
        steps=3,
        seed=2**64 - 1,
        images=2,
        guidance_scale=3.0,
        embedded_guidance=3.5,
        solver="heun",
        shift=3.0,
        adapters=(AdapterUse("x", 0.5, "null"),),
    )
    values = [getattr(spec, field.name) for field in dataclasses.fields(spec)]
    assert {type(value) for value in values} == {str, int, float, bool, tuple, type(None)}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=GenerationSpec) == spec


def test_is_a_value() -> None:
    spec = GenerationSpec(prompt="a cat", adapters=(AdapterUse("x", 0.5, "null"),), seed=2**64 - 1)
    assert spec == dataclasses.replace(spec)
    assert hash(spec) == hash(dataclasses.replace(spec))
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.seed = 3  # type: ignore[misc]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=GenerationSpec) == spec


@pytest.mark.parametrize("value", [-1, 1.5, True])
def test_bad_limits(value: Any) -> None:
    with pytest.raises(SpecError, match="Limits.max_rows: got"):
        Limits(max_rows=value)


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        ((1, 1), (128, 128)),
        ((16, 9), (176, 96)),
        ((9, 16), (96, 176)),
        ((2, 1), (192, 96)),
        ((14, 1), (480, 32)),
        ((1.5, 1), (160, 112)),
    ],
)
def test_sizes(aspect: tuple[float, float], size: tuple[int, int]) -> None:
    assert size_for_aspect(*aspect, pixels=128 * 128, granularity=16) == size


BAD_ASPECTS: list[Any] = [
    *((0, 1), (1, 0), (1, 100), (100, 1), (-1, 1), (math.nan, 1), (math.inf, 1), (True, 1), (14.01, 1), ("16", 9)),
    pytest.param((10**400, 1), id="beyond-floats"),
    pytest.param((1, 10**5000), id="beyond-writing"),
]


@pytest.mark.parametrize("aspect", BAD_ASPECTS)
def test_bad_aspects(aspect: tuple[float, float]) -> None:
    with pytest.raises(SpecError, match="aspect: got .*allowed"):
        size_for_aspect(*aspect, pixels=128 * 128, granularity=16)


@given(st.floats(1 / 14, 14), st.sampled_from([128**2, 512**2, 1024**2]), st.sampled_from([8, 16, 32]))
def test_size_keeps_area_and_granularity(ratio: float, pixels: int, granularity: int) -> None:
    width, height = size_for_aspect(ratio, 1, pixels=pixels, granularity=granularity)
    assert width % granularity == 0 == height % granularity
    coarse = granularity / math.sqrt(pixels / max(ratio, 1 / ratio))
    assert abs(math.log(width * height / pixels)) < coarse
    assert abs(math.log(width / height / ratio)) < 1.5 * coarse


@pytest.mark.parametrize("aspect", [(14, 1), (3, 2), (16, 9), (2, 1), (5, 4)])
def test_a_transposed_aspect_is_a_transposed_size(aspect):
    width, height = size_for_aspect(*aspect, pixels=128 * 128, granularity=16)
    assert size_for_aspect(*reversed(aspect), pixels=128 * 128, granularity=16) == (height, width)
