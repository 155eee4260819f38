"""Record spans of jobs for OpenTelemetry, if it is installed: a job's whole life, and in it waiting and running.

They are made when a job has ended, with the times that were kept, so that nothing else has to be kept meanwhile.
"""

from __future__ import annotations

from typing import Any

from ...studio.store.rows import JobRow

NS = 1_000_000  # nanoseconds of a millisecond


class Tracing:
    """Calls an OpenTelemetry tracer. `on` is False if the package is missing; then it does nothing."""

    def __init__(self) -> None:
        try:
            from opentelemetry import trace
        except ImportError:
            self._trace: Any = None
        else:
            self._trace = trace
        self.on = self._trace is not None

    def seen(self, what: str, row: JobRow) -> None:
        """Take note that a job was "started" or "ended"."""
        if what != "ended" or not self.on:
            return
        tracer = self._trace.get_tracer("salon")
        facts = {"salon.job": row.job, "salon.lane": row.lane, "salon.state": row.state, "salon.steps": row.steps}
        whole = tracer.start_span("job", start_time=row.made_ms * NS, attributes=facts)
        if row.state == "failed":
            whole.set_status(self._trace.Status(self._trace.StatusCode.ERROR, row.failure))
        inside = self._trace.set_span_in_context(whole)
        started = row.started_ms or row.ended_ms
        for name, begin, end in (("wait", row.made_ms, started), ("run", started, row.ended_ms)):
            if end > begin:
                tracer.start_span(name, context=inside, start_time=begin * NS).end(end * NS)
        whole.end(row.ended_ms * NS)
