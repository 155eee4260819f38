"""The page of metrics of a running server, as Prometheus would read it."""

from __future__ import annotations

import re
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from salon.bench.faulty.process import HeldPort
from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.metrics import MetricsError

from .conftest import TINY, Connect, Serve

MARKER = "zebra-9f3c1e"
NAMES = {  # everything that the page has, with its labels
    "salon_step_seconds": (), "salon_stage_seconds": ("stage",), "salon_batch_jobs": (), "salon_batch_rows": (),
    "salon_batch_occupancy": (), "salon_failures": ("kind",),
    "salon_wait_seconds": ("lane",), "salon_job_seconds": ("lane", "state"), "salon_charged_seconds": ("lane",),
    "salon_queued_jobs": ("lane",), "salon_running_jobs": ("lane",), "salon_held": (), "salon_draining": (),
    "salon_connections": (), "salon_storing_stuck": (), "salon_free_bytes": (), "salon_accepted_jobs": (),
    "salon_ended_jobs": ("state",), "salon_messages": (), "salon_refused_messages": (),
    "salon_dropped_connections": (), "salon_dropped_log_lines": (), "salon_sent_bytes": (),
    "salon_policy_answers": ("stage", "answer"), "salon_worker_up": ("worker",),
    "salon_worker_busy_share": ("worker",), "salon_cost_model_error": ("worker",), "salon_worker_losses": ("worker",),
    "salon_arena_hits": ("worker",), "salon_arena_misses": ("worker",), "salon_arena_bytes": ("worker",),
}  # fmt: skip
Page = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port for the page, that nobody else gets before, meanwhile and just after."""
    held = HeldPort()
    yield held.number
    held.close()


def text_of(server: BackgroundServer) -> str:
    with urllib.request.urlopen(f"http://{server.options.metrics}/metrics", timeout=60) as page:
        return str(page.read().decode())


def read(text: str) -> Page:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def server(serve: Serve, free_port: int) -> BackgroundServer:
    return serve(metrics=f"127.0.0.1:{free_port}")


def run(client: Any, key: str, **fields: Any) -> str:
    job: str = client.submit(key, f"a red apple, {MARKER}", **(TINY | fields))["job"]
    for _ in client.watch(job):
        pass
    return job


def test_every_metric_is_there_and_counters_rise(server: BackgroundServer, connect: Connect) -> None:
    client = connect(server)
    job = run(client, "one")
    first = read(text_of(server))
    size = len(client.fetch(job, 0))
    run(client, "two")
    text = text_of(server)
    second = read(text)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {name for name in families if not name.endswith("_created")} == NAMES.keys()
    for name, labels in NAMES.items():
        assert families[name].documentation
        for sample in families[name].samples:
            assert set(sample.labels) - {"le"} == set(labels), name

    def rise(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return second[key] - first[key]

    assert rise("salon_accepted_jobs_total") == 1
    assert rise("salon_ended_jobs_total", state="done") == 1
    assert rise("salon_sent_bytes_total") == size
    assert rise("salon_messages_total") >= 3
    assert rise("salon_step_seconds_count") == TINY["steps"]
    assert rise("salon_step_seconds_sum") > 0
    assert rise("salon_batch_jobs_sum") == TINY["steps"]
    assert rise("salon_wait_seconds_count", lane="fast") == 1
    assert rise("salon_job_seconds_count", lane="fast", state="done") == 1
    for stage in ("encode", "step", "decode"):
        assert rise("salon_stage_seconds_total", stage=stage) > 0
    assert second["salon_connections", ()] == 1
    assert second["salon_worker_up", (("worker", "worker-0"),)] == 1
    assert second["salon_free_bytes", ()] > 1 << 20
    assert second["salon_held", ()] == second["salon_draining", ()] == second["salon_storing_stuck", ()] == 0
    falling = [key for key, value in first.items() if key[0].endswith(("_total", "_count")) and second[key] < value]
    assert not falling


def test_refusals_waiting_jobs_and_failures_show(serve: Serve, connect: Connect, free_port: int) -> None:
    server = serve(metrics=f"127.0.0.1:{free_port}", paused=True)
    client = connect(server)
    client.submit("wait", "an apple", **TINY)
    with pytest.raises(Exception, match="images"):
        client.submit("bad", "an apple", images=0)
    page = read(text_of(server))
    assert page["salon_held", ()] == 1
    assert page["salon_queued_jobs", (("lane", "fast"),)] == 1
    assert page["salon_refused_messages_total", ()] == 1
    assert page["salon_accepted_jobs_total", ()] == 1


def test_no_prompt_job_or_account_is_on_the_page(server: BackgroundServer, connect: Connect) -> None:
    job = run(connect(server), "private-key-77", private=True)
    text = text_of(server)
    for secret in (MARKER, "apple", job, "private-key-77", "local"):
        assert secret not in text, secret


def test_an_address_in_use_is_refused_and_the_server_leaves_nothing(serve: Serve, tmp_path: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MetricsError, match="--metrics"):
            serve(metrics=f"127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(MetricsError, match="HOST:PORT"):
        serve(metrics="127.0.0.1:many")
    serve()  # the same folder: nothing holds it any more


def test_the_page_ends_with_the_server(server: BackgroundServer) -> None:
    assert "salon_held" in text_of(server)
    server.stop()
    with pytest.raises(urllib.error.URLError):
        text_of(server)


def test_without_the_package_the_server_runs_and_says_so(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free_port: int
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    client = connect(serve(metrics=f"127.0.0.1:{free_port}"))
    assert "install Salon again: pip install ." in caplog.text
    run(client, "one")


def test_what_stands_still_is_there(server: BackgroundServer, connect: Connect) -> None:
    """faults.md 27: an idle server had no gauge of its queues, and no rule could tell idle from gone."""
    page = read(text_of(server))
    for lane in ("turbo", "fast", "draft", "relax"):
        for name in ("queued_jobs", "running_jobs", "charged_seconds_total", "wait_seconds_count"):
            assert page[f"salon_{name}", (("lane", lane),)] == 0
        for state in ("done", "failed", "cancelled", "blocked"):
            assert page["salon_job_seconds_count", (("lane", lane), ("state", state))] == 0
            assert page["salon_ended_jobs_total", (("state", state),)] == 0
    assert page["salon_stage_seconds_total", (("stage", "step"),)] == 0
    run(connect(server), "one")
    assert read(text_of(server))["salon_queued_jobs", (("lane", "fast"),)] == 0


def test_all_of_them_are_documented(server: BackgroundServer) -> None:
    """By the names that a query needs: those of counters end in `_total`."""
    families = text_string_to_metric_families(text_of(server))
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    names = {name for name in names if not name.endswith("_created")}
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("| `salon_")]
    assert set(re.findall(r"`(salon_\w+)`", "\n".join(table))) == names
