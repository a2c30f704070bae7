"""Metrics for Prometheus: how many messages were accepted, sent, received, have failed, and times.

With a folder for several processes (`config.use_metrics_folder`) each process writes its own
metrics there, and `/metrics` sums them; without one it shows those of this process only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from channels.model import Channel
from gateway.observability.metrics_files import Buffer, Sum, use_files
from gateway.store.reports import Advance

# Buckets in seconds.
_LATENCY = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
_DELAY = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 86400)
# Replaces the provider if a test key sent the message, which no provider gets.
_OF_TESTS = "test"


class Metrics:
    """The counters of this process."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._buffer = Buffer()
        if folder is not None:
            use_files(self._buffer, folder)
        self._registry = CollectorRegistry()
        of_message = ("channel", "provider")
        self._accepted = self._count(
            "gateway_messages_accepted", "Messages answered with 202", of_message
        )
        self._sent = self._count(
            "gateway_messages_sent", "Messages that a provider took", of_message
        )
        self._failed = self._count(
            "gateway_messages_failed", "Messages that have failed", of_message
        )
        self._delivered = self._count(
            "gateway_messages_delivered", "Messages reported as delivered", of_message
        )
        self._received = self._count("gateway_messages_received", "Inbound messages", of_message)
        self._hooks = self._count(
            "gateway_webhook_requests", "Webhook requests by answer", ("provider", "answer")
        )
        self._put_aside = self._count(
            "gateway_webhook_events_put_aside",
            "Events that are kept raw, because no account can have them",
            ("provider", "reason"),
        )
        self._deliveries = self._count(
            "gateway_deliveries", "Attempts to tell a subscription of an event", ("outcome",)
        )
        self._accept_seconds = self._time(
            "gateway_accept_seconds", "From request to answer of POST /v1/messages", ()
        )
        self._send_seconds = self._time(
            "gateway_send_seconds", "One request to a provider", ("provider",)
        )
        self._hook_seconds = self._time(
            "gateway_webhook_seconds", "From webhook to its answer", ("provider",)
        )
        self._callback_delay = self._time(
            "gateway_callback_delay_seconds",
            "From accepted to reported as delivered",
            of_message,
            buckets=_DELAY,
        )

    def _count(self, name: str, meaning: str, labels: Sequence[str]) -> Counter:
        return Counter(name, meaning, labels, registry=self._registry)

    def _time(
        self, name: str, meaning: str, labels: Sequence[str], buckets: Sequence[float] = _LATENCY
    ) -> Histogram:
        return Histogram(name, meaning, labels, buckets=buckets, registry=self._registry)

    def accepted(self, channel: str, provider: str, *, is_test: bool) -> None:
        """A message was stored, to be sent through a provider."""
        _counter(self._accepted, channel, _OF_TESTS if is_test else provider).inc()

    def accept_took(self, seconds: float) -> None:
        """A request to send was answered."""
        self._accept_seconds.observe(seconds)

    def send_took(self, provider: str, seconds: float) -> None:
        """A provider answered, or its time was over."""
        _histogram(self._send_seconds, provider).observe(seconds)

    def advanced(
        self, advance: Advance, provider: str, now: datetime, *, is_test: bool = False
    ) -> None:
        """A message was sent, was delivered or has failed; each is counted once."""
        labels = (advance.channel, _OF_TESTS if is_test else provider)
        if advance.is_sent:
            _counter(self._sent, *labels).inc()
        if advance.has_failed:
            _counter(self._failed, *labels).inc()
        if advance.is_delivered:
            _counter(self._delivered, *labels).inc()
            if advance.created_at is not None:  # staff may write null: the column allows it
                age = (now - advance.created_at).total_seconds()
                _histogram(self._callback_delay, *labels).observe(age)

    def received(self, channel: Channel, provider: str) -> None:
        """An inbound message was stored."""
        _counter(self._received, channel, provider).inc()

    def hook_answered(self, provider: str, status: int, seconds: float) -> None:
        """A webhook request was answered."""
        _counter(self._hooks, provider, str(status)).inc()
        _histogram(self._hook_seconds, provider).observe(seconds)

    def put_aside(self, provider: str, reason: str, events: int) -> None:
        """Events were for a sender that no account has (`no_account`), or whose account has another
        secret (`other_secret`)."""
        _counter(self._put_aside, provider, reason).inc(events)

    def event_sent(self, outcome: str) -> None:
        """An event was sent to a subscription: `delivered`, `failed` or `given_up`."""
        _counter(self._deliveries, outcome).inc()

    def write(self) -> None:
        """Write the latest counts to the file that other processes read."""
        self._buffer.write()

    def page(self, depth: Iterable[tuple[str, int, float]] | None) -> bytes:
        """The text that Prometheus reads; `depth` is (channel, entries, age of the oldest in s).

        `depth` is None if the database does not answer.
        """
        registry = self._registry
        if self._folder is not None:
            self.write()
            registry = CollectorRegistry()
            Sum(registry, str(self._folder))  # type: ignore[no-untyped-call]
        queue = CollectorRegistry()
        queue.register(_Queue(None if depth is None else list(depth)))
        return generate_latest(registry) + generate_latest(queue)


def of_process(folder: Path | None) -> Metrics:
    """The metrics of this process: of web or a worker, or of both (in `gateway demo`)."""
    return Metrics() if folder is None else _in_files(folder)


# Cached, because two objects would overwrite each other's numbers in the file of this process.
@cache
def _in_files(folder: Path) -> Metrics:
    return Metrics(folder)


# Cached, because the library looks up a child under a lock each time; there are few label values.
@cache
def _counter(counter: Counter, *labels: str) -> Counter:
    return counter.labels(*labels)


@cache
def _histogram(histogram: Histogram, *labels: str) -> Histogram:
    return histogram.labels(*labels)


class _Queue(Collector):
    def __init__(self, depth: list[tuple[str, int, float]] | None) -> None:
        self._depth = depth

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "gateway_database_up",
            "Whether the database told how much waits: 1, else 0",
            value=self._depth is not None,
        )
        entries = GaugeMetricFamily(
            "gateway_queue_depth", "Messages that wait or are being sent", labels=["channel"]
        )
        oldest = GaugeMetricFamily(
            "gateway_queue_oldest_seconds",
            "For how long the oldest due one waits",
            labels=["channel"],
        )
        for channel, count, seconds in self._depth or ():
            entries.add_metric([channel], count)
            oldest.add_metric([channel], seconds)
        yield entries
        yield oldest
