"""TLS before a server that speaks none, as a proxy at the edge of a network does it."""

import asyncio
import contextlib
import ssl
import threading
from typing import Self
from urllib.parse import urlsplit

import trustme

from proxy import DEFAULT_PORTS, EFFECT_DEADLINE_S, LOOPBACK

#: What the certificate names.
HOST = "localhost"

CHUNK_BYTES = 64 * 1024


class TlsFront:
    """Takes TLS on a loopback port of its own, and hands on to the server that ``url`` names."""

    def __init__(self, authority: trustme.CA, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or LOOPBACK, parts.port or DEFAULT_PORTS[parts.scheme])
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(HOST).configure_cert(self._context)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tls", daemon=True)
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        self.port = listening.result(EFFECT_DEADLINE_S)

    def url_of(self, url: str) -> str:
        """The same ``url`` by way of this front."""
        parts = urlsplit(url)
        login, at, _server = parts.netloc.rpartition("@")
        netloc = f"{login}{at}{HOST}:{self.port}"
        return parts._replace(scheme=f"{parts.scheme}s", netloc=netloc).geturl()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(EFFECT_DEADLINE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(EFFECT_DEADLINE_S)
        self._loop.close()

    async def _listen(self) -> int:
        self._listener = await asyncio.start_server(self._met, LOOPBACK, 0, ssl=self._context)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        """Nobody is met any more, and who was is let go."""
        self._listener.close()
        relays = asyncio.all_tasks() - {asyncio.current_task()}
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._server)
        try:
            await asyncio.gather(_hand_on(reader, server_writer), _hand_on(server_reader, writer))
        finally:
            writer.transport.abort()
            server_writer.transport.abort()


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()
