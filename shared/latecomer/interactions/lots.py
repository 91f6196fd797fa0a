"""Drawing lots by a hash: alike on any machine, and the same when others are added."""

import hashlib


def lot(name: str) -> bytes:
    """Eight bytes that tell nothing of ``name`` and always come of it (BLAKE2b-64)."""
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def part(name: str, parts: int) -> int:
    """Which of so many like parts ``name`` falls into, from 0."""
    return int.from_bytes(lot(name), "big") % parts
