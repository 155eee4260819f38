"""`salon imagine`, end to end."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salon.engine.engine import EMBEDDED
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.frontends.recipe import Recipe, pixel_hash, read_png

from .conftest import Made, Result, Salon, finish, start

STEM = "a-red-apple-on-teal-7"
GUIDANCE = json.loads((EMBEDDED / "salon.json").read_text())["defaults"]["guidance_scale"]


def refusal(result: Result) -> str:
    """The one line of a run that was refused; of a prompt, two more show the place."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    line, *place = result.stderr.split("\n")[:-1]
    assert not place or (len(place) == 2 and place[1].strip() == "^")
    assert isinstance(line, str)
    assert line.startswith("salon: error: ")
    assert len(line) < 500
    return line


def test_pictures_and_their_grid(made: Made) -> None:
    folder, result = made
    assert result.returncode == 0, result.stderr
    files = [f"outputs/{STEM}.png", f"outputs/{STEM}-1.png", f"outputs/{STEM}-2.png"]
    assert result.stdout.splitlines() == files
    assert sorted(os.listdir(folder / "outputs")) == sorted(Path(file).name for file in files)
    (grid, whole), *singles = [read_png(folder / file) for file in files]
    assert (whole.kind, whole.image) == ("grid", None)
    assert [(recipe.kind, recipe.image) for _, recipe in singles] == [("image", 0), ("image", 1)]
    assert grid.shape == (192, 192, 3)  # two of 192 x 96, one above the other
    assert np.array_equal(grid, np.concatenate([pixels for pixels, _ in singles]))
    assert grid.std() > 1


def test_what_is_said(made: Made) -> None:
    _, result = made
    lines = result.stderr.splitlines()
    assert lines[0].startswith("2 pictures, 192 x 96, 2 steps, seed 7, on cpu/")
    assert lines[1:-1] == ["step 1/2", "step 2/2"]
    assert lines[-1].startswith("made in ")


def test_the_recipe_is_complete(made: Made) -> None:
    folder, _ = made
    for name in (f"{STEM}.png", f"{STEM}-1.png"):
        pixels, recipe = read_png(folder / "outputs" / name)
        assert isinstance(recipe, Recipe)
        assert recipe.pixels == pixel_hash(pixels)
        assert recipe.spec == GenerationSpec(
            prompt="a red apple, on teal",
            width=192,
            height=96,
            steps=2,
            seed=7,
            images=2,
            guidance_scale=GUIDANCE,
            solver="euler",
            adapters=(AdapterUse("style:default", 0.4, "style:none"),),
        )
        assert "red apple" in recipe.clauses["subject"]
        assert recipe.model.name == "salon-mini"
        assert {"transformer", "vae", "text_encoder"} <= set(recipe.model.components)
        assert all(len(digest) == 64 for digest in [recipe.model.digest, *recipe.model.components.values()])
        assert recipe.backend.startswith("cpu/")
        assert recipe.dtype in ("bfloat16", "float32")
        assert recipe.salon


