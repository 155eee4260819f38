"""What a prompt can say, capability by capability: each test has the id of one of the product's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salon.frontends.client.client import Client

from .conftest import SMALL, Salon, file_of

Draw = Callable[..., list[np.ndarray]]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_g1_parameters_stand_behind_the_text(draw: Draw, salon: Salon) -> None:
    assert draw("a cat —ar 2:1")[0].shape == draw("a cat", "--ar", "2:1")[0].shape == (96, 192, 3)
    spaced = salon("imagine", "a cat — ar 2:1")
    assert spaced.code == 2
    assert "write --ar" in spaced.err
    assert "did you mean --seed?" in salon("imagine", "a cat --Seed 3").err


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a cat --foo 3", "'--foo': got a name"),
        ("a cat --chaos 101", "--chaos: got '101', allowed a number from 0 to 100"),
        ("a cat --chaos 3 --c 4", "--c"),
        ("a cat --raw --s 3", "--raw"),
        ("a cat --strong", "--strong"),
    ],
)
def test_g2_what_is_wrong_is_refused_and_nothing_is_made(
    salon: Salon, client: Client, prompt: str, message: str
) -> None:
    before = [job.job for job in client.jobs().jobs]
    refused = salon("imagine", prompt)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err
    assert [job.job for job in client.jobs().jobs] == before


def test_g3_aspects_keep_the_area(draw: Draw, salon: Salon) -> None:
    for aspect in ("14:1", "1:14", "3:2"):
        high, wide = draw("a cat", "--ar", aspect)[0].shape[:2]
        assert (high % 16, wide % 16) == (0, 0)
        assert high * wide == pytest.approx(128 * 128, rel=0.15)
    assert "allowed whole numbers W:H from 1:14 to 14:1" in salon("imagine", "a cat --ar 15:1").err


def test_g4_strength_of_the_default_style(draw: Draw) -> None:
    none, usual, more = (draw(f"a cat --s {value}") for value in (0, 100, 700))
    assert same(none, draw("a cat --raw"))
    assert same(none, draw("a cat --style raw"))
    assert same(usual, draw("a cat"))
    assert not same(none, usual)
    assert not same(usual, more)


@pytest.mark.parametrize("flag", ["--chaos", "--weird", "--exp"])
def test_g5_zero_is_nothing_and_more_is_something(draw: Draw, flag: str) -> None:
    words = ("--n", "2", "--steps", "3")
    plain = draw("a cat", *words)
    assert same(plain, draw("a cat", *words, flag, "0"))
    assert not same(plain, draw("a cat", *words, flag, "100"))


def test_g6_time_spent(salon: Salon, draw: Draw) -> None:
    def steps(*words: str) -> tuple[int, int]:
        job = salon("imagine", "a cat", "--seed", "7", *words, "--json").json["job"]
        return job["steps"], job["images"]

    assert steps("--n", "1", "--steps", "3", "--q", "2") == (6, 1)
    assert steps("--n", "1", "--steps", "4", "--stop", "50") == (2, 1)
    assert not same(draw("a cat --steps 4"), draw("a cat --steps 4 --stop 50"))
    assert steps("--draft", "--n", "1") == (4, 1)
    assert steps("--steps", "1", "--n", "8") == (1, 8)
    assert steps("--steps", "1") == (1, 4)


def test_g7_several_texts(draw: Draw, salon: Salon) -> None:
    plain = draw("a cat --steps 2")
    assert not same(plain, draw("a cat --steps 2 --no hats"))
    assert same(draw("a cat:: a dog::2 --steps 2"), draw("a cat::2 a dog::4 --steps 2"))
    assert not same(plain, draw("a cat:: a dog::-0.5 --steps 2"))
    assert "more than 0" in salon("imagine", "a cat:: a dog::-1").err


def test_g8_same_seed_same_pixels(draw: Draw, salon: Salon) -> None:
    assert same(draw("a cat --seed 4294967295"), draw("a cat --seed 4294967295"))
    assert not same(draw("a cat --seed 1"), draw("a cat --seed 2"))
    assert "allowed a whole number from 0 to 4294967295" in salon("imagine", "a cat --seed 4294967296").err


def test_g9_a_pattern_goes_on_at_the_opposite_side(draw: Draw) -> None:
    prompt = "a sunflower, woodcut, on a green background --steps 8"
    (plain,), (tiled,) = draw(prompt), draw(f"{prompt} --tile")
    steps = [np.abs(np.diff(each.astype(float), axis=1)).mean() for each in (plain, tiled)]
    seams = [np.abs(each[:, 0].astype(float) - each[:, -1]).mean() for each in (plain, tiled)]
    assert seams[1] / steps[1] <= 1.2
    assert not np.array_equal(plain, tiled)


def test_g10_pictures_before_the_words(draw: Draw, salon: Salon) -> None:
    for name, colour in (("a.png", 40), ("b.png", 200)):
        Path(name).write_bytes(file_of(np.full((128, 128, 3), colour, np.uint8)))
    plain = draw("a cat --steps 8")
    assert same(plain, draw("a.png a cat --steps 8 --iw 0"))
    near = [draw(f"a.png a cat --steps 8 --iw {weight}")[0].astype(float) for weight in (1, 3)]
    apart = [np.abs(each - 40).mean() for each in (plain[0].astype(float), *near)]
    assert apart[0] > apart[1] > apart[2]
    alone = salon("imagine", "a.png")
    assert (alone.code, "Cannot use a single image prompt without text" in alone.err) == (2, True)
    assert len(draw("a.png b.png --steps 2")) == 1
    assert same(draw("a.png b.png --blend --steps 2"), salon("blend", "a.png", "b.png", *SMALL[:2], "--steps", "2",
                                                           "--seed", "7", "--json").pixels)  # fmt: skip
    assert salon("imagine", "a.png b.png words --blend").code == 2
    assert salon("imagine", "a.png a cat --iw -1").code == 2


def test_g11_styles_by_number_and_at_random(draw: Draw, salon: Salon) -> None:
    plain, style = draw("a cat --raw --steps 2"), draw("a cat --sref 4093 --steps 2")
    assert not same(plain, style)
    assert same(plain, draw("a cat --sref 4093 --sw 0 --steps 2"))
    assert not same(style, draw("a cat --sref 4093 --sw 300 --steps 2"))
    assert same(style, draw("a cat --sref 4093 --sv 1 --steps 2"))
    made = salon("imagine", "a cat --sref random --repeat 2", *SMALL[:4], "--json").json
    named = [sorted(job["job"]["styles"]) for job in made["jobs"]]
    assert all(name[0].startswith("style:number:") for name in named)
    assert named[0] != named[1]


@pytest.mark.parametrize("words", ["--oref a.png", "--cref cat.png", "--cw 100"])
def test_g12_references_to_things_are_refused_by_name(salon: Salon, words: str) -> None:
    """Those of a model that looks at pictures are drawn in `tests/frontends/zmq/test_references.py`."""
    Path("a.png").write_bytes(file_of(np.full((128, 128, 3), 40, np.uint8)))
    refused = salon("imagine", f"a cat {words}")
    assert refused.code == 2
    assert words.split()[0] in refused.err
    assert "--sref" in refused.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--p", "Not enough ratings (0/200)"),
        ("--p 3kf9", "profile: got '3kf9', allowed your own by its name or id"),
        ("--p ink::2 b", "profile: got 'ink', allowed"),
        ("--p @ann", "profile: got '@ann', allowed"),
        ("--p abcdefghij234567", "taste code: got abcdefghij234567, which is not here"),
    ],
)
def test_g13_profiles_that_are_not_there_are_refused(salon: Salon, words: str, told: str) -> None:
    refused = salon("imagine", f"a cat {words}")
    assert refused.code == 2, refused.err
    assert told in refused.err
    assert refused.err.count("\n") == 1


def test_t11_settings_hold_a_profile(salon: Salon, client: Client) -> None:
    assert salon("settings", "--p").out.splitlines()[0].split() == ["settings", "--p"]
    refused = salon("imagine", "a cat")
    assert (refused.code, refused.err) == (2, "salon: error: Not enough ratings (0/200)\n")
    assert salon("settings", "--p", "ink::2", "@ann").out.splitlines()[0].split() == [
        "settings",
        "--p",
        "ink::2",
        "@ann",
    ]
    assert "--p" not in salon("settings", "--drop", "p").out
    assert salon("plan", "a cat", "--json").json["jobs"]


def test_g14_permutations(salon: Salon, client: Client) -> None:
    plan = salon("plan", r"a {red, green\, big} apple {--n 1, --n 2} --repeat 2", "--json").json
    assert len(plan["jobs"]) == 8
    assert [job["parameters"]["images"] for job in plan["jobs"]] == [1, 1, 2, 2] * 2
    assert plan["jobs"][4]["prompt"].startswith("a green, big apple")
    before = [job.job for job in client.jobs().jobs]
    refused = salon("imagine", "a cat --repeat 41")
    assert refused.code == 2
    assert "allowed a whole number from 1 to 40" in refused.err
    assert [job.job for job in client.jobs().jobs] == before


def test_g15_lanes_and_what_needs_more(salon: Salon) -> None:
    for flag in ("--fast", "--relax", "--turbo"):
        job = salon("imagine", f"a cat {flag}", *SMALL, "--json").json["job"]
        assert job["asked_lane"] == flag.strip("-")
    assert salon("imagine", "a cat --stealth", *SMALL, "--json").json["job"]["private"]
    assert not salon("imagine", "a cat --public", *SMALL, "--json").json["job"]["private"]
    for words in ("--video", "--loop", "--end a.png", "--motion low", "--bs 2", "--v 7"):
        refused = salon("imagine", f"a cat {words}")
        assert refused.code == 2
        assert f"{words.split()[0]}: " in refused.err


def test_g16_quoted_text_is_kept_whole(salon: Salon) -> None:
    plan = salon("plan", 'a red apple, "{a, b} --ar 3:2 :: x"', "--json").json
    assert [job["prompt"] for job in plan["jobs"]] == ['a red apple, "{a, b} --ar 3:2 :: x"']


def test_g17_stored_defaults(salon: Salon, client: Client) -> None:
    client.settings.change(suffix="--ar 2:1", images=2, stylize=300)
    job = salon("plan", "a cat --s 50", "--json").json["jobs"][0]
    assert (job["parameters"]["aspect"], job["sources"]["aspect"]) == ([2.0, 1.0], "suffix")
    assert (job["parameters"]["images"], job["sources"]["images"]) == (2, "settings")
    assert (job["parameters"]["stylize"], job["sources"]["stylize"]) == (50.0, "typed")
    assert job["prompt"] == "a cat --ar 2:1 --n 2 --s 50"
    client.settings.reset()
    assert salon("plan", "a cat", "--json").json["jobs"][0]["prompt"] == "a cat"


def test_w6_wildcards_are_stable_under_the_seed(salon: Salon, client: Client) -> None:
    assert list(client.wildcards()) == ["colour"]

    def prompts(*seeds: int) -> list[str]:
        return [
            salon("plan", f"a __colour__ apple --seed {seed}", "--json").json["jobs"][0]["prompt"] for seed in seeds
        ]

    first = prompts(*range(8))
    assert first == prompts(*range(8))
    assert len({prompt.split(" --")[0] for prompt in first}) > 1
    assert salon("plan", "a __colours__ apple").code == 2


def test_g18_a_plan_makes_nothing(salon: Salon, client: Client) -> None:
    before = [job.job for job in client.jobs().jobs]
    plan = salon("plan", "a cat --n 2 --relax", "--json").json
    (job,) = plan["jobs"]
    assert (job["lane"], job["sources"]["images"], job["sources"]["steps"]) == ("relax", "typed", "model")
    assert {"total_cost_ms", "queue_position"} <= set(plan)
    assert salon("plan", "a cat --n 9").code == 2
    assert [job.job for job in client.jobs().jobs] == before
