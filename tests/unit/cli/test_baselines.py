"""What a federation is compared with learns for as long as it does."""

from latecomer_cli.baselines import rounds_alone


def test_a_slow_site_learns_alone_for_as_long_as_others_on_average() -> None:
    assert rounds_alone({"slow": 2, "fast": 20, "often": 10}) == {
        "slow": 11,
        "fast": 20,
        "often": 11,
    }
