"""A simulated device: the production agent, awake only while it takes part in a round.

Between rounds its agent is parked, without thread; its file is in memory and survives whatever
happens to the process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from latecomer.broker.memory import MemoryServer
from latecomer.recipe import Recipe
from latecomer.recommenders.families import family
from latecomer.recommenders.port import Plan, Trained
from latecomer.store.port import ModelStore
from latecomer.tensors import State
from latecomer_simulator.links import Link, LinkedBroker, SharedChunks, Shelf
from latecomer_simulator.machines import VirtualStop
from latecomer_simulator.profiles import Profile
from latecomer_simulator.record import Record
from latecomer_simulator.timeline import Killed, Process, Timeline
from latecomer_worker import app as worker_app
from latecomer_worker.agent import Agent, Step
from latecomer_worker.database import IN_MEMORY
from latecomer_worker.rounds import GRACE_S
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer

#: What waits in an outbox is offered again after this long, while the device is online.
RETRY_S = 2.0


@dataclass(frozen=True)
class Surroundings:
    """What all devices of a run share."""

    recipe: Recipe
    timeline: Timeline
    record: Record
    server: MemoryServer
    open_store: Callable[[], ModelStore]
    shelf: Shelf
    changed: Callable[..., None]


class Pace(Protocol):
    """Lets a training take its time; may raise ``Killed``."""

    def __call__(self, *, examples: int) -> None:
        """Called with the examples of one training."""
        ...


#: A draw may hit what nothing is known before, and the next one something to learn from; who had
#: nothing so often has nothing. Each time it waits twice as long as before, as `rounds` does.
IN_VAIN = 12


class TimedTrainer(Trainer):
    """Trains like any other, in virtual time.

    Attributes:
        learned_all: There was nothing left to learn from, and simulated data does not grow.
    """

    def __init__(
        self,
        recipe: Recipe,
        site: Site,
        state: WorkerState,
        *,
        pace: Pace,
        record: Callable[..., None],
    ) -> None:
        super().__init__(family(recipe.model), site, recipe.protocol, state, social=recipe.social)
        self.learned_all = False
        self._pace = pace
        self._record = record

    def train(
        self,
        model: State,
        *,
        plan: Plan,
        rng: np.random.Generator,
        should_stop: Callable[[], bool],
    ) -> Trained:
        """See ``Trainer.train``; what is lost midway is never computed.

        Who finds nothing new to learn from has looked, and that is no training.
        """
        examples = self.site.split.train.size
        drawn = min(examples, int(plan.get("examples_per_pass", 0)) or examples)
        self._pace(examples=drawn * int(plan.get("passes", 1)))
        trained = super().train(model, plan=plan, rng=rng, should_stop=should_stop)
        if trained.examples:
            self._record("trained", examples=trained.examples, steps=trained.steps)
        # Who moves no tensor adds what it has, whatever the model, and has said it all.
        self.learned_all = not trained.model
        return trained


class Device:
    """One device of the fleet; all of its methods are called between steps of the timeline.

    Attributes:
        name: The worker's name.
        link: Its network.
    """

    def __init__(
        self, name: str, site: Site, profile: Profile, surroundings: Surroundings, *, seed: int
    ) -> None:
        self.name, self.site = name, site
        self.link = Link(name, profile, surroundings.timeline, surroundings.record)
        # The head's number when it last took part; -1 after an absence: who knows what it missed.
        self._seen = -1
        self._base = 0
        self._resting = self._backlog = self._gone = self._trains = False
        self._all = surroundings
        self._profile = profile
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self.state = WorkerState(IN_MEMORY)
        self._cache = SharedChunks(surroundings.shelf)
        self._boots = self._in_vain = 0
        self._broker: LinkedBroker | None = None
        self._agent: Agent | None = None
        self._process: Process | None = None
        self.trainer = self._new_trainer()

    @property
    def awake(self) -> bool:
        """Whether it takes part in a round now, or sends what waited."""
        return self._process is not None

    @property
    def training(self) -> bool:
        """Whether it takes part in a round now."""
        return self.awake and self._trains

    def ready(self, head: int) -> bool:
        """Whether it is there, idle, and has something to train on."""
        return self._idle and self._seen < head and not self.done

    @property
    def owes(self) -> bool:
        """Whether it has something that it will still send."""
        return self._backlog and not self._gone

    @property
    def done(self) -> bool:
        """Whether it never begins to train again: it has said all that it has, or left for good."""
        return self.trainer.learned_all or self._gone or self._in_vain >= IN_VAIN

    def start(self) -> None:
        """Wait for the first window."""
        self._next_window()

    def wake(self, head: int) -> None:
        """Take part in a round; ``head`` is the newest version's number."""
        self._seen = self._base = head
        self._begin(trains=True)

    def close(self) -> None:
        """Its file."""
        self.state.close()

    @property
    def _idle(self) -> bool:
        return self.link.online and not self.awake and not self._resting

    def _begin(self, *, trains: bool) -> None:
        self._trains = trains
        self._process = self._all.timeline.spawn(self.name, self._session)

    def _next_window(self) -> None:
        window = next(self._profile.windows, None)
        if window is None:
            self._gone = True
            return
        start_s = self._all.timeline.clock.monotonic_s() - self._all.record.now_s()
        self._all.timeline.at(start_s + window[0], self._came)
        if window[1] < float("inf"):
            self._all.timeline.at(start_s + window[1], self._left)

    def _came(self) -> None:
        self.link.online, self._seen = True, -1
        self._all.record.add("online", self.name)
        self._there_again()

    def _left(self) -> None:
        self.link.cut()
        self._all.record.add("offline", self.name)
        if self._process is not None and self._all.recipe.simulation.offline == "stops":
            self._all.record.add("dropped_out", self.name)
            self._all.timeline.kill(self._process)
            if self.awake:  # it was woken this very moment and never ran
                self._died()
        self._next_window()

    def _session(self) -> None:
        """One round, or less; the timeline's process."""
        came_to: Step | None = None
        try:
            agent = self._agent or self._booted()
            if self._trains:
                came_to = agent.step(0.0)
                self._came_to(came_to)
            else:
                agent.send()
            while self.link.online and self.state.pending.unconfirmed():
                self._all.timeline.sleep(RETRY_S)
                agent.send()
        except Killed:
            self._died()
            raise
        self._process = None
        self._backlog = self.state.pending.unconfirmed() > 0
        # Whose line went away while it fetched, say, who had nothing to learn from, or who left for
        # good with what it learned: its place in the round is another's.
        in_vain = self._trains and (came_to is not Step.LEARNED or (self._backlog and self._gone))
        self._all.changed(lost=self._base if in_vain else None)

    def _came_to(self, step: Step) -> None:
        """Who found nothing to learn from looks again, as a worker does, though no version came."""
        if step is Step.LEARNED:
            self._in_vain = 0
        elif step is Step.LOOKED:
            patience_s = self._all.recipe.aggregation.max_wait_s + GRACE_S
            self._all.timeline.after(patience_s * 2**self._in_vain, self._look_again)
            self._in_vain += 1

    def _look_again(self) -> None:
        self._seen = -1
        self._all.changed()

    def _died(self) -> None:
        """The process is gone; its file is not. It will be back."""
        if self._broker is not None:
            self._broker.close()
        self._agent = self._broker = None
        self.trainer = self._new_trainer()
        self._process, self._resting = None, True
        self._backlog = self.state.pending.unconfirmed() > 0
        self._all.timeline.after(self._all.recipe.simulation.restart_s, self._back)
        self._all.changed(lost=self._base if self._trains else None)

    def _back(self) -> None:
        self._resting, self._seen = False, -1
        self._there_again()

    def _there_again(self) -> None:
        """What waits is sent at once and takes nobody's place among those who train."""
        if self._backlog and self._idle:
            self._begin(trains=False)
        self._all.changed()

    def _booted(self) -> Agent:
        self._boots += 1
        self._broker = LinkedBroker(self.link, self._all.server)
        self._agent = worker_app.build(
            federation=self._all.recipe.federation,
            worker=self.name,
            broker=self._broker,
            store=self.link.store(self._all.open_store()),
            state=self.state,
            cache=self._cache,
            open_site=lambda _snapshot: self.trainer,
            clock=self._all.timeline.clock,
            stop=VirtualStop(self._all.timeline),
            boot=f"boot{self._boots}",
            seed=self._seed + self._boots,
        )
        return self._agent

    def _new_trainer(self) -> TimedTrainer:
        return TimedTrainer(
            self._all.recipe, self.site, self.state, pace=self._train_for, record=self._note
        )

    def _note(self, event: str, **facts: int) -> None:
        self._all.record.add(event, self.name, version=self.link.fetched, **facts)

    def _train_for(self, *, examples: int) -> None:
        settings = self._all.recipe.simulation
        self._note("fetched")
        needed_s = examples * self._profile.slowness / settings.examples_per_s
        if self._rng.random() < settings.dropout:
            self._all.timeline.sleep(self._rng.uniform(0.0, needed_s))
            self._note("dropped_out")
            raise Killed
        self._all.timeline.sleep(needed_s)
