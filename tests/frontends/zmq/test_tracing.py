"""Spans of jobs, in OpenTelemetry's own memory exporter; and a server without the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from salon.frontends.zmq.tracing import Tracing
from salon.studio.store.rows import JobRow

from .conftest import TINY, Connect, Serve

trace = pytest.importorskip("opentelemetry.trace")
sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

MARKER = "zebra-9f3c1e"
NS = 1_000_000


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The exporter of a provider that is the global one meanwhile."""
    exporter = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def row(**fields: object) -> JobRow:
    values = {"job": "j", "account": "secret-account", "key": "k", "prompt": MARKER, "steps": 4} | fields
    return JobRow(**values)  # type: ignore[arg-type]


def test_a_job_on_a_server_becomes_three_spans(spans: object, serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    job = client.submit("one", f"a red apple, {MARKER}", private=True, **TINY)["job"]
    for _ in client.watch(job):
        pass
    info = client.show(job)
    found = {span.name: span for span in spans.get_finished_spans()}  # type: ignore[attr-defined]
    assert {"job", "run"} <= found.keys() <= {"job", "wait", "run"}  # it may have waited for less than a ms
    whole = found["job"]
    facts = {"salon.job": job, "salon.lane": "fast", "salon.state": "done", "salon.steps": TINY["steps"]}
    assert dict(whole.attributes) == facts
    assert (whole.start_time, whole.end_time) == (info["made_ms"] * NS, info["ended_ms"] * NS)
    assert (found["run"].start_time, found["run"].end_time) == (info["started_ms"] * NS, info["ended_ms"] * NS)
    assert found["run"].parent.span_id == whole.context.span_id
    assert whole.parent is None
    for span in found.values():
        assert MARKER not in span.to_json()
        assert "local" not in span.to_json()


def test_times_status_and_names(spans: object) -> None:
    tracing = Tracing()
    assert tracing.on
    tracing.seen("started", row(made_ms=1000, started_ms=2000))
    tracing.seen("ended", row(state="failed", failure="WorkerLost", made_ms=1000, started_ms=2000, ended_ms=5000))
    found = {span.name: span for span in spans.get_finished_spans()}  # type: ignore[attr-defined]
    assert {name: (s.start_time // NS, s.end_time // NS) for name, s in found.items()} == {
        "wait": (1000, 2000),
        "run": (2000, 5000),
        "job": (1000, 5000),
    }
    assert found["job"].status.status_code is trace.StatusCode.ERROR
    assert found["job"].status.description == "WorkerLost"
    assert all(MARKER not in span.to_json() and "secret" not in span.to_json() for span in found.values())


def test_a_job_that_never_started_only_waited(spans: object) -> None:
    Tracing().seen("ended", row(state="cancelled", made_ms=1000, ended_ms=3000))
    found = {span.name: span for span in spans.get_finished_spans()}  # type: ignore[attr-defined]
    assert found.keys() == {"job", "wait"}
    assert found["job"].status.status_code is trace.StatusCode.UNSET


def test_without_the_package_nothing_happens(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, spans: object
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert not Tracing().on
    client = connect(serve())
    job = client.submit("one", "a red apple", **TINY)["job"]
    assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
    assert spans.get_finished_spans() == ()  # type: ignore[attr-defined]
