"""A TCP proxy that breaks on purpose, as networks do; every fault is undone by ``heal``.

One loop in one thread owns all sockets. Randomness comes from a seed, drawn per connection and
direction, so that a history can be repeated as far as TCP allows.
"""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from typing import Any, Self
from urllib.parse import urlsplit

from relay import Direction, Relay, Sky, reset, tcp_socket

LOOPBACK = "127.0.0.1"

#: A fault takes effect at once, unless the loop died.
EFFECT_DEADLINE_S = 10.0

DEFAULT_PORTS = {"amqp": 5672, "redis": 6379}


class FaultProxy:
    """Stands before the server at ``host:port`` on a loopback port of its own.

    Faults hold for present and future connections and add up; a method returns once its fault is
    in effect.
    """

    def __init__(self, host: str, port: int) -> None:
        self.accepted = 0
        self._address = (host, port)
        # Bound and never listening: keeps the port ours while connections are refused.
        self._claim = tcp_socket()
        self._claim.bind((LOOPBACK, 0))
        self.port = int(self._claim.getsockname()[1])
        self._sky = Sky()
        self._half_open = False
        self._zombies: list[socket.socket] = []
        self._relays: list[Relay] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._do(self._listen())

    @classmethod
    def before(cls, url: str) -> Self:
        """A proxy before the server that ``url`` names."""
        parts = urlsplit(url)
        return cls(parts.hostname or LOOPBACK, parts.port or DEFAULT_PORTS[parts.scheme])

    def url_of(self, url: str) -> str:
        """The same ``url`` by way of this proxy."""
        parts = urlsplit(url)
        login, at, _server = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}{LOOPBACK}:{self.port}").geturl()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Reset everything, and refuse from now on."""
        if not self._loop.is_closed():
            self._do(self._refuse())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(EFFECT_DEADLINE_S)
            self._loop.close()
            self._claim.close()

    def latency(self, mean_s: float, jitter_s: float = 0.0, seed: int = 0) -> None:
        """Every chunk arrives ``mean_s`` late, give or take up to ``jitter_s``, in order."""
        self._do(self._change(mean_s=mean_s, jitter_s=jitter_s, seed=seed))

    def trickle(self, bytes_per_s: float) -> None:
        """Each direction of each connection moves no more than this."""
        self._do(self._change(bytes_per_s=bytes_per_s))

    def blackhole(self, direction: Direction) -> None:
        """Bytes, ends and resets in this direction wait for ``heal``; then all flow on."""
        self._do(self._change(silent=self._sky.now.silent | {direction}))

    def reset_mid_frame(self) -> None:
        """Of each present connection the next chunk is cut in half, then both sides are reset."""
        self._do(self._cut(cut=True))

    def half_open(self) -> None:
        """The server's side is closed; clients, new ones too, find an open and silent socket."""
        self._do(self._abandon())

    def refuse(self) -> None:
        """Present connections are reset, new ones refused."""
        self._do(self._refuse())

    def heal(self, *, resets: bool = True) -> None:
        """As if there had been no fault; who was left half open is reset.

        Without ``resets`` they stay silent, as behind a firewall that forgot their connections.
        """
        self._do(self._heal(resets=resets))

    def _do(self, effect: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(effect, self._loop).result(EFFECT_DEADLINE_S)

    # From here on everything runs on the loop's thread.

    async def _listen(self) -> None:
        self._listener = tcp_socket()
        self._listener.bind((LOOPBACK, self.port))
        self._listener.listen()
        # A task that is cancelled while it accepts loses whom it has just accepted.
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            client, _address = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # gone again
        client.setblocking(False)
        self.accepted += 1
        if self._half_open:
            self._zombies.append(client)
        else:
            relay = Relay(self._sky, client, self._address, self.accepted)
            self._relays.append(relay)
            relay.task.add_done_callback(self._forget)

    def _forget(self, ended: asyncio.Task[None]) -> None:
        self._relays = [relay for relay in self._relays if relay.task is not ended]

    async def _change(self, **faults: Any) -> None:
        vars(self._sky.now).update(faults)

    async def _cut(self, *, cut: bool) -> None:
        for relay in self._relays:
            relay.cut = cut

    async def _abandon(self) -> None:
        self._half_open = True
        for relay in await self._take_over():
            relay.server.close()
            self._zombies.append(relay.client)

    async def _refuse(self) -> None:
        if self._listening:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        for relay in await self._take_over():
            reset(relay.client, relay.server)
        self._reset_zombies()

    async def _take_over(self) -> list[Relay]:
        """All relays, stopped; their sockets are the caller's now."""
        relays = self._relays
        for relay in relays:
            relay.task.cancel()
        if relays:
            await asyncio.wait([relay.task for relay in relays])
        return relays

    async def _heal(self, *, resets: bool) -> None:
        self._half_open = False
        if resets:
            self._reset_zombies()
        await self._cut(cut=False)
        self._sky.clear()
        if not self._listening:
            await self._listen()

    @property
    def _listening(self) -> bool:
        return self._listener.fileno() >= 0

    def _reset_zombies(self) -> None:
        reset(*self._zombies)
        self._zombies.clear()
