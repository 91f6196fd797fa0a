"""Every error that a person or a caller can act on, and the exit code it ends a command with.

Adapters translate foreign exceptions into these at the border. ``Transient`` means that the same
call may succeed later and that nothing is lost; ``Permanent`` means that repeating it is useless.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means; the same for every command."""

    OK = 0
    JOB_FAILED = 1
    BAD_USAGE = 2
    UNREACHABLE = 3
    SOME_WORKERS_FAILED = 4


#: What to do where a server's certificate is not trusted.
UNTRUSTED = "SSL_CERT_FILE names the certificate of the authority to trust; is it the right server?"


class LatecomerError(Exception):
    """Root of all errors that Latecomer raises on purpose.

    Args:
        message: What went wrong and where, as one sentence.
        hint: How to fix it, as one sentence; empty where nothing better than the message is known.
    """

    exit_code = ExitCode.JOB_FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Transient(LatecomerError):
    """The same call may succeed later; nothing was lost."""


class Permanent(LatecomerError):
    """Repeating the call is useless until somebody changes something."""


class BadConfiguration(Permanent):
    """A setting, recipe or argument is wrong; the message names its path and what is allowed."""

    exit_code = ExitCode.BAD_USAGE


class BadData(Permanent):
    """Interactions or a catalogue that cannot be used at all."""

    exit_code = ExitCode.BAD_USAGE


class NobodyLeft(BadData):
    """The data can be read, and nobody is in it; or nobody of the part that is asked for.

    Args:
        message: As of every error.
        hint: As of every error.
        no_rows: Whether there is no row at all.
    """

    def __init__(self, message: str, *, hint: str = "", no_rows: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.no_rows = no_rows


class BrokerUnreachable(Transient):
    """The message broker does not answer, or went away before it confirmed."""

    exit_code = ExitCode.UNREACHABLE


class PublishRefused(Transient):
    """The broker negatively confirmed a message: the queue is full or an alarm is on."""


class Unroutable(Transient):
    """No queue is bound for a mandatory message; a queue may still be on its way."""


class MessageTooLarge(Permanent):
    """The message exceeds what every supported broker accepts."""


class BrokerDenied(Permanent):
    """The broker refused the login or the right to touch an exchange or queue."""

    exit_code = ExitCode.BAD_USAGE


class QueueMissing(Transient):
    """The queue to consume from does not exist (yet), and this role may not declare it."""


class StoreUnreachable(Transient):
    """The model store does not answer."""

    exit_code = ExitCode.UNREACHABLE


class StoreDenied(Permanent):
    """The store refused the login or the right to a key."""

    exit_code = ExitCode.BAD_USAGE


class DiskTrouble(Transient):
    """The worker's own disk is full, locked or failing; what was done before is kept."""


class NotInitialised(Transient):
    """The federation has no model yet."""

    def __init__(self, federation: str) -> None:
        super().__init__(
            f"Federation {federation!r} has no model yet",
            hint="publish version 0 first: latecomer init RECIPE",
        )


class NothingLearned(Transient):
    """Version 0 is as it was drawn, or empty: whatever it would recommend, nobody asked for it."""

    def __init__(self, version: object) -> None:
        super().__init__(
            f"version {version} has learned from nobody yet",
            hint="wait for the next one: latecomer status",
        )


class SomeWorkersFailed(LatecomerError):
    """The job came to its end, and some of its workers did not."""

    exit_code = ExitCode.SOME_WORKERS_FAILED


class FallsShort(LatecomerError):
    """It ran to its end, and is not as good as was required."""


class Fenced(Permanent):
    """The lease passed to another aggregator; what this one wanted to write was not written."""


class VersionConflict(Permanent):
    """The head is not the version that the commit was computed from; nothing was written."""


class StagedMissing(Transient):
    """A staged chunk expired before the commit; stage again and repeat."""


class ChunkMissing(Transient):
    """A chunk is gone or damaged: its version was superseded, fetch the head."""


class Undecodable(Permanent):
    """Bytes that are not a message of a known schema, or that break one of its limits.

    Args:
        reason: A short stable name, used as a metric label and in the log.
        detail: What exactly was wrong, for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class UnknownSchema(Undecodable):
    """A message of a release that this one does not understand; its sender did nothing wrong.

    Args:
        update_id: What the message calls itself, empty if it is not an update's id.
        worker: Who it says it is from.
    """

    def __init__(self, detail: str, *, update_id: str, worker: str) -> None:
        super().__init__("unknown_schema", detail)
        self.update_id = update_id
        self.worker = worker


class LayoutMismatch(Permanent):
    """Tensors that do not fit the layout they claim."""


class NotFinite(Permanent):
    """A tensor or a score holds NaN or infinity."""


class Unsolvable(Permanent):
    """Sums of which nothing can be computed: no honest updates add up to them."""
