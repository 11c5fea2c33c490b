"""The oracle: an outside publisher that numbers every reading, and a checker of what the platform made of them.

The publisher is a program of its own, knows nothing of the platform but its topics, and is never killed. Each device
is a paho client with QoS 1 and a session; every reading has a number, a time of its own and a value of its own. What
was handed to MQTT is written to `sent`, what the broker acknowledged to `acked`; nothing is published a second time
except what MQTT itself repeats.

    python oracle.py --port 1883 --credentials devices.json --readings 20000 --rate 1500 --sent s.csv --acked a.csv

The checker compares `acked` with the store both ways: lost, altered, stored twice, invented.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.ports import SeriesReader

METRIC = "oracle"
MILLI = 1_000_000

Row = tuple[str, int, int, float]
"""Device, number, measured (ms UTC), value."""


# -- the publisher ---------------------------------------------------------------------------------------------------


class Publisher:
    """One device: numbers its readings and notes what became of them."""

    def __init__(
        self, name: str, password: str | None, *, host: str, port: int, protocol: str, note: Callable[[Row], None]
    ) -> None:
        self.name = name
        self.refused = 0
        self._note = note
        self._number = 0
        self._last = 0
        self._waiting: dict[int, Row] = {}
        self._early: dict[int, bool] = {}
        self._lock = threading.Lock()
        five = protocol == "5"
        version = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
        session: dict[str, Any] = {} if five else {"clean_session": False}
        self.client = Client(CallbackAPIVersion.VERSION2, name, protocol=version, **session)
        if password is not None:
            self.client.username_pw_set(name, password)
        self.client.max_inflight_messages_set(20)  # what mosquitto's receive maximum allows
        self.client.max_queued_messages_set(0)
        self.client.on_publish = self._acked
        kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        kept.SessionExpiryInterval = 3600
        self.client.connect(host, port, 30, clean_start=False, properties=kept) if five else self.client.connect(
            host, port, 30
        )
        self.client.loop_start()

    @property
    def waiting(self) -> int:
        """Return how many readings have no ack yet."""
        return len(self._waiting)

    def publish(self, sent: TextIO) -> None:
        """Publish the next reading: its time is now, but always later than the one before."""
        measured = max(time.time_ns() // MILLI, self._last + 1)
        self._last = measured
        row = (self.name, self._number, measured, self._number + (measured % 1000) / 1000)
        self._number += 1
        payload = json.dumps({"ts": row[2], "values": {METRIC: row[3]}, "seq": row[1]})
        sent.write(_line(row))
        # paho calls `_acked` with a lock of its own that `publish` takes too: never hold ours around it
        mid = self.client.publish(f"devices/{self.name}/readings", payload, qos=1).mid
        with self._lock:
            early = self._early.pop(mid, None)
            if early is None:
                self._waiting[mid] = row
        if early is not None:
            self._settle(row, accepted=early)

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()

    def _acked(self, _client: Client, _userdata: Any, mid: int, reason: Any, _properties: Any) -> None:
        accepted = reason.value == 0  # 16, "no matching subscribers", is no failure, but then nobody stores it
        with self._lock:
            row = self._waiting.pop(mid, None)
            if row is None:  # the ack is there before `publish` has returned
                self._early[mid] = accepted
        if row is not None:
            self._settle(row, accepted=accepted)

    def _settle(self, row: Row, *, accepted: bool) -> None:
        if accepted:
            self._note(row)
        else:
            self.refused += 1


def publish(args: argparse.Namespace) -> dict[str, Any]:
    """Publish as the command line asks; return figures when everything is acknowledged."""
    credentials: dict[str, str] = json.loads(args.credentials.read_text())
    began = time.monotonic()
    noted = threading.Lock()
    with args.sent.open("a") as sent, args.acked.open("a") as acked:
        count = 0

        def note(row: Row) -> None:
            nonlocal count
            with noted:
                acked.write(_line(row))
                count += 1

        devices = [
            Publisher(name, secret or None, host=args.host, port=args.port, protocol=args.protocol, note=note)
            for name, secret in sorted(credentials.items())
        ]
        for n in range(args.readings):
            devices[n % len(devices)].publish(sent)
            if n % 20 == 19:
                ahead = n / args.rate - (time.monotonic() - began)
                if ahead > 0:
                    time.sleep(ahead)
                while sum(device.waiting for device in devices) > args.window:
                    time.sleep(0.005)
        deadline = time.monotonic() + 180
        while any(device.waiting for device in devices) and time.monotonic() < deadline:
            time.sleep(0.02)
        waiting = sum(device.waiting for device in devices)
        for device in devices:
            device.close()
        refused = sum(device.refused for device in devices)
    seconds = time.monotonic() - began
    return {"sent": args.readings, "acked": count, "refused": refused, "waiting": waiting, "seconds": round(seconds, 2)}


# -- the checker -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the store did to the readings. Each list names (device, measured ms) of culprits, the first twenty."""

    acked: int
    stored: int
    lost: int
    altered: int
    doubled: int
    invented: int
    examples: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Tell whether store and oracle agree."""
        return self.lost == self.altered == self.doubled == self.invented == 0 and self.acked > 0


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a `sent` or `acked` file."""
    rows = []
    for line in path.read_text().splitlines():
        device, number, measured, value = line.split(",")
        rows.append((device, int(number), int(measured), float(value)))
    return rows


