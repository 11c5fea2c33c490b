"""This module wires the simulator to one installation: credentials, broker, progress, labels.

The simulator itself knows nothing of the platform; it gets what a fleet of real devices would have. Devices that speak
our JSON to this installation's broker are registered like real ones. Those of other formats come through the user
`integration`, as network servers and agents do. With a broker named on the command line nothing here is touched.
"""

from __future__ import annotations

import asyncio
import fcntl
import resource
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from core.errors import SettingsError, Unavailable, UrbanpulseError
from gateway.session import tls_context
from simulators import Broker, ScenarioRun, run_city, run_scenario
from simulators.layout import city
from simulators.pace import default_start
from simulators.scenarios import load_scenario, read_scenario
from simulators.wire import wire_format
from simulators.world import World
from urbanpulse.clock import SystemClock
from urbanpulse.connections import mqtt_at, mqtt_for
from urbanpulse.demo import register_city, register_demo_city
from urbanpulse.installation import prepare
from urbanpulse.roles.common import new_rng, stop_on_signals
from urbanpulse.simulation_screen import DemoLines, new_screen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from core.city import Device, District
    from gateway.settings import MqttSettings
    from simulators.labels import Label
    from urbanpulse.settings import Settings
    from urbanpulse.simulation_options import ScenarioOptions

__all__ = ["at_broker", "run_scenario_simulation", "run_simulation", "seeded"]

_SPARE_FILES = 200
"""File descriptors beside the devices' sockets: catalog, labels, threads, the interpreter."""

_CLEAN_SESSIONS = {"sparkplug"}
"""Formats whose standard asks for a new session at every connection (Sparkplug 3.0, 5.2)."""

_ROOTS = {
    "json": "devices",
    "senml": "senml",
    "chirpstack": "application",
    "ttn": "v3",
    "sparkplug": "spBv1.0",
    "ultralight": "",  # /ul/…: before the leading slash there is nothing
    "line": "telegraf",
}
"""First level of the topics of every format."""


def at_broker(settings: Settings, url: str | None) -> Settings:
    """Return *settings* with the broker at *url* in place of theirs.

    Raises:
        SettingsError: *url* is no address of a broker.
    """
    return settings if url is None else settings.model_copy(update={"mqtt": mqtt_at(settings, url)})


def seeded(settings: Settings, seed: int | None) -> Settings:
    """Return *settings* with another *seed*, if there is one."""
    if seed is None:
        return settings
    return settings.model_copy(update={"simulator": settings.simulator.model_copy(update={"seed": seed})})


async def run_simulation(
    settings: Settings,
    *,
    backfill: bool,
    interval_seconds: float | None = None,
    labels: Path | None = None,
    as_json: bool,
) -> None:
    """Publish the demo city until stopped."""
    update: dict[str, float] = {} if backfill else {"backfill_days": 0.0}
    if interval_seconds is not None:
        update["interval_seconds"] = _positive("--interval", interval_seconds)
    stop = stop_on_signals()
    installation = await asyncio.to_thread(prepare, settings)
    address = settings.broker_address
    credentials = await asyncio.to_thread(register_demo_city, installation)
    try:
        with _playing(installation.folder, alone=True):
            await run_city(
                settings=settings.simulator.model_copy(update=update),
                broker=Broker(
                    address.host, address.port, tls_context(settings.mqtt.model_copy(update={"url": address.url}))
                ),
                credentials=credentials,
                clock=SystemClock(),
                rng=new_rng(),
                stop=stop,
                labels=labels or installation.folder / "labels.jsonl",
                progress=DemoLines(as_json=as_json),
            )
    except* UrbanpulseError as group:
        raise _first(group) from None


