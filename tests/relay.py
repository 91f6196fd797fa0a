"""One connection that a proxy relays, and the weather that its bytes meet on the way.

Bytes, ends and resets of a direction travel through one queue: whatever holds the bytes back holds
back what came after them too. Nothing is lost or out of order, except by a reset.
"""

import asyncio
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

#: ``up`` is towards the server, ``down`` towards the client.
Direction = Literal["up", "down"]

#: When each chunk is due; b"" stands for the end, None for a reset.
_Queue: TypeAlias = asyncio.Queue[tuple[float, bytes | None]]

CHUNK_BYTES = 64 * 1024

#: What one direction holds before the sender's own buffers fill, as a network's would.
CHUNKS_IN_FLIGHT = 16

#: Twenty pieces a second are smooth enough for whoever waits for a trickle.
PIECE_S = 0.05


@dataclass
class Weather:
    """What the bytes of all connections meet; touched on the loop's thread only."""

    silent: frozenset[Direction] = frozenset()
    mean_s: float = 0.0
    jitter_s: float = 0.0
    seed: int = 0
    bytes_per_s: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def pause(self, seconds: float) -> None:
        """Wait, at most until it is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.over.wait()

    async def passage(self, way: Direction) -> None:
        """Wait until bytes may go this way."""
        if way in self.silent:
            await self.over.wait()

    def delay_s(self, rng: random.Random) -> float:
        """How late the next chunk is."""
        return self.mean_s + rng.uniform(-self.jitter_s, self.jitter_s)


class Sky:
    """The weather of now; one object for the proxy and all that it relays."""

    def __init__(self) -> None:
        self.now = Weather()

    def clear(self) -> None:
        """End the weather of now for everybody who waits in it."""
        former, self.now = self.now, Weather()
        former.over.set()


class Relay:
    """A client's socket, the server's, and what travels between them."""

    def __init__(
        self, sky: Sky, client: socket.socket, address: tuple[str, int], number: int
    ) -> None:
        self._sky = sky
        self._address = address
        self._number = number
        self._loop = asyncio.get_running_loop()
        self.client = client
        self.server = tcp_socket()
        #: Whether the next chunk is to be cut in half and followed by a reset.
        self.cut = False
        self.task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._loop.sock_connect(self.server, self._address)
            async with asyncio.TaskGroup() as group:
                up, down = _Queue(CHUNKS_IN_FLIGHT), _Queue(CHUNKS_IN_FLIGHT)
                group.create_task(self._arrive("up", self.client, up))
                group.create_task(self._depart("up", up, self.server))
                group.create_task(self._arrive("down", self.server, down))
                group.create_task(self._depart("down", down, self.client))
        except* OSError:
            reset(self.client, self.server)
        else:
            self.client.close()
            self.server.close()

    async def _arrive(self, way: Direction, source: socket.socket, queue: _Queue) -> None:
        chunk: bytes | None = b"first"
        seed, rng = None, random.Random()
        while chunk:
            try:
                chunk = await self._loop.sock_recv(source, CHUNK_BYTES)
            except OSError:
                chunk = None
            weather = self._sky.now
            if weather.seed != seed:
                seed, rng = weather.seed, random.Random(f"{weather.seed}/{self._number}/{way}")
            await queue.put((self._loop.time() + weather.delay_s(rng), chunk))

    async def _depart(self, way: Direction, queue: _Queue, sink: socket.socket) -> None:
        chunk: bytes | None = b"first"
        while chunk:
            due_s, chunk = await queue.get()
            await self._sky.now.pause(due_s - self._loop.time())
            await self._sky.now.passage(way)
            if chunk is None:
                raise ConnectionResetError
            await self._send(way, sink, chunk)
        sink.shutdown(socket.SHUT_WR)

    async def _send(self, way: Direction, sink: socket.socket, chunk: bytes) -> None:
        if self.cut and len(chunk) > 1:
            await self._loop.sock_sendall(sink, chunk[: len(chunk) // 2])
            raise ConnectionResetError
        while chunk:
            await self._sky.now.passage(way)
            rate = self._sky.now.bytes_per_s
            size = max(1, int(rate * PIECE_S)) if rate else len(chunk)
            await self._loop.sock_sendall(sink, chunk[:size])
            chunk = chunk[size:]
            if rate:
                await self._sky.now.pause(size / rate)


def tcp_socket() -> socket.socket:
    """A socket for the loop, whose port others of ours may share, and that never waits to send."""
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def reset(*sockets: socket.socket) -> None:
    """Close those still open with a reset in place of an end: lingering for zero seconds."""
    for each in sockets:
        if each.fileno() >= 0:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
