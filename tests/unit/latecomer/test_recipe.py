import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from latecomer.aggregation import AdamW, Aggregation, Sgd
from latecomer.data import COLUMNS, Data, ExampleData
from latecomer.errors import BadConfiguration
from latecomer.events import Version
from latecomer.recipe import Recipe, load_recipe, round_of
from latecomer.recommenders.descent_settings import TwoTowerTraining
from latecomer.recommenders.settings import GramModel, checked
from latecomer.sections import PUBLISHED
from latecomer.store.port import Head

RECIPES = Path(__file__).parents[3] / "recipes"
SHIPPED = sorted(RECIPES.glob("*.toml"))

SMALL = """
federation = "retail"
[data]
source = "purchases.csv"
catalogue = "items.csv"
[data.columns]
user = "customer"
item = "item"
time = "time"
[model]
[training]
[aggregation.optimizer]
name = "adamw"
[[fleet.workers]]
name = "north"
[[fleet.workers]]
name = "phone"
slots = 3
cohort = "1/2"
[[fleet.workers]]
name = "south"
"""

Keys = tuple[str | int, ...]


def small(**changes: Any) -> dict[str, Any]:
    return {**tomllib.loads(SMALL), **changes}


def changed(keys: Keys, value: object) -> dict[str, Any]:
    """The small recipe with one more, or another, value at ``keys``."""
    body = copy.deepcopy(small())
    at: Any = body
    for key in keys[:-1]:
        at = at[key] if isinstance(key, int) else at.setdefault(key, {})
    at[keys[-1]] = value
    return body


