"""A site elsewhere: its worker reaches broker and store over TLS, and trusts whom it is told to."""

from collections.abc import Iterator

import pytest
import trustme

from deployment import Deployment
from proxy import LOOPBACK
from tls_front import HOST, TlsFront

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def elsewhere(deployed: Deployment, authority: trustme.CA) -> Iterator[dict[str, str]]:
    """The settings of a worker that trusts the authority."""
    trusted = deployed.folder / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    broker, store = deployed.pair.broker.url, deployed.pair.store.url
    with TlsFront(authority, broker) as broker_front, TlsFront(authority, store) as store_front:
        yield {
            "LATECOMER_BROKER_URL": broker_front.url_of(broker),
            "LATECOMER_STORE_URL": store_front.url_of(store),
            "SSL_CERT_FILE": str(trusted),
        }


def test_a_worker_takes_part_over_tls(deployed: Deployment, elsewhere: dict[str, str]) -> None:
    deployed.start("leader", "aggregator")
    deployed.start_worker("guest-a", **elsewhere)
    deployed.await_version(2)
    assert deployed.call("doctor", **elsewhere).returncode == 0
    assert deployed.stop() == {"leader": 0, "guest-a": 0}


def test_a_server_whose_certificate_is_not_trusted_is_told_from_one_that_is_away(
    deployed: Deployment, elsewhere: dict[str, str]
) -> None:
    stranger = deployed.folder / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    done = deployed.call("doctor", **{**elsewhere, "SSL_CERT_FILE": str(stranger)})
    assert done.returncode == 3
    assert done.stdout.count("SSL_CERT_FILE") == 2, done.stdout


def test_a_certificate_of_another_host_is_none(
    deployed: Deployment, elsewhere: dict[str, str]
) -> None:
    by_number = {name: value.replace(HOST, LOOPBACK) for name, value in elsewhere.items()}
    done = deployed.call("doctor", **by_number)
    assert done.returncode == 3
    assert done.stdout.count("SSL_CERT_FILE") == 2, done.stdout
