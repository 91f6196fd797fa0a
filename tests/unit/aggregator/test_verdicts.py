"""A verdict whose reply was lost is given once, and what follows from it happens all the same."""

from latecomer.broker import topology
from latecomer.broker.port import Message
from latecomer.errors import StoreUnreachable
from latecomer.store.port import Lease, Refusal
from latecomer.store.redis import RedisStore, embedded
from latecomer_aggregator.rounds import places
from scenes import FEDERATION, Federation, make_update, step


class Unheard(RedisStore):
    """The reply to the first verdict is lost."""

    def __init__(self, scene: Federation) -> None:
        super().__init__(embedded(scene.redis), federation=FEDERATION, clock=scene.clock)
        self.lost = 0

    def refuse(self, lease: Lease, refusal: Refusal) -> bool:
        new = super().refuse(lease, refusal)
        self.lost += 1
        if self.lost == 1:
            raise StoreUnreachable("the reply was lost")
        return new


def test_what_no_worker_sends_is_buried_though_the_reply_to_its_verdict_was_lost() -> None:
    scene = Federation()
    scene.found()
    store = Unheard(scene)
    key = topology.update_key(FEDERATION, "w1")
    garbage = Message(topology.UPDATES, key, b"garbage", "m", "latecomer.update.v1")
    scene.login("w1").publisher().publish(garbage)
    step(scene.coordinator(store=store), 3)
    assert store.lost == 2
    assert scene.store.totals().refused == {"undecodable": 1}
    assert (scene.dead(), scene.unacked(), scene.waiting()) == (1, 0, 0)


def test_who_makes_room_is_refused_once_though_the_reply_to_its_verdict_was_lost() -> None:
    scene = Federation(updates_per_version=10)
    scene.found()
    store = Unheard(scene)
    sent = [make_update("w1", seq) for seq in range(2 + places(scene.recipe.aggregation))]
    scene.send(*sent)
    step(scene.coordinator(store=store), len(sent) + 2)
    assert store.lost == 2
    assert scene.store.totals().refused == {"superseded": 1}
    assert (scene.dead(), scene.unacked()) == (0, len(sent) - 1)
