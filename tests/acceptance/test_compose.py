"""Tests of the compose file without a container engine: its schema, its hardening, its secrets, its mounts."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.stack import free_port
from urbanpulse.settings import describe_settings, load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SCHEMA = ROOT / "tests" / "data" / "compose-spec.json"  # compose-go 2.16.2, Apache-2.0
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LONG_RUNNING = sorted(set(SERVICES) - {"init", "series-init", "tools"})
READERS = ("ca", "platform", "broker", "postgres", "influx", "grafana", "metrics")

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("compose")]


def test_the_file_is_what_the_compose_specification_allows() -> None:
    jsonschema.validate(COMPOSE, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    assert service["user"].split(":")[0] != "0" or (name == "init" and service["network_mode"] == "none")
    image = service["image"]
    assert image == "urbanpulse:local" or re.search(r":v?\d+\.\d+", image), f"{image} is not pinned"


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_every_service_has_a_health_check_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["logging"]["options"]["max-size"]


def test_only_encrypted_mqtt_is_reachable_from_outside() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    outside = {name: mapped for name, mapped in ports.items() if not all(p.startswith("127.0.0.1:") for p in mapped)}
    assert outside == {"broker": ["8883:8883"]}


def test_no_secret_stands_in_the_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|SECRET", variable):
                assert variable.endswith(("_FILE", "_DIR")), f"{name}: {variable}"
                assert value.startswith("/run/"), f"{name}: {variable}"


def test_every_mount_exists_and_every_volume_is_declared() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), mount
            else:
                assert source in COMPOSE["volumes"], mount


def test_every_variable_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = SERVICES["gateway"]["environment"]
    for variable, value in environment.items():
        if variable != "URBANPULSE_SECRETS_DIR":
            monkeypatch.setenv(variable, value)
    settings = load_settings(None)
    assert settings.series.url == environment["URBANPULSE_SERIES__URL"]
    assert not settings.embedded_broker


def test_every_role_is_asked_for_its_metrics() -> None:
    scrape = yaml.safe_load((DEPLOY / "compose" / "scrape.yaml").read_text())
    targets = [t for job in scrape["scrape_configs"] for group in job["static_configs"] for t in group["targets"]]
    assert targets == ["gateway:9101", "processor:9102", "api:8080"]
    for name, port in (target.split(":") for target in targets):
        assert f":{port}/" in SERVICES[name]["healthcheck"]["test"][-1]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the script calls: our command line, and no need to be root."""
    programs = tmp_path_factory.mktemp("bin")
    program = programs / "urbanpulse"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m urbanpulse "$@"\n')
    program.chmod(0o755)
    (programs / "chown").symlink_to("/bin/true")
    return programs


@pytest.fixture(scope="module")
def secrets(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run the script of the `init` service as this user; return the folder of each reader."""
    where = tmp_path_factory.mktemp("secrets")
    folders = {name: where / name for name in READERS}
    make(folders, programs)
    return folders


def make(folders: dict[str, Path], programs: Path) -> None:
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "BROKER_HOSTS": "mqtt.city.example"}
    done = subprocess.run(
        [DEPLOY / "compose" / "init.sh", *folders.values()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def content(folders: dict[str, Path]) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for f in folders.values() for file in f.rglob("*") if file.is_file()}


def test_init_makes_every_secret_once(secrets: dict[str, Path], programs: Path) -> None:
    first = content(secrets)
    make(secrets, programs)
    assert content(secrets) == first
    assert (secrets["grafana"] / "influx-token").read_text() == (secrets["influx"] / "token").read_text()
    passwords = [secrets[name] / "password" for name in ("postgres", "influx", "grafana")]
    assert len({file.read_text() for file in passwords}) == 3
    assert min(len(file.read_text()) for file in passwords) >= 40


def test_no_secret_is_readable_by_others_and_the_cas_key_stays_with_it(secrets: dict[str, Path]) -> None:
    for folder in secrets.values():
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for file in folder.rglob("*"):
            if file.is_file() and file.suffix != ".pem":
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert [name for name in READERS if list(secrets[name].rglob("ca.key"))] == ["ca"]


def test_the_platform_reads_what_init_made(secrets: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    known = {name for name, *_ in describe_settings()}
    files = {file.name for file in (secrets["platform"] / "settings").iterdir()}
    assert files <= known
    monkeypatch.setenv("URBANPULSE_SECRETS_DIR", str(secrets["platform"] / "settings"))
    url = load_settings(None).catalog.url
    password = (secrets["postgres"] / "password").read_text()
    assert password in str(getattr(url, "get_secret_value", lambda: url)())


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="Debian's mosquitto is not installed")
def test_mosquitto_starts_with_the_certificates_of_init(secrets: dict[str, Path], tmp_path: Path) -> None:
    where = tmp_path / "run"
    where.mkdir()
    (where / "certs").symlink_to(secrets["broker"])
    shutil.copy(DEPLOY / "mosquitto" / "acl", where / "acl")
    (where / "acl").chmod(0o600)
    conf = (
        (DEPLOY / "mosquitto" / "mosquitto-tls.conf")
        .read_text()
        .replace("listener 8883", f"listener {free_port()} 127.0.0.1")
    )
    (where / "mosquitto.conf").write_text(conf + f"user {Path.home().owner()}\n")
    broker = subprocess.Popen(["mosquitto", "-c", "mosquitto.conf"], cwd=where, stderr=subprocess.PIPE, text=True)
    assert broker.stderr is not None
    said = []
    try:
        for line in broker.stderr:
            said.append(line)
            if "running" in line:
                break
    finally:
        broker.kill()  # 2.0.11 forgets a SIGTERM that comes between its word "running" and its loop
        broker.communicate()
    assert any("running" in line for line in said), said
