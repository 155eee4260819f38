"""The candidates' processes, with a candidate that is only numpy arithmetic."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from salon.bench.fleet import Candidate, CandidateFailed
from salon.bench.peers.base import Job, Peer, image_ids, to_pixels, unpack_latents

FAKE = '''
import os, time
import numpy as np
from salon.bench.peers.base import Peer


class Fake(Peer):
    name, precision, setup = "fake", "fp32", ""

    def load(self):
        print("a library that prints to stdout")
        os.write(1, b"and one that writes to the descriptor\\n")

    def condition(self, tokens, pooled):
        self.tokens = tokens

    def velocity(self, x, sigma):
        v = np.ones_like(x)
        v[: len(x) // 2] *= 2  # conditional
        return v

    def decode_latents(self, z):
        return np.repeat(np.repeat(z[:, :3], 8, axis=2), 8, axis=3)


class Broken(Fake):
    def load(self):
        raise RuntimeError("no such kernel\\nsecond line")


class Dying(Fake):
    def load(self):
        os._exit(7)


class Stuck(Fake):
    def load(self):
        time.sleep(60)
'''


def job(images: int = 4) -> Job:
    rng = np.random.default_rng(1)
    return Job(
        tokens=rng.standard_normal((3, 8), np.float32),
        pooled=rng.standard_normal(8, np.float32),
        noise=rng.standard_normal((images, 8, 12), np.float32),
        sigmas=np.linspace(1, 0, 6).astype(np.float32),
        guidance=3.0,
        latent_scale=0.5,
        latent_shift=0.25,
        height=32,
        width=64,
        prompt="a prompt",
    )


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A factory of candidates whose classes are those of FAKE."""
    (tmp_path / "rivals").mkdir()
    (tmp_path / "rivals" / "fake.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    job().save(tmp_path / "job.npz")
    made: list[Candidate] = []

    def make(name: str) -> Candidate:
        made.append(Candidate(f"rivals.fake:{name}", Peer, tmp_path, tmp_path / "cache", tmp_path / "job.npz", 2))
        return made[-1]

    yield make
    for candidate in made:
        candidate.stop()


def test_a_candidate_answers_every_command(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    candidate = start("Fake")
    candidate.start()
    cold = candidate.ask("cold", images=2, save=str(tmp_path / "out.npz"), timeout=30)
    assert candidate.started_at < cold["first_step_at"] <= cold["image_at"] < time.monotonic()
    assert cold["peak_rss_mib"] > 1
    assert len(candidate.ask("steps", images=2, count=7, warmup=2, timeout=30)["ms"]) == 7  # past the end: begins again
    assert len(candidate.ask("decode", images=3, count=2, warmup=1, timeout=30)["ms"]) == 2
    assert len(candidate.ask("grid", images=4, timeout=30)["ms"]) == 1
    with np.load(tmp_path / "out.npz") as out:
        # v = 1 + 3 (2 - 1) = 4 at every step, sigma from 1 to 0: the latents end 4 below the noise
        np.testing.assert_allclose(out["latents"], job().noise[:2] - 4, rtol=0, atol=1e-5)
        assert out["pictures"].shape == (2, 32, 64, 3)
        assert out["pictures"].dtype == np.uint8


def test_a_failing_candidate_is_an_error_in_one_line_and_lives_on(start) -> None:  # type: ignore[no-untyped-def]
    candidate = start("Broken")
    with pytest.raises(CandidateFailed, match="RuntimeError: no such kernel$"):
        candidate.ask("cold", images=1, timeout=30)
    assert candidate.process is not None
    assert candidate.process.poll() is None


def test_a_candidate_that_dies_is_an_error(start) -> None:  # type: ignore[no-untyped-def]
    candidate = start("Dying")
    with pytest.raises(CandidateFailed, match="code 7"):
        candidate.ask("cold", images=1, timeout=30)
    assert candidate.process is None


def test_a_candidate_that_takes_too_long_is_ended(start) -> None:  # type: ignore[no-untyped-def]
    candidate = start("Stuck")
    candidate.start()
    process = candidate.process
    with pytest.raises(CandidateFailed, match="within"):
        candidate.ask("cold", images=1, timeout=1.0)
    assert process is not None
    assert process.poll() is not None


def test_the_environment_states_one_thread_count(start, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    environment = start("Fake").environment()
    assert environment["OMP_NUM_THREADS"] == environment["SALON_THREADS"] == "2"
    assert "OPENBLAS_CORETYPE" not in environment


def test_job_survives_its_file(tmp_path: Path) -> None:
    made = job()
    made.save(tmp_path / "j.npz")
    again = Job.load(tmp_path / "j.npz")
    assert (again.prompt, again.guidance, again.height, again.width, again.steps) == ("a prompt", 3.0, 32, 64, 5)
    np.testing.assert_array_equal(again.noise, made.noise)


def test_ids_and_unpacking_follow_the_packed_order() -> None:
    ids = image_ids(32, 64)
    assert ids.shape == (8, 3)
    assert ids[5].tolist() == [0, 1, 1]
    z = np.arange(2 * 3 * 4 * 8, dtype=np.float32).reshape(2, 3, 4, 8)
    packed = z.reshape(2, 3, 2, 2, 4, 2).transpose(0, 2, 4, 1, 3, 5).reshape(2, 8, 12)
    np.testing.assert_array_equal(unpack_latents(packed, 32, 64), z)


def test_pixels_are_rounded_and_clipped() -> None:
    image = np.array([-2.0, -1.0, 0.0, 1.0, 3.0], np.float32).reshape(1, 1, 1, 5).repeat(3, axis=1)
    assert to_pixels(image)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]