def recipe(body: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(body)


def written(folder: Path, text: str) -> Path:
    path = folder / "scene.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problem(body: dict[str, Any]) -> str:
    with pytest.raises(BadConfiguration) as caught:
        Recipe.from_bytes(json.dumps(body).encode())
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_and_its_files_are_there(path: Path) -> None:
    shipped = load_recipe(path)
    if isinstance(shipped.data, Data) and shipped.data.format == COLUMNS:
        assert (path.parent / shipped.data.source).is_file()
        assert (path.parent / shipped.data.catalogue).is_file()
    assert len(set(shipped.fleet.names())) == len(shipped.fleet.names())


def test_the_shipped_recipes_are_the_ones_we_know() -> None:
    assert {"retail", "three-cities"} <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize(
    ("key", "value"),
    [("beta1", 1 - 1e-8), ("beta2", 1 - 1e-8), ("epsilon", 1e-50), ("learning_rate", 1e39)],
)
def test_what_float32_takes_for_one_or_nothing_or_infinity_is_refused(
    key: str, value: float
) -> None:
    assert key in problem(changed(("aggregation", "optimizer", key), value))


@pytest.mark.parametrize(
    "keys",
    [
        ("aggregation", "max_update_norm"),
        ("simulation", "period_s"),
        ("training", "learning_rate"),
        ("model", "temperature"),
    ],
    ids=str,
)
def test_an_infinite_number_is_refused(keys: Keys) -> None:
    assert str(keys[-1]) in problem(changed(keys, float("inf")))


def test_two_workers_of_one_name_are_refused() -> None:
    twice = changed(("fleet", "workers", 1, "name"), "north")
    assert "2 workers are called 'north'" in problem(twice)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_recipe_comes_back_from_the_store(path: Path) -> None:
    shipped = load_recipe(path)
    assert Recipe.from_bytes(shipped.to_bytes()) == shipped


def test_the_stored_form_does_not_depend_on_the_order_of_keys() -> None:
    backwards = dict(reversed(small().items()))
    assert recipe(backwards).to_bytes() == recipe(small()).to_bytes()


def test_what_is_not_said_has_a_default() -> None:
    small_recipe = recipe(small())
    assert small_recipe.aggregation.mode == "fedbuff"
    assert small_recipe.aggregation.optimizer == AdamW(name="adamw")
    assert recipe(small(aggregation={})).aggregation.optimizer == Sgd()
    assert small_recipe.evaluation.candidates == "full"


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (
            ("traning",),
            {},
            (
                "the store's recipe: traning: unknown key (did you mean 'training'?), allowed: "
                "aggregation, compression, data, demo, evaluation, federation, fleet, model, "
                "personal, seed, simulation, social, title, training"
            ),
        ),
        (
            ("data", "columns", "usr"),
            "x",
            (
                "data.columns.usr: unknown key (did you mean 'user'?), allowed: item, "
                "region, time, user"
            ),
        ),
        (
            ("fleet", "workers", 1, "pase"),
            "slow",
            (
                "fleet.workers.1.pase: unknown key (did you mean 'pace'?), allowed: cohort, "
                "except_regions, label, name, pace, regions, shard, slots"
            ),
        ),
        (
            ("fleet", "workers", 1, "pace"),
            "slowly",
            (
                "fleet.workers.1.pace: must be 'fast', 'slow', 'offline' or 'misbehaving', "
                "got 'slowly'"
            ),
        ),
        (
            ("fleet", "workers", 1, "name"),
            "UK 4",
            (
                "fleet.workers.1.name: must be 1 to 40 lower-case letters, digits and inner "
                "hyphens, got 'UK 4'"
            ),
        ),
        (
            ("fleet", "workers", 1, "shard"),
            "0/6",
            "fleet.workers.1.shard: must be a part like '2/6', got '0/6'",
        ),
        (
            ("fleet", "workers", 1, "regions"),
            "Spain",
            "fleet.workers.1.regions: must be a list, got 'Spain'",
        ),
        (
            ("fleet", "workers", 1, "regions"),
            ["Spain", 3],
            "fleet.workers.1.regions.1: must be text, got 3",
        ),
        (
            ("aggregation", "optimizer", "name"),
            "adam",
            "aggregation.optimizer.name: must be one of 'sgd', 'adamw', 'adagrad', got 'adam'",
        ),
        (
            ("aggregation", "optimizer"),
            {"learning_rate": 0.1},
            "aggregation.optimizer.name: required, one of 'sgd', 'adamw', 'adagrad'",
        ),
        (
            ("aggregation", "optimizer", "beta"),
            0.9,
            (
                "aggregation.optimizer.beta: unknown key (did you mean 'beta2'?), allowed: beta1, "
                "beta2, damp_beyond, decay_after, epsilon, learning_rate, name, weight_decay"
            ),
        ),
        (
            ("aggregation", "optimizer", "beta1"),
            1.0,
            "aggregation.optimizer.beta1: must be less than 1, got 1.0",
        ),
        (
            ("aggregation", "optimizer"),
            "sgd",
            "aggregation.optimizer: must be a table, got 'sgd'",
        ),
        (
            ("aggregation", "updates_per_version"),
            0,
            "aggregation.updates_per_version: must be greater than or equal to 1, got 0",
        ),
        (
            ("aggregation", "updates_per_version"),
            2.5,
            "aggregation.updates_per_version: must be a whole number, got 2.5",
        ),
        (
            ("aggregation", "max_wait_s"),
            "long",
            "aggregation.max_wait_s: must be a number, got 'long'",
        ),
        (
            ("aggregation", "mode"),
            "semi",
            "aggregation.mode: must be 'fedbuff', 'fedasync' or 'sync', got 'semi'",
        ),
        (("model", "dimension"), 0, "model.dimension: must be greater than or equal to 1, got 0"),
        (
            ("model",),
            {"family": "sequential", "length": 1},
            "model.length: must be greater than or equal to 2, got 1",
        ),
        (("model",), 3, "model: must be a table, got 3"),
        (("training", "loss"), "mse", "training.loss: must be 'softmax' or 'bpr', got 'mse'"),
        (
            ("compression", "values"),
            "int2",
            (
                "compression.values: must be 'float32', 'float16', 'int8', 'int4', 'quinary' or "
                "'ternary', got 'int2'"
            ),
        ),
        (
            ("compression", "top_rows"),
            0.0,
            "compression.top_rows: must be greater than 0, got 0.0",
        ),
        (
            ("compression", "budget_bytes"),
            0,
            "compression.budget_bytes: must be greater than or equal to 1, got 0",
        ),
        (
            ("compression", "valeus"),
            "int8",
            (
                "compression.valeus: unknown key (did you mean 'values'?), allowed: budget_bytes, "
                "download, top_rows, values, zstd"
            ),
        ),
        (("seed",), -1, "seed: must be greater than or equal to 0, got -1"),
    ],
)
def test_a_mistake_is_named_with_its_path_and_what_is_allowed(
    keys: Keys, value: object, said: str
) -> None:
    assert said in problem(changed(keys, value))


