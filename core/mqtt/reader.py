"""This module is the reader: it cuts a byte stream from a broker into packets, however the bytes arrive.

The hot path of the product is a run of PUBLISH packets of QoS 0 and 1 in one read. Those become slices in the columns
of a `PublishRun`; no object is made per packet. Everything else (acknowledgements, QoS 2, retained messages) is rare
and becomes a `Packet`. Order among the rare and among the run is kept; between the two it is not, and need not be:
MQTT orders messages per topic and QoS, and a retained message comes before all others of its subscription.

An over-long PUBLISH is skipped as it streams by and reported without its payload, so that it can be acknowledged: a
broker would send it again on every connection, and nothing behind it would ever arrive.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.mqtt.packets import Kind, Version, parse, parse_publish
from core.mqtt.wire import bad, parse_properties

if TYPE_CHECKING:
    from core.mqtt.packets import Packet, Publish

__all__ = ["PublishRun", "Reader"]


class PublishRun:
    """Messages of QoS 0 and 1 as columns.

    Attributes:
        topics: raw topic bytes, N of them.
        payloads: payload bytes, N of them.
        packet_ids: the two-byte packet ids of those that want a PUBACK, in order; at most N.
    """

    __slots__ = ("packet_ids", "payloads", "topics")

    def __init__(self) -> None:
        self.topics: list[bytes] = []
        self.payloads: list[bytes] = []
        self.packet_ids: list[bytes] = []

    def __len__(self) -> int:
        return len(self.topics)


class Reader:
    """Cuts what a broker sends into packets. Holds at most one unfinished packet, of bounded size."""

    def __init__(self, version: Version, *, max_packet_bytes: int) -> None:
        self.version = version
        self._max = max_packet_bytes
        self._rest = bytearray()
        self._need = 0  # bytes that `_rest` must reach before looking again is worth while
        self._skip = 0  # bytes of `_long` that are still to come, and are not kept
        self._long: Publish | None = None

    def feed(self, data: bytes, run: PublishRun) -> list[Packet]:
        """Read *data*; append plain messages to *run*, return all other packets.

        Raises:
            MalformedPayload: reason `bad_packet`; the connection is beyond repair. What was appended to *run* and
                came before the bad packet is whole.
        """
        if self._long is not None:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            if self._skip:
                return []
            done, self._long = self._long, None
            return [done, *self.feed(data[skipped:], run)]
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        at, packets = self._cut(data, run)
        if at < len(data):
            self._rest += data[at:] if at else data
        return packets

    def _cut(  # noqa: C901, PLR0912, PLR0915 - the hot loop: a call per packet would cost what the packet costs
        self, data: bytes, run: PublishRun
    ) -> tuple[int, list[Packet]]:
        """Return where the first unfinished packet begins, and the packets before it that are not plain messages."""
        at, end, longest = 0, len(data), self._max
        is_v5 = self.version is Version.V5
        packets: list[Packet] = []
        add_topic, add_payload, add_id = run.topics.append, run.payloads.append, run.packet_ids.append
        self._need = 0
        while at + 2 <= end:
            first = data[at]
            size = data[at + 1]
            body = at + 2
            if size > 127 and body < end and data[body] < 128:
                size += (data[body] << 7) - 128
                body += 1
            elif size > 127:
                size &= 127
                shift = 7
                byte = 128
                while body < end and byte > 127:
                    byte = data[body]
                    body += 1
                    size |= (byte & 127) << shift
                    shift += 7
                    if shift > 21 and byte > 127:
                        raise bad("remaining length: more than four bytes")
                if byte > 127:
                    break  # the length itself is unfinished
            stop = body + size
            if size > longest:
                head = self._head(first, data, body, stop)
                if head > end:
                    self._need = head - at
                    break
                # without its properties it is parsed as version 3.1.1 has it
                found = replace(parse_publish(first, data[body:head], Version.V311), unread=stop - head)
                if stop > end:
                    self._long, self._skip = found, stop - end
                    return end, packets
                packets.append(found)
                at = stop
                continue
            if stop > end:
                self._need = stop - at
                break
            if first & 0xF5 == 0x30:  # PUBLISH, QoS 0 or 1, not retained; DUP does not matter here
                topic_end = body + 2 + (data[body] << 8 | data[body + 1]) if size > 1 else stop + 1
                payload = topic_end + (first & 2)  # QoS 1 has a packet id of two bytes behind the topic
                if payload > stop:
                    raise bad("PUBLISH topic: cut short")
                if topic_end == body + 2:
                    raise bad("PUBLISH topic: empty, and no topic alias was agreed")
                packet_id = data[topic_end:payload]
                if packet_id == b"\0\0":
                    raise bad("PUBLISH packet id: 0")
                if is_v5:
                    if payload < stop and not data[payload]:
                        payload += 1  # no properties, as nearly always
                    else:
                        properties, payload = parse_properties(data, payload, stop, "PUBLISH")
                        if "topic_alias" in properties:
                            raise bad("PUBLISH topic_alias: none was agreed")
                add_topic(data[body + 2 : topic_end])
                add_payload(data[payload:stop])
                if packet_id:
                    add_id(packet_id)
            else:
                packets.append(parse(first, data[body:stop], self.version))
            at = stop
        return at, packets

    def _head(self, first: int, data: bytes, body: int, stop: int) -> int:
        """Return where what matters of an over-long PUBLISH ends: topic and packet id.

        Raises:
            MalformedPayload: it is no PUBLISH, or its topic is longer than itself.
        """
        if first >> 4 != Kind.PUBLISH:
            raise bad(f"{_name(first)} of {stop - body} bytes: at most {self._max}")
        if body + 2 > len(data):
            return body + 2
        head = body + 2 + (data[body] << 8 | data[body + 1]) + (2 if first & 6 else 0)
        if head > stop:
            raise bad("PUBLISH topic: cut short")
        return head


def _name(first: int) -> str:
    kind = first >> 4
    return Kind(kind).name if kind else "packet of type 0"
