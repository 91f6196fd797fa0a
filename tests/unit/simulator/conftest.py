"""One honest run, from which every broken one is made."""

import pytest

from latecomer_simulator.evidence import Evidence
from latecomer_simulator.world import World


@pytest.fixture(scope="session")
def honest() -> Evidence:
    """Four workers, three updates per version, ten versions, and nothing goes wrong."""
    with World(3, workers=4, updates_per_version=3) as world:
        for machine in world.machines:
            machine.start()
        world.timeline.run(15.0)
        world.training = False
        assert world.timeline.run(60.0, until=world.at_rest)
        return world.evidence()
