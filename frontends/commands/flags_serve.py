"""Flags of `serve` and `completion`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, Final

from ...bounds import POLICY_DOWN, POLICY_STAGES
from ...engine.errors import SpecError
from ...errors import complaint
from ...studio.devices import LONGEST, want_unloading, worker_devices
from ..zmq.options import DEFAULT_HTTP, DEFAULT_LISTEN, DEFAULT_METRICS, ServeOptions
from .flags_make import engine_flags
from .parsing import (
    FILE,
    FOLDER,
    ListOfNames,
    Names,
    Parser,
    PathName,
    UsageError,
    account_id,
    json_flag,
    number,
    shown,
    whole,
)

SHELLS: Final = ("bash", "zsh", "fish")
MAX_WORKERS: Final = 64
MAX_POLICY_S: Final = 25  # less than the time after which a request is answered "busy"


def add(commands: Any) -> None:
    """Add the parsers of these commands."""
    serve = commands.add_parser(
        "serve",
        help="run a server",
        usage="salon serve [FLAGS]",
        description="Run a server until it is told to stop (Ctrl-C, SIGTERM, or `salon ops drain --stop`). Prints "
        "the page's address, and what clients set SALON_SERVER to.",
        epilog="Example: salon serve --listen 'tcp://*:5599' --workers 2 --operator $(salon keys)",
    )
    _serve(serve)
    completion = commands.add_parser(
        "completion",
        help="completion of commands and flags for a shell",
        description="Print a shell's script of completions.",
        epilog="Example, for bash: source <(salon completion bash). The scripts of the others say where to put them.",
    )
    shell = Names("SHELL", SHELLS)
    completion.add_argument("shell", type=shell, metavar="SHELL", help=", ".join(SHELLS))
    json_flag(completion)


def _serve(parser: Parser) -> None:
    net = parser.add_argument_group("who can connect")
    net.add_argument("--listen", action="append", metavar="ADDRESS", help=f"where, may be repeated ({DEFAULT_LISTEN})")
    curve = net.add_mutually_exclusive_group()
    curve.add_argument(
        "--curve", action="store_true", default=None, help="encryption and accounts (beyond loopback: always)"
    )
    curve.add_argument("--no-curve", dest="curve", action="store_false", default=None, help="neither (loopback only)")
    net.add_argument("--open", action="store_true", help="unknown keys get an account")
    net.add_argument("--open-plan", metavar="PLAN", help="of these accounts (the lowest one)")
    most = whole("--open-accounts", 1, 10**6, f"{ServeOptions.open_accounts:,} is usual")
    text = f"no more, then unknown keys are turned away ({ServeOptions.open_accounts:,})"
    net.add_argument("--open-accounts", type=most, default=ServeOptions.open_accounts, metavar="N", help=text)
    operator = account_id("--operator")
    net.add_argument("--operator", action="append", type=operator, metavar="ID", help="an operator, may be repeated")
    net.add_argument("--plans", type=PathName("--plans", FILE), metavar="FILE", help="plans and prices (Salon's own)")
    net.add_argument(
        "--metrics",
        type=_place("--metrics", "5600"),
        default=DEFAULT_METRICS,
        metavar="PORT",
        help=f"or HOST:PORT, or off ({DEFAULT_METRICS})",
    )
    text = f"page, OpenAI's images; or HOST:PORT, off ({DEFAULT_HTTP}, if free)"
    net.add_argument("--http", type=_place("--http", "5580"), metavar="PORT", help=text)
    net.add_argument("--http-url", metavar="URL", help="of a proxy before it, like https://salon.example (none)")
    for name, text in (("cert", "HTTP's certificate, as PEM (none)"), ("key", "its key, as PEM")):
        net.add_argument(f"--tls-{name}", type=PathName(f"--tls-{name}", FILE), metavar="FILE", help=text)
    text = "a name by which programs may ask for the model, may be repeated"
    net.add_argument("--model-alias", action="append", type=_alias, metavar="NAME", help=text)
    rate = number("--rate", 0, 1e6, "0 is no limit")
    net.add_argument("--rate", type=rate, metavar="N", help="requests a second of one account; 0: no limit (500)")
    burst = whole("--burst", 1, 10**6, f"{ServeOptions.burst} is usual")
    net.add_argument(
        "--burst", type=burst, default=ServeOptions.burst, metavar="N", help=f"at once ({ServeOptions.burst})"
    )
    links = "fetch pictures by links in requests, from public addresses only (off)"
    net.add_argument("--image-links", action="store_true", help=links)
    _chat(parser.add_argument_group("who rewrites prompts in conversations (docs/chat.md)"))
    _policies(parser.add_argument_group("what it allows (docs/moderation.md)"))
    data = parser.add_argument_group("what it keeps")
    data.add_argument(
        "--data", type=PathName("--data", FOLDER), metavar="DIR", help="its folder (~/.local/share/salon)"
    )
    loras = PathName("--loras", FOLDER)
    data.add_argument("--loras", type=loras, metavar="DIR", help="LoRAs that requests may use by name (none)")
    data.add_argument("--database", metavar="URL", help="like postgresql://HOST/NAME (SQLite in its folder)")
    keep = number("--keep", 0.01, 36_500, "leave it out to keep them forever")
    data.add_argument("--keep", type=keep, metavar="DAYS", help="delete pictures after so long (never)")
    quota = number("--quota", 1, 1e9, "leave it out for no limit")
    data.add_argument("--quota", type=quota, metavar="MB", help="pictures of one account (no limit)")
    taste = parser.add_argument_group("what it learns of users")
    unlock = whole("--unlock", 1, 10**6, f"{ServeOptions.taste_unlock} is usual")
    text = f"ratings that a taste profile needs before --p takes it ({ServeOptions.taste_unlock})"
    taste.add_argument("--unlock", type=unlock, default=ServeOptions.taste_unlock, metavar="N", help=text)
    rankers = whole("--bonus-rankers", 0, 10**6, "leave it out for as many as the plans say")
    text = "accounts that get the bonus for ranking most on a day (as the plans say)"
    taste.add_argument("--bonus-rankers", type=rankers, metavar="N", help=text)
    least = whole("--bonus-events", 1, 10**6, f"{ServeOptions.bonus_events} is usual")
    text = f"ratings on that day that the bonus needs ({ServeOptions.bonus_events})"
    taste.add_argument("--bonus-events", type=least, default=ServeOptions.bonus_events, metavar="N", help=text)
    engine_flags(parser, several=True)
    workers = whole("--workers", 1, MAX_WORKERS, "leave it out for one on each device")
    run = parser.add_argument_group("how to run it")
    run.add_argument("--workers", type=workers, metavar="N", help=f"engines, 1 to {MAX_WORKERS} (one a device)")
    idle = number("--unload-after", 0.1, LONGEST, "600 is usual")
    run.add_argument("--unload-after", type=idle, metavar="S", help="idle seconds until weights leave a GPU (never)")
    run.add_argument("--in-process", action="store_true", help="engines in this process; a crash ends the server")
    run.add_argument("--paused", action="store_true", help="accept jobs, start none before `salon ops resume`")
    grace = number("--grace", 0, 86_400, f"{ServeOptions.grace_s:g} is usual")
    text = f"seconds that running jobs get when it is to stop ({ServeOptions.grace_s:g})"
    run.add_argument("--grace", type=grace, default=ServeOptions.grace_s, metavar="S", help=text)
    run.add_argument("--browser", action="store_true", help="open the page in a browser")
    json_flag(run, "log JSON lines")


def _chat(group: Any) -> None:
    text = "an API like OpenAI's, such as http://127.0.0.1:11434/v1 (rules do)"
    group.add_argument("--chat-endpoint", metavar="URL", help=text)
    group.add_argument("--chat-model", metavar="NAME", help="of the language model there")
    usual = ServeOptions.chat_timeout_s
    seconds = number("--chat-timeout", 0.1, MAX_POLICY_S, f"{usual:g} is usual")
    text = f"seconds that it has ({usual:g})"
    group.add_argument("--chat-timeout", type=seconds, default=usual, metavar="S", help=text)


def _policies(group: Any) -> None:
    text = "words:FILE, http(s)://... or MODULE:CALLABLE, may be repeated (none)"
    group.add_argument("--policy", action="append", metavar="WHAT", help=text)
    stages = ListOfNames("--policy-stages", POLICY_STAGES)
    text = f"when it is asked: {', '.join(POLICY_STAGES)} (all)"
    group.add_argument("--policy-stages", type=stages, metavar="NAMES", help=text)
    down = Names("--policy-down", POLICY_DOWN)
    usual = ServeOptions.policy_down
    text = f"{' or '.join(POLICY_DOWN)}, while it does not answer ({usual})"
    group.add_argument("--policy-down", type=down, default=usual, metavar="NAME", help=text)
    seconds = number("--policy-timeout", 0.1, MAX_POLICY_S, f"{ServeOptions.policy_timeout_s:g} is usual")
    text = f"seconds that it has ({ServeOptions.policy_timeout_s:g})"
    group.add_argument("--policy-timeout", type=seconds, default=ServeOptions.policy_timeout_s, metavar="S", help=text)
    most = whole("--policy-blocks", 0, 10_000, f"{ServeOptions.policy_blocks} is usual; 0: no account ever has")
    text = f"blocks in 10 minutes after which an account waits 10; 0: never ({ServeOptions.policy_blocks})"
    group.add_argument("--policy-blocks", type=most, default=ServeOptions.policy_blocks, metavar="N", help=text)


def _place(flag: str, usual: str) -> Callable[[str], str]:
    """Return the reader of a port, HOST:PORT or off."""

    def read(text: str) -> str:
        host, _, port = text.rpartition(":")
        if text == "off":
            return text
        if not port.isascii() or not port.isdigit() or len(port) > 5 or not 0 <= int(port) <= 65535 or " " in host:
            raise UsageError(complaint(flag, shown(text), "PORT, HOST:PORT or off", f"write it like {usual}"))
        return f"{host or '127.0.0.1'}:{int(port)}"

    return read


def _alias(text: str) -> str:
    """Return a name for the model. UsageError: programs could not ask for it in an address."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}", text):
        allowed = "up to 100 letters, digits and . _ : / -"
        raise UsageError(complaint("--model-alias", shown(text), allowed, "write it like gpt-image-9"))
    return text


