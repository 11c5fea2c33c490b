"""This module is the publisher of `bench/ingest.py`: a process that paces packets of QoS 1 encoded beforehand.

It imports little, so that it starts at once: `_publisher.py PORT MESSAGES RATE START_MS`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.mqtt import Kind, Version, connect, publish

__all__ = ["DEVICES", "device", "run_publisher"]

DEVICES = 1000
TICK_SECONDS = 0.0002  # many devices send evenly, not one in bursts: at 5,000/s one message a tick


def device(i: int) -> str:
    return f"noise-{i % DEVICES:05d}"


def packets(n: int, start_ms: int) -> list[bytes]:
    """Return *n* PUBLISH packets of QoS 1, no two with the same series and time."""
    out = []
    for i in range(n):
        payload = (
            f'{{"ts": {start_ms + i // DEVICES}, "values": {{"noise": {40 + i * 37 % 1000 / 97:.3f}}}, "seq": {i}, '
            f'"fw": "1.4.2", "battery": 3.71, "rssi": -{60 + i % 30}}}'
        )
        packet = publish(
            f"devices/{device(i)}/readings",
            payload.encode(),
            version=Version.V311,
            qos=1,
            packet_id=i % 65_535 + 1,
        )
        out.append(packet)
    return out


def run_publisher(port: int, n: int, rate: int, start_ms: int) -> None:
    """Publish *n* messages at *rate* a second and wait for their acknowledgements."""
    body = packets(n, start_ms)
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(connect(f"bench-publisher-{os.getpid()}", version=Version.V311, keepalive=0))
        s.recv(4)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        acked, sent, began = 0, 0, time.perf_counter()
        s.setblocking(False)
        while acked < 4 * n:
            due = min(n, int((time.perf_counter() - began) * rate))
            if due > sent and sent - acked // 4 < 60_000:  # packet ids are 16 bit
                s.setblocking(True)
                s.sendall(b"".join(body[sent:due]))
                s.setblocking(False)
                sent = due
            try:
                acked += len(s.recv(1 << 16))
            except BlockingIOError:
                time.sleep(TICK_SECONDS)
    assert body[0][0] >> 4 == Kind.PUBLISH
    print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    run_publisher(*(int(x) for x in sys.argv[1:]))