def test_every_mistake_is_named_at_once() -> None:
    body = changed(("model", "dimension"), 0)
    del body["data"]["source"]
    body["fedration"] = body.pop("federation")
    said = problem(body)
    assert "data.source: required" in said
    assert "model.dimension: must be" in said
    assert "federation: required" in said
    assert "fedration: unknown key (did you mean 'federation'?)" in said


def test_a_published_data_set_needs_no_more_than_its_name() -> None:
    found = recipe(changed(("data",), {"format": "ml-100k"})).data
    assert (found.source, found.columns.region) == ("data/ml-100k", "occupation")


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    said = problem(changed(("data", "format"), "ml-2m"))
    assert "data.format: must be columns or one of" in said
    assert "ml-100k, ml-1m" in said


def campaigns(field: str) -> dict[str, Any]:
    """A recipe of published examples that are known by one field."""
    return {
        "federation": "ads",
        "data": {
            "format": "complete-journey-campaigns",
            "fields": [{"name": field, "values": ["Type A"]}],
        },
        "model": {"family": "mlp"},
        "training": {},
    }


def test_of_published_examples_only_the_fields_have_to_be_said() -> None:
    found = recipe(campaigns("type")).data
    assert isinstance(found, ExampleData)
    assert (found.source, found.outcome.column) == ("data/complete-journey", "redeemed")
    assert found.columns.group == "household"


def test_a_field_that_published_examples_do_not_have_is_named_with_those_they_have() -> None:
    said = problem(campaigns("kind"))
    assert "complete-journey-campaigns has no kind; it has exposure, household" in said


def ill(outcome: dict[str, Any], *fields: str) -> dict[str, Any]:
    """A recipe of a file of examples, with an outcome that is in the column ``ill``."""
    data = {"format": "examples", "source": "patients.csv", "outcome": {"column": "ill", **outcome}}
    ranges = [{"name": name, "low": 0, "high": 100} for name in fields]
    return campaigns("") | {"data": data | {"fields": ranges}}


def test_an_outcome_is_predicted_from_each_other_column_once() -> None:
    yes = {"positive": ["yes"]}
    assert recipe(ill(yes, "age", "pulse")).data.format == "examples"
    leak = problem(ill(yes, "age", "ill"))
    assert "data.fields: ill is the outcome, and nothing is" in leak
    assert "fields: age is listed twice" in problem(ill(yes, "age", "pulse", "age"))


def test_the_end_of_a_range_is_a_number() -> None:
    """Scaled by an infinite one, every value would be 0."""
    body = ill({"positive": ["yes"]}, "age")
    body["data"]["fields"][0]["high"] = float("inf")
    assert "data.fields.0.high: must be a finite number" in problem(body)


def test_no_value_of_an_outcome_counts_as_1_and_as_0() -> None:
    assert recipe(ill({"positive": ["1", "2"], "negative": ["0"]}, "age")).federation == "ads"
    said = problem(ill({"positive": ["1", "2"], "negative": ["0", "1"]}, "age"))
    assert "outcome: '1' cannot be both positive and negative" in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("k", 3),
        ("candidates", "sampled-99"),
        ("protocol", "pfedrec-compat"),
        ("full_reach", {"a": 1}),
    ],
)
def test_what_is_about_ranking_is_refused_where_outcomes_are_predicted(
    key: str, value: object
) -> None:
    body = tomllib.loads((RECIPES / "heart-disease.toml").read_text(encoding="utf-8"))
    whole = recipe(body | {"evaluation": {"reach": {"auc": 0.8}}})
    assert Recipe.from_bytes(whole.to_bytes()) == whole
    with pytest.raises(ValidationError, match=f"{key}: without effect on outcomes"):
        recipe(body | {"evaluation": {key: value}})


def test_given_candidates_need_a_format_that_gives_them() -> None:
    body = changed(("data",), {"format": "ml-1m"}) | {"evaluation": {"candidates": "given"}}
    assert recipe(body).evaluation.candidates == "given"
    said = problem(changed(("evaluation",), {"candidates": "given"}))
    assert "candidates are given by no file of columns" in said


def test_friends_need_a_format_that_knows_of_them() -> None:
    trusted = changed(("data",), {"format": "filmtrust"}) | {"social": {"weight": 0.1}}
    assert recipe(trusted).social.weight == 0.1
    said = problem(changed(("social",), {"weight": 0.1}))
    assert "social: a weight needs relations between users, and columns has" in said


