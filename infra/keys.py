"""Passwords for every role, and what broker and store must know about them.

    python keys.py FEDERATION WORKER... [--slots WORKER]

Runs before everything else, as often as you like: a password that exists stays, the rest is
written again. Each audience has a folder of its own (a volume, in docker compose), so that a worker
can read its own two passwords and nobody else's.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import secrets
from collections.abc import Collection, Iterable
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

VHOST = "latecomer"

#: Rights to nothing. (An empty pattern would do, too, but reads like an oversight.)
NOTHING = "^$"

#: Dead updates are looked at by a person within two weeks.
DEAD_TTL_MS = 14 * 24 * 3600 * 1000

GIB = 2**30

#: What docker-compose.yml runs the store under, whichever image it is.
USER = 10001

#: As ``latecomer.events.NAME_PATTERN``, which this program runs without.
NAME = r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"


class Audience(NamedTuple):
    """Who reads a folder: its logins at broker and store; empty for none."""

    broker: str
    store: str


def audiences(workers: Iterable[str]) -> dict[str, Audience]:
    """Every folder with passwords in it. The store has one login for all workers."""
    return {
        "aggregator": Audience("aggregator", "aggregator"),
        "operator": Audience("operator", "operator"),
        # Declares queues, then publishes version 0.
        "init": Audience("operator", "aggregator"),
        # The store asks itself whether it is well.
        "store": Audience("", "operator"),
    } | {worker: Audience(worker, "worker") for worker in workers}


def definitions(
    federation: str,
    workers: Iterable[str],
    passwords: dict[str, str],
    *,
    slots: Collection[str] = (),
) -> str:
    """What RabbitMQ loads when it boots: logins, rights and tunables.

    Queues are not in it: ``latecomer init`` declares them, with the arguments of
    ``latecomer.broker.topology``. Every key here means the same on RabbitMQ 3.10 and 4.x.
    """
    own = re.escape(federation)
    rights = [
        _rights("operator", configure=r"^latecomer\.", write=r"^latecomer\.", read=r"^latecomer\."),
        _rights("aggregator", write=r"^latecomer\.rounds$", read=rf"^latecomer\.updates\.{own}$"),
    ]
    topics = [_topic("aggregator", "latecomer.rounds", rf"^round\.{own}\.")]
    for worker in workers:
        # A login speaks for the worker of its name, or for numbered slots (device-1, …). Not for
        # both: who is many workers has as many places in a buffer.
        name = re.escape(worker) + ("-[0-9]+$" if worker in slots else "$")
        # No configure, not even for its own queue: who may declare one may also have it
        # dead-letter into the updates queue under somebody else's routing key.
        rights.append(
            _rights(worker, write=r"^latecomer\.updates$", read=rf"^latecomer\.rounds\.{name}")
        )
        topics.append(_topic(worker, "latecomer.updates", rf"^update\.{own}\.{name}"))
    return _json(
        {
            "vhosts": [{"name": VHOST}],
            "users": [_user(name, password) for name, password in sorted(passwords.items())],
            "permissions": rights,
            "topic_permissions": topics,
            "policies": [
                _policy("updates", r"^latecomer\.updates\.", {"max-length-bytes": 2 * GIB}),
                _policy(
                    "dead",
                    r"^latecomer\.dead$",
                    {
                        "max-length-bytes": GIB,
                        "message-ttl": DEAD_TTL_MS,
                        # Each look at a message counts. RabbitMQ 4 allows 20 where nothing is
                        # said, and here nobody is next in line: the 21st would delete it.
                        "delivery-limit": 1_000_000,
                    },
                ),
            ],
        }
    )


def access_list(template: str, passwords: dict[str, str]) -> str:
    """The store's logins; it knows digests only."""
    digests = {
        f"{name}_sha256": hashlib.sha256(password.encode()).hexdigest()
        for name, password in passwords.items()
    }
    return Template(template).substitute(digests)


