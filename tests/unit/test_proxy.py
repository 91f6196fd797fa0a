"""The fault proxy against an echo server: what each side of a broken network sees."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from proxy import FaultProxy
from server import eventually, free_port

#: How long a healthy loopback may take on a busy machine.
PATIENCE_S = 20.0

#: Whoever waits this long for bytes that are held finds silence.
SILENCE_S = 0.2


class EchoServer:
    """Sends back what it gets; keeps what it got, and how each connection ended."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.ends: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                self._threads.append(threading.Thread(target=self._echo, args=(client,)))
                self._threads[-1].start()

    def _echo(self, client: socket.socket) -> None:
        with client:
            try:
                while chunk := client.recv(65536):
                    self.got += chunk
                    client.sendall(chunk)
            except ConnectionError:
                self.ends.append("reset")
            else:
                self.ends.append("end")


@pytest.fixture
def server() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def proxy(server: EchoServer) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with connect(proxy) as client:
        yield client


def test_without_a_fault_every_byte_passes_in_order(client: socket.socket) -> None:
    body = random.Random(1).randbytes(3_000_000)
    assert exchange(client, body) == body


def test_an_end_passes_once_in_each_direction(server: EchoServer, client: socket.socket) -> None:
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 10) == b"last words"
    assert client.recv(1) == b""
    assert server.ends == ["end"]


def test_a_url_keeps_its_login_and_path_and_changes_its_server() -> None:
    with FaultProxy.before("amqp://anna:s%40@broker:5672/house") as proxy:
        by_way = proxy.url_of("amqp://anna:s%40@broker:5672/house")
        assert by_way == f"amqp://anna:s%40@127.0.0.1:{proxy.port}/house"
        assert proxy.url_of("redis://store") == f"redis://127.0.0.1:{proxy.port}"


