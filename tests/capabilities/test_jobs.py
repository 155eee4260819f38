"""What can be done to pictures, capability by capability: each test has the id of one of the product's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.frontends.client.client import Client
from salon.frontends.client.errors import NotFound
from salon.frontends.recipe import read_png

from .conftest import SMALL, Said, Salon, file_of, pixels_of

DONE_S = 180.0


@pytest.fixture(scope="module")
def cat(address: str) -> str:
    """Id of a job of two pictures of a cat."""
    with Client(address) as client:
        job = client.imagine("a cat, flat cartoon, on a teal background", images=2, steps=2, seed=7)
        job.wait(timeout_s=DONE_S)
        return job.id


def made(said: Said) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The job that a command made, and its pictures."""
    return said.json["job"], said.pixels


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = ((a.astype(float) - b.astype(float)) ** 2).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def test_l1_the_price_list(salon: Salon, client: Client, cat: str) -> None:
    def cost(words: str) -> int:
        return sum(job["list_ms"] for job in salon("plan", words, "--json").json["jobs"])

    grid = cost("a cat")
    assert grid == 60_000
    assert cost("a cat --turbo") == 2 * grid
    assert cost("a cat --q 2") == 2 * grid
    assert cost("a cat --n 1") * 4 == grid
    assert cost("a cat --lane draft") * 2 == grid
    assert client.plan("", kind="vary", sources=[(cat, 0)], steps=20).jobs[0].list_ms == 27_000  # half of the steps


def test_l4_a_permutation_takes_one_place(client: Client) -> None:
    jobs = client.imagine_all("a {red, green, blue} apple", images=1, steps=1)
    assert len({job.id for job in jobs}) == 3
    for job in jobs:
        job.wait(timeout_s=DONE_S)


def test_j1_imagine_and_reroll(salon: Salon, cat: str) -> None:
    job, pictures = made(salon("reroll", cat, "--json"))
    assert (job["kind"], len(pictures), job["steps"]) == ("reroll", 2, 2)
    assert job["seed"] != 7
    again, same = made(salon("reroll", cat, "--seed", "7", "--json"))
    assert np.array_equal(same[0], pixels_of(picture_of(salon, again["sources"][0]["job"], 1)))


def picture_of(salon: Salon, job: str, number: int) -> bytes:
    out = salon("show", job, "-o", "shown", "--json")
    assert out.code == 0, out.err
    return sorted(Path("shown").glob(f"*-{number}.png"))[0].read_bytes()


def test_j2_variations(salon: Salon, client: Client, cat: str) -> None:
    source = pixels_of(client.job(cat).picture(1))
    subtle, strong = (
        made(salon("vary", cat, "2", *words, "--steps", "10", "--seed", "3", "--json"))[1]
        for words in ((), ("--strong",))
    )
    assert len(subtle) == len(strong) == 4
    assert np.mean([psnr(each, source) for each in subtle]) > np.mean([psnr(each, source) for each in strong])


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("vary", ["--mask", "mask.png"], "--mask: got it for 'vary'"),
        ("zoom", ["--feather", "3"], "--feather: got it for 'zoom'"),
        ("pan", ["--zoom", "2"], "--zoom: got it for a job of kind pan, allowed zoom"),
        ("reroll", ["--strong"], "--strong: got it for a job of kind reroll, allowed vary"),
        ("take", ["--seed", "3"], "--seed: got one for 'take'"),
    ],
)
def test_j2_nothing_that_is_said_is_ignored(
    salon: Salon, client: Client, cat: str, command: str, words: list[str], message: str
) -> None:
    Path("mask.png").write_bytes(file_of(np.full((128, 128), 255, np.uint8)))
    before = [job.job for job in client.jobs().jobs]
    refused = salon(command, cat, *([] if command == "reroll" else ["1"]), *words)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err
    assert [job.job for job in client.jobs().jobs] == before


def test_j2_the_strength_of_a_variation(salon: Salon, client: Client, cat: str) -> None:
    source = pixels_of(client.job(cat).picture(0))
    _, (same,) = made(salon("vary", cat, "1", "--strength", "0", *SMALL, "--json"))
    assert np.array_equal(same, source)


def test_j2_a_picture_is_taken_out_free(salon: Salon, client: Client, cat: str) -> None:
    job, (picture,) = made(salon("take", cat, "2", "--json"))
    assert (job["kind"], job["charged_ms"], (job["sources"][0]["job"], job["sources"][0]["index"])) == (
        "take",
        0,
        (cat, 1),
    )
    assert np.array_equal(picture, pixels_of(client.job(cat).picture(1)))
    assert client.plan(kind="take", sources=[(cat, 1)]).jobs[0].list_ms == 0


