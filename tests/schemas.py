"""Protobuf schemas written as tables, for decoding with Google's runtime what the simulator writes by hand.

Each is copied by hand from the standard's own schema, so that no generated code and no other licence comes along:
Sparkplug B from the Sparkplug 3.0.0 specification, chapter 6 (checked against the descriptor that pysparkplug 0.6.1
carries), The Things Stack from its API (`messages.proto`, `metadata.proto`, `lorawan.proto`). Two things of The Things
Stack differ from its files, for JSON alone, where numbers of fields do not travel: EUIs are texts here, its JSON has
them in hex; `attributes` and `last_battery_percentage` are after its release notes (3.34, 3.33), numbers made up.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, struct_pb2, timestamp_pb2

__all__ = ["APPLICATION_UP", "PAYLOAD"]

Table = dict[str, str]

SPARKPLUG: Table = {
    "Payload": "1 timestamp uint64, 2 metrics *Metric, 3 seq uint64, 4 uuid string, 5 body bytes",
    "PropertyValue": "1 type uint32, 2 is_null bool, 3 int_value uint32 value, 4 long_value uint64 value,"
    "5 float_value float value, 6 double_value double value, 7 boolean_value bool value, 8 string_value string value",
    "PropertySet": "1 keys *string, 2 values *PropertyValue",
    "Metric": "1 name string, 2 alias uint64, 3 timestamp uint64, 4 datatype uint32, 5 is_historical bool,"
    "6 is_transient bool, 7 is_null bool, 9 properties PropertySet, 10 int_value uint32 value,"
    "11 long_value uint64 value, 12 float_value float value, 13 double_value double value,"
    "14 boolean_value bool value, 15 string_value string value, 16 bytes_value bytes value",
}

THE_THINGS_STACK: Table = {
    "ApplicationUp": "1 end_device_ids EndDeviceIdentifiers, 2 correlation_ids *string, 12 received_at Timestamp,"
    "3 uplink_message ApplicationUplink up, 4 join_accept ApplicationJoinAccept up, 11 simulated bool",
    "EndDeviceIdentifiers": "1 device_id string, 2 application_ids ApplicationIdentifiers, 4 dev_eui string,"
    "5 join_eui string, 6 dev_addr string",
    "ApplicationIdentifiers": "1 application_id string",
    "ApplicationJoinAccept": "1 session_key_id bytes, 4 pending_session bool, 8 received_at Timestamp",
    "ApplicationUplink": "1 session_key_id bytes, 2 f_port uint32, 3 f_cnt uint32, 4 frm_payload bytes,"
    "5 decoded_payload Struct, 12 decoded_payload_warnings *string, 6 rx_metadata *RxMetadata, 7 settings TxSettings,"
    "8 received_at Timestamp, 11 confirmed bool, 13 consumed_airtime Duration, 14 locations %Location,"
    "15 version_ids EndDeviceVersionIdentifiers, 16 network_ids NetworkIdentifiers, 100 attributes %string,"
    "101 last_battery_percentage LastBatteryPercentage",
    "LastBatteryPercentage": "1 f_cnt uint32, 2 value float, 3 received_at Timestamp",
    "RxMetadata": "1 gateway_ids GatewayIdentifiers, 2 antenna_index uint32, 3 time Timestamp, 4 timestamp uint32,"
    "8 rssi float, 9 channel_rssi float, 11 snr float, 13 location Location, 15 uplink_token bytes,"
    "17 channel_index uint32, 22 received_at Timestamp",
    "GatewayIdentifiers": "1 gateway_id string, 2 eui string",
    "Location": "1 latitude double, 2 longitude double, 3 altitude int32, 4 accuracy int32, 5 source LocationSource",
    "LocationSource": "0 SOURCE_UNKNOWN, 1 SOURCE_GPS, 3 SOURCE_REGISTRY",
    "TxSettings": "1 data_rate DataRate, 4 frequency uint64, 5 enable_crc bool, 6 timestamp uint32, 7 time Timestamp",
    "DataRate": "1 lora LoRaDataRate modulation",
    "LoRaDataRate": "1 bandwidth uint32, 2 spreading_factor uint32, 3 coding_rate string",
    "EndDeviceVersionIdentifiers": "1 brand_id string, 2 model_id string, 3 hardware_version string,"
    "4 firmware_version string, 5 band_id string",
    "NetworkIdentifiers": "1 net_id string, 2 tenant_id string, 3 cluster_id string",
}

_ENUMS = {"LocationSource"}
_KNOWN = {"Timestamp", "Duration", "Struct"}
_Field = descriptor_pb2.FieldDescriptorProto


def _compile(package: str, syntax: str, table: Table) -> Any:
    """Return the class of the table's first message."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax=syntax)
    pool = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2, duration_pb2, struct_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
        file.dependency.append(known.DESCRIPTOR.name)
    for name, text in table.items():
        fields = [field.split() for field in text.split(",")]
        if name in _ENUMS:
            numbers = file.enum_type.add(name=name)
            for number, label in fields:
                numbers.value.add(name=label, number=int(number))
            continue
        message = file.message_type.add(name=name)
        for number, label, kind, *choice in fields:
            field = message.field.add(name=label, number=int(number), label=_Field.LABEL_OPTIONAL)
            if kind[0] == "%":
                entry = message.nested_type.add(name=label.title().replace("_", "") + "Entry")
                entry.options.map_entry = True
                _type(entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL), "string", package)
                _type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), kind[1:], package)
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{name}.{entry.name}"
            else:
                _type(field, kind.lstrip("*"), package)
            if kind[0] in "%*":
                field.label = _Field.LABEL_REPEATED
            if choice:
                if not message.oneof_decl:
                    message.oneof_decl.add(name=choice[0])
                field.oneof_index = 0
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{next(iter(table))}"))


def _type(field: Any, kind: str, package: str) -> None:
    if kind[0].islower():
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
    else:
        field.type = _Field.TYPE_ENUM if kind in _ENUMS else _Field.TYPE_MESSAGE
        field.type_name = f".google.protobuf.{kind}" if kind in _KNOWN else f".{package}.{kind}"


PAYLOAD: Any = _compile("sparkplug_b", "proto2", SPARKPLUG)
"""The class of a Sparkplug B payload."""

APPLICATION_UP: Any = _compile("ttn_v3", "proto3", THE_THINGS_STACK)
"""The class of a message of The Things Stack."""
