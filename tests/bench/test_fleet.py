"""The candidates' processes, with a candidate that is only numpy arithmetic."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from salon.bench import fleet
from salon.bench.fleet import Candidate, CandidateFailed
from salon.bench.peers.base import Job, Peer, image_ids, to_pixels, unpack_latents

Start = Callable[[str], Candidate]


@pytest.fixture
def start(tmp_path: Path, rivals: Path, job: Job) -> Iterator[Start]:
    """A factory of candidates by the name of their class."""
    job.save(tmp_path / "job.npz")
    made: list[Candidate] = []

    def make(name: str) -> Candidate:
        made.append(Candidate(f"rivals.fake:{name}", Peer, tmp_path, tmp_path / "cache", tmp_path / "job.npz", 2))
        return made[-1]

    yield make
    for candidate in made:
        candidate.stop()


def test_a_candidate_answers_every_command(start: Start, tmp_path: Path, job: Job) -> None:
    candidate = start("Fake")
    candidate.start()
    cold = candidate.ask("cold", images=2, save=str(tmp_path / "out.npz"), timeout=180)
    assert candidate.started_at < cold["first_step_at"] <= cold["image_at"] < time.monotonic()
    assert cold["peak_rss_mib"] > 1
    # past the end it begins again
    assert len(candidate.ask("steps", images=2, count=7, warmup=2, timeout=180)["ms"]) == 7
    assert len(candidate.ask("decode", images=3, count=2, warmup=1, timeout=180)["ms"]) == 2
    assert len(candidate.ask("grid", images=4, timeout=180)["ms"]) == 1
    with np.load(tmp_path / "out.npz") as out:
        # v = 0 + 3 (0.25 - 0) at every step, sigma from 1 to 0: the latents end 0.75 below the noise
        np.testing.assert_allclose(out["latents"], job.noise[:2] - 0.75, rtol=0, atol=1e-5)
        assert out["pictures"].shape == (2, 32, 64, 3)
        assert out["pictures"].dtype == np.uint8


@pytest.mark.parametrize("name", ["queue", "secrets", "salon", "random"])
def test_what_lies_in_the_working_folder_is_not_run(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A `queue.py` or a folder `salon` there was imported by the processes of benchmarks (faults 21)."""
    here = tmp_path / "here"
    here.mkdir()
    (here / f"{name}.py").write_text("import os\nopen(os.path.join(os.path.dirname(__file__), 'run'), 'w').close()\n")
    monkeypatch.chdir(here)
    assert start("Fake").ask("cold", images=1, timeout=180)["peak_rss_mib"] > 1
    assert not (here / "run").exists()


def test_every_process_of_ours_is_started_alike() -> None:
    """Whoever starts a Python without `-P` runs what lies in the working folder (faults 21)."""
    root = Path(fleet.__file__).parents[1]
    sources = [path for folder in ("bench", "frontends", "examples") for path in (root / folder).rglob("*.py")]
    assert [path for path in sources if '"-m",' in path.read_text()] == []


def test_a_failing_candidate_is_an_error_in_one_line_and_lives_on(start: Start) -> None:
    candidate = start("Broken")
    with pytest.raises(CandidateFailed, match=r"^RuntimeError: no such kernel \| second line \(fake.py:\d+\)$"):
        candidate.ask("cold", images=1, timeout=180)  # house, drift "swallowed": the second line was dropped
    assert candidate.process is not None
    assert candidate.process.poll() is None


def test_a_candidate_that_dies_is_an_error(start: Start) -> None:
    candidate = start("Dying")
    # house, drift 1: what a dying candidate had to say stayed in a log, or went to /dev/null
    with pytest.raises(CandidateFailed, match=r"code 7 during 'cold'; its last lines: .*out of luck$"):
        candidate.ask("cold", images=1, timeout=180)
    assert candidate.process is None


def test_a_candidate_that_takes_too_long_is_ended(start: Start) -> None:
    candidate = start("Stuck")
    candidate.start()
    process = candidate.process
    with pytest.raises(CandidateFailed, match="within"):
        candidate.ask("cold", images=1, timeout=1.0)
    assert process is not None
    assert process.poll() is not None


def test_the_environment_states_one_thread_count(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    environment = start("Fake").environment()
    assert environment["OMP_NUM_THREADS"] == environment["SALON_THREADS"] == "2"
    assert "OPENBLAS_CORETYPE" not in environment


def test_job_survives_its_file(tmp_path: Path, job: Job) -> None:
    job.save(tmp_path / "j.npz")
    again = Job.load(tmp_path / "j.npz")
    assert (again.prompt, again.guidance, again.height, again.width, again.steps) == ("a prompt", 3.0, 32, 64, 5)
    np.testing.assert_array_equal(again.noise, job.noise)


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
