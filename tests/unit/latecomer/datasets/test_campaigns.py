"""Campaigns of The Complete Journey as published, in a tiny hand-made copy."""

from pathlib import Path

import pytest

from latecomer.datasets.campaigns import region
from latecomer.datasets.registry import read_examples
from latecomer.errors import BadData

NAME = "complete-journey-campaigns"

#: Two households. The first received both campaigns, and redeemed a coupon of each; the second
#: received the later one. Product 10 is offered by campaign 1, products 10 and 11 by campaign 2.
FILES = {
    "campaigns.csv": "campaign_id,household_id\n1,501\n2,501\n2,502\n",
    "campaign_descriptions.csv": """campaign_id,campaign_type,start_date,end_date
1,Type A,2017-03-01,2017-04-01
2,Type B,2017-05-01,2017-05-11
""",
    "coupons.csv": """coupon_upc,product_id,campaign_id
9001,10,1
9002,10,2
9003,11,2
9004,11,2
""",
    "coupon_redemptions.csv": """household_id,coupon_upc,campaign_id,redemption_date
501,9001,1,2017-03-09
501,9001,1,2017-05-02
501,9002,2,2017-05-03
""",
    "demographics.csv": """household_id,age,income,home_ownership,marital_status,household_size,\
household_comp,kids_count
501,45-54,35-49K,Homeowner,Married,2,2 Adults No Kids,0
""",
    "transactions.csv": """household_id,store_id,basket_id,product_id,quantity,sales_value,\
retail_disc,coupon_disc,coupon_match_disc,week,transaction_timestamp
501,301,1,10,1,2.50,0,0,0,1,2017-01-03 10:00:00
501,301,2,12,1,4.00,0,0,0,9,2017-02-28 10:00:00
501,301,2,10,1,1.25,0,0.50,0,9,2017-02-28 10:00:00
501,999,3,10,1,8.00,0,0,0,9,2017-03-01 10:00:00
502,999,4,12,1,3.00,0,0,0,18,2017-04-30 23:59:00
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def examples(folder: Path) -> dict[str, dict[str, str]]:
    """By exposure, its row."""
    values = read_examples(NAME, folder).values
    rows = zip(*values.values(), strict=True)
    found = [dict(zip(values, map(str, row), strict=True)) for row in rows]
    return {row.pop("exposure"): row for row in found}


def test_an_example_holds_what_was_known_before_the_campaign_began(folder: Path) -> None:
    found = examples(folder)
    assert list(found) == ["501-1", "501-2", "502-2"]
    # Of eight weeks before 1 March: not the basket of 3 January, nor that of the day itself.
    assert found["501-1"] == {
        "household": "501",
        "region": "stores 300-319",
        "redeemed": "1",
        "type": "Type A",
        "days": "31",
        "offered": "1",
        "baskets": "1",
        "spend": "5.25",
        "couponed": "1",
        "offered_baskets": "1",
        "received": "0",
        "redeemed_before": "0",
        "age": "45-54",
        "income": "35-49K",
        "household_size": "2",
        "kids_count": "0",
    }


def test_a_redemption_counts_for_later_campaigns_from_the_day_it_was_first_made(
    folder: Path,
) -> None:
    second = examples(folder)["501-2"]
    assert (second["received"], second["redeemed_before"]) == ("1", "1")
    assert (second["baskets"], second["spend"], second["offered"]) == ("0", "0", "2")


def test_who_did_not_answer_and_did_not_redeem_is_an_example_as_well(folder: Path) -> None:
    third = examples(folder)["502-2"]
    assert (third["redeemed"], third["age"], third["region"]) == ("0", "", "stores from 460")
    assert (third["baskets"], third["offered_baskets"]) == ("1", "0")


@pytest.mark.parametrize(
    ("store", "block"),
    [("280", "stores 280-299"), ("299", "stores 280-299"), ("459", "stores 440-459")],
)
def test_neighbouring_store_numbers_are_one_region(store: str, block: str) -> None:
    assert region(store) == block
    assert region("460") == region("34280") == "stores from 460"


@pytest.mark.parametrize(
    ("name", "line", "cause"),
    [
        ("campaigns.csv", "7,501\n", "'7'"),
        ("transactions.csv", "501,301,5,10,1,dear,0,0,0,1,2017-01-03\n", "'dear'"),
        ("campaign_descriptions.csv", "2,Type B,soon,2017-05-11\n", "'soon'"),
    ],
)
def test_files_that_do_not_go_together_are_named(
    folder: Path, name: str, line: str, cause: str
) -> None:
    (folder / name).write_text(FILES[name] + line, encoding="utf-8")
    with pytest.raises(BadData, match=f"not those of {NAME}.*{cause}"):
        read_examples(NAME, folder)


def test_a_missing_file_is_named_with_where_it_is_published(folder: Path) -> None:
    (folder / "coupons.csv").unlink()
    with pytest.raises(BadData, match=r"not complete in .*: coupons\.csv missing") as caught:
        read_examples(NAME, folder)
    assert "84.51.com" in str(caught.value.hint)
