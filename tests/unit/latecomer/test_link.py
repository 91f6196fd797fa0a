"""The thread that owns a connection runs what others post, in order, come what may."""

import random
import threading
from collections.abc import Iterable

import pytest

from latecomer.broker.rabbit.amqp import Channel, Step, parameters_of
from latecomer.broker.rabbit.link import Link
from latecomer.errors import BadConfiguration, LatecomerError
from latecomer.lifecycle import Backoff

#: Nothing listens on the discard port of a test machine.
NOBODY = "amqp://guest:guest@127.0.0.1:9/%2F"


class Idle:
    """A role that wants nothing."""

    def steps(self, channel: Channel) -> Iterable[Step]:
        return ()

    def opened(self, channel: Channel) -> None:
        """Never happens."""

    def lost(self, error: LatecomerError) -> None:
        """Again and again."""


@pytest.fixture
def link() -> Link:
    parameters = parameters_of(NOBODY, client_name="test", heartbeat_s=8, blocked_timeout_s=60)
    return Link(parameters, Idle(), Backoff(first_s=0.5, ceiling_s=15.0, rng=random.Random(1)))


def test_what_was_posted_before_the_close_runs_in_order(link: Link) -> None:
    ran: list[int] = []
    link.start()
    for number in range(100):
        assert link.post(lambda number=number: ran.append(number))  # type: ignore[misc]
    link.close()
    assert ran == list(range(100))


def test_a_closed_link_takes_nothing(link: Link) -> None:
    link.start()
    link.close()
    assert not link.post(lambda: None)


def test_a_function_that_raises_does_not_take_the_next_ones_along(link: Link) -> None:
    after = threading.Event()

    def fall_over() -> None:
        raise ValueError("from deep inside")

    link.post(fall_over)
    link.post(after.set)
    link.start()
    assert after.wait(30)
    link.close()


def test_what_is_posted_by_what_was_posted_runs_too(link: Link) -> None:
    ran: list[str] = []
    done = threading.Event()

    def second() -> None:
        ran.append("second")
        done.set()

    def first() -> None:
        ran.append("first")
        link.post(second)

    link.start()
    link.post(first)
    assert done.wait(30)
    link.close()
    assert ran == ["first", "second"]


@pytest.mark.parametrize("url", ["amqp://u:s3cr/et@rabbit/v", "amqp://rabbit:port/v"])
def test_what_is_no_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(BadConfiguration, match="is not a broker's URL") as refused:
        parameters_of(url, client_name="test", heartbeat_s=8, blocked_timeout_s=60)
    assert "cr" not in str(refused.value)


@pytest.mark.parametrize(
    ("place", "cause"),
    [
        ("u:secret@rabbit?ssl_options={'cafile':'/nope'}", ": No such file or directory"),
        ("u:secret@rabbit?ssl_options=[]", ""),
        ("u:secret@rabbit?tcp_options=1", ""),
        ("u:secret@rabbit?ssl_options={", ""),
        ("secret@rabbit/v", ""),
    ],
)
def test_what_pika_cannot_use_is_told_of_the_variable_without_the_password(
    place: str, cause: str
) -> None:
    with pytest.raises(BadConfiguration) as refused:
        parameters_of(f"amqps://{place}", client_name="test", heartbeat_s=8, blocked_timeout_s=60)
    shown = place.replace("u:secret@", "u:***@")
    expected = f"LATECOMER_BROKER_URL: amqps://{shown} is not a broker's URL{cause}"
    assert str(refused.value) == expected
