"""A fleet in virtual time: the production coordinator and agents over embedded broker and store.

Time passes only where devices train, transfer or are away; what they compute is real. Everything
random comes from one seed: the same seed, recipe and data give the same events, byte for byte.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from latecomer.errors import BadConfiguration
from latecomer.recipe import Recipe
from latecomer.recommenders.port import Agreed
from latecomer_simulator.deployment import Deployment, quality
from latecomer_simulator.outcome import Limits, Outcome
from latecomer_simulator.record import Event
from latecomer_simulator.traces import Trace
from latecomer_worker.site import Site

Mode = Literal["fedbuff", "fedasync", "sync"]

__all__ = ["Limits", "Mode", "Outcome", "quality", "run"]


def run(
    recipe: Recipe,
    sites: Mapping[str, Site],
    catalogue: Agreed,
    *,
    seed: int,
    limits: Limits,
    mode: Mode | None = None,
    traces: Mapping[str, Trace] | None = None,
    observe: Callable[[Event], None] = lambda _event: None,
) -> Outcome:
    """Run a fleet of one device per site until a limit is reached.

    Args:
        recipe: ``[simulation]`` says what devices are like; its ``fleet`` is not looked at.
        sites: By worker name.
        catalogue: What the sites' item rows refer to.
        seed: Of devices, drop-outs, draws and training; the model's own is the recipe's.
        limits: When to end.
        mode: Instead of the recipe's.
        traces: Windows and speeds by worker, instead of drawn ones.
        observe: Called with each event.

    Raises:
        BadConfiguration: There is no site.
    """
    if not sites:
        raise BadConfiguration("no worker takes part", hint="the recipe's [[fleet.workers]] do")
    if mode is not None:
        aggregation = recipe.aggregation.model_copy(update={"mode": mode})
        recipe = recipe.model_copy(update={"aggregation": aggregation})
    with Deployment(
        recipe, sites, catalogue, seed=seed, limits=limits, traces=traces or {}, observe=observe
    ) as deployment:
        return deployment.run()
