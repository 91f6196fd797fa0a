"""An experiment on the shipped purchases: by lot, what most buy or what goes with one's own."""

from pathlib import Path

import pytest

from latecomer.evaluation.baselines import item_knn, popularity, same_for_all
from latecomer.evaluation.protocol import RankingProtocol
from latecomer.experiments.assignment import arm
from latecomer.experiments.comparison import compared
from latecomer.experiments.counts import Counts, counted
from latecomer.experiments.sizes import mismatch
from latecomer.interactions.splits import Split
from latecomer.recipe import load_recipe
from latecomer_cli import demo
from latecomer_cli.baselines import pooled

RECIPE = Path(__file__).parents[3] / "recipes" / "retail.toml"
SHOPS = ("britain", "abroad")


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> list[Counts]:
    """At both shops, whether the last purchase of each customer was among ten he was shown."""
    scene = demo.read(load_recipe(RECIPE), RECIPE.parent)
    sites, items = scene.in_order(), len(scene.catalogue)
    split = pooled(sites)
    assert isinstance(split, Split)
    known = split.known("test")
    scores = {
        "control": same_for_all(popularity(known, items)),
        "treatment": item_knn(known, items, neighbours=10, shrinkage=0.0),
    }
    protocol = RankingProtocol(k=10)
    found = {each: protocol.evaluate(score, known, split.test) for each, score in scores.items()}
    bought = {
        each: dict(zip(result.users, result.per_user()["recall@10"], strict=True))
        for each, result in found.items()
    }
    customers = [user for site in sites for user in site.users]
    regions = [region for site in sites for region in site.regions]
    logs = {shop: ["customer,bought"] for shop in SHOPS}
    for row in found["control"].users:
        shop = "britain" if regions[row] == "United Kingdom" else "abroad"
        his = arm("last-purchase", customers[row], site=shop)
        logs[shop].append(f"{customers[row]},{bought[his][row]}")
    return [log_counted(tmp_path_factory.mktemp(shop), shop, logs[shop]) for shop in SHOPS]


def log_counted(folder: Path, shop: str, lines: list[str]) -> Counts:
    path = folder / "served.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return counted(
        path, experiment="last-purchase", site=shop, user="customer", metrics=["bought"]
    )[0]


def test_every_tested_customer_was_shown_something(counts: list[Counts]) -> None:
    assert sum(sum(each.users.values()) for each in counts) == 4076
    assert all(mismatch(each.users, 0.5) > 0.001 for each in counts)


def test_what_goes_with_ones_own_is_bought_more_often(counts: list[Counts]) -> None:
    effects = compared(counts).effects["bought"]
    found = effects["all"]
    # Offline, with everybody in both arms, they are 0.0289 and 0.1914.
    assert found.control.value == pytest.approx(0.029, abs=0.012)
    assert found.treatment.value == pytest.approx(0.191, abs=0.027)
    assert all(each.low is not None and each.low > 0 for each in effects.values())
