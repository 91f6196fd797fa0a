"""Metrics and health of one process, over HTTP for Prometheus and for health checks."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from latecomer.errors import BadConfiguration, StoreUnreachable, Transient

#: Staleness is small most of the time; the tail is what an alert looks at.
STALENESS_BUCKETS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89)

#: Whoever connects and says nothing for so long is hung up on; Prometheus asks at once.
SILENCE_S = 5.0


class AggregatorTelemetry:
    """What an aggregator counts. Labels have few values: reasons and results, never users."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leading = Gauge("latecomer_leading", "1 while this one leads", registry=self.registry)
        self.version = Gauge("latecomer_version", "Number of the head", registry=self.registry)
        self.folded = Counter(
            "latecomer_updates_folded", "Updates folded into versions", registry=self.registry
        )
        self.refused = Counter(
            "latecomer_updates_refused", "Updates refused", ["reason"], registry=self.registry
        )
        self.duplicates = Counter(
            "latecomer_updates_duplicate", "Redeliveries without effect", registry=self.registry
        )
        self.staleness = Histogram(
            "latecomer_staleness_versions",
            "Versions between an update's base and its fold",
            buckets=STALENESS_BUCKETS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "latecomer_commit_seconds",
            "Publishing, until it is durable",
            registry=self.registry,
        )
        self.buffered = Gauge(
            "latecomer_updates_buffered", "Updates folded and not durable", registry=self.registry
        )
        self.updates_in_force = Gauge(
            "latecomer_updates_in_force", "K: so many make the next version", registry=self.registry
        )
        self.last_commit = Gauge(
            "latecomer_last_commit_timestamp_seconds", "When", registry=self.registry
        )
        self.counts_only = Gauge(
            "latecomer_counts_only",
            "1 where versions stand still once all is counted: the model led last is sums",
            registry=self.registry,
        )
        self.store_waits = Counter(
            "latecomer_store_waits",
            "Times that the store was full, or did not answer",
            registry=self.registry,
        )

    def took_over(self, version: int, *, counts_only: bool) -> None:
        """This one leads from ``version`` on."""
        self.leading.set(1)
        self.version.set(version)
        self.counts_only.set(counts_only)

    def committed(
        self, version: int, staleness: Sequence[int], *, at_s: float, took_s: float
    ) -> None:
        """``version`` is durable, ``took_s`` after it was begun: of updates so far behind."""
        self.version.set(version)
        self.last_commit.set(at_s)
        self.folded.inc(len(staleness))
        self.commit_seconds.observe(took_s)
        for versions in staleness:
            self.staleness.observe(versions)

    def waits(self, error: Transient) -> None:
        """Something has to be done again; of what the store refused there is no other trace."""
        if isinstance(error, StoreUnreachable):
            self.store_waits.inc()


class Pulse:
    """Tells whether a loop is alive: the loop beats, a health check asks.

    A loop that hangs stops beating, however well the thread that answers HTTP may feel.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last_s = time.monotonic()

    def beat(self) -> None:
        """The loop came round once more."""
        self._last_s = time.monotonic()

    def alive(self) -> bool:
        """Whether it beat within the limit."""
        return time.monotonic() - self._last_s < self._limit_s


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, so that a silent one keeps nobody waiting, nor the process."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = SILENCE_S

    def handle(self) -> None:
        """Who says nothing, or leaves amid the answer, is not news."""
        with suppress(TimeoutError, ConnectionError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Health checks every few seconds are not news."""


class Endpoint:
    """``/metrics`` and ``/healthz`` on a port, until closed; port 0 picks a free one.

    Whoever asks is answered, whatever other connections do.

    Raises:
        BadConfiguration: The port is taken, or not for this user.
    """

    def __init__(
        self, port: int, registry: CollectorRegistry, healthy: Callable[[], bool], *, host: str = ""
    ) -> None:
        self._metrics = make_wsgi_app(registry)
        self._healthy = healthy
        try:
            self._server = make_server(
                host, port, self._answer, server_class=_Server, handler_class=_Quiet
            )
        except OSError as error:
            raise BadConfiguration(
                f"cannot serve metrics on port {port}: {error.strerror}",
                hint="set another LATECOMER_METRICS_PORT, or 0 for none",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="telemetry")
        self._thread.daemon = True
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop listening; connections that are open are waited for by nobody."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/healthz":
            return list(self._metrics(environ, start))
        healthy = self._healthy()
        status = "200 OK" if healthy else "503 Service Unavailable"
        start(status, [("Content-Type", "text/plain")])
        return [b"ok\n" if healthy else b"the loop hangs\n"]
