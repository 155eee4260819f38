"""The grid benchmark's job, made of the model that ships."""

import numpy as np
import pytest

pytest.importorskip("transformers", reason="the rivals' text is encoded with transformers (extra: peers)")

from salon.bench.facts import SHIPPED, Facts
from salon.bench.job import PROMPT, make
from salon.bench.peers.base import Job
from salon.engine.codecs.packed_kl import PackedKl
from salon.engine.engine import Engine
from salon.engine.families.flux import Flux
from salon.engine.text.pipelines.clauses import ClausePipeline


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Job:
    path = tmp_path_factory.mktemp("job") / "job.npz"
    make(Facts.of(SHIPPED)).save(path)  # by itself, as a process, it runs in test_grid.py
    return Job.load(path)


def test_the_job_is_what_the_engine_makes_of_its_prompt(made: Job) -> None:
    """house, drift 1: KeyError 'finish'. The clauses were a table of bench.job's, and the weights had got a slot more;
    guidance, steps and the like were written down there too, and differed from the model's own."""
    engine = Engine.load(threads=1)
    spec = engine.make_spec(PROMPT, seed=0, images=2)
    generation = engine.open(spec)
    assert engine.model.text is not None
    want = engine.model.text.encode(PROMPT)
    assert made.tokens.shape == want.tokens.shape
    assert np.abs(made.tokens - want.tokens).max() < 0.15  # transformers in float32, against the engine's own dtype
    assert np.abs(made.pooled - want.pooled).max() < 0.15
    assert (made.width, made.height, made.steps) == (spec.width, spec.height, spec.steps)
    assert made.guidance == spec.guidance_scale
    assert [e.sigma for e in generation.evaluations] == pytest.approx(made.sigmas[:-1].tolist())
    noise = engine.ops.numpy(generation.latents).reshape(2, -1, engine.model.architecture.token_channels)
    np.testing.assert_array_equal(made.noise[:2], noise)
    engine.close(generation)


def test_facts_are_those_of_the_loaded_model() -> None:
    engine, facts = Engine.load(threads=1), Facts.of(SHIPPED)
    denoiser = engine.model.denoiser
    assert isinstance(denoiser, Flux)
    assert isinstance(denoiser.codec, PackedKl)
    assert (facts.flux, facts.autoencoder) == (denoiser.config, denoiser.codec.config)
    assert facts.sigmas == engine.model.sigmas
    assert facts.granularity == engine.model.architecture.granularity
    assert facts.defaults == engine.model.defaults
    generation = engine.open(engine.make_spec(PROMPT))
    assert facts.rows * facts.samples == engine.step_rows([generation])
    pipeline = engine.model.text
    assert isinstance(pipeline, ClausePipeline)
    count = lambda text: len(pipeline.encoder.tokenize(text))  # noqa: E731
    assert facts.clauses(PROMPT, count) == dict(pipeline.encode(PROMPT).clauses)
