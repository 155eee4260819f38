"""`salon serve`: what was typed becomes `ServeOptions`, and the server runs in this process."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...bounds import POLICY_STAGES
from ..wire.address import parse_address
from ..zmq.options import DEFAULT_HTTP, DEFAULT_LISTEN, ServeOptions, default_data
from .flags_make import parts_of
from .parsing import UsageError


def serve(options: argparse.Namespace) -> int:
    """Run a server until a signal or an operator ends it. It prints how to connect once it listens."""
    made = options_of(options)
    from ..zmq.main import serve as run

    return run(made, browser=options.browser)


def options_of(options: argparse.Namespace) -> ServeOptions:
    """Return the server's options. UsageError, AddressError: an address that cannot be read, or comes twice."""
    listen = tuple(options.listen or (DEFAULT_LISTEN,))
    endpoints = [parse_address(text, bind=True).endpoint for text in listen]
    twice = next((place for place in endpoints if endpoints.count(place) > 1 and not place.endswith(":0")), None)
    if twice is not None:
        raise UsageError(f"--listen: got {twice} twice, allowed once; drop one")
    keyed = next((text for text in listen if "#" in text), None)
    if keyed is not None:
        raise UsageError(f"--listen: got {keyed.partition('#')[0]} with a key, allowed without; its key is in --data")
    return ServeOptions(
        listen=listen,
        data=Path(options.data) if options.data else default_data(),
        database=options.database,
        model=options.model,
        **parts_of(options),
        workers=options.workers,
        threads=options.threads,
        backend=options.backend,
        device=options.device,
        unload_after=options.unload_after,
        isa=options.isa,
        dtype=options.dtype,
        process=not options.in_process,
        paused=options.paused,
        plans=None if options.plans is None else Path(options.plans),
        metrics=None if options.metrics == "off" else options.metrics,
        http=None if options.http == "off" else options.http or DEFAULT_HTTP,
        http_optional=not (options.http or options.http_url or options.tls_cert or options.tls_key),
        http_url=options.http_url,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        operators=tuple(dict.fromkeys(options.operator or ())),
        curve=options.curve,
        open=options.open,
        open_plan=options.open_plan,
        open_accounts=options.open_accounts,
        keep_days=options.keep,
        quota_bytes=0 if options.quota is None else round(options.quota * 1_000_000),
        image_links=options.image_links,
        model_aliases=tuple(dict.fromkeys(options.model_alias or ())),
        chat_endpoint=options.chat_endpoint,
        chat_model=options.chat_model or "",
        chat_timeout_s=options.chat_timeout,
        policy=tuple(options.policy) if options.policy else None,
        policy_stages=tuple(options.policy_stages.split(",")) if options.policy_stages else POLICY_STAGES,
        policy_down=options.policy_down,
        policy_timeout_s=options.policy_timeout,
        policy_blocks=options.policy_blocks,
        loras=options.loras,
        taste_unlock=options.unlock,
        bonus_rankers=options.bonus_rankers,
        bonus_events=options.bonus_events,
        rate=options.rate,
        burst=options.burst,
        grace_s=options.grace,
        log_json=options.json,
    )