def password_hash(login: str, password: str) -> str:
    """RabbitMQ's way to keep a password.

    Ours are long random words, for which a fixed salt is as good as any; with it the definitions
    stay the same, and a broker that restarts sees that it has them already.
    """
    salt = hashlib.sha256(login.encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def prepare(
    folder: Path,
    template: str,
    federation: str,
    workers: list[str],
    *,
    slots: Collection[str] = (),
) -> None:
    """Write everything below ``folder``, which has a folder per audience."""
    if strangers := sorted(set(slots) - set(workers)):
        raise SystemExit(f"keys: --slots {strangers[0]}: there is no such worker")
    _check_names(workers)
    readers = audiences(workers)
    broker = _passwords(folder, "broker", {name: who.broker for name, who in readers.items()})
    store = _passwords(folder, "store", {name: who.store for name, who in readers.items()})
    _write(
        folder / "rabbitmq/definitions.json", definitions(federation, workers, broker, slots=slots)
    )
    _write(folder / "store/users.acl", access_list(template, store))


def _check_names(workers: list[str]) -> None:
    """Each may be a worker's name in a recipe, and is nobody else's: a folder has one audience."""
    taken = {"rabbitmq", *audiences([])}
    for worker in workers:
        if worker in taken:
            raise SystemExit(
                f"keys: no worker can be called {worker!r}: the folder of that name has passwords "
                "that no worker may read; give it another name, here and in the recipe"
            )
        if not re.fullmatch(NAME, worker) or re.search(r"-[0-9]+$", worker):
            # NAME-1 is what the login NAME calls its first slot.
            raise SystemExit(
                f"keys: no worker can be called {worker!r}: 1 to 40 lower-case letters, digits and "
                "inner hyphens, not ending in -NUMBER"
            )


def _passwords(folder: Path, server: str, logins: dict[str, str]) -> dict[str, str]:
    """A password per login, found in one of its audiences' folders or made, and put into all."""
    found: dict[str, str] = {}
    for audience, login in logins.items():
        file = _file(folder, audience, server)
        if login and file.exists():
            found.setdefault(login, file.read_text().strip())
    for audience, login in logins.items():
        if login:
            password = found.setdefault(login, secrets.token_urlsafe(32))
            _write(_file(folder, audience, server), f"{password}\n")
    return found


def _file(folder: Path, audience: str, server: str) -> Path:
    return folder / audience / f"latecomer_{server}_password"


def _write(file: Path, content: str) -> None:
    """Whole or not at all: whoever reads at this moment gets the old content or the new.

    Readable by whatever user its audience runs under: who may read is who mounts the folder.
    """
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(content)
    draft.chmod(0o444)
    draft.replace(file)


def _user(name: str, password: str) -> dict[str, Any]:
    return {
        "name": name,
        "password_hash": password_hash(name, password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        # The operator may look at the management pages.
        "tags": "monitoring" if name == "operator" else "",
    }


def _rights(
    user: str, *, configure: str = NOTHING, write: str = NOTHING, read: str = NOTHING
) -> dict[str, str]:
    return {"user": user, "vhost": VHOST, "configure": configure, "write": write, "read": read}


def _topic(user: str, exchange: str, write: str) -> dict[str, str]:
    return {"user": user, "vhost": VHOST, "exchange": exchange, "write": write, "read": NOTHING}


def _policy(name: str, pattern: str, definition: dict[str, int]) -> dict[str, Any]:
    return {
        "vhost": VHOST,
        "name": name,
        "pattern": pattern,
        "apply-to": "queues",
        "priority": 10,
        "definition": definition,
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def main() -> None:
    """Parse, prepare, and say what was done (never a password)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("federation")
    parser.add_argument("workers", nargs="+")
    parser.add_argument(
        "--slots",
        action="append",
        default=[],
        metavar="WORKER",
        help="one login for many devices: WORKER-1, WORKER-2, …",
    )
    parser.add_argument("--folder", type=Path, default=Path("/keys"))
    parser.add_argument("--store-data", type=Path, help="to be owned by the store's user")
    given = parser.parse_args()
    template = (Path(__file__).parent / "redis/users.acl.template").read_text()
    prepare(given.folder, template, given.federation, given.workers, slots=given.slots)
    if given.store_data:
        os.chown(given.store_data, USER, USER)
    print(f"keys: {given.federation}: aggregator, operator, {', '.join(given.workers)}")


if __name__ == "__main__":
    main()
