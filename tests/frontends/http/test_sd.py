"""`/sdapi/v1` as clients of the Stable Diffusion web UI use it, Open WebUI among them."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from salon.frontends.client.client import Client
from salon.frontends.http.sd import StableDiffusion
from salon.frontends.zmq.background import BackgroundServer
from salon.studio.moderation.types import ALLOW, Decision, PolicyRequest, block

from .conftest import WAIT_S, address
from .test_edits import RED, mask, png

TXT, IMG, OPTIONS = "/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/options"
PLAIN: dict[str, Any] = {"prompt": "a cat", "width": 16, "height": 16, "steps": 2, "seed": 7}
# What sdwebuiapi and the web UI's own page send of everything that they have, whether it is used or not.
ALL: dict[str, Any] = {
    "styles": [], "subseed": -1, "subseed_strength": 0, "seed_resize_from_h": 0, "seed_resize_from_w": 0,
    "sampler_name": "Euler", "scheduler": "Automatic", "batch_size": 1, "n_iter": 1, "restore_faces": False,
    "tiling": False, "do_not_save_samples": False, "do_not_save_grid": False, "eta": 0, "s_churn": 0, "s_tmax": 0,
    "s_tmin": 0, "s_noise": 1, "override_settings": {}, "override_settings_restore_afterwards": True,
    "script_args": [], "script_name": None, "send_images": True, "save_images": False, "alwayson_scripts": {},
    "enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0, "hr_resize_x": 0,
    "hr_resize_y": 0, "denoising_strength": 0.7, "firstphase_width": 0, "firstphase_height": 0, "negative_prompt": "",
}  # fmt: skip


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def images(answer: httpx.Response) -> list[bytes]:
    assert answer.status_code == 200, answer.text
    return [base64.b64decode(each) for each in answer.json()["images"]]


def test_pictures_and_what_is_said_of_them(server: BackgroundServer, http: httpx.Client) -> None:
    answer = http.post(TXT, json=PLAIN | ALL | {"cfg_scale": 2, "negative_prompt": "red", "batch_size": 2})
    made = images(answer)
    with Client(server.address) as other:
        job = other.imagine(
            "a cat", images=2, width=16, height=16, steps=2, seed=7, guidance_scale=2, negative_prompt="red",
            solver="euler",
        )  # fmt: skip
        assert made == job.result(timeout_s=WAIT_S)
    info = json.loads(answer.json()["info"])
    assert (info["all_seeds"], info["sampler_name"], info["width"], info["cfg_scale"]) == ([7, 7], "Euler", 16, 2)
    assert [text.partition("\n")[0] for text in info["infotexts"]] == ["a cat", "a cat"]
    assert "Seed: 7" in info["infotexts"][1]
    assert answer.json()["parameters"]["batch_size"] == 2


def test_what_open_webui_asks(http: httpx.Client) -> None:
    """It sends an empty Authorization where it has none, and the options back with another model in them."""
    head = {"authorization": ""}
    options = http.get(OPTIONS, headers=head).json()
    (model,) = http.get("/sdapi/v1/sd-models", headers=head).json()
    assert options["sd_model_checkpoint"] == model["title"]
    assert http.post(OPTIONS, json=options, headers=head).status_code == 200
    assert http.post(OPTIONS, json=options | {"sd_model_checkpoint": model["model_name"]}).status_code == 200
    refused = http.post(OPTIONS, json=options | {"sd_model_checkpoint": "sdxl"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (404, "sd_model_checkpoint")
    assert refused.json()["detail"] == refused.json()["error"]["message"]
    sent = {"prompt": "a cat", "batch_size": 1, "width": 16, "height": 16, "steps": 2}
    assert len(images(http.post(TXT, json=sent, headers=head))) == 1
    user = {"authorization": "Basic " + b64(b"user:password")}
    assert http.get(OPTIONS, headers=user).status_code == 200


def test_samplers_lead_to_solvers(http: httpx.Client) -> None:
    names = [each["name"] for each in http.get("/sdapi/v1/samplers").json()]
    assert {"Euler", "DPM++ 2M", "Euler a"} <= set(names)
    made = {name: images(http.post(TXT, json=PLAIN | {"sampler_name": name}))[0] for name in ("Euler", "DPM++ 2M")}
    assert made["Euler"] == images(http.post(TXT, json=PLAIN | {"sampler_index": "Euler"}))[0]
    assert len(set(made.values())) == 2
    assert http.get("/sdapi/v1/schedulers").json()[0]["label"] == "Automatic"


def test_a_picture_to_start_from(server: BackgroundServer, http: httpx.Client) -> None:
    sent = ALL | PLAIN | {"init_images": [b64(RED)], "mask_blur": 4, "denoising_strength": 0.5, "resize_mode": 0}
    made = images(http.post(IMG, json=sent))
    with Client(server.address) as other:
        start = other.add_reference(RED)
        asked: dict[str, Any] = {"images": 1, "width": 16, "height": 16, "steps": 2, "seed": 7, "solver": "euler"}
        assert made == other.imagine("a cat", image=start, image_strength=0.5, **asked).result(timeout_s=WAIT_S)
    white = png(255, mode="L")
    halves = Image.open(io.BytesIO(mask())).getchannel("A").point(lambda value: 255 - value)
    buffer = io.BytesIO()
    halves.save(buffer, "PNG")
    masked = sent | {"init_images": [f"data:image/png;base64,{b64(RED)}"], "mask_blur": 0, "denoising_strength": 1}
    kept = {}
    for inverted in (0, 1):
        (file,) = images(
            http.post(IMG, json=masked | {"mask": b64(buffer.getvalue()), "inpainting_mask_invert": inverted})
        )
        kept[inverted] = Image.open(io.BytesIO(file))
    assert kept[0].crop((8, 0, 16, 16)).getcolors() == kept[1].crop((0, 0, 8, 16)).getcolors() == [(128, (200, 30, 40))]
    assert images(http.post(IMG, json=masked | {"mask": b64(white)})) != [RED]


@pytest.mark.parametrize(
    ("path", "fields", "param", "words"),
    [
        (TXT, {"prompt": 7}, "prompt", "text"),
        (TXT, {"prompt": ""}, "prompt", "1 to 12,000"),
        (TXT, {"steps": 0}, "steps", "1 to 200"),
        (TXT, {"cfg_scale": -1}, "cfg_scale", "0 to 100"),
        (TXT, {"width": 17}, "width", "17"),
        (TXT, {"batch_size": 0}, "batch_size", "from 1"),
        (TXT, {"batch_size": 4, "n_iter": 3}, "batch_size", "1 to 10"),
        (TXT, {"sampler_name": "DDIM"}, "sampler_name", "Euler a"),
        (TXT, {"scheduler": "Karras"}, "scheduler", "Automatic"),
        (TXT, {"enable_hr": True}, "enable_hr", "False"),
        (TXT, {"styles": ["photo"]}, "styles", "nothing like it"),
        (TXT, {"alwayson_scripts": {"controlnet": {}}}, "alwayson_scripts", "nothing like it"),
        (TXT, {"override_settings": {"CLIP_stop_at_last_layers": 2}}, "override_settings", "sd_model_checkpoint"),
        (TXT, {"override_settings": {"sd_model_checkpoint": "sdxl"}}, "model", "sdxl"),
        (TXT, {"init_images": []}, "init_images", "names of parameters"),
        (TXT, {"prompt": "a cat <lora:film:0.5>"}, "prompt", "film"),
        (IMG, {}, "init_images", "a list"),
        (IMG, {"init_images": [b64(b"<svg/>")]}, "init_images", "no picture"),
        (IMG, {"init_images": [b64(RED)] * 2}, "init_images", "2 pictures, allowed one"),
        (IMG, {"init_images": [b64(RED)], "denoising_strength": 2}, "denoising_strength", "0 to 1"),
        (IMG, {"init_images": [b64(RED)], "mask": b64(mask((8, 8)))}, "mask", "8 x 8"),
        (IMG, {"init_images": [b64(RED)], "resize_mode": 2}, "resize_mode", "0 or 1"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_field(http: httpx.Client, path: str, fields: Any, param: str, words: str) -> None:
    answer = http.post(path, json=PLAIN | fields)
    assert answer.status_code in (400, 404), answer.text
    error = answer.json()["error"]
    assert (error["param"], words in error["message"]) == (param, True), error


def no_red(request: PolicyRequest) -> Decision:
    return block("red", "No red pictures.") if RED in request.pictures else ALLOW


def test_progress_interrupt_and_what_an_operator_chooses(server: BackgroundServer, tmp_path: Path) -> None:
    aliases = ("my/model", "gpt-image-9")
    options = replace(
        server.options, data=tmp_path / "data", paused=True, model_aliases=aliases, policy=no_red, policy_blocks=0
    )
    with BackgroundServer(options) as paused, httpx.Client(base_url=address(paused), timeout=WAIT_S) as http:
        idle = http.get("/sdapi/v1/progress").json()
        assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0, 0, None)
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(http.post(TXT, json=PLAIN)))
        asking.start()
        end = time.monotonic() + WAIT_S
        while not (state := http.get("/sdapi/v1/progress").json()["state"])["job_count"] and time.monotonic() < end:
            time.sleep(0.01)
        assert (state["job_count"], state["sampling_step"], state["sampling_steps"]) == (1, 0, 2)
        assert http.post("/sdapi/v1/interrupt").json() == {}
        asking.join(WAIT_S)
        assert (answers[0].status_code, "is cancelled" in answers[0].json()["detail"]) == (409, True)
        assert http.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0
        models = [each["id"] for each in http.get("/v1/models").json()["data"]]
        assert models[1:] == ["my/model", "gpt-image-9"]
        assert http.get("/v1/models/my/model").json()["id"] == "my/model"
        for path, field, brought in (
            ("/v1/images/edits", "images", [{"image_url": b64(RED)}]), (IMG, "init_images", [b64(RED)])
        ):  # fmt: skip
            blocked = http.post(path, json={"prompt": "a cat", field: brought})
            error = blocked.json()["error"]
            assert (blocked.status_code, error["code"], error["param"]) == (400, "moderation_blocked", field)
        refused = http.post("/v1/images/generations", json={"prompt": "a cat", "model": "other"})
        assert "gpt-image-9" in refused.json()["error"]["message"]


def test_requests_that_overlap_are_each_known_until_answered() -> None:
    """One that began while others ended was lost to `interrupt`, and one that had ended was never forgotten."""
    nothing: Any = None  # nobody is asked
    answers = StableDiffusion(nothing, nothing, nothing)
    first, second, third = (answers._waiting("ann", (job,)) for job in "abc")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    third.__enter__()
    second.__exit__(None, None, None)
    assert list(answers._live["ann"]) == ["c"]
    third.__exit__(None, None, None)
    assert not answers._live
