"""What a device is like: how slow, on what network, and when it is there."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from latecomer.fleet import Simulation
from latecomer_simulator.traces import Trace, Window

ALWAYS: tuple[Window, ...] = ((0.0, math.inf),)

#: Shared windows begin within this part of a period: not everybody plugs in at the same minute.
DIURNAL_JITTER = 0.1


@dataclass(frozen=True)
class Profile:
    """One device.

    Attributes:
        slowness: Its rounds take this many times as long as those of a device of slowness 1.
        down_bytes_per_s, up_bytes_per_s: Its bandwidths.
        latency_s: Of each of its calls.
        windows: When it is online; for ever where nothing ends it.
    """

    slowness: float
    down_bytes_per_s: float
    up_bytes_per_s: float
    latency_s: float
    windows: Iterator[Window]


def draw(settings: Simulation, rng: np.random.Generator) -> Profile:
    """A device of a recipe's distributions; all draws come from ``rng``."""
    network = math.exp(settings.network_spread * rng.standard_normal())
    return Profile(
        slowness=slowness(settings, rng),
        down_bytes_per_s=settings.down_bytes_per_s * network,
        up_bytes_per_s=settings.up_bytes_per_s * network,
        latency_s=settings.latency_s,
        windows=_until(windows(settings, rng), _lifetime_s(settings, rng)),
    )


def traced(drawn: Profile, trace: Trace | None) -> Profile:
    """A drawn device with a trace's windows and, if given, speed; without a trace, never online."""
    if trace is None:
        return replace(drawn, windows=iter(()))
    slow = drawn.slowness if trace.speed is None else 1.0 / trace.speed
    return replace(drawn, slowness=slow, windows=iter(trace.windows))


def slowness(settings: Simulation, rng: np.random.Generator) -> float:
    """exp(spread N(0, 1)), or exp(spread Exp(1)): Pareto of shape 1 / spread and minimum 1."""
    if settings.speed == "pareto":
        return math.exp(settings.spread * rng.exponential())
    return math.exp(settings.spread * rng.standard_normal())


def windows(settings: Simulation, rng: np.random.Generator) -> Iterator[Window]:
    """One window per period, ``online_share`` of it long, at the device's own phase."""
    if settings.availability == "always":
        yield from ALWAYS
        return
    period_s = settings.period_s
    spread_s = period_s * (DIURNAL_JITTER if settings.availability == "diurnal" else 1.0)
    # Before the run began, so that some are online when it does.
    start_s = rng.uniform(0.0, spread_s) - period_s
    while True:
        end_s = start_s + settings.online_share * period_s
        if end_s > 0:
            yield max(0.0, start_s), end_s
        start_s += period_s


def _lifetime_s(settings: Simulation, rng: np.random.Generator) -> float:
    return math.inf if settings.lifetime_s is None else rng.exponential(settings.lifetime_s)


def _until(found: Iterator[Window], end_s: float) -> Iterator[Window]:
    for from_s, until_s in found:
        if from_s >= end_s:
            return
        yield from_s, min(until_s, end_s)
