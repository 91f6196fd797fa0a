import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from latecomer.config import load_settings, unknown, without_password
from latecomer.errors import BadConfiguration, ExitCode

ROOT = Path(__file__).parents[3]

PASSWORD = "p@ss/w:rd?#%"
QUOTED = "p%40ss%2Fw%3Ard%3F%23%25"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("LATECOMER_"):
            monkeypatch.delenv(name)


def test_without_an_environment_everything_is_embedded() -> None:
    settings = load_settings()
    assert (settings.broker_url, settings.store_url) == ("memory://", "memory://")
    assert settings.metrics_port == 0
    assert settings.declare_topology


def test_the_environment_sets_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATECOMER_BROKER_URL", "amqp://rabbit/latecomer")
    monkeypatch.setenv("LATECOMER_DECLARE_TOPOLOGY", "false")
    monkeypatch.setenv("LATECOMER_METRICS_PORT", "9100")
    monkeypatch.setenv("LATECOMER_STATE_DIR", "/var/lib/latecomer")
    settings = load_settings()
    assert settings.broker_url == "amqp://rabbit/latecomer"
    assert not settings.declare_topology
    assert settings.metrics_port == 9100
    assert settings.state_dir == Path("/var/lib/latecomer")


def test_an_argument_wins_over_the_environment_unless_it_was_not_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LATECOMER_FEDERATION", "retail")
    assert load_settings(federation="clinic").federation == "clinic"
    assert load_settings(federation=None).federation == "retail"


def test_a_quiet_command_logs_errors_alone_unless_a_level_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().quiet_level == "error"
    monkeypatch.setenv("LATECOMER_LOG_LEVEL", "info")
    assert load_settings().quiet_level == "info"


def test_a_secret_file_sets_a_password(tmp_path: Path) -> None:
    (tmp_path / "latecomer_broker_password").write_text(f"{PASSWORD}\n")
    settings = load_settings(
        _secrets_dir=tmp_path, broker_url="amqp://rabbit:5672/latecomer", broker_user="uk-1"
    )
    assert settings.broker_login() == f"amqp://uk-1:{QUOTED}@rabbit:5672/latecomer"


def test_the_environment_wins_over_a_secret_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latecomer_store_user").write_text("from-the-file")
    monkeypatch.setenv("LATECOMER_STORE_USER", "from-the-environment")
    assert load_settings(_secrets_dir=tmp_path).store_user == "from-the-environment"


def test_user_and_password_are_quoted_into_the_url() -> None:
    settings = load_settings(
        store_url="rediss://redis:6380/2", store_user="a/b", store_password=PASSWORD
    )
    assert settings.store_login() == f"rediss://a%2Fb:{QUOTED}@redis:6380/2"


def test_a_url_with_a_login_of_its_own_keeps_it() -> None:
    settings = load_settings(
        broker_url="amqp://me:mine@rabbit", broker_user="other", broker_password="theirs"
    )
    assert settings.broker_login() == "amqp://me:mine@rabbit"


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("amqp://beijing@rabbit/latecomer", f"amqp://beijing:{QUOTED}@rabbit/latecomer"),
        ("amqp://a%2Fb@[::1]:5672", f"amqp://a%2Fb:{QUOTED}@[::1]:5672"),
        ("amqp://:mine@rabbit", "amqp://:mine@rabbit"),
        ("amqp://me:@rabbit", "amqp://me:@rabbit"),
    ],
)
def test_a_url_with_a_user_alone_gets_the_password_that_is_set(url: str, login: str) -> None:
    settings = load_settings(
        broker_url=url, broker_user="other", broker_password=PASSWORD, store_password=PASSWORD
    )
    assert settings.broker_login() == login
    store = load_settings(store_url="redis://aggregator@redis/0", store_password=PASSWORD)
    assert store.store_login() == f"redis://aggregator:{QUOTED}@redis/0"


def test_a_user_for_whom_no_password_is_set_has_an_empty_one() -> None:
    # pika takes no other; the broker then says that it is wrong.
    assert load_settings(broker_url="amqp://me@rabbit").broker_login() == "amqp://me:@rabbit"


def test_without_a_user_the_url_stays_as_it_is() -> None:
    settings = load_settings(store_url="redis://redis:6379/0", store_password=PASSWORD)
    assert settings.store_login() == "redis://redis:6379/0"