def test_the_same_recipe_makes_the_same_pixels(made: Made, salon: Salon, tmp_path: Path) -> None:
    """Another process, one picture instead of two, one thread instead of all: the first picture is the same."""
    folder, _ = made
    words = ["a red apple, on teal", "--n", "1", "--steps", "2", "--seed", "7", "--ar", "2:1", "--threads", "1"]
    result = salon("imagine", *words, "-o", "x.png", "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["files"] == ["x.png"]
    assert answer["seed"] == 7
    assert set(answer["seconds"]) == {"load", "make", "write"}
    pixels, recipe = read_png(tmp_path / "x.png")
    assert answer["recipe"]["pixels"] == recipe.pixels
    assert np.array_equal(pixels, read_png(folder / "outputs" / f"{STEM}-1.png")[0])
    assert os.listdir(tmp_path) == ["x.png"]


def test_quiet_says_nothing_and_the_seed_is_random(here: Salon, tmp_path: Path) -> None:
    seeds = set()
    for _ in range(2):
        result = here("imagine", "cat", "--n", "1", "--steps", "1", "--quiet", "-o", ".")
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    for path in tmp_path.iterdir():
        recipe = read_png(path)[1]
        seeds.add(recipe.spec.seed)
        assert path.name == f"cat-{recipe.spec.seed}.png"
    assert len(seeds) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([""], "prompt: got no words, allowed some words"),
        (["   "], "prompt: got no words, allowed some words"),
        ([",,;"], "prompt: got"),
        (["apple " * 10_000], "prompt: got 59,999 characters|prompt: got 60,000 characters"),
        (["x", "--sed", "3"], "did you mean --seed?"),
        (["x", "--ar", "0:1"], "write it like 16:9"),
        (["x", "--ar", "1:100"], "from 1:14 to 14:1"),
        (["x", "--ar", "nonsense"], "write it like 16:9"),
        (["x", "--steps", "0"], "--steps: got '0', allowed a whole number from 1"),
        (["x", "--steps", "1000"], "--steps: got '1000', allowed a whole number from 1 to 200"),
        (["x", "--n", "99"], "--n: got '99', allowed a whole number from 1 to 8"),
        (["x", "--seed", "-1"], "--seed: got '-1', allowed a whole number from 0 to 4294967295; choose"),
        (["x", "--no", " "], "--no: got ' ', allowed some words"),
        (["x", "--no", "x" * 2001], "--no: got 2,001 characters, allowed up to 2,000; shorten it"),
        (["x" * 2001], "prompt: got 2,001 characters, allowed up to 2,000; shorten it"),
        (["x", "--device", "cuda:0"], "(the cpu backend has no other); choose --backend triton for a GPU"),
        (["x", "--isa", "mmx"], "this machine runs "),
        (["x", "--isa", "portable", "--dtype", "bfloat16"], "portable has no bf16 dot product"),
        (["x", "--backend", "reference", "--isa", "avx2"], "want neither"),
        (["x", "--model", "none"], "none: no such model folder, expected a folder, found nothing; give the folder"),
        (["x", "--model", "."], "model_index.json: no such file"),
        (["x", "-o", "none/deep/"], "'none/deep': a folder that does not exist; choose another, or make it"),
        (["x", "-o", "none/x.png"], "'none': a folder that does not exist"),
        (["x", "-o", "/proc/x.png"], "'/proc': cannot be written"),
        (["x", "-o", "/dev/full"], "no name ending in .png"),
        (["\udcff"], "prompt: got bytes that are no UTF-8"),
    ],
)
def test_bad_input_is_one_line_with_the_remedy(here: Salon, tmp_path: Path, words: list[str], message: str) -> None:
    line = refusal(here("imagine", *words))
    assert any(part in line for part in message.split("|")), line
    assert os.listdir(tmp_path) == []


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the embedded model, its large files as links."""
    folder = tmp_path / "model"
    ignored = shutil.ignore_patterns("recipe")
    shutil.copytree(EMBEDDED, folder, ignore=ignored, copy_function=os.symlink)
    return folder


def _replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "cut", "message"),
    [
        ("vae/diffusion_pytorch_model.safetensors", lambda data: data[:-1000], "truncated|shorter"),
        ("vae/diffusion_pytorch_model.safetensors", lambda data: b"", "vae/diffusion_pytorch_model.safetensors"),
        ("transformer/diffusion_pytorch_model.safetensors", lambda data: data[:100], "transformer/diffusion"),
        ("transformer/config.json", lambda data: b"{", "transformer/config.json: broken JSON"),
        ("salon.json", lambda data: b"[]", "salon.json: broken JSON, expected an object"),
        ("tokenizer/tokenizer.json", lambda data: data[: len(data) // 2], "tokenizer.json: the tokenizer cannot be"),
        ("text_stats.safetensors", lambda data: data[:-100], "text_stats.safetensors"),
    ],
)
def test_a_damaged_model(
    model: Path, here: Salon, tmp_path: Path, file: str, cut: Callable[[bytes], bytes], message: str
) -> None:
    _replace(model / file, cut((model / file).read_bytes()))
    line = refusal(here("imagine", "cat", "--model", "model"))
    assert any(part in line for part in message.split("|")), line
    assert os.listdir(tmp_path) == ["model"]


def test_no_space_left_is_seen_before_the_first_step(salon: Salon, tmp_path: Path) -> None:
    """A limit on the size of files is how the test runs out of space without a disk of its own."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    line = refusal(salon("imagine", "cat", "-o", ".", "--quiet", preexec_fn=limit))
    assert "'.': cannot be written (posix_fallocate: File too large (EFBIG)); raise the limit" in line
    assert os.listdir(tmp_path) == []


def test_standard_output_is_full(salon: Salon, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        result = salon("imagine", "cat", "--n", "1", "--steps", "1", "-o", "x.png", stdout=full)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("salon: error: standard output: No space left on device (ENOSPC);")
    assert os.listdir(tmp_path) == ["x.png"]


def test_nobody_reads_standard_output(salon: Salon, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        result = salon("imagine", "cat", "--n", "1", "--steps", "1", "--seed", "1", stdout=write)
    finally:
        os.close(write)
    assert result.returncode == 128 + signal.SIGPIPE
    assert "Error" not in result.stderr
    assert os.listdir(tmp_path / "outputs") == ["cat-1.png"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    process = start(["imagine", "cat", "--n", "8", "--steps", "200", "--backend", "reference"], tmp_path)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("8 pictures")
    process.send_signal(number)
    result = finish(process)
    assert result.returncode == 128 + number
    assert result.stderr == ("salon: error: interrupted\n" if number == signal.SIGINT else "")
    assert os.listdir(tmp_path) == []
