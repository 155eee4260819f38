"""Define the options of a service. A server's own options add to these; nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...bounds import POLICY_STAGES


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Store, model, workers, plans and accounts of a service.

    Attributes:
        data: folder of the database (without `database`) and the pictures; it is made if it does not exist.
        database: SQLAlchemy's URL; None: SQLite in `data`.
        model: folder in diffusers' layout, or a safetensors file; None: the embedded model.
        text_encoder, vae, ip_adapter, image_encoder: parts that are named apart, see `engine.files.opening.ModelPath`.
        workers: number of engines, each with the whole model; None: one for each device.
        threads: threads of each engine; None: the usable cores, shared out.
        backend, isa, dtype: see `Engine.load`; None: the best of this machine.
        device: the devices of the engines, "cuda:0,cuda:1"; None: see `Engine.load`.
        unload_after: seconds without work after which weights leave a GPU; None: never.
        process: whether each engine has a process of its own, which is watched and started again.
        plans: path of another plans file than `scheduler/plans.toml`.
        operators: accounts that are operators, besides those in the store; a start unblocks them.
        open: whether an account that is not in the store is opened when it connects, instead of being refused.
        open_plan: plan of these accounts; None: the lowest one of the plans file.
        open_accounts: number of accounts from which on no such account is opened.
        keep_days: days after their job's end at which pictures are deleted; None: never.
        image_links: whether pictures are fetched by their links (`links.py`).
        loras: folder of LoRAs that every account may use, by their names; None: there is none.
        taste_unlock: events that a profile needs before it can be used.
        bonus_rankers: how many of the accounts that ranked most the day before get the plans' bonus; None: as many as
            the plans say.
        bonus_events: that an account has to have ranked for it on that day, at least.
        model_aliases: further names by which programs may ask for the model.
        policy: what is asked about requests and pictures: callables, or names (`studio/moderation/opening.py`), one or
            several, in order; None: nothing is.
        policy_stages: when addresses, and modules, are asked: some of "prompt", "upload" and "pictures".
        policy_down: "block" or "allow", what holds while one of them does not answer.
        policy_timeout_s: seconds that all of them together have for an answer.
        policy_blocks: blocks after which an account has to wait; 0: none ever has.
        policy_window_s: seconds within which they count.
        policy_pause_s: seconds that it waits.
        chat_endpoint: address of an API like OpenAI's, whose language model rewrites prompts in conversations; None:
            rules do.
        chat_model: name of the model there.
        chat_timeout_s: seconds that it has for an answer.
        quota_bytes: bytes of stored pictures that each account may have; 0: no limit.
    """

    data: Path
    database: str | None = None
    model: str | None = None
    text_encoder: tuple[str, ...] = ()
    vae: str | None = None
    ip_adapter: str | None = None
    image_encoder: str | None = None
    workers: int | None = None
    threads: int | None = None
    backend: str = "cpu"
    isa: str | None = None
    dtype: str | None = None
    process: bool = True
    plans: Path | None = None
    operators: tuple[str, ...] = ()
    open: bool = False
    open_plan: str | None = None
    open_accounts: int = 1000
    keep_days: float | None = None
    quota_bytes: int = 0
    image_links: bool = False
    taste_unlock: int = 200
    bonus_rankers: int | None = None
    bonus_events: int = 50
    device: str | None = None
    unload_after: float | None = None
    loras: str | None = None
    model_aliases: tuple[str, ...] = ()
    chat_endpoint: str | None = None
    chat_model: str = ""
    chat_timeout_s: float = 15.0
    policy: Any = None
    policy_stages: tuple[str, ...] = POLICY_STAGES
    policy_down: str = "block"
    policy_timeout_s: float = 10.0
    policy_blocks: int = 5
    policy_window_s: float = 600.0
    policy_pause_s: float = 600.0
