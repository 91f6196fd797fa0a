import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from prometheus_client import CollectorRegistry

from latecomer.errors import BadConfiguration
from latecomer.telemetry import SILENCE_S, AggregatorTelemetry, Endpoint, Pulse

ROOT = Path(__file__).parents[3]

#: Has no sample before the first refusal.
BY_REASON = {"latecomer_updates_refused_total"}

#: Asks the port itself, whatever proxy the environment names.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def listening(registry: CollectorRegistry, *, healthy: bool = True) -> Iterator[Endpoint]:
    endpoint = Endpoint(0, registry, lambda: healthy, host="127.0.0.1")
    try:
        yield endpoint
    finally:
        endpoint.close()


def connected(endpoint: Endpoint) -> socket.socket:
    """A port scan, or a load balancer's check: it connects and says nothing."""
    return socket.create_connection(("127.0.0.1", endpoint.port), timeout=10)


def get(endpoint: Endpoint, path: str) -> tuple[int, str]:
    try:
        with DIRECT.open(f"http://127.0.0.1:{endpoint.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_are_served_as_prometheus_reads_them() -> None:
    telemetry = AggregatorTelemetry()
    telemetry.leading.set(1)
    telemetry.version.set(17)
    telemetry.folded.inc(3)
    telemetry.refused.labels("stale").inc()
    telemetry.staleness.observe(4)
    with listening(telemetry.registry) as endpoint:
        status, text = get(endpoint, "/metrics")
    lines = text.splitlines()
    assert status == 200
    assert "latecomer_leading 1.0" in lines
    assert "latecomer_version 17.0" in lines
    assert "latecomer_updates_folded_total 3.0" in lines
    assert 'latecomer_updates_refused_total{reason="stale"} 1.0' in lines
    assert 'latecomer_staleness_versions_bucket{le="3.0"} 0.0' in lines
    assert 'latecomer_staleness_versions_bucket{le="5.0"} 1.0' in lines


def test_every_metric_of_ours_that_an_alert_asks_for_exists() -> None:
    rules = (ROOT / "infra/prometheus/rules.yml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\blatecomer_[a-z_]+(?=[\[)])", rules))
    families = AggregatorTelemetry().registry.collect()
    assert {"latecomer_leading", "latecomer_store_waits_total"} <= asked
    assert asked <= {sample.name for family in families for sample in family.samples} | BY_REASON


def test_two_aggregators_in_one_process_count_for_themselves() -> None:
    first, second = AggregatorTelemetry(), AggregatorTelemetry()
    first.folded.inc(5)
    assert first.registry.get_sample_value("latecomer_updates_folded_total") == 5
    assert second.registry.get_sample_value("latecomer_updates_folded_total") == 0


def test_a_healthy_process_says_so() -> None:
    with listening(CollectorRegistry()) as endpoint:
        assert get(endpoint, "/healthz") == (200, "ok\n")


def test_a_process_whose_loop_hangs_is_unavailable() -> None:
    with listening(CollectorRegistry(), healthy=False) as endpoint:
        assert get(endpoint, "/healthz") == (503, "the loop hangs\n")


def test_port_0_picks_a_free_one_each_time() -> None:
    with listening(CollectorRegistry()) as one, listening(CollectorRegistry()) as other:
        assert one.port > 0
        assert one.port != other.port


def test_a_closed_endpoint_no_longer_answers() -> None:
    with listening(CollectorRegistry()) as endpoint:
        pass
    with pytest.raises(URLError, match="refused"):
        get(endpoint, "/healthz")


def test_who_connects_and_says_nothing_keeps_nobody_from_an_answer() -> None:
    with listening(CollectorRegistry()) as endpoint, connected(endpoint), connected(endpoint):
        assert get(endpoint, "/healthz") == (200, "ok\n")


def test_closing_does_not_wait_for_who_says_nothing() -> None:
    with listening(CollectorRegistry()) as endpoint, connected(endpoint):
        assert get(endpoint, "/healthz") == (200, "ok\n")
        closing = threading.Thread(target=endpoint.close, daemon=True)
        closing.start()
        closing.join(SILENCE_S / 2)
        assert not closing.is_alive()


def test_who_says_nothing_for_long_is_hung_up_on_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("latecomer.telemetry._Quiet.timeout", 0.01)
    with listening(CollectorRegistry()) as endpoint, connected(endpoint) as silent:
        assert silent.recv(1) == b""
    assert capsys.readouterr().err == ""


def test_a_loop_is_alive_for_as_long_as_it_beats() -> None:
    pulse = Pulse(limit_s=1000.0)
    assert pulse.alive()
    pulse.beat()
    assert pulse.alive()
    assert not Pulse(limit_s=0.0).alive()


def test_a_port_that_is_taken_is_said_in_a_sentence() -> None:
    with (
        listening(CollectorRegistry()) as taken,
        pytest.raises(BadConfiguration, match=f"metrics on port {taken.port}") as caught,
    ):
        Endpoint(taken.port, CollectorRegistry(), lambda: True, host="127.0.0.1")
    assert "LATECOMER_METRICS_PORT" in str(caught.value.hint)
