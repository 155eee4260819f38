"""Parameters of sampling: how the solver computes a picture."""

from __future__ import annotations

from ...bounds import GUIDANCE, MAX_STEPS, SHIFT
from ...plugins import folder
from ..kinds import Interval, Number, OneOf, Whole
from . import Parameter

# Only the names: a client computes no pictures, so it must not load the engine for them.
SOLVERS = folder("solver", "salon.engine.solvers", "euler")

PARAMETERS = (
    Parameter(
        "steps", ("--steps",), Whole(1, MAX_STEPS), "solver steps", "the model's default",
        "leave it out for the model's own",
    ),
    Parameter(
        "guidance_scale", ("--guidance",), Number(*GUIDANCE), "how strongly to follow the prompt, 1: not",
        "the model's", "leave it out for the model's own; 1 is none",
    ),
    Parameter(
        "embedded_guidance", ("--embedded-guidance",), Number(*GUIDANCE),
        "guidance of a model that was taught it, as FLUX.1 [dev]", "the model's",
        "leave it out for the model's own", families=("flux",),
    ),
    Parameter(
        "solver", ("--solver",), OneOf(SOLVERS.names), "solver", "the model's",
        "choose one of these",
    ),
    Parameter(
        "guidance_interval", ("--guidance-interval",), Interval(),
        "share of the steps with guidance, like 0.2:0.8", "0:1",
        "write it like 0.2:0.8",
    ),
    Parameter("shift", (), Number(*SHIFT), "constant shift of the sigmas", "the checkpoint's own"),
)  # fmt: skip