async def run_scenario_simulation(settings: Settings, options: ScenarioOptions, *, as_json: bool) -> None:
    """Play a scenario with true devices until it is over or stopped, and say what became of it.

    Raises:
        SettingsError: the scenario, an option, the credentials or the limit of open files.
        Unavailable: the broker lets devices not in, or reports were lost.
    """
    stop, clock = stop_on_signals(), SystemClock()
    simulator = settings.simulator
    file = read_scenario(options.scenario)
    hours = file.hours if options.hours is None else _positive("--hours", options.hours)
    start = default_start(clock.now_ns(), hours, options.speed) if options.start is None else options.start
    town = await asyncio.to_thread(city, simulator.seed, options.devices or file.devices)
    scenario = load_scenario(file, town, simulator.seed, start, hours, options.interval_seconds)
    k, n = options.part
    ours = town.devices[k - 1 :: n]
    if not ours:
        raise SettingsError("--part", f"{k}/{n}: the city has only {len(town.devices)} devices")
    wire = wire_format(options.wire, ours, simulator.seed)
    _allow_files(len(ours))
    reach = await asyncio.to_thread(_reach, settings, options, town.districts, town.devices)
    labels = _LabelFile(
        options.labels or settings.data_dir / ("labels.jsonl" if n == 1 else f"labels-{k}-of-{n}.jsonl"),
        anew=options.labels is not None,
    )
    names = {device.id for device in ours}
    run = ScenarioRun(
        scenario,
        World(simulator.seed, town.devices, scenario.events),
        ours,
        speed=options.speed,
        wire=wire,
        persistent=options.wire not in _CLEAN_SESSIONS,
        settings=simulator,
        broker=reach.broker,
        credentials=reach.credentials,
        clock=clock,
        rng=new_rng(),
        labels=[label for label in scenario.labels if label.device in names or (label.device is None and k == 1)],
        on_label=labels.write,
        live=options.start is None and options.speed == 1,
    )
    note = "; ".join(filter(None, (reach.note, *scenario.notes)))
    screen = new_screen(scenario, speed=options.speed, wire=options.wire, clock=clock, as_json=as_json)
    try:
        with _playing(reach.folder, alone=n == 1), screen:
            summary = await run_scenario(run, clock=clock, stop=stop, progress=screen)
    except* UrbanpulseError as group:
        screen.summary(run.summary(), labels=labels.path, note=note)
        raise _first(group) from None
    screen.summary(summary, labels=labels.path, note=note)
    if summary.lost:
        raise Unavailable(reach.broker.address, f"{summary.lost} reports were not acknowledged")


@dataclass(frozen=True, slots=True)
class _Reach:
    """How the devices get to a broker, and what is to know about it."""

    broker: Broker
    credentials: dict[str, str]
    folder: Path | None = None  # of this installation, if its broker is used
    note: str = ""


@contextmanager
def _playing(folder: Path | None, *, alone: bool) -> Iterator[None]:
    """Hold the right to play devices of this installation: the whole city alone, parts of it beside each other.

    Two clients of one name throw each other off the broker, again and again.

    Raises:
        SettingsError: somebody else plays them.
    """
    if folder is None:
        yield
        return
    with (folder / "simulator.lock").open("w") as lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                "simulate",
                f"another simulator (`up --demo`?) plays the devices of {folder}: stop it, or choose another --broker",
            ) from None
        yield


def _reach(
    settings: Settings, options: ScenarioOptions, districts: tuple[District, ...], devices: tuple[Device, ...]
) -> _Reach:
    if options.elsewhere or options.credentials is not None:
        if options.credentials is not None and settings.mqtt.username is not None:
            raise SettingsError("--credentials", "contradicts the user in --broker: one of them says who devices are")
        return _Reach(_broker(settings.mqtt), _read_credentials(options.credentials) if options.credentials else {})
    installation = prepare(settings)
    if options.wire == "json":
        address = settings.broker_address
        mqtt = settings.mqtt.model_copy(update={"url": address.url, "username": None})
        return _Reach(_broker(mqtt), register_city(installation, districts, devices), installation.folder)
    note = ""
    if not {_ROOTS[options.wire], "#", "+"} & {topic.split("/")[0] for topic in settings.mqtt.filters}:
        note = f"this platform's gateway does not read {options.wire} yet: it hears {', '.join(settings.mqtt.filters)}"
    return _Reach(_broker(mqtt_for(installation, "integration")), {}, installation.folder, note)


def _broker(mqtt: MqttSettings) -> Broker:
    login = None
    if mqtt.username is not None:
        login = (mqtt.username, mqtt.password.get_secret_value() if mqtt.password else "")
    return Broker(mqtt.host, mqtt.port, tls_context(mqtt), login)


def _read_credentials(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError("--credentials", f'{path}: {{"device": "secret"}} expected: {error}') from error


def _allow_files(devices: int) -> None:
    """Raise this process's soft limit of open files to what *devices* need.

    Raises:
        SettingsError: the hard limit is lower.
    """
    need = devices + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < need:
        if hard != resource.RLIM_INFINITY and hard < need:
            raise SettingsError(
                "--devices", f"{devices} devices need {need} open files, this process may have {hard}: ulimit -n {need}"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


class _LabelFile:
    """Where the truth goes: a file that the user named is written anew, the installation's own is added to.

    What stands there already is not written again, so that playing a run twice does not double its truth.
    """

    def __init__(self, path: Path, *, anew: bool) -> None:
        """Open the file, to fail early.

        Raises:
            SettingsError: it cannot be written.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb" if anew else "ab"):
                pass
            self._known = set(path.read_bytes().splitlines(keepends=True))
        except OSError as error:
            raise SettingsError("--labels", f"{path}: {error.strerror or error}") from error

    def write(self, label: Label) -> None:
        """Write *label*, which has just begun."""
        line = label.encode()
        if line not in self._known:
            self._known.add(line)
            with self.path.open("ab") as file:
                file.write(line)


def _positive(name: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise SettingsError(name, f"{value:g}: a number above 0 expected")
    return value


def _first(group: BaseExceptionGroup[UrbanpulseError]) -> UrbanpulseError:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found  # type: ignore[return-value]