def test_what_is_popular_at_a_site_needs_items() -> None:
    assert recipe(changed(("social",), {"popularity": 0.5})).social.popularity == 0.5
    path = Path(__file__).parents[3] / "recipes" / "heart-disease.toml"
    body = tomllib.loads(path.read_text()) | {"social": {"popularity": 0.5}}
    assert "a popularity needs items, and outcomes are predicted here" in problem(body)


def test_a_site_cannot_choose_a_weight_on_items_that_it_trains_on() -> None:
    body = small(personal={"weights": [0.5]})
    assert recipe(body).personal.weights == (0.5,)
    said = problem(body | {"evaluation": {"train_on_validation": True}})
    assert "personal.weights are chosen on validation, and train_on_validation leaves none" in said


def test_a_missing_section_is_named() -> None:
    body = small()
    del body["data"]
    assert "data: required" in problem(body)


def test_a_round_of_more_than_a_thousand_passes_is_refused() -> None:
    said = problem(changed(("training", "passes"), 1001))
    assert said == "the store's recipe: training.passes: must be at most 1000, got 1001"


def test_what_is_asked_for_and_not_measured_is_refused_before_anything_runs() -> None:
    body = changed(("evaluation", "reach"), {"ndgc@10": 0.1})
    with pytest.raises(ValidationError, match="reach: 'ndgc@10' is not measured, only hr@10"):
        recipe(body)


def test_counts_are_not_to_be_rounded() -> None:
    body = small(model={"family": "gram"}, compression={"budget_bytes": 1000}, aggregation={})
    del body["training"]
    with pytest.raises(ValidationError, match="budget_bytes: family 'gram' sends counts"):
        recipe(body)


def test_numbers_of_items_are_not_to_be_halved_where_that_is_still_to_be_agreed_on() -> None:
    body = small(model={"family": "gram"}, compression={"download": "float16"}, aggregation={})
    del body["training"]
    with pytest.raises(ValidationError, match="family 'gram' publishes numbers of items"):
        recipe(body)
    agreed = Recipe.model_validate(body, context=PUBLISHED)
    assert agreed.compression.download == "float16"


def test_a_large_wrong_value_is_not_quoted_in_full() -> None:
    assert len(problem(changed(("title",), ["x" * 200] * 200))) < 300


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL.replace("[model]", "[model]\ndimensoin = 3"))
    with pytest.raises(BadConfiguration, match=r"scene\.toml: model\.dimensoin: unknown key"):
        load_recipe(path)


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"scene\.toml is not TOML: .*line 1"):
        load_recipe(written(tmp_path, "federation retail"))


def test_a_file_that_is_no_text_is_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "scene.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadConfiguration, match="is not TOML"):
        load_recipe(path)


def test_a_file_that_is_not_there_is_named_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"cannot read .*none\.toml: No such file") as caught:
        load_recipe(tmp_path / "none.toml")
    assert caught.value.hint


def test_a_synchronous_round_takes_nothing_late() -> None:
    lenient = {"max_staleness": 7}
    assert recipe(small(aggregation=lenient)).aggregation.staleness_limit == 7
    strict = {**lenient, "mode": "sync"}
    assert recipe(small(aggregation=strict)).aggregation.staleness_limit == 0


def test_who_says_nothing_of_aggregation_agrees_on_this() -> None:
    assert Aggregation().model_dump() == {
        "mode": "fedbuff",
        "updates_per_version": 10,
        "target_staleness": None,
        "max_updates_per_version": 100,
        "max_wait_s": 30.0,
        "max_staleness": 100,
        "staleness": {"rule": "polynomial", "exponent": 0.5, "slope": 10.0, "grace": 4},
        "example_weight": {"rule": "equal", "reference": 1000, "cap": 2.0},
        "optimizer": {"damp_beyond": None, "decay_after": None, "name": "sgd"}
        | {"learning_rate": 1.0, "momentum": 0.0},
        "row_floor": 1,
        "live_s": 300.0,
        "max_update_norm": 1e12,
        "identity": "broker",
        "spread_s": 0.0,
    }


