"""What a data owner agreed to: nothing is learned from that his own recipe does not declare.

Whoever founds an epoch chooses its family and its fields. A worker follows by itself, but not to
another family, which sends other things, nor to columns of its file that nobody here named.
"""

from latecomer.data import ExampleData
from latecomer.errors import BadConfiguration
from latecomer.interactions.schema import Catalogue
from latecomer.outcomes.fields import Fields
from latecomer.recipe import Recipe


def check(own: Recipe, agreed: Recipe, catalogue: Catalogue | Fields) -> None:
    """Compare the owner's recipe with what was published.

    Raises:
        BadConfiguration: More is asked for than ``own`` declares.
    """
    ours, theirs = own.model.family, agreed.model.family
    if ours != theirs:
        raise BadConfiguration(
            f"the federation learns by {theirs}, and this recipe says {ours}",
            hint="another family sends other things; change [model] and [training] if you agree",
        )
    if isinstance(own.data, ExampleData) and isinstance(catalogue, Fields):
        _check_fields(own.data.agreed, catalogue)


def _check_fields(own: Fields, asked: Fields) -> None:
    """Each as it is declared: values and edges are what an update is broken down by."""
    if unknown := [each.name for each in asked.fields if each not in own.fields]:
        raise BadConfiguration(
            f"the federation asks for fields that this recipe does not declare, or declares "
            f"otherwise: {', '.join(unknown)}",
            hint="declare them in [[data.fields]] as they were founded if you agree",
        )
