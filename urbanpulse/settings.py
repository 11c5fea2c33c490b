"""This module is the one tree of settings: each room's own, read from flags, environment and a TOML file.

Order: environment (`URBANPULSE_API__PORT=9090`) over secret files (a file named `mqtt.password` in the folder that
`URBANPULSE_SECRETS_DIR` names) over the TOML file (`[api] port = 9090`) over defaults. An unknown key stops the start
and names the nearest known one, so a typo never means a silent default.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from api.settings import ApiSettings
from backends.catalog.settings import CatalogSettings
from backends.log.settings import LogSettings
from backends.series.settings import SeriesSettings
from core.errors import SettingsError
from gateway.settings import GatewaySettings, MqttSettings
from processors.settings import NotifySettings, ProcessorSettings
from simulators.settings import SimulatorSettings
from urbanpulse.broker_settings import BrokerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BrokerAddress",
    "LoggingSettings",
    "Settings",
    "describe_settings",
    "load_settings",
    "settings_table",
    "shown",
]

_PREFIX = "URBANPULSE_"
_PASSWORD = re.compile(r"(://[^/:@]*:).+(@)")  # up to the last @: a password may hold what ought to be quoted
_SECRETS_DIR = "URBANPULSE_SECRETS_DIR"
_NOT_SETTINGS = (
    *(_SECRETS_DIR, "URBANPULSE_TEST_", "URBANPULSE_SKIP_CONSOLE"),
    *("URBANPULSE_CONFIG", "URBANPULSE_KEY", "URBANPULSE_GRAFANA_TOKEN"),
)
"""Names with our prefix that other things read: tests, the build hook, the command line."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where MQTT clients connect to."""

    host: str
    port: int
    tls: bool

    @property
    def url(self) -> str:
        """Return the address as URL."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


class LoggingSettings(BaseModel):
    """How much the processes say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe event that is logged")


class Settings(BaseSettings):
    """All settings of one installation."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    data_dir: Path = Field(Path("data"), description="folder that holds everything this installation keeps")
    metrics_port: int = Field(
        0, ge=0, le=65535, description="first port for the metrics of the roles other than the api; 0 = none"
    )
    metrics_host: str = Field("127.0.0.1", description="address for these metrics; anybody who reaches it reads them")
    logging: LoggingSettings = LoggingSettings()
    broker: BrokerSettings = BrokerSettings()
    mqtt: MqttSettings = MqttSettings()
    gateway: GatewaySettings = GatewaySettings()
    log: LogSettings = LogSettings()
    catalog: CatalogSettings = CatalogSettings()
    series: SeriesSettings = SeriesSettings()
    processor: ProcessorSettings = ProcessorSettings()
    notify: NotifySettings = NotifySettings()
    api: ApiSettings = ApiSettings()
    simulator: SimulatorSettings = SimulatorSettings()

    @property
    def embedded_broker(self) -> bool:
        """Tell whether the embedded broker is used: nobody named another one."""
        return "url" not in self.mqtt.model_fields_set

    @property
    def broker_address(self) -> BrokerAddress:
        """Return where MQTT clients connect to, be the broker embedded or another one."""
        if self.embedded_broker:
            return BrokerAddress(self.broker.host, self.broker.port, self.broker.tls_certificate is not None)
        return BrokerAddress(self.mqtt.host, self.mqtt.port, self.mqtt.uses_tls)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose content comes as init arguments."""
        return env_settings, init_settings


def load_settings(config: Path | None) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: unreadable file, unknown key (with the nearest known one), or a bad value.
    """
    content: dict[str, Any] = {}
    if config is not None:
        try:
            content = tomllib.loads(config.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(str(config), str(error)) from error
    _check_environment()
    _add_secrets(content)
    try:
        return Settings(**content)
    except ValidationError as error:
        raise _as_settings_error(error) from error
    except UnreadableVariable as error:
        raise SettingsError(_not_json(), """JSON expected, such as '["a", "b"]' or '{"a": 1}'""") from error


def _not_json() -> str:
    """Return the variables that hold no JSON although they stand for a list, a table or a whole section."""
    wrong = []
    for name, value in os.environ.items():
        if name.upper() in set(_json_variables()):
            try:
                json.loads(value)
            except ValueError:
                wrong.append(name)
    return ", ".join(sorted(wrong)) or "environment"


def _json_variables(model: type[BaseModel] | None = None, prefix: str = _PREFIX) -> Iterator[str]:
    for field, info in (model or Settings).model_fields.items():
        section = _section(info.annotation)
        if section is not None or get_origin(info.annotation) in {tuple, list, dict}:
            yield prefix + field.upper()
        if section is not None:
            yield from _json_variables(section, f"{prefix}{field.upper()}__")


def _add_secrets(content: dict[str, Any]) -> None:
    """Put the files of the secrets folder, each named after its setting, over *content*."""
    folder = os.environ.get(_SECRETS_DIR)
    if not folder:
        return
    known = {name for name, *_ in describe_settings()}
    try:
        files = {file.name: file.read_text().rstrip("\n") for file in sorted(Path(folder).iterdir()) if file.is_file()}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(_SECRETS_DIR, str(error)) from error
    for name, value in files.items():
        if name not in known:
            raise SettingsError(f"{folder}/{name}", "no such setting" + _nearest(name, known))
        *sections, last = name.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise SettingsError(name, f"the file says {section} = {place!r} where a section belongs")
        place[last] = value


def _check_environment() -> None:
    known = {_PREFIX + name.upper().replace(".", "__") for name in _names(Settings)}
    for name in os.environ:
        if name.upper().startswith(_PREFIX) and not name.startswith(_NOT_SETTINGS) and name.upper() not in known:
            raise SettingsError(name, "unknown setting" + _nearest(name.upper(), known))


def _as_settings_error(error: ValidationError) -> SettingsError:
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return SettingsError(name, "unknown setting" + _nearest(name, set(_names(Settings))))
    return SettingsError(name, first["msg"])


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _names(model: type[BaseModel], prefix: str = "") -> list[str]:
    return [name for name, *_ in describe_settings(model, prefix)] + (
        [f for f, info in model.model_fields.items() if _section(info.annotation)] if not prefix else []
    )


def _section(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def describe_settings(model: type[BaseModel] = Settings, prefix: str = "") -> list[tuple[str, str, str]]:
    """Return (dotted name, default, description) of every setting: for the docs and their test."""
    rows: list[tuple[str, str, str]] = []
    for name, info in model.model_fields.items():
        section = _section(info.annotation)
        if section is not None:
            rows += describe_settings(section, f"{prefix}{name}.")
        else:
            default = info.get_default(call_default_factory=True, validated_data={})
            rows.append((prefix + name, _text(default), info.description or ""))
    return rows


def settings_table() -> str:
    """Return all settings as a Markdown table, as it stands in `docs/settings.md`."""
    lines = ["| setting | environment | default | meaning |", "|---|---|---|---|"]
    for name, default, description in describe_settings():
        variable = _PREFIX + name.upper().replace(".", "__")
        lines.append(f"| `{name}` | `{variable}` | {f'`{default}`' if default else ''} | {description} |")
    return "\n".join(lines)


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, SecretStr) else str(value)


def shown(settings: Settings) -> dict[str, Any]:
    """Return the settings in force as plain data; secrets are shown as stars, also those within addresses."""
    content: dict[str, Any] = _without_passwords(settings.model_dump(mode="json"))
    return content


def _without_passwords(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_passwords(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_without_passwords(value) for value in content]
    return _PASSWORD.sub(r"\1**********\2", content) if isinstance(content, str) else content