def test_latency_delays_both_ways(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.latency(0.1)
    start_s = time.monotonic()
    assert exchange(client, b"ping") == b"ping"
    assert time.monotonic() - start_s >= 0.2


def test_latency_is_paid_once_by_a_stream_and_not_by_every_chunk(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.latency(0.5)
    body = bytes(1_000_000)
    start_s = time.monotonic()
    assert exchange(client, body) == body
    # Sixteen chunks each way, one after the other, would take 16 s.
    assert time.monotonic() - start_s < 8.0


def test_jitter_does_not_change_the_order(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.latency(0.02, 0.02, seed=7)
    body = random.Random(2).randbytes(1_000_000)
    assert exchange(client, body) == body


def test_healing_ends_a_delay_that_is_under_way(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.latency(3600.0)
    client.sendall(b"ping")
    assert_silent(client)
    proxy.heal()
    assert receive(client, 4) == b"ping"


def test_what_a_blackhole_upwards_holds_the_server_gets_at_heal(
    proxy: FaultProxy, server: EchoServer, client: socket.socket
) -> None:
    assert exchange(client, b"before") == b"before"
    proxy.blackhole("up")
    client.sendall(b"held, ")
    client.sendall(b"not lost")
    assert_silent(client)
    assert server.got == b"before"
    proxy.heal()
    assert receive(client, 14) == b"held, not lost"


def test_what_a_blackhole_downwards_holds_the_client_gets_at_heal(
    proxy: FaultProxy, server: EchoServer, client: socket.socket
) -> None:
    proxy.blackhole("down")
    client.sendall(b"ping")
    eventually(lambda: server.got == b"ping", within_s=PATIENCE_S)
    assert_silent(client)
    proxy.heal()
    assert receive(client, 4) == b"ping"


def test_a_blackhole_swallows_connections_that_come_later(proxy: FaultProxy) -> None:
    proxy.blackhole("up")
    proxy.blackhole("down")
    with connect(proxy) as late:
        late.sendall(b"late")
        assert_silent(late)
        proxy.heal()
        assert receive(late, 4) == b"late"


def test_a_blackhole_holds_more_than_a_network_does_by_making_the_sender_wait(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.blackhole("up")
    body = random.Random(3).randbytes(20_000_000)
    sender = threading.Thread(target=client.sendall, args=(body,))
    sender.start()
    sender.join(SILENCE_S)
    assert sender.is_alive()
    proxy.heal()
    assert receive(client, len(body)) == body


def test_an_end_waits_in_the_blackhole_too(
    proxy: FaultProxy, server: EchoServer, client: socket.socket
) -> None:
    assert exchange(client, b"ping") == b"ping"
    proxy.blackhole("up")
    client.shutdown(socket.SHUT_WR)
    assert_silent(client)
    assert server.ends == []
    proxy.heal()
    assert client.recv(1) == b""


def test_a_reset_mid_frame_cuts_the_next_chunk_in_half(
    proxy: FaultProxy, server: EchoServer, client: socket.socket
) -> None:
    assert exchange(client, b"ping") == b"ping"
    proxy.reset_mid_frame()
    client.sendall(b"12345678")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    eventually(lambda: server.ends == ["reset"], within_s=PATIENCE_S)
    assert server.got == b"ping1234"
    with connect(proxy) as later:
        assert exchange(later, b"whole") == b"whole"


def test_healing_before_the_next_chunk_spares_the_connection(
    proxy: FaultProxy, client: socket.socket
) -> None:
    assert exchange(client, b"ping") == b"ping"
    proxy.reset_mid_frame()
    proxy.heal()
    assert exchange(client, b"whole") == b"whole"


def test_half_open_the_server_sees_an_end_and_the_client_nothing_until_a_reset(
    proxy: FaultProxy, server: EchoServer, client: socket.socket
) -> None:
    assert exchange(client, b"ping") == b"ping"
    proxy.half_open()
    eventually(lambda: server.ends == ["end"], within_s=PATIENCE_S)
    client.sendall(b"anybody?")
    assert_silent(client)
    with connect(proxy) as late:
        late.sendall(b"anybody?")
        eventually(lambda: proxy.accepted == 2, within_s=PATIENCE_S)
        assert_silent(late)
        proxy.heal()
        for zombie in (client, late):
            with pytest.raises(ConnectionResetError):
                zombie.recv(1)
    assert server.got == b"ping"
    with connect(proxy) as later:
        assert exchange(later, b"pong") == b"pong"


def test_healed_without_resets_the_half_open_stay_silent_and_new_ones_work(
    proxy: FaultProxy, client: socket.socket
) -> None:
    assert exchange(client, b"ping") == b"ping"
    proxy.half_open()
    proxy.heal(resets=False)
    with connect(proxy) as later:
        assert exchange(later, b"pong") == b"pong"
    assert_silent(client)
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_trickle_takes_its_time(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.trickle(1000)
    body = random.Random(4).randbytes(500)
    start_s = time.monotonic()
    assert exchange(client, body) == body
    assert time.monotonic() - start_s >= 0.4


def test_healing_lets_a_trickle_flow(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.trickle(10)
    body = random.Random(5).randbytes(100_000)
    client.sendall(body)
    assert receive(client, 1) == body[:1]
    proxy.heal()
    assert receive(client, len(body) - 1) == body[1:]


def test_refusing_resets_who_is_there_and_refuses_who_comes(
    proxy: FaultProxy, server: EchoServer, client: socket.socket
) -> None:
    assert exchange(client, b"ping") == b"ping"
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    eventually(lambda: server.ends == ["reset"], within_s=PATIENCE_S)
    proxy.heal()
    with connect(proxy) as later:
        assert exchange(later, b"pong") == b"pong"


def test_faults_add_up_and_one_heal_undoes_them_all(proxy: FaultProxy) -> None:
    proxy.half_open()
    proxy.refuse()
    proxy.refuse()
    proxy.blackhole("up")
    proxy.trickle(1)
    proxy.heal()
    proxy.heal()
    with connect(proxy) as later:
        assert exchange(later, b"pong") == b"pong"


def test_a_server_that_is_away_shows_as_a_reset() -> None:
    """It may come so soon that connecting itself ends with it."""
    with FaultProxy("127.0.0.1", free_port()) as proxy:
        with pytest.raises(ConnectionResetError), connect(proxy) as client:
            client.recv(1)
        assert proxy.accepted == 1


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)


def exchange(client: socket.socket, body: bytes) -> bytes:
    """What comes back for ``body``; sent by a thread, because an echo fills both directions."""
    sender = threading.Thread(target=client.sendall, args=(body,))
    sender.start()
    echo = receive(client, len(body))
    sender.join(PATIENCE_S)
    return echo


def receive(client: socket.socket, size: int) -> bytes:
    """The next ``size`` bytes."""
    found = bytearray()
    while len(found) < size:
        chunk = client.recv(size - len(found))
        assert chunk, f"an end after {len(found)} of {size} bytes"
        found += chunk
    return bytes(found)


def assert_silent(client: socket.socket) -> None:
    client.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(PATIENCE_S)
