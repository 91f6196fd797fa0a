"""Pika's side of `latecomer bench pipeline`: consume and acknowledge, and nothing else.

Usage: pika_consume.py QUEUE PREFETCH COUNT EVERY prints one JSON object: when every EVERY-th
message of COUNT was acknowledged, on the machine's clock. `pika_consume.py --delete QUEUE` deletes
a queue. The server's URL is read from stdin, because everybody may read a command line.

One callback on pika's own loop, one acknowledgement per message: the shortest consumer that there
is. Bodies arrive whole and are dropped.
"""

import json
import sys
import time
from typing import Any

import pika
from pika.channel import Channel


class Consumer:
    """Consumes ``count`` messages, then closes.

    Attributes:
        marks_s: Seconds since the Unix epoch, one per ``every`` messages.
    """

    def __init__(self, queue: str, prefetch: int, count: int, every: int) -> None:
        self.marks_s: list[float] = []
        self._queue = queue
        self._prefetch = prefetch
        self._count = count
        self._every = every
        self._seen = 0

    def run(self, url: str) -> None:
        """Until all were acknowledged."""
        connection = pika.SelectConnection(
            pika.URLParameters(url), on_open_callback=self._connected
        )
        connection.ioloop.start()

    def _connected(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._opened)

    def _opened(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._closed)
        channel.basic_qos(prefetch_count=self._prefetch)
        channel.basic_consume(self._queue, self._delivered)

    def _delivered(self, channel: Channel, method: Any, _properties: object, _body: bytes) -> None:
        channel.basic_ack(method.delivery_tag)
        self._seen += 1
        if self._seen % self._every == 0:
            self.marks_s.append(time.time())
        if self._seen == self._count:
            channel.close()

    def _closed(self, channel: Channel, reason: Exception) -> None:
        channel.connection.ioloop.stop()
        if self._seen < self._count:
            raise reason


def delete(url: str, queue: str) -> None:
    """Delete a queue, whatever is in it."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(queue)


def main() -> None:
    """See the module."""
    url, (first, *rest) = sys.stdin.read().strip(), sys.argv[1:]
    if first == "--delete":
        delete(url, *rest)
        return
    consumer = Consumer(first, *(int(each) for each in rest))
    consumer.run(url)
    sys.stdout.write(json.dumps({"pika": pika.__version__, "marks_s": consumer.marks_s}) + "\n")


if __name__ == "__main__":
    main()
