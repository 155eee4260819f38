"""Serve metrics to Prometheus, on a port of its own. They contain no prompt and no account."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from ...bounds import POLICY_STAGES
from ...errors import SalonError, complaint
from ...scheduler.tickets import BatchPlan, Lane, Stage
from ...studio.store.rows import FINAL, JobRow
from ...studio.workers.messages import Ran
from ...system import explain
from .records import dropped_lines

if TYPE_CHECKING:
    from .server import Server

LOG = logging.getLogger("salon.server")
STEP_S: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5)
WAIT_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
ROWS: Final = tuple(64 * 2**i for i in range(12))
SHARES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
LANES: Final = tuple(map(str, Lane))
STAGES: Final = tuple(map(str, Stage))
POLICY_ANSWERS: Final = ("allow", "block", "down")
BATCH: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


class MetricsError(SalonError):
    """The page of metrics cannot be served there."""


class Metrics:
    """The counters of a server and the page that shows them.

    Without prometheus-client there is no page, which is logged.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._page: Any = None
        try:
            import prometheus_client as prometheus
        except ImportError:
            self._prometheus: Any = None
            LOG.warning("no metrics: prometheus-client is not installed; install Salon again: pip install .")
            return
        self._prometheus = prometheus
        self.registry = registry = prometheus.CollectorRegistry()
        histogram, counter = prometheus.Histogram, prometheus.Counter
        self._step = histogram("salon_step_seconds", "Duration of a step", registry=registry, buckets=STEP_S)
        self._stage = counter("salon_stage_seconds", "Time of workers", ["stage"], registry=registry)
        self._batch = histogram("salon_batch_jobs", "Jobs in a step's batch", registry=registry, buckets=BATCH)
        self._rows = histogram("salon_batch_rows", "Rows in a step's batch", registry=registry, buckets=ROWS)
        self._full = histogram("salon_batch_occupancy", "Of the worker's most rows", registry=registry, buckets=SHARES)
        self._failed = counter("salon_failures", "Failed jobs, by the kind of error", ["kind"], registry=registry)
        self._wait = histogram(
            "salon_wait_seconds", "From acceptance to the first step", ["lane"], registry=registry, buckets=WAIT_S
        )
        self._whole = histogram(
            "salon_job_seconds", "From acceptance to the end", ["lane", "state"], registry=registry, buckets=WAIT_S
        )
        self._charged = counter("salon_charged_seconds", "GPU time charged", ["lane"], registry=registry)
        for stage in STAGES:
            self._stage.labels(stage)
        for lane in LANES:
            self._wait.labels(lane)
            self._charged.labels(lane)
            for state in FINAL:
                self._whole.labels(lane, state)
        registry.register(self)
        server.context.studio.loop.watch_plans(self._ran)
        server.service.jobs.seen.append(self._seen)

    def start(self, address: str | None) -> None:
        """Serve the page at `HOST:PORT`; None: do not serve it. Raise MetricsError if that is impossible."""
        if address is None or self._prometheus is None:
            return
        host, _, port = address.rpartition(":")
        try:
            self._page, _ = self._prometheus.start_http_server(int(port), host.strip("[]"), registry=self.registry)
        except (ValueError, OverflowError) as error:  # the port, or a character of the host's name, is wrong
            text = complaint(f"--metrics {address}", str(error), "HOST:PORT that is free, or off", "choose another")
            raise MetricsError(text) from error
        except OSError as error:
            got, allowed, remedy = explain(error)
            raise MetricsError(complaint(f"--metrics {address}", got, f"{allowed}, or off", remedy)) from error
        LOG.info("metrics", extra={"address": f"http://{host}:{self._page.server_port}/metrics"})

    def close(self) -> None:
        """Stop serving the page."""
        if self._page is not None:
            self._page.shutdown()
            self._page.server_close()
            self._page = None

    def collect(self) -> Iterator[Any]:
        """Yield the metrics that are read when the page is requested. The registry calls this on its thread."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        server = self._server
        context, jobs, router = server.context, server.service.jobs, server.router
        view = context.studio.loop.snapshot()

        def gauge(name: str, text: str, label: str, values: dict[str, float]) -> Any:
            family = GaugeMetricFamily(f"salon_{name}", text, labels=[label] if label else None)
            for key, value in values.items():
                family.add_metric([key] if label else [], value)
            return family

        def count(name: str, text: str, label: str, values: dict[str, float]) -> Any:
            family = CounterMetricFamily(f"salon_{name}", text, labels=[label] if label else None)
            for key, value in values.items():
                family.add_metric([key] if label else [], value)
            return family

        idle, none_ended = (
            dict.fromkeys(LANES, 0.0),
            dict.fromkeys(FINAL, 0.0),
        )  # exists from the start, so that alert rules work
        yield gauge("queued_jobs", "Jobs that wait", "lane", idle | dict(view.queued))
        yield gauge("running_jobs", "Jobs that have a seat", "lane", idle | dict(view.running))
        yield gauge("held", "1 while the server is paused", "", {"": float(view.held)})
        yield gauge("draining", "1 while nothing is accepted", "", {"": float(server.service.draining)})
        yield gauge("connections", "Clients that said hello", "", {"": len(router.sessions)})
        yield gauge("storing_stuck", "Jobs whose pictures wait for the disk", "", {"": len(jobs.storing.stuck)})
        yield gauge(
            "free_bytes", "Free on the data folder's disk", "", {"": shutil.disk_usage(context.options.data).free}
        )
        yield count("accepted_jobs", "Jobs accepted since the start", "", {"": server.service.accepted})
        yield count("ended_jobs", "Jobs ended since the start", "state", none_ended | jobs.ended)
        answers = CounterMetricFamily("salon_policy_answers", "Answers of policies", labels=["stage", "answer"])
        for stage in filter(jobs.moderator.judges, POLICY_STAGES):
            for answer in POLICY_ANSWERS:
                answers.add_metric([stage, answer], jobs.moderator.answers[stage, answer])
        yield answers
        yield count("messages", "Messages received", "", {"": router.received})
        yield count("refused_messages", "Messages refused", "", {"": router.refused})
        yield count("dropped_connections", "Connections dropped because they did not read", "", {"": router.dropped})
        yield count("dropped_log_lines", "Log lines that nobody read", "", {"": dropped_lines()})
        yield count("sent_bytes", "Bytes of pictures sent", "", {"": server.deliver.sent_bytes})
        workers = view.workers
        yield gauge(
            "worker_up", "1 while the worker is there", "worker", _of(workers, lambda w: w.state in ("idle", "busy"))
        )
        yield gauge("worker_busy_share", "Of the last minute", "worker", _of(workers, lambda w: w.busy_share))
        yield gauge("cost_model_error", "Mean relative error", "worker", _of(workers, lambda w: w.cost_error))
        yield count("worker_losses", "Times that a worker was lost", "worker", _of(workers, lambda w: w.losses))
        yield count("arena_hits", "Adapters found in the arena", "worker", _of(workers, lambda w: w.arena_hits))
        yield count("arena_misses", "Adapters made anew", "worker", _of(workers, lambda w: w.arena_misses))
        yield gauge("arena_bytes", "Of the adapter arena", "worker", _of(workers, lambda w: w.arena_bytes))

    def _ran(self, plan: BatchPlan, answer: Ran, rows: int, max_rows: int) -> None:
        """Count a plan. The studio's loop calls this under its lock."""
        self._stage.labels(str(plan.stage)).inc(answer.elapsed_ms / 1e3)
        if plan.stage is Stage.STEP:
            self._step.observe(answer.elapsed_ms / 1e3)
            self._batch.observe(len(plan.jobs))
            self._rows.observe(rows)
            self._full.observe(rows / max_rows)

    def _seen(self, what: str, row: JobRow) -> None:
        """Count a job that was "started" or "ended"."""
        if what == "started":
            self._wait.labels(row.lane).observe(max(0, row.started_ms - row.made_ms) / 1e3)
            return
        self._whole.labels(row.lane, row.state).observe(max(0, row.ended_ms - row.made_ms) / 1e3)
        self._charged.labels(row.lane).inc(row.charged_ms / 1e3)
        if row.state == "failed":
            self._failed.labels(row.failure or "unknown").inc()


def _of(workers: Any, value: Any) -> dict[str, float]:
    return {worker.name: float(value(worker)) for worker in workers}