@pytest.mark.parametrize(
    ("mode", "workers", "expected"),
    [("fedbuff", 3, 3), ("fedbuff", 30, 10), ("sync", 3, 3), ("fedasync", 3, 1), ("fedbuff", 0, 1)],
)
def test_a_version_is_made_of_as_many_updates_as_there_are_places_and_workers(
    mode: str, workers: int, expected: int
) -> None:
    found = recipe(small(aggregation={"mode": mode})).aggregation
    assert found.updates_of(workers) == expected


def test_slots_are_workers_of_their_own() -> None:
    assert recipe(small()).fleet.names() == ["north", "phone-1", "phone-2", "phone-3", "south"]


def test_a_name_that_leaves_no_room_for_its_slots_is_refused() -> None:
    entry = {"name": "a" * 38, "slots": 9}
    assert len(recipe(changed(("fleet", "workers", 1), entry)).fleet.names()[-2]) == 40
    assert problem(changed(("fleet", "workers", 1), entry | {"slots": 10})).endswith(
        "fleet.workers.1.slots: the name of the last slot has 41 characters, "
        "and a worker's has at most 40, got 10"
    )


def test_a_slot_holds_its_own_part_of_the_entrys_data() -> None:
    found = recipe(small()).fleet.find("phone-2")
    assert found is not None
    assert (found.name, found.shard, found.cohort) == ("phone-2", "2/3", "1/2")


def test_slots_of_a_shard_lie_inside_of_it() -> None:
    body = changed(("fleet", "workers", 1, "shard"), "2/3")
    shards = [each.shard for each in recipe(body).fleet.members() if each.slots]
    assert shards == ["2/9", "5/9", "8/9"]


def test_no_worker_is_called_like_a_slot() -> None:
    taken = changed(("fleet", "workers", 0, "name"), "phone-3")
    assert "2 workers are called 'phone-3'" in problem(taken)


def test_a_worker_without_slots_is_found_as_it_is() -> None:
    fleet = recipe(small()).fleet
    assert fleet.find("south") == fleet.workers[2]


@pytest.mark.parametrize(
    "name",
    [
        "phone",
        "phone-0",
        "phone-4",
        "phone-02",
        "phone-x",
        "phone-٢",
        "phone-1-1",
        "north-1",
        "west",
    ],
)
def test_a_worker_that_the_recipe_does_not_name_is_not_found(name: str) -> None:
    assert recipe(small()).fleet.find(name) is None


def test_every_name_is_found() -> None:
    for path in SHIPPED:
        fleet = load_recipe(path).fleet
        for name in fleet.names():
            entry = fleet.find(name)
            assert entry is not None
            assert entry.name == name


def test_a_round_carries_the_training_section_as_its_plan() -> None:
    body = small(training={"passes": 3}, aggregation={"mode": "sync", "spread_s": 2.0})
    announced = round_of(recipe(body), Head(version=Version(2, 5), manifest="0" * 32, at_s=0.0))
    assert announced.version == Version(2, 5)
    assert announced.manifest == "0" * 32
    assert announced.plan["passes"] == 3
    assert announced.max_staleness == 0
    assert announced.spread_s == 2.0


#: What a recipe of family ``gram`` says beside it: nothing.
COUNTS: dict[str, Any] = {"training": {}, "aggregation": {}}

IDLE = [
    ({"aggregation": {"staleness": {"slope": 3}}}, "slope: without effect under rule 'poly"),
    (
        {"aggregation": {"staleness": {"rule": "hinge", "exponent": 1}}},
        "exponent: without effect under rule 'hinge'",
    ),
    (
        {"aggregation": {"staleness": {"rule": "constant", "grace": 1}}},
        "grace: without effect under rule 'constant'",
    ),
    (
        {"aggregation": {"example_weight": {"reference": 5}}},
        "reference: without effect under rule 'equal'",
    ),
    (
        {"aggregation": {"mode": "sync", "target_staleness": 2}},
        "target_staleness: without effect in mode 'sync'",
    ),
    (
        {"aggregation": {"max_updates_per_version": 5}},
        "max_updates_per_version: without effect without a target_staleness",
    ),
    (
        {
            "model": {"family": "gram"},
            "aggregation": {"optimizer": {"name": "sgd", "momentum": 0.5}},
        },
        "aggregation\n.*optimizer: without effect on family 'gram', whose counts are added up",
    ),
    ({"personal": {"rounds": 3}}, "rounds: without effect without weights"),
    (
        {"model": {"family": "gram"}, "personal": {"weights": [0.5], "rounds": 3}} | COUNTS,
        "personal\n.*rounds: without effect on family 'gram', which counts once",
    ),
    *(
        (
            {"model": {"family": family}, "training": {"optimizer": name, "weight_decay": 0.1}},
            f"training.*\n.*weight_decay: without effect under optimizer '{name}'",
        )
        for family in ("two_tower", "sequential", "neural_cf")
        for name in ("adam", "sgd")
    ),
    (
        {"training": {"loss": "bpr", "popularity_correction": 0}},
        "popularity_correction: without effect under loss 'bpr'",
    ),
    *(
        (
            {"model": {"family": "gram", name: 0.5}} | COUNTS,
            f"model.*\n.*{name}: without effect without factors",
        )
        for name in ("factor_weight", "factor_exponent")
    ),
]


