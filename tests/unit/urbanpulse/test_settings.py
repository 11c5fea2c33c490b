"""Tests of the settings tree: where values come from, and what a wrong one says."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from core.errors import SettingsError
from urbanpulse.cli import app
from urbanpulse.settings import describe_settings, load_settings, shown

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("URBANPULSE_"):
            monkeypatch.delenv(name)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "city.toml"
    file.write_text('data_dir = "here"\n[api]\nport = 1000\nhost = "0.0.0.0"\n')
    monkeypatch.setenv("URBANPULSE_API__PORT", "2000")

    settings = load_settings(file)

    assert (settings.api.port, settings.api.host, str(settings.data_dir)) == (2000, "0.0.0.0", "here")
    assert settings.broker.port == 1883


def test_only_an_address_names_another_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tuning the client must not switch the embedded broker off."""
    monkeypatch.setenv("URBANPULSE_MQTT__KEEPALIVE_SECONDS", "20")
    tuned = load_settings(None)
    monkeypatch.setenv("URBANPULSE_MQTT__URL", "mqtt://broker.city.example")
    other = load_settings(None)

    assert (tuned.embedded_broker, tuned.mqtt.keepalive_seconds, tuned.broker_address.port) == (True, 20, 1883)
    assert (other.embedded_broker, other.mqtt.keepalive_seconds) == (False, 20)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param("[api]\nprot = 1\n", "api.prot: unknown setting; did you mean api.port", id="a typo"),
        pytest.param("[apy]\nport = 1\n", "apy: unknown setting; did you mean api", id="a typo in a section"),
        pytest.param('[api]\nport = "x"\n', "api.port: .*integer", id="a bad value"),
        pytest.param("[api\n", "city.toml: ", id="no TOML"),
    ],
)
def test_a_wrong_file_says_what_and_where(tmp_path: Path, content: str, text: str) -> None:
    file = tmp_path / "city.toml"
    file.write_text(content)

    with pytest.raises(SettingsError, match=text):
        load_settings(file)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("URBANPULSE_API__PROT", "did you mean URBANPULSE_API__PORT"),
        ("URBANPULSE_DATADIR", "did you mean URBANPULSE_DATA_DIR"),
        ("URBANPULSE_BROKR__PORT", "did you mean URBANPULSE_BROKER__PORT"),
    ],
)
def test_an_unknown_variable_names_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(name, "1")

    with pytest.raises(SettingsError, match=text):
        load_settings(None)


def test_a_secret_file_wins_over_the_file_and_the_environment_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "city.toml"
    file.write_text('[mqtt]\nusername = "from-file"\npassword = "from-file"\n[api]\nport = 1\n')
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "mqtt.password").write_text("from-folder\n")
    (folder / "api.port").write_text("2\n")
    (folder / "..data").mkdir()
    monkeypatch.setenv("URBANPULSE_SECRETS_DIR", str(folder))
    monkeypatch.setenv("URBANPULSE_API__PORT", "3")

    settings = load_settings(file)

    assert settings.mqtt.password is not None
    assert settings.mqtt.password.get_secret_value() == "from-folder"
    assert (settings.mqtt.username, settings.api.port) == ("from-file", 3)


def test_wrong_secret_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URBANPULSE_SECRETS_DIR", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="URBANPULSE_SECRETS_DIR"):
        load_settings(None)
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("URBANPULSE_SECRETS_DIR", str(folder))
    (folder / "mqtt.pasword").write_text("x")
    with pytest.raises(SettingsError, match=r"mqtt\.pasword: no such setting; did you mean mqtt\.password"):
        load_settings(None)
    (folder / "mqtt.pasword").rename(folder / "mqtt.password")
    file = tmp_path / "city.toml"
    file.write_text("mqtt = 1\n")
    with pytest.raises(SettingsError, match=r"mqtt = 1 where a section belongs"):
        load_settings(file)


def test_names_that_others_read_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URBANPULSE_TEST_POSTGRES_URL", "x")
    monkeypatch.setenv("URBANPULSE_SKIP_CONSOLE", "1")

    load_settings(None)


def test_the_broker_is_embedded_until_another_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(None).broker_address.url == "mqtt://127.0.0.1:1883"

    monkeypatch.setenv("URBANPULSE_MQTT__URL", "mqtts://broker.example:8883")
    settings = load_settings(None)

    assert not settings.embedded_broker
    assert settings.broker_address.url == "mqtts://broker.example:8883"


def test_secrets_are_shown_as_stars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URBANPULSE_MQTT__PASSWORD", "canary")
    monkeypatch.setenv("URBANPULSE_MQTT__URL", "mqtt://127.0.0.1:1")

    monkeypatch.setenv("URBANPULSE_CATALOG__URL", "postgresql+psycopg://city:can@ry@db.example:5432/city")
    monkeypatch.setenv("URBANPULSE_SERIES__URL", "http://city:canary@127.0.0.1:8086")

    assert "canary" not in json.dumps(shown(load_settings(None)))
    for option in ((), ("--json",)):
        output = CliRunner().invoke(app, ["print-config", *option]).output
        assert "canary" not in output
        assert "can@ry" not in output
        assert "postgresql+psycopg://city:**********@db.example:5432/city" in output


def test_every_setting_has_a_description() -> None:
    assert [name for name, _, description in describe_settings() if not description] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("URBANPULSE_MQTT", "no json", id="a section"),
        pytest.param("URBANPULSE_MQTT__FILTERS", "devices/#", id="a list"),
        pytest.param("URBANPULSE_SERIES__KEEP", "noise=400", id="a table"),
    ],
)
def test_a_variable_that_wants_json_says_so(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("URBANPULSE_MQTT__URL", "mqtt://127.0.0.1:1")  # which is fine
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=f"^{name}: JSON expected"):
        load_settings(None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("series.url", "ftp://example"),
        ("series.url", "influx"),
        ("catalog.url", "mysql://example/x"),
        ("catalog.url", "nonsense"),
    ],
)
def test_an_address_that_is_none_does_not_pass_the_check(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"URBANPULSE_{name.upper().replace('.', '__')}", value)

    result = CliRunner().invoke(app, ["check-config"])

    assert result.exit_code == 1
    assert isinstance(result.exception, SettingsError)
    assert str(result.exception).startswith(f"{name}: ")
