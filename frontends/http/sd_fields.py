"""Read requests of the Stable Diffusion web UI's API (`/sdapi`): what its fields say becomes fields of ours.

What this house has no counterpart of is taken with the value that changes nothing, and refused with any other. How the
web UI keeps pictures and samples is none of a request's business here, and read without effect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ...bounds import MAX_FEATHER
from ...errors import complaint
from ...parameters.known import parameters
from ...plugins import folder
from ...values import flag_of, shown, text_of, whole_of
from .errors import HttpRefused

SOLVERS: Final = folder("solver", "salon.engine.solvers", "euler")
# Samplers by the names that the web UI has for them; others have our own names.
SAMPLERS: Final[Mapping[str, str]] = {
    "Euler": "euler", "Euler a": "euler_ancestral", "Heun": "heun", "DPM++ 2M": "dpmpp_2m", "UniPC": "unipc",
    "PLMS": "pndm", "LCM": "lcm",
}  # fmt: skip
SCHEDULERS: Final = ("Automatic", "automatic", "", None)  # the model's own spacing of steps
# Fields of ours by those of the web UI, which say the same.
SAME: Final[Mapping[str, str]] = {
    "steps": "steps", "cfg_scale": "guidance_scale", "width": "width", "height": "height", "tiling": "tile",
    "denoising_strength": "image_strength",
}  # fmt: skip
ANY: Final = object()
_OFF: Final = (False,)  # 0 too
_ZERO: Final = (0,)
# Fields without a counterpart, and the values with which they change nothing.
NEUTRAL: Final[Mapping[str, Any]] = {
    "styles": ([],), "subseed": ANY, "subseed_strength": _ZERO, "seed_resize_from_h": (-1, 0),
    "seed_resize_from_w": (-1, 0), "restore_faces": _OFF, "do_not_save_samples": ANY, "do_not_save_grid": ANY,
    "eta": _ZERO, "s_min_uncond": _ZERO, "s_churn": _ZERO, "s_tmax": ANY, "s_tmin": _ZERO, "s_noise": (1,),
    "override_settings_restore_afterwards": ANY, "refiner_checkpoint": ("",), "refiner_switch_at": ANY,
    "disable_extra_networks": _OFF, "firstpass_image": ("",), "comments": ({},), "enable_hr": _OFF,
    "firstphase_width": _ZERO, "firstphase_height": _ZERO, "hr_scale": ANY, "hr_upscaler": ANY,
    "hr_second_pass_steps": ANY, "hr_resize_x": ANY, "hr_resize_y": ANY, "hr_checkpoint_name": ANY,
    "hr_sampler_name": ANY, "hr_scheduler": ANY, "hr_prompt": ANY, "hr_negative_prompt": ANY, "hr_cfg": ANY,
    "force_task_id": ANY, "script_name": ("",), "script_args": ([],), "save_images": ANY,
    "alwayson_scripts": ({},), "infotext": ("",), "image_cfg_scale": ANY,
}  # fmt: skip
# Those that only requests with pictures have, beside: `resize_mode` 0 and 1 differ where the proportions do; ours is 1.
NEUTRAL_PICTURES: Final[Mapping[str, Any]] = {
    "resize_mode": (0, 1), "mask_blur_x": ANY, "mask_blur_y": ANY, "mask_round": ANY, "inpainting_fill": ANY,
    "inpaint_full_res": _OFF, "inpaint_full_res_padding": ANY, "initial_noise_multiplier": (1,),
    "latent_mask": ("",), "include_init_images": _OFF,
}  # fmt: skip
_SETTINGS: Final = ("sd_model_checkpoint",)
_LORA: Final = re.compile(r"<lora:([^:<>]+)(?::(-?[0-9]+\.?[0-9]*|-?\.[0-9]+))?>")


def fields_of(given: Mapping[str, Any], *, pictures: bool) -> tuple[dict[str, Any], str, bool]:
    """Return the fields of a request for pictures as `asked.asked_from` takes them, the model that it names, and
    whether it wants the pictures in the answer.

    Args:
        given: the fields of the web UI, without those that have pictures.
        pictures: whether there are some.

    Raises:
        HttpRefused: a field has a value that there is no counterpart of, or one that cannot be; it names the field.
    """
    left = dict(given)
    for name, values in {**NEUTRAL, **(NEUTRAL_PICTURES if pictures else {})}.items():
        value = left.pop(name, None)
        if values is not ANY and value is not None and value not in values:
            allowed = " or ".join(map(shown, values))
            raise _wrong(name, value, allowed, "leave it out: there is nothing like it here")
    if not pictures:
        left.pop("denoising_strength", None)  # of the second pass, which is refused
    found: dict[str, Any] = {}
    _words(left, found)
    _seed(left, found)
    _number(left, found)
    _sampler(left, found)
    for theirs, ours in SAME.items():
        value = left.pop(theirs, None)
        if value is not None and (theirs != "tiling" or flag_of(value) is not False):
            found[ours] = value
    if pictures and (blur := left.pop("mask_blur", None)) is not None:
        feather = whole_of(blur)
        if feather is None or not 0 <= feather <= MAX_FEATHER:
            raise _wrong("mask_blur", blur, f"a whole number from 0 to {MAX_FEATHER}")
        found["feather"] = feather
    model = _model(left)
    sends = left.pop("send_images", True)
    if flag_of(sends) is None:
        raise _wrong("send_images", sends, "true or false")
    for name, value in left.items():
        if name not in parameters():
            text = complaint(shown(name)[:60], "it", "the fields of docs/http.md and names of parameters", "drop it")
            raise HttpRefused(text, param=name[:60], code="unknown_parameter")
        if name in found:
            raise _wrong(name, value, f"one of it and {theirs_of(name)}", "drop one")
        found[name] = value
    return found, model, bool(sends)


def theirs_of(name: str) -> str:
    """Return the field of the web UI that says a parameter of ours."""
    names = {ours: theirs for theirs, ours in SAME.items()}
    names |= {"solver": "sampler_name", "feather": "mask_blur", "n": "batch_size", "images": "batch_size"}
    return names.get(name, name)


def sampler_of(solver: str) -> str:
    """Return the name that the web UI has for a solver."""
    return next((name for name, ours in SAMPLERS.items() if ours == solver), solver)


def _words(left: dict[str, Any], found: dict[str, Any]) -> None:
    """Take the prompts: LoRAs that are written in one become the parameter of these."""
    prompt = left.pop("prompt", "")
    if text_of(prompt) is None:
        raise _wrong("prompt", prompt, "text")
    loras = [(match[1].strip(), float(match[2] or 1)) for match in _LORA.finditer(prompt)]
    if loras:
        found["loras"] = loras
        prompt = " ".join(_LORA.sub(" ", prompt).split())
    found["prompt"] = prompt
    away = left.pop("negative_prompt", "")
    if text_of(away) is None:
        raise _wrong("negative_prompt", away, "text")
    if away.strip():
        found["negative_prompt"] = away


def _seed(left: dict[str, Any], found: dict[str, Any]) -> None:
    seed = left.pop("seed", -1)
    if whole_of(seed) != -1:  # which is a random one
        found["seed"] = seed


def _number(left: dict[str, Any], found: dict[str, Any]) -> None:
    times = 1
    for name in ("batch_size", "n_iter"):
        value = left.pop(name, 1)
        number = whole_of(value)
        if number is None or number < 1:
            raise _wrong(name, value, "a whole number from 1")
        times *= number
    found["n"] = times


def _sampler(left: dict[str, Any], found: dict[str, Any]) -> None:
    scheduler = left.pop("scheduler", None)
    if not any(scheduler is one or scheduler == one for one in SCHEDULERS):
        raise _wrong("scheduler", scheduler, "Automatic, which is the model's own")
    index, name = left.pop("sampler_index", None), left.pop("sampler_name", None)
    field, said = ("sampler_name", name) if name else ("sampler_index", index)
    if not said:
        return
    solvers = {**SAMPLERS, **{solver: solver for solver in SOLVERS.names()}}
    if not isinstance(said, str) or said not in solvers:
        raise _wrong(field, said, ", ".join(SAMPLERS), "choose one of these, or leave it out")
    found["solver"] = solvers[said]


def _model(left: dict[str, Any]) -> str:
    settings = left.pop("override_settings", None) or {}
    if not isinstance(settings, dict):
        raise _wrong("override_settings", settings, "an object")
    for name in settings:
        if name not in _SETTINGS:
            raise _wrong("override_settings", name, " or ".join(_SETTINGS), "leave it out")
    model = settings.get("sd_model_checkpoint") or ""
    if not isinstance(model, str):
        raise _wrong("override_settings", model, "the name of the model")
    return model


def _wrong(field: str, got: Any, allowed: str, remedy: str = "correct it") -> HttpRefused:
    return HttpRefused(complaint(field, shown(got), allowed, remedy), param=field)
