"""Gateway and processor are killed with -9 at random moments while the oracle publishes: nothing is lost or doubled.

The short form runs with the normal suite, the long one with `make soak` (`-s` shows its figures).
"""

from __future__ import annotations

import importlib.util
import json
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backends.series import open_reader
from core.city import Device

if TYPE_CHECKING:
    from collections.abc import Callable

ORACLE = Path(__file__).with_name("oracle.py")
DEVICES = tuple(Device(f"oracle-{n:02d}", "generic", f"district-{n % 3}") for n in range(16))
ROLES = ("gateway", "process")
READY = {
    "gateway": re.compile("connected to the broker"),
    "process": re.compile("state restored|the whole log is processed again"),
}
"""What a role logs once it works."""
# the oracle's devices are no sensors that report every few seconds: limits that guard against floods are lifted
LIFTED = {
    "URBANPULSE_GATEWAY__MAX_RATE_PER_SECOND": "100000",
    "URBANPULSE_GATEWAY__MAX_BURST": "1000000",
    "URBANPULSE_PROCESSOR__SNAPSHOT_SECONDS": "2",
}


@pytest.mark.acceptance
def test_twenty_thousand_readings_survive_four_kills_of_each_role(platform: Callable[..., Any], tmp_path: Path) -> None:
    figures = storm(platform("nats", **LIFTED), tmp_path, readings=20_000, rate=1_500, kills=4, pause=1.0, seed=1)

    assert figures["lost"] == figures["altered"] == figures["doubled"] == figures["invented"] == 0, figures
    assert figures["stored"] == 20_000
    print(f"\n{json.dumps(figures)}")  # noqa: T201


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("broker", ["nats", "mosquitto"])
def test_two_hundred_thousand_readings_survive_twenty_kills_of_each_role(
    platform: Callable[..., Any], tmp_path: Path, broker: str
) -> None:
    figures = storm(platform(broker, **LIFTED), tmp_path, readings=200_000, rate=1_200, kills=20, pause=3.0, seed=2)

    print(f"\n{broker}: {json.dumps(figures)}")  # noqa: T201 - the soak's figures
    assert figures["lost"] == figures["altered"] == figures["doubled"] == figures["invented"] == 0, figures
    assert figures["stored"] == 200_000


def storm(
    platform: Any, folder: Path, *, readings: int, rate: float, kills: int, pause: float, seed: int
) -> dict[str, Any]:
    """Publish while killing, drain, stop, and compare everything that can be compared.

    Args:
        platform: the processes.
        folder: where the oracle keeps its files.
        readings: how many the oracle publishes.
        rate: readings per second.
        kills: of each role.
        pause: how long a role may work, at most, until it is killed: seconds.
        seed: of the moments of the kills.
    """
    credentials = platform.register(DEVICES)
    platform.start(*ROLES)
    wait(lambda: "connected to the broker" in platform.log("gateway"), platform, 60)
    before = time.monotonic()
    publisher = start_oracle(platform, folder, credentials, readings=readings, rate=rate)
    killed = kill_at_random(platform, publisher, random.Random(seed), kills, pause=pause)
    told = json.loads(publisher.communicate(timeout=readings / rate * 5 + 120)[0])
    assert publisher.returncode == 0, told
    assert told["acked"] == readings, told
    deadline = time.monotonic() + 180
    while platform.count() < readings and time.monotonic() < deadline:  # if it never comes, the verdict says what
        time.sleep(0.5)
    drained = time.monotonic() - before
    # one that was killed last may still be starting, before it minds SIGTERM; one with nothing to restore says nothing
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not all(READY[role].search(platform.recent(role)) for role in ROLES):
        time.sleep(0.1)
    assert platform.stop(*ROLES) == dict.fromkeys(ROLES, 0)
    oracle = _load()
    acked = oracle.read_rows(folder / "acked.csv")
    with closing(open_reader(platform.folder / "data" / "series", platform.settings.series)) as reader:
        stored = oracle.read_store(reader, platform.series())
        verdict = oracle.check(oracle.read_rows(folder / "sent.csv"), acked, stored)
    if verdict.lost:  # whose loss it is: the log has it (processor, store) or not (gateway, broker)
        logged = platform.logged()
        never = sum((device, measured * 1_000_000) not in logged for device, _, measured, _ in acked)
        raise AssertionError(f"{verdict}\n{never} of {verdict.lost} lost readings never reached the log")
    ledger = platform.ledger()
    assert all(row.balances for row in ledger), [row for row in ledger if not row.balances]
    assert {row.device for row in ledger} == {device.id for device in DEVICES}
    # a repetition that MQTT made is counted as what it is, never as a second reading
    assert sum(row.accepted + row.late for row in ledger) == readings, ledger
    assert sum(row.quarantined + row.refused for row in ledger) == 0, ledger
    if kills >= 10:  # often enough that one fell after a snapshot: then it is used
        assert "state restored" in platform.log("process")
    state = platform.run("state-hash")
    assert state["equal"], state
    assert state["damaged"] == 0
    return {
        **{name: getattr(verdict, name) for name in ("acked", "stored", "lost", "altered", "doubled", "invented")},
        "killed": killed,
        "duplicates": sum(row.duplicate for row in ledger),
        "publish_seconds": told["seconds"],
        "drained_seconds": round(drained, 1),
        "state_position": state["position"],
        "state_hash": state["snapshot"][:16],
    }


def start_oracle(
    platform: Any, folder: Path, credentials: dict[str, str], *, readings: int, rate: float
) -> subprocess.Popen[str]:
    """Start the publisher as a program of its own."""
    keys = folder / "oracle.json"
    keys.write_text(json.dumps(credentials))
    protocol = "3.1.1" if platform.settings.embedded_broker else "5"
    command = [sys.executable, str(ORACLE), "--port", str(platform.port), "--protocol", protocol]
    command += ["--credentials", str(keys), "--readings", str(readings), "--rate", str(rate)]
    command += ["--sent", str(folder / "sent.csv"), "--acked", str(folder / "acked.csv")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_at_random(
    platform: Any, publisher: subprocess.Popen[str], rng: random.Random, kills: int, *, pause: float
) -> dict[str, dict[str, int]]:
    """Kill each role *kills* times at random moments; return how often, and how often while the oracle published.

    Three of four kills hit a role that works, up to *pause* seconds after it began to; the fourth one that starts.
    """

    def torment(role: str, own: random.Random) -> dict[str, int]:
        during, seen = 0, 0
        for _ in range(kills):
            if own.random() < 0.75:
                deadline = time.monotonic() + 60
                while not READY[role].search(platform.log(role)[seen:]) and time.monotonic() < deadline:
                    time.sleep(0.05)
                time.sleep(own.uniform(0, pause))
            else:
                time.sleep(own.uniform(0, 1.0))
            seen = len(platform.log(role))
            during += publisher.poll() is None
            platform.kill(role)
        return {"kills": kills, "while_publishing": during}

    with ThreadPoolExecutor(len(ROLES)) as pool:
        running = {role: pool.submit(torment, role, random.Random(rng.random())) for role in ROLES}
        return {role: future.result() for role, future in running.items()}


def wait(condition: Callable[[], bool], platform: Any, seconds: float) -> None:
    """Wait until *condition* holds; fail with the last lines of the logs."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"-- {role}\n{platform.log(role)[-3000:]}" for role in ("broker", *ROLES))
            raise AssertionError(f"waited {seconds} s, {platform.count()} readings are stored\n{logs}")
        time.sleep(0.2)


def _load() -> Any:
    """Load the oracle by path: test folders are no packages."""
    name = "urbanpulse_oracle"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ORACLE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
