"""Which routing keys a binding's pattern takes."""

from collections.abc import Sequence


def topic_matches(pattern: str, routing_key: str) -> bool:
    """Whether ``pattern`` takes ``routing_key``: ``*`` stands for one word, ``#`` for any number.

    >>> topic_matches("update.movies.*", "update.movies.w1")
    True
    >>> topic_matches("update.*", "update.movies.w1")
    False
    >>> topic_matches("update.#", "update")
    True
    """
    return _words_match(pattern.split("."), routing_key.split("."))


def _words_match(pattern: Sequence[str], key: Sequence[str]) -> bool:
    if not pattern:
        return not key
    head, rest = pattern[0], pattern[1:]
    if head == "#":
        return any(_words_match(rest, key[taken:]) for taken in range(len(key) + 1))
    return bool(key) and head in {"*", key[0]} and _words_match(rest, key[1:])
