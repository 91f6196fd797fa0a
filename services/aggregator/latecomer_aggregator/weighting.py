"""How much an update counts for what it learned from, before staleness discounts it.

Sites are uneven: one shop has a thousand customers, another three. ``equal`` lets the three count
like the thousand; ``linear`` lets the thousand drown the three. Weights are relative to a stated
reference size and capped, so that nobody gains unbounded influence by claiming more examples.
"""

import math

from latecomer.aggregation import ExampleWeight


def example_weight(examples: int, settings: ExampleWeight) -> float:
    """w(n) = min(cap, 1 | sqrt(n / n_ref) | n / n_ref) (as in FLSim's async_example_weights)."""
    relative = examples / settings.reference
    match settings.rule:
        case "equal":
            return 1.0
        case "sqrt":
            return min(settings.cap, math.sqrt(relative))
        case "linear":
            return min(settings.cap, relative)
