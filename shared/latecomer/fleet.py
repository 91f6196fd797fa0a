"""A recipe's fleet: who takes part, and what their devices are like where nobody has any.

In production a fleet is who enrolled; ``Demo`` and ``Simulation`` say how one machine plays it.
"""

from collections import Counter
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from latecomer.errors import BadConfiguration
from latecomer.events import MAX_NAME_CHARS, Name
from latecomer.interactions.selection import Selection
from latecomer.sections import Section


def device_name(worker: str, number: int) -> str:
    """What the ``number``-th device of a worker is called.

    Raises:
        BadConfiguration: It would be too long.
    """
    name = f"{worker}-{number}"
    if len(name) > MAX_NAME_CHARS:
        raise BadConfiguration(
            f"a device would be called {name}, which has more than {MAX_NAME_CHARS} characters",
            hint=f"give worker {worker!r} a shorter name",
        )
    return name


class FleetWorker(Selection):
    """One worker of a scene, and which part of the data is its own.

    Attributes:
        name: The worker's name; with ``slots``, the prefix of ``<name>-1`` to ``<name>-<slots>``.
        label: Reported as the region of all its customers, instead of the data's own.
        slots: How many devices may share this entry; they divide its users among them.
        pace: How the demo's device behaves: ``slow`` takes five times as long, ``offline`` is away
            half of the time, ``misbehaving`` sends what no honest worker sends.
    """

    name: Name
    label: str | None = None
    slots: int = Field(0, ge=0, le=1000)
    pace: Literal["fast", "slow", "offline", "misbehaving"] = "fast"

    @field_validator("slots")
    @classmethod
    def _leaves_names(cls, slots: int, info: ValidationInfo) -> int:
        """Every slot's name is a name as well."""
        longest = len(f"{info.data.get('name', '')}-{slots}")
        if slots and longest > MAX_NAME_CHARS:
            raise ValueError(
                f"the name of the last slot has {longest} characters, "
                f"and a worker's has at most {MAX_NAME_CHARS}"
            )
        return slots

    def members(self) -> list["FleetWorker"]:
        """The workers that this entry stands for: itself, or one for each of its slots."""
        slots = range(1, self.slots + 1)
        return [self.part(slot, self.slots) for slot in slots] if self.slots else [self]

    def part(self, number: int, parts: int) -> "FleetWorker":
        """``<name>-<number>``, with the ``number``-th of so many ``parts`` of this entry's users.

        A shard k/n is divided into the shards k + n j of n x parts, which lie inside of it.

        Raises:
            BadConfiguration: Its name would be too long.
        """
        own, of = (int(each) for each in (self.shard or "1/1").split("/"))
        shard = f"{own + of * (number - 1)}/{of * parts}"
        return self.model_copy(update={"name": device_name(self.name, number), "shard": shard})


class Fleet(Section):
    """Who takes part in a scene; no two by the same name, slots included."""

    workers: tuple[FleetWorker, ...] = ()

    @field_validator("workers")
    @classmethod
    def _no_name_twice(cls, workers: tuple[FleetWorker, ...]) -> tuple[FleetWorker, ...]:
        slots = [each.name for entry in workers if entry.slots for each in entry.members()]
        for name, count in Counter([*(each.name for each in workers), *slots]).items():
            if count > 1:
                raise ValueError(f"{count} workers are called {name!r}")
        return workers

    def members(self) -> list[FleetWorker]:
        """Every worker, in the order of the entries; a slot is a worker of its own."""
        return [member for each in self.workers for member in each.members()]

    def honest(self) -> list[FleetWorker]:
        """Every worker but those that misbehave."""
        return [each for each in self.members() if each.pace != "misbehaving"]

    def names(self) -> list[str]:
        """Every worker that a queue is declared for."""
        return [each.name for each in self.members()]

    def find(self, name: str) -> FleetWorker | None:
        """The entry of a worker; a slot's shard is its own part of the entry's data."""
        return next((each for each in self.members() if each.name == name), None)


class Demo(Section):
    """What ``latecomer demo`` adds: when to stop, how many customers to show, and the pace.

    ``round_s`` is how long a fast device takes at least for a round: without it all devices would
    be equally fast on one machine, and nothing would ever be late.
    """

    versions: int = Field(40, ge=1)
    limit_s: float = Field(60.0, gt=0)
    customers: int = Field(3, ge=0, le=20)
    round_s: float = Field(0.2, ge=0)


class Simulation(Section):
    """What ``latecomer simulate`` draws its devices from; time in it is virtual.

    A device needs ``examples x passes x slowness / examples_per_s`` seconds for a round. The
    logarithm of slowness has standard deviation ``spread`` in both distributions: ``lognormal`` has
    median 1, ``pareto`` minimum 1 and the heavier tail.

    Attributes:
        examples_per_s: What a device of slowness 1 learns from in a second.
        speed: How slowness is distributed.
        spread: Standard deviation of log slowness.
        latency_s: Of every call to broker or store.
        down_bytes_per_s, up_bytes_per_s: Median bandwidths.
        network_spread: Standard deviation of log bandwidth.
        availability: ``always`` online; in ``windows`` of one's own; ``diurnal`` windows that all
            devices share, as chargers at night.
        online_share: The part of a period that a window lasts.
        period_s: From the begin of a window to that of the next.
        offline: Without network a device ``trains`` on and hands in later, or ``stops``.
        lifetime_s: Devices leave for good after a time of this mean; never where it is not given.
        dropout: Probability that a training is lost midway.
        restart_s: Until a device that lost one is back.
        concurrency: At most so many devices take part at a time, drawn at random; in ``sync``
            mode so many per round. Where it is not given, all of them; per round, K.
        per_user: In virtual time, each user has a device of his own.
    """

    examples_per_s: float = Field(500.0, gt=0)
    speed: Literal["lognormal", "pareto"] = "lognormal"
    spread: float = Field(1.0, ge=0, le=5)
    latency_s: float = Field(0.05, ge=0)
    down_bytes_per_s: float = Field(2e6, gt=0)
    up_bytes_per_s: float = Field(5e5, gt=0)
    network_spread: float = Field(0.5, ge=0, le=5)
    availability: Literal["always", "windows", "diurnal"] = "always"
    online_share: float = Field(0.8, gt=0, lt=1)
    period_s: float = Field(600.0, gt=0)
    offline: Literal["trains", "stops"] = "trains"
    lifetime_s: float | None = Field(None, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    restart_s: float = Field(10.0, gt=0)
    concurrency: int | None = Field(None, ge=1)
    per_user: bool = False
