"""The bot's numbers, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_DECISION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1)
_LANDING_BUCKETS = (10, 30, 60, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400)


class Metrics:
    """Counts what the bot does, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._events = self._counter("events_processed", "Events that were acted on.", "kind")
        self._decisions = Histogram(
            "autogate_decision_seconds",
            "Time that a decision took, with its transaction.",
            buckets=_DECISION_BUCKETS,
            registry=self._registry,
        )
        self._done = self._counter("effects_done", "Effects that were carried out.", "kind")
        self._failed = self._counter("effects_failed", "Tries of an effect that failed.", "kind")
        self._ended = self._counter("attempts_ended", "Attempts that ended, by the word for why.", "reason")
        self._landings = Histogram(
            "autogate_approval_to_landing_seconds",
            "Time from a pull request's approval to its landing.",
            buckets=_LANDING_BUCKETS,
            registry=self._registry,
        )
        self._queued = self._gauge("queued_pull_requests", "Approved pull requests that wait.", "repository", "target")
        self._live = self._gauge("live_attempts", "Attempts that have not ended.", "repository", "kind")
        self._lease = self._gauge("lease_held", "1 in the process that acts, 0 in one that stands by.")

    def observe_decision(self, kind: str, seconds: float) -> None:
        """Count an event of a kind that was acted on, and how long that took."""
        self._events.labels(kind).inc()
        self._decisions.observe(seconds)

    def effect_done(self, kind: str) -> None:
        """Count an effect that was carried out."""
        self._done.labels(kind).inc()

    def effect_failed(self, kind: str) -> None:
        """Count a try of an effect that failed."""
        self._failed.labels(kind).inc()

    def attempt_ended(self, reason: str) -> None:
        """Count an attempt that ended; ``reason`` is its outcome's."""
        self._ended.labels(reason).inc()

    def landed(self, seconds: float) -> None:
        """Note a landing, so many seconds after its approval."""
        self._landings.observe(seconds)

    def show_lease(self, *, held: bool) -> None:
        """Say whether this process acts."""
        self._lease.set(held)

    def show_work(self, queued: dict[tuple[str, str], int], live: dict[tuple[str, str], int]) -> None:
        """Say how much there is to do now; what is not named is no longer there.

        Args:
            queued: (repository, target) -> approved pull requests that wait.
            live: (repository, kind) -> live attempts.
        """
        for gauge, numbers in ((self._queued, queued), (self._live, live)):
            gauge.clear()
            for labels, number in numbers.items():
                gauge.labels(*labels).set(number)

    def exposition(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"autogate_{name}_total", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"autogate_{name}", text, labels, registry=self._registry)