@pytest.mark.parametrize(("sections", "said"), IDLE)
def test_a_setting_that_nobody_would_read_is_refused_but_where_it_is_agreed_on_already(
    sections: dict[str, Any], said: str
) -> None:
    body = small(**sections)
    with pytest.raises(ValidationError, match=said):
        recipe(body)
    assert Recipe.from_bytes(json.dumps(body).encode()).federation == "retail"


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("heart-disease", {"evaluation": {"k": 5}}),
        ("heart-disease", {"evaluation": {"reach": {"ndcg@20": 0.1}}}),
        ("ml-1m", {"compression": {"values": "int8", "budget_bytes": 1000}}),
        ("ml-1m", {"evaluation": {"reach": {"ndcg@30": 0.1}}}),
    ],
)
def test_a_federation_that_a_laxer_release_founded_goes_on(
    name: str, sections: dict[str, Any]
) -> None:
    """To refuse would cost it its model, for what changes nothing of that."""
    body = tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8")) | sections
    with pytest.raises(ValidationError):
        recipe(body)
    assert Recipe.from_bytes(json.dumps(body).encode()).federation == name


def test_a_release_that_does_not_know_of_an_option_reads_what_does_without() -> None:
    """Whatever is None by default is off: of that, nothing is published."""
    published = json.loads(recipe(small()).to_bytes())
    assert "decay_after" not in published["aggregation"]["optimizer"]
    assert "null" not in json.dumps(published)
    assert published["aggregation"]["optimizer"]["beta1"] == 0.9


def test_who_reads_a_recipe_of_a_newer_release_is_told_to_upgrade() -> None:
    with pytest.raises(BadConfiguration, match="tomorrow: unknown key") as caught:
        Recipe.from_bytes(json.dumps(changed(("tomorrow",), 1)).encode())
    assert "upgrade this one" in (caught.value.hint or "")


@pytest.mark.parametrize("column", ["behaviour", "rating"])
def test_a_recipe_of_a_release_that_mapped_more_columns_is_read_where_it_is_agreed_on(
    tmp_path: Path, column: str
) -> None:
    body = changed(("data", "columns", column), "did")
    assert Recipe.from_bytes(json.dumps(body).encode()) == recipe(small())
    path = written(tmp_path, SMALL.replace('time = "time"', f'time = "time"\n{column} = "did"'))
    assert load_recipe(path, agreed=True) == recipe(small())
    with pytest.raises(BadConfiguration, match=f"{column}: unknown key"):
        load_recipe(path)


def test_what_is_wrong_with_a_whole_table_is_said_of_it_as_it_is_called_in_the_file() -> None:
    odd = {"family": "sequential", "dimension": 5}
    assert "recipe: model: dimension must be a multiple of heads, 2" in problem(small(model=odd))


def test_a_setting_stands_where_somebody_reads_it() -> None:
    decaying = {"optimizer": "adamw", "weight_decay": 0.1, "popularity_correction": 0.5}
    assert recipe(small(training=decaying)).training == TwoTowerTraining(**decaying)
    factors = {"family": "gram", "factors": 2, "factor_weight": 3.0, "factor_exponent": 0.5}
    assert recipe(small(model=factors, **COUNTS)).model == GramModel(**factors)


def test_a_round_of_a_release_that_took_what_nobody_reads_is_trained() -> None:
    plan = {"optimizer": "sgd", "weight_decay": 0.1, "loss": "bpr", "popularity_correction": 0.0}
    assert checked(TwoTowerTraining, plan).model_dump(include=set(plan)) == plan