def test_j5_exactly_twice_the_size(salon: Salon, client: Client, cat: str) -> None:
    source = pixels_of(client.job(cat).picture(0))
    job, (subtle,) = made(salon("upscale", cat, "1", "--steps", "10", "--json"))
    _, (creative,) = made(salon("upscale", cat, "1", "--creative", "--steps", "10", "--json"))
    for picture in (subtle, creative):
        assert picture.shape == (256, 256, 3)
    back = [np.asarray(Image.fromarray(each).resize((128, 128), Image.Resampling.BOX)) for each in (subtle, creative)]
    assert psnr(back[0], source) >= 35
    assert psnr(back[0], source) > psnr(back[1], source)
    for command in ("upscale", "region"):
        Path("mask.png").write_bytes(file_of(np.full((256, 256), 255, np.uint8)))
        words = ["--mask", "mask.png"] if command == "region" else []
        refused = salon(command, job["job"], "1", *words)
        assert (refused.code, "name its parent" in refused.err) == (2, True), refused.err


def test_j6_the_editor(salon: Salon, client: Client, cat: str) -> None:
    source = pixels_of(client.job(cat).picture(0))
    _, (moved,) = made(salon("edit", cat, "1", "--place", "64,0,128,128", *SMALL, "--json"))
    assert np.array_equal(moved[:, 80:], source[:, 16:64])
    _, (wide,) = made(salon("edit", cat, "1", "--ar", "2:1", *SMALL, "--json"))
    assert wide.shape == (96, 192, 3)
    mask = np.zeros((128, 128), np.uint8)
    mask[:, :40] = 255
    Path("mask.png").write_bytes(file_of(mask))
    _, (erased,) = made(salon("edit", cat, "1", "--mask", "mask.png", "--feather", "0", *SMALL, "--json"))
    assert np.array_equal(erased[:, 40:], source[:, 40:])
    assert not np.array_equal(erased[:, :40], source[:, :40])
    refused = salon("edit", cat, "1")
    assert (refused.code, "--place" in refused.err) == (2, True)


def test_j6_pictures_of_ones_own(salon: Salon) -> None:
    Image.new("RGB", (200, 100), "orange").save("own.jpg")
    for command, words in (("zoom", []), ("pan", []), ("edit", ["--ar", "1:1"]), ("retexture", []), ("vary", [])):
        job, _ = made(salon(command, "own.jpg", "an orange", *words, *SMALL, "--json"))
        assert (job["kind"], job["prompt"]) == (command, "an orange")
    refused = salon("zoom", "own.jpg")
    assert (refused.code, "prompt: got no words" in refused.err) == (2, True)


def test_j7_another_surface(salon: Salon, client: Client, cat: str) -> None:
    source = pixels_of(client.job(cat).picture(0)).astype(float).mean(2)
    job, pictures = made(
        salon("retexture", cat, "1", "a cat, 3d render, candy pinks", "--steps", "12", "--n", "2", "--json")
    )
    assert job["kind"] == "retexture"

    def edges(grey: np.ndarray) -> np.ndarray:
        return np.hypot(*(np.diff(grey, axis=axis)[:127, :127] for axis in (0, 1)))

    found = [np.corrcoef(edges(source).ravel(), edges(each.astype(float).mean(2)).ravel())[0, 1] for each in pictures]
    assert min(found) > 0.3
    refused = salon("retexture", cat, "1")
    assert (refused.code, "no words for 'retexture'" in refused.err) == (2, True)


def test_j8_describe_and_shorten(salon: Salon, client: Client, cat: str) -> None:
    Path("cat.png").write_bytes(client.job(cat).picture(0))
    texts = salon("describe", "cat.png", "--json").json["texts"]
    assert len(texts) == 4
    assert len({text["text"] for text in texts}) == 4
    assert any("cat" in text["text"] for text in texts)
    assert texts == sorted(texts, key=lambda text: -text["score"])
    shorter = salon("shorten", "a very beautiful cat, flat cartoon", "--json").json["texts"]
    words = {text["text"]: text["score"] for text in shorter if text["role"] == "word"}
    assert all(
        score == (0 if "cat" not in word and "cartoon" not in word else score) for word, score in words.items()
    ), words
    assert words["cat"] > 0
    assert salon("describe", "missing.png").code == 2


def test_j9_a_draft_in_full_quality(salon: Salon, client: Client, cat: str) -> None:
    draft = client.imagine("a cat", images=1, draft=True, seed=7)
    draft.wait(timeout_s=DONE_S)
    job, (picture,) = made(salon("enhance", draft.id, "1", "--json"))
    assert (job["kind"], job["steps"], picture.shape) == ("enhance", 12, (128, 128, 3))
    refused = salon("enhance", cat, "1")
    assert (refused.code, "--draft" in refused.err and "vary" in refused.err) == (2, True), refused.err


