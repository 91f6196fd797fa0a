"""A device's network: latency, bandwidth, bytes counted, and sometimes nothing at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.broker.memory.broker import MemoryPublisher
from latecomer.broker.port import Message
from latecomer.broker.topology import UPDATES
from latecomer.errors import BrokerUnreachable, StoreUnreachable
from latecomer.events import Version
from latecomer.store.port import Manifest, ModelStore
from latecomer.tensors import Array
from latecomer_simulator.profiles import Profile
from latecomer_simulator.record import Record
from latecomer_simulator.timeline import Timeline
from latecomer_worker.fetch import ChunkCache


@dataclass
class Link:
    """One device's way to broker and store; whoever calls over it waits in virtual time.

    Attributes:
        online: Nothing passes while it is not.
        absences: How often the network went away; no transfer survives that, however it ends.
        bytes_up, bytes_down: Bodies and chunks that passed; a transfer that broke counts, too.
        fetched: Number of the version whose manifest came last.
    """

    worker: str
    profile: Profile
    timeline: Timeline
    record: Record
    online: bool = False
    absences: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    fetched: int = 0

    def up(self, size: int) -> bool:
        """Send so many bytes; whether the network was there from begin to end."""
        if not self.online:
            return False
        self.bytes_up += size
        if size:
            self.record.add("uploaded", self.worker, bytes=size)
        return self._lasts(self.profile.latency_s + size / self.profile.up_bytes_per_s)

    def down(self, size: int) -> bool:
        """Receive so many bytes; whether the network was there from begin to end."""
        if not self.online:
            return False
        self.bytes_down += size
        lasted = self._lasts(size / self.profile.down_bytes_per_s)
        self.record.add("downloaded", self.worker, bytes=size)
        return lasted

    def cut(self) -> None:
        """The network goes away, and whatever is on its way with it."""
        self.online = False
        self.absences += 1

    def store(self, store: ModelStore) -> ModelStore:
        """The store, at the end of this link."""
        return cast("ModelStore", _LinkedStore(self, store))

    def _lasts(self, seconds: float) -> bool:
        """Wait for so long; whether the network was there all the while."""
        before = self.absences
        self.timeline.sleep(seconds)
        return self.online and self.absences == before


class _LinkedStore:
    def __init__(self, link: Link, store: ModelStore) -> None:
        self._link = link
        self._store = store

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        def over_the_link(*arguments: Any, **options: Any) -> Any:
            if not self._link.up(sum(len(each) for each in arguments if isinstance(each, bytes))):
                raise StoreUnreachable("no network")
            result = call(*arguments, **options)
            if (size := _size(result)) and not self._link.down(size):
                raise StoreUnreachable("the network went away")
            if isinstance(result, Manifest):
                self._link.fetched = result.version.number
            return result

        return over_the_link


def _size(result: object) -> int:
    """Bytes of what comes back; small answers are all latency."""
    match result:
        case Manifest():
            return len(result.to_bytes())
        case dict():
            return sum(len(each) for each in result.values() if isinstance(each, bytes))
        case _:
            return 0


class LinkedBroker(MemoryBroker):
    """A login at the broker over a link: what is published takes its time."""

    def __init__(self, link: Link, server: MemoryServer) -> None:
        super().__init__(server, link.worker)
        self._link, self._home = link, server

    def publisher(self) -> MemoryPublisher:
        """A publisher under this login."""
        return _LinkedPublisher(self._link, self._home, on_close=self._opened.forget)


class _LinkedPublisher(MemoryPublisher):
    def __init__(
        self, link: Link, server: MemoryServer, *, on_close: Callable[[MemoryPublisher], None]
    ) -> None:
        super().__init__(server, link.worker, on_close=on_close)
        self._link = link

    def publish(self, message: Message, *, mandatory: bool = True) -> None:
        size = len(message.body)
        if not self._link.up(size):
            raise BrokerUnreachable("no network")
        super().publish(message, mandatory=mandatory)
        if message.exchange == UPDATES:
            self._link.record.add(
                "published", self._link.worker, update_id=message.message_id, bytes=size
            )


@dataclass
class Shelf:
    """What the devices of a fleet hold, in memory once.

    Attributes:
        chunks: By name, with how many devices hold each.
        newest: The version that was put together last, and its model.
    """

    chunks: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    newest: tuple[Version, dict[str, Array]] | None = None


class SharedChunks(ChunkCache):
    """A device's chunks, on the shelf of its fleet."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(Path())
        self._shelf = shelf
        self._mine: set[str] = set()

    def get(self, name: str) -> bytes | None:
        """The chunk, if this device has it."""
        return self._shelf.chunks[name][0] if name in self._mine else None

    def put(self, name: str, data: bytes) -> None:
        """Keep a chunk."""
        if name not in self._mine:
            self._mine.add(name)
            held, holders = self._shelf.chunks.get(name, (data, 0))
            self._shelf.chunks[name] = (held, holders + 1)

    def model(self, manifest: Manifest, blobs: Mapping[str, bytes]) -> dict[str, Array]:
        """See ``ChunkCache``; another device's, which nobody may write to."""
        if self._shelf.newest is None or self._shelf.newest[0] != manifest.version:
            model = super().model(manifest, blobs)
            for array in model.values():
                array.flags.writeable = False
            self._shelf.newest = (manifest.version, model)
        return dict(self._shelf.newest[1])

    def keep_only(self, names: frozenset[str], *, and_newer_than_s: float = 0.0) -> None:
        """Forget what does not belong to the newest version; nobody else is here."""
        del and_newer_than_s
        for name in self._mine - names:
            held, holders = self._shelf.chunks.pop(name)
            if holders > 1:
                self._shelf.chunks[name] = (held, holders - 1)
        self._mine &= names