def check(sent: Iterable[Row], acked: Iterable[Row], stored: Iterable[tuple[str, int, float]]) -> Verdict:
    """Compare both ways. *stored* are (device, measured ns, value), as often as the store gives them back.

    A reading that was sent but not acknowledged may be stored or not; if it is, then as it was sent.
    """
    told = {(device, measured * MILLI): value for device, _, measured, value in sent}
    sure = {(device, measured * MILLI) for device, _, measured, _ in acked}
    kept: Counter[tuple[str, int]] = Counter()
    wrong: dict[str, list[tuple[str, int]]] = {"altered": [], "invented": []}
    for device, measured, value in stored:
        identity = (device, measured)
        kept[identity] += 1
        if identity not in told:
            wrong["invented"].append(identity)
        elif told[identity] != value:
            wrong["altered"].append(identity)
    wrong["lost"] = sorted(sure - kept.keys())
    wrong["doubled"] = [identity for identity, times in kept.items() if times > 1]
    examples = tuple(f"{what}: {device} at {ns}" for what, found in wrong.items() for device, ns in found[:5])
    return Verdict(
        acked=len(sure),
        stored=sum(kept.values()),
        lost=len(wrong["lost"]),
        altered=len(wrong["altered"]),
        doubled=len(wrong["doubled"]),
        invented=len(wrong["invented"]),
        examples=examples,
    )


def read_store(reader: SeriesReader, series: dict[int, str]) -> Iterable[tuple[str, int, float]]:
    """Yield (device, measured ns, value) of everything stored of *series* ({id: device}), of all times."""
    for number, device in series.items():
        batch = reader.readings(number, 0, 1 << 62, 10_000_000)
        assert (np.asarray(batch.series) == number).all()
        for measured, value in zip(batch.measured.tolist(), batch.value.tolist(), strict=True):
            yield device, measured, value


def _line(row: Row) -> str:
    return f"{row[0]},{row[1]},{row[2]},{row[3]!r}\n"


def main() -> None:
    """Publish, and print the figures as one JSON line."""
    parser = argparse.ArgumentParser(description="Publish numbered readings and note what is acknowledged.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", choices=["3.1.1", "5"], default="3.1.1")
    parser.add_argument("--credentials", type=Path, required=True, help="JSON: {device: password or empty}")
    parser.add_argument("--readings", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1500.0, help="readings per second, all devices together")
    parser.add_argument("--window", type=int, default=1000, help="readings on their way without an ack")
    parser.add_argument("--sent", type=Path, required=True)
    parser.add_argument("--acked", type=Path, required=True)
    print(json.dumps(publish(parser.parse_args())))  # noqa: T201 - a program's output


if __name__ == "__main__":
    main()