def test_passwords_are_not_shown() -> None:
    settings = load_settings(broker_password=PASSWORD, store_password=PASSWORD)
    for shown in (
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
    ):
        assert PASSWORD not in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("redis://redis:6379/0", "redis://redis:6379/0"),
        ("amqp://guest@rabbit/vhost", "amqp://guest@rabbit/vhost"),
        ("amqp://guest:secret@rabbit:5672/vhost", "amqp://guest:***@rabbit:5672/vhost"),
        ("amqp://guest:secret@rabbit", "amqp://guest:***@rabbit"),
        ("redis://:secret@redis/1", "redis://:***@redis/1"),
        ("redis://u:secret@[::1]:6379/1", "redis://u:***@[::1]:6379/1"),
        ("amqp://u:s:e@cret@rabbit/v?heartbeat=3", "amqp://u:***@rabbit/v?heartbeat=3"),
        ("amqp://u:secret@rabbit:port/v", "amqp://u:***@rabbit:port/v"),
        ("amqp://u:s3cr/et@rabbit/v", "amqp://u:***@rabbit/v"),
        ("redis://u:s3cr#et@redis:6379/0", "redis://u:***@redis:6379/0"),
        (f"amqp://u:{QUOTED}@rabbit", "amqp://u:***@rabbit"),
        (
            "redis://redis/0?username=u&password=s3cret&db=1",
            "redis://redis/0?username=u&password=***&db=1",
        ),
        ("rediss://redis/0?ssl_password=s3cret", "rediss://redis/0?ssl_password=***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATECOMER_METRICS_PORT", "70000")
    monkeypatch.setenv("LATECOMER_LOG_LEVEL", "loud")
    monkeypatch.setenv("LATECOMER_LEASE_S", "soon")
    with pytest.raises(BadConfiguration) as caught:
        load_settings(retention_s=-1)
    said = str(caught.value)
    assert "LATECOMER_METRICS_PORT: Input should be less than or equal to 65535" in said
    assert "LATECOMER_LOG_LEVEL: Input should be 'debug', 'info', 'warning' or 'error'" in said
    assert "LATECOMER_LEASE_S: Input should be a valid number" in said
    assert "LATECOMER_RETENTION_S: Input should be greater than 0" in said
    assert caught.value.exit_code == ExitCode.BAD_USAGE


def test_a_bad_password_is_not_repeated_in_the_complaint() -> None:
    with pytest.raises(BadConfiguration) as caught:
        load_settings(broker_password=[PASSWORD])
    assert "LATECOMER_BROKER_PASSWORD" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadConfiguration, match="LATECOMER_BROKR_URL: Extra inputs"):
        load_settings(brokr_url="amqp://rabbit")


def test_a_folder_of_secrets_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "latecomer_store_user").write_text("from-the-file")
    monkeypatch.setenv("LATECOMER_SECRETS_DIR", str(tmp_path))
    assert load_settings().store_user == "from-the-file"


def test_a_folder_of_secrets_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATECOMER_SECRETS_DIR", str(tmp_path / "secrts"))
    with pytest.raises(BadConfiguration, match=r"LATECOMER_SECRETS_DIR: .*secrts is no folder"):
        load_settings()


def test_a_variable_that_nobody_reads_comes_with_the_nearest_that_somebody_does() -> None:
    names = ["LATECOMER_BROKR_URL", "LATECOMER_STORE_URL", "LATECOMER_QQQQQQQQQQQQQQQQ", "PATH"]
    assert unknown(names) == {
        "LATECOMER_BROKR_URL": "LATECOMER_BROKER_URL",
        "LATECOMER_QQQQQQQQQQQQQQQQ": "",
    }


def test_every_variable_of_the_deployment_is_known() -> None:
    files = [ROOT / "docker-compose.yml", ROOT / "Makefile", ROOT / "README.md"]
    files += [*(ROOT / "infra").glob("*.sh"), *(ROOT / "docs").glob("*.md")]
    text = "".join(each.read_text(encoding="utf-8") for each in files)
    found = set(re.findall(r"LATECOMER_[A-Z_]*[A-Z]", text))
    assert len(found) > 20
    assert unknown(found) == {}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().federation = "other"  # type: ignore[misc]
