"""Pictures that a model looks at while it draws: sizes, what is refused, rows and bits. Tests of families compare them
with diffusers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from salon.engine.admission import Admission
from salon.engine.config import Config
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, LimitError, SpecError
from salon.engine.families import flux, flux2
from salon.engine.generation import ParkedGeneration
from salon.engine.reference_rule import ReferenceRule, read_rule
from salon.engine.references import ReferenceUse
from salon.engine.spec import GenerationSpec
from salon.engine.start import PictureForm, PictureUse
from salon.parameters.job_request import JobRequest, Source
from salon.parameters.known import parameters
from salon.scheduler.tickets import Lane
from salon.studio.kinds import Asked, Input, kind_of, named
from salon.studio.pricing import work_of
from salon.studio.references import ReferencePicture
from salon.studio.scheduling.tickets import ticket_of

from .conftest import SALON, write_tiny

AREA = {"most": 2, "area": 256, "least": 4, "aspect": 8}
KONTEXT = ReferenceRule(most=1, sizes=flux.KONTEXT_SIZES)
FLUX2 = ReferenceRule(**flux2.LOOKS_AT)
PICTURES = ("a" * 64, "b" * 64)


def write_looking(folder: Path, rule: dict[str, Any]) -> Path:
    """Write the tiny checkpoint as one that looks at pictures."""
    write_tiny(folder)
    (folder / "salon.json").write_text(json.dumps(SALON | {"references": rule}))
    return folder


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.load(write_looking(tmp_path_factory.mktemp("looking"), AREA), threads=1)


def add(engine: Engine, *uses: ReferenceUse) -> tuple[ReferenceUse, ...]:
    """Add random pictures, which follow from digest and size."""
    for use in uses:
        random = np.random.default_rng([int(use.picture[:4], 16), use.width, use.height])
        engine.add_picture(use.form, random.integers(0, 256, (use.height, use.width, 3)).astype(np.uint8))
    return uses


def draw(engine: Engine, *specs: GenerationSpec, park: bool = False) -> list[Any]:
    """Draw specs together; with `park`, all are parked and resumed behind the first step."""
    opened = [engine.open(spec) for spec in specs]
    if park:
        engine.step(opened)
        parked = [engine.park(generation).to_bytes() for generation in opened]
        opened = [engine.resume(ParkedGeneration.from_bytes(data)) for data in parked]
    while running := [generation for generation in opened if generation.state == "running"]:
        engine.step(running)
    made = [engine.finish(generation) for generation in opened]
    for generation in opened:
        engine.close(generation)
    return made


def test_pictures_are_the_same_alone_in_a_batch_and_parked(looking: Engine) -> None:
    one, two = add(looking, ReferenceUse(PICTURES[0], 16, 8), ReferenceUse(PICTURES[1], 8, 12))
    base: dict[str, Any] = {"width": 16, "height": 16, "steps": 3, "seed": 1}
    specs = [
        looking.make_spec("cat", references=(one, two), images=2, guidance_scale=3.0, **base),
        looking.make_spec("cat", **base),
        looking.make_spec("cat", references=(one,), **base),
        looking.make_spec("house", references=(two,), tile=True, **base | {"width": 24}),
        looking.make_spec("house", references=(two, one), **base | {"steps": 2}),
        looking.make_spec(
            "cat",
            references=(two,),
            progressive=50.0,
            guidance_interval=(0.3, 1.0),
            guidance_scale=3.0,
            **base | {"steps": 4},
        ),
    ]
    alone = [draw(looking, spec)[0] for spec in specs]
    for made in (draw(looking, *specs), draw(looking, *reversed(specs))[::-1], draw(looking, *specs, park=True)):
        for got, want in zip(made, alone, strict=True):
            np.testing.assert_array_equal(got, want)
    assert not np.array_equal(alone[1], alone[2])
    swapped = draw(looking, replace(specs[4], references=(one, two)))[0]  # which comes first makes a difference
    assert not np.array_equal(swapped, alone[4])
    assert looking.start_pictures.pinned == {}


def test_rows_of_references_count(looking: Engine) -> None:
    info, uses = looking.info, add(looking, ReferenceUse(PICTURES[0], 16, 8), ReferenceUse(PICTURES[1], 8, 12))
    plain = looking.make_spec("cat", width=16, height=16, images=2, guidance_scale=3.0)
    spec = replace(plain, references=uses)
    generation = looking.open(spec)
    assert generation.image_rows == 2 * 2 * (16 + 8 + 6)
    assert looking.step_bytes([generation]) > looking.step_bytes([bare := looking.open(plain)])
    said: dict[str, Any] = {"job": "j", "account": "a", "lane": Lane.FAST, "max_running": 4, "adapters": {}}
    ticket, without = (ticket_of(info, each, **said).stages[1].shape for each in (spec, plain))
    rows = [one.text_rows + one.image_rows for one in (generation, bare)]
    assert ticket is not None
    assert without is not None
    assert [ticket.rows, without.rows] == rows
    assert ticket.squares > without.squares
    assert (work_of(info, spec).omni, work_of(info, plain).omni) == (True, False)
    for each in (generation, bare):
        looking.close(each)
    most = replace(looking.limits, max_rows=rows[0] - 1)
    with pytest.raises(LimitError, match=f"step: got {rows[0]} rows"):
        ticket_of(msgspec.structs.replace(info, limits=most), spec, **said)


@pytest.mark.parametrize(
    ("rule", "size", "seen"),
    [
        (KONTEXT, (3000, 2000), (1248, 832)),
        (KONTEXT, (50, 50), (1024, 1024)),
        (KONTEXT, (1000, 4000), (672, 1568)),
        (FLUX2, (1000, 700), (992, 688)),
        (FLUX2, (64, 64), (64, 64)),
        (FLUX2, (4000, 3000), (1168, 880)),
    ],
)
def test_sizes_at_which_pictures_are_seen(rule: ReferenceRule, size: tuple[int, int], seen: tuple[int, int]) -> None:
    assert rule.size_of(*size, 16) == seen


def test_files_become_pixels_as_the_pipelines_make_them(looking: Engine) -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (30, 45, 3)).astype(np.uint8)
    picture = ReferencePicture("", Image.fromarray(rgb))
    info = looking.info
    exact = picture.fit(PictureForm("", PictureUse.REFERENCE, (44, 28)), info)  # its edges are left out
    np.testing.assert_array_equal(exact, rgb[1:29, :44])
    whole = picture.fit(PictureForm("", PictureUse.REFERENCE, (16, 16), whole=True), info)
    np.testing.assert_array_equal(whole, np.asarray(Image.fromarray(rgb).resize((16, 16), Image.Resampling.LANCZOS)))
    smaller = picture.fit(PictureForm("", PictureUse.REFERENCE, (16, 8)), info)
    assert smaller.shape == (8, 16, 3)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"omni_reference": [(PICTURES[0], 40, 3)]}, "--oref: got a picture of 40 x 3 pixels, allowed sides from 4"),
        (
            {"omni_reference": [(PICTURES[0], 40, 4)]},
            "--oref: got a picture of 40 x 4 pixels, allowed sides of at most 8",
        ),
        (
            {"omni_reference": [(c * 64, 8, 8) for c in "abc"]},
            "--oref: got 3 pictures, allowed up to 2 with this model",
        ),
        ({"omni_reference": PICTURES[0]}, f"omni reference: got picture {PICTURES[0]}, which is not here"),
        ({"omni_reference": ["cat.png"]}, "omni reference: got 'cat.png', allowed 64 hex digits"),
        ({"omni_reference": [(PICTURES[0], 8, 8)] * 2}, "references: got a picture twice"),
        ({"omni_reference": [(PICTURES[0], 8, 8)], "omni_weight": 50}, "--ow: got 50, allowed 100, or 0 for none"),
        ({"omni_weight": 100}, "--ow: got 100, allowed nothing without an omni reference"),
        ({"references": (ReferenceUse(PICTURES[0], 8, 8),), "inquiry": "shorten"}, "references: got some with shorten"),
        (
            {"references": (ReferenceUse(PICTURES[0], 6, 8),)},
            "omni reference: got 6 x 8 pixels, allowed sides that are",
        ),
        ({"references": tuple(ReferenceUse(c * 64, 8, 8) for c in "abc")}, "--oref: got 3 pictures"),
        ({"references": (ReferenceUse("c" * 64, 8, 8),)}, f"omni reference: got picture {'c' * 64} at 8 x 8, which"),
    ],
)
def test_what_is_refused(looking: Engine, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as caught:
        looking.open(looking.make_spec("cat", width=16, height=16, **fields))
    assert told in str(caught.value)
    assert looking.num_open == 0


def test_weight_0_looks_at_nothing(looking: Engine) -> None:
    given: dict[str, Any] = {"omni_reference": [(PICTURES[0], 8, 8)]}
    assert looking.make_spec("cat", seed=0, omni_weight=0, **given) == looking.make_spec("cat", seed=0)
    assert looking.make_spec("cat", omni_weight=100, **given).references == (ReferenceUse(PICTURES[0], 8, 8),)


def test_a_model_that_was_not_trained_for_it_refuses_and_names_those_that_were(
    tiny_model: Path, tmp_path: Path
) -> None:
    engine = Engine.load(tiny_model, threads=1)
    assert engine.info.architecture.references is None
    told = "--oref: got it with another model, allowed models that .* look at pictures: FLUX.1 Kontext, FLUX.2"
    with pytest.raises(SpecError, match=told):
        engine.make_spec("cat", omni_reference=[(PICTURES[0], 8, 8)])
    with pytest.raises(SpecError, match=told):
        engine.open(engine.make_spec("cat", references=(ReferenceUse(PICTURES[0], 8, 8),)))
    for wrong in ({"most": 1}, {"area": 9, "sizes": [[8, 8]]}, {"sizes": [[8]]}, {"most": 99, "area": 9}, {"x": 1}):
        with pytest.raises(CheckpointError, match=r"salon\.json"):
            read_rule(Config(tmp_path / "salon.json", {"references": wrong}))


# ---- models that draw nothing without a reference, or without a mask -------------------------------------------------

PHOTO = "c" * 64
MUST = ReferenceRule(most=2, area=256, least=4, aspect=8, fewest=1)
KINDS: dict[str, dict[str, Any]] = {
    "upscale": {}, "vary": {}, "zoom": {}, "pan": {}, "retexture": {}, "edit": {"aspect": (2, 1)},
    "region": {"mask": PICTURES[0]}, "blend": {}, "reroll": {},
}  # fmt: skip


def asked_of(kind: str, info: Any, spec: GenerationSpec | None = None) -> GenerationSpec:
    """The spec of a kind of job, of a picture that was drawn by a spec; None: nobody knows how."""
    sources = [PHOTO, PICTURES[1]][: 2 if kind == "blend" else 1]
    inputs = tuple(Input(source=Source(digest=each), digest=each, width=16, height=16, spec=spec) for each in sources)
    request = JobRequest(
        key="k", prompt="" if kind == "blend" else "cat", kind=kind, sources=tuple(each.source for each in inputs),
        parameters=KINDS[kind],
    )  # fmt: skip
    return kind_of(request).spec(Asked(request=request, lane=Lane.FAST, inputs=inputs), info)


def changed(info: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(info, architecture=msgspec.structs.replace(info.architecture, **fields))


@pytest.mark.parametrize("kind", ["upscale", "vary", "zoom", "pan", "retexture", "edit", "region"])
def test_what_such_a_model_makes_of_a_photo_it_makes_beside_the_photo(looking: Engine, kind: str) -> None:
    """`salon upscale photo.png "a cat"` has no `--oref`, and needs none."""
    info = changed(looking.info, references=MUST)
    spec = asked_of(kind, info)
    assert [use.picture for use in spec.references] == [PHOTO]
    Admission(info.architecture, info.memory, info.limits).check_spec(spec, 0)
    beside = info.make_spec("dog", seed=1, width=16, height=16, omni_reference=[(PICTURES[0], 8, 8)])
    assert asked_of(kind, info, beside).references == beside.references, "as it was drawn"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("needs", ["references", "fills", "takes none"])
def test_a_refusal_names_flags_of_the_command_at_hand(looking: Engine, kind: str, needs: str) -> None:
    """Or a whole command."""
    info, spec = looking.info, looking.make_spec("dog", seed=1, width=16, height=16)
    if needs == "references":
        info = changed(info, references=MUST)
    elif needs == "fills":
        info = changed(info, fills=True)
    else:
        spec = replace(spec, references=(ReferenceUse(PICTURES[0], 8, 8),))
        info = changed(info, references=None)
    try:
        made = asked_of(kind, info, spec)
        Admission(info.architecture, info.memory, info.limits).check_spec(made, 0)
    except SpecError as error:
        said, takes = str(error).partition(": salon imagine ")[0], named(kind).PARAMETERS
        assert "use the model that drew it" in said or needs != "takes none"
        flags = {flag: each for each in parameters().values() for flag in each.all_flags}
        for each in (flags[flag] for flag in re.findall(r"--[a-z-]+", said)):
            assert not each.job_kinds or kind in each.job_kinds, said
            assert takes is None or each.name in takes, said
    else:
        assert needs != "takes none" or kind in ("upscale", "blend"), "which need no reference"
