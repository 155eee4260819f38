"""`salon plan`: what a prompt would do, and what it would cost, here or on a server."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..parameters.known import parameters
from .commands import exits, remote, words
from .commands.connection import connected, server_of
from .commands.flags_make import parts_of
from .commands.flags_parameters import lora_files, references, sent
from .commands.tables import print_json, print_table
from .commands.wildcards import own_words

if TYPE_CHECKING:
    from ..studio.prompt.plan import Plan


def plan(options: argparse.Namespace) -> int:
    """Run the command with the namespace of `arguments.parse`. What `imagine` would refuse is refused."""
    remote.refuse_misplaced(options, of_server=("profile", "preset"))  # lanes have prices anywhere
    files = references(options.prompts, links=None if server_of(options) is not None else options.image_links)
    loras = lora_files(options.prompts)
    digests = {path: file.digest for path, file in files.items()} | loras
    if server_of(options) is not None:
        with connected(options) as client:
            prompt, beside = sent(options, digests)
            found: Any = client.plan(prompt, **beside)  # of the same fields as a `Plan`
    else:
        found = plan_here(options, digests, loras, dict(files.values()))
    if options.json:
        print_json(found)
        return exits.DONE
    for i, job in enumerate(found.jobs):
        print("" if not i else "\n", end="")
        print(words.clean(job.prompt))
        rows = [[name, _shown(name, value), job.sources[name]] for name, value in job.parameters.items()]
        print_table(("parameter", "value", "from"), rows, "no parameters")
        print(f"{job.lane} lane, {words.span(job.cost_ms)} of GPU time")
    if len(found.jobs) > 1:
        print(f"\n{len(found.jobs)} jobs, {words.span(found.total_cost_ms)} of GPU time")
    return exits.DONE


def plan_here(
    options: argparse.Namespace, digests: dict[str, str], loras: dict[str, str], files: dict[str, bytes]
) -> Plan:
    """Return the plan of an engine of one's own, at the prices that Salon comes with.

    Args:
        loras: those of `digests` that are of LoRAs.
        files: the pictures' files, by digest.
    """
    from ..engine.engine import Engine
    from ..engine.reading import STRICT, read_spec, want_strict
    from ..scheduler.plans import lane_of, load_plans
    from ..scheduler.tickets import Lane
    from ..studio.kinds import want_family
    from ..studio.pricing import work_of
    from ..studio.prompt.plan import plan_of, planned_job
    from ..studio.prompt.resolve import Facts, resolve
    from ..studio.references import aspect_of, with_sizes

    facts, lists = Facts(default_style=True), own_words
    requests = [resolve(prompt, facts, digests=digests, lists=lists) for prompt in options.prompts]
    engine = Engine.load(
        options.model, **parts_of(options), backend=options.backend,
        isa=options.isa, dtype=options.dtype, threads=options.threads, device=options.device, require_text=True,
    )  # fmt: skip
    for path, digest in loras.items():
        engine.add_lora(digest, path)
    book, styles = load_plans(), engine.info.styles
    jobs = []
    for request in requests:
        fields = request.fields_for(styles is not None and styles.has_default)
        lane = lane_of(request.lane)
        drafted = bool(fields.pop("draft", False))
        want_family(request.values, engine.model.family)
        aspect = fields.pop("aspect", aspect_of(fields, files.get, engine.model.references))
        fields = with_sizes(fields, files.get)
        spec = engine.info.make_spec(request.text, draft=drafted or lane is Lane.DRAFT, aspect=aspect, **fields)
        want_strict(fields.get(STRICT, False), read_spec(engine.reader, spec))
        cost = book.prices.charge(work_of(engine.info, spec, draft=drafted), lane)
        jobs.append(planned_job(request, spec, cost_ms=cost, list_ms=cost))
    return plan_of(jobs)


def _shown(name: str, value: Any) -> str:
    parameter = parameters().get(name)
    if isinstance(value, bool) or parameter is None:
        return str(value).lower()
    return parameter.kind.write(value)