def test_j3_remix_is_each_of_them_with_another_prompt(salon: Salon, cat: str) -> None:
    for command in ("reroll", "vary", "zoom", "pan"):
        words = [cat] if command == "reroll" else [cat, "1"]
        job, _ = made(salon(command, *words, "a dog", *SMALL, "--json"))
        assert (job["kind"], job["prompt"], job["sources"][0]["job"]) == (command, "a dog", cat)


def test_j4_outside_of_a_region_pixels_are_the_same(salon: Salon, client: Client, cat: str) -> None:
    mask = np.zeros((128, 128), np.uint8)
    mask[:64, :64] = 255
    Path("mask.png").write_bytes(file_of(mask))
    source = pixels_of(client.job(cat).picture(0))
    _, (picture,) = made(salon("region", cat, "1", "a crown", "--mask", "mask.png", "--feather", "4", *SMALL, "--json"))
    assert np.array_equal(picture[68:], source[68:])
    assert np.array_equal(picture[:, 68:], source[:, 68:])
    assert not np.array_equal(picture[:64, :64], source[:64, :64])
    other = salon("region", cat, "1", "a crown")
    assert (other.code, "--mask: got none" in other.err) == (2, True)


def test_j6_zoom_and_pan(salon: Salon, client: Client, cat: str) -> None:
    source = pixels_of(client.job(cat).picture(0))
    _, (zoomed,) = made(salon("zoom", cat, "1", "--zoom", "2", *SMALL, "--json"))
    assert zoomed.shape == source.shape
    small = np.asarray(Image.fromarray(source).resize((64, 64), Image.Resampling.LANCZOS))
    assert psnr(zoomed[44:84, 44:84], small[12:52, 12:52]) > 30
    for side, at in (("left", np.s_[:, -120:]), ("right", np.s_[:, :120]), ("up", np.s_[-120:]), ("down", np.s_[:120])):
        _, (panned,) = made(salon("pan", cat, "1", "--side", side, *SMALL, "--json"))
        assert sorted(panned.shape) == [3, 128, 192]
        assert np.array_equal(panned[at], source[at])


def test_j11_any_job_in_any_frontend(salon: Salon, client: Client, cat: str) -> None:
    shown = salon("show", cat).out
    assert "a cat, flat cartoon" in shown
    job = client.imagine("a cat", images=8, steps=200)  # seconds of work: it is not done before it is cancelled
    assert salon("cancel", job.id).code == 0
    assert job.refresh().state == "cancelled"
    assert client.job(cat).state == "done"
    assert salon("delete", job.id).code == 0
    with pytest.raises(NotFound):
        client.job(job.id)


def test_j13_every_picture_carries_its_recipe(salon: Salon, cat: str, client: Client) -> None:
    path = Path("cat.png")
    path.write_bytes(client.job(cat).picture(0))
    _, recipe = read_png(path)
    assert (recipe.spec.seed, recipe.spec.steps, recipe.image) == (7, 2, 0)
    told = salon("recipe", "cat.png", "--json").json
    assert told["spec"]["prompt"] == "a cat, flat cartoon, on a teal background"
    again = salon("reproduce", "cat.png", "--json").json
    assert again["same"] is True
    assert again["made"] == recipe.pixels


def test_m2_uploads_are_read_safely(salon: Salon) -> None:
    Path("text.png").write_text("no picture")
    refused = salon("imagine", "a cat", "--image", "text.png", *SMALL)
    assert (refused.code, "text.png" in refused.err) == (2, True)
    rotated = Image.new("RGB", (64, 32), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated.save("rotated.jpg", exif=exif)
    _, (picture,) = made(salon("imagine", "a cat", "--image", "rotated.jpg", "--strength", "0", *SMALL, "--json"))
    assert picture.shape[0] > picture.shape[1]


def test_r1_the_same_alone_and_in_company(client: Client) -> None:
    prompts = ["a cat --seed 5", "a dog --seed 6 --ar 2:1 --chaos 30", "a red apple --seed 7 --sref 4093 --tile"]
    alone = []
    for prompt in prompts:
        job = client.imagine(prompt, steps=3, images=2)
        alone.append(job.result(timeout_s=DONE_S))
    jobs = [client.imagine(prompt, steps=3, images=2) for prompt in prompts]
    for job, before in zip(jobs, alone, strict=True):
        for a, b in zip(job.result(timeout_s=DONE_S), before, strict=True):
            assert np.array_equal(pixels_of(a), pixels_of(b))
