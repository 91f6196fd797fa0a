"""The demo's misbehaving device, under every family: what it sends is refused, and it goes on."""

import pytest

from latecomer import wire
from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.clock import ManualClock
from latecomer.errors import Undecodable
from latecomer.events import Version
from latecomer.recommenders.families import family
from latecomer.recommenders.settings import MODELS
from latecomer.tensors import check_delta
from latecomer_cli.fleet import Misbehaving
from scenes import FEDERATION, Federation

ITEMS = 12


@pytest.mark.parametrize("name", MODELS)
def test_there_is_something_to_misbehave_with_in_every_family(name: str) -> None:
    clock = ManualClock()
    broker = MemoryBroker(MemoryServer(clock), "bad")
    vandal = Misbehaving("bad", FEDERATION, broker, Federation().store)
    widths = {"widths": (ITEMS,)} if name == "deepfm" else {}
    layout = family(MODELS[name](**widths)).layout(ITEMS)  # type: ignore[arg-type]
    readable = 0
    for _ in range(5):
        for body in vandal._bodies(layout, Version(5, 1)):
            try:
                sealed = wire.open_update(body)
            except Undecodable:
                continue
            readable += 1
            limit_bytes = layout.largest_delta_bytes
            check_delta(layout, wire.read_delta(sealed, sealed.inline, limit_bytes=limit_bytes))  # type: ignore[arg-type]
    assert readable == 3