def check(options: argparse.Namespace) -> None:
    """Check what no single flag can say. UsageError."""
    if options.curve is False and options.open:
        raise UsageError("--open: got it with --no-curve, allowed with encryption; without it there is one account")
    if (options.chat_endpoint is None) != (options.chat_model is None):
        one, other = ("endpoint", "model") if options.chat_model is None else ("model", "endpoint")
        raise UsageError(
            f"--chat-{one}: got it without --chat-{other}, allowed with it; add --chat-{other}, or drop it"
        )
    if options.chat_endpoint is None and "chat_timeout" in options.given:
        raise UsageError("--chat-timeout: got it without --chat-endpoint, allowed with one; add one, or drop it")
    given = [name for name in ("stages", "down", "timeout", "blocks") if f"policy_{name}" in options.given]
    if given and not options.policy:
        raise UsageError(f"--policy-{given[0]}: got it without --policy, allowed with one; add --policy, or drop it")
    if options.open_plan is not None and not options.open:
        raise UsageError("--open-plan: got it without --open, allowed with it; add --open")
    off = options.http == "off"
    for name in ("http_url", "tls_cert", "tls_key", "browser"):
        if off and getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')}: got it with --http off, allowed with HTTP; drop one")
    try:
        worker_devices(options.device, options.workers)
        want_unloading(options.unload_after, options.backend)
    except SpecError as error:
        raise UsageError("--" + str(error).replace("_", "-", 1)) from error
