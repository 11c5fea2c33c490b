"""This module is the simulator's settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["SimulatorSettings"]


class SimulatorSettings(BaseModel):
    """How the virtual city behaves. Every field has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(7, description="The city's seed: same seed, same city, same values, same bytes.")
    interval_seconds: float = Field(5.0, gt=0, le=3600, description="How often each device reports.")
    jitter_seconds: float = Field(0.4, ge=0, description="How far a report strays from its slot at most.")
    backfill_days: float = Field(3.0, ge=0, le=366, description="How much of its past the city publishes first.")
    backfill_step_seconds: float = Field(300.0, gt=0, le=86_400, description="Step of that past.")
    backfill_pack: int = Field(100, ge=1, le=1000, description="Readings objects in one backfill message.")
    backfill_window: int = Field(64, ge=1, description="Backfill messages on their way without an ack, all devices.")
    device_window: int = Field(8, ge=1, le=1000, description="Messages on their way without an ack, one device.")
    buffer_messages: int = Field(2000, ge=1, description="Messages a device keeps while offline; the oldest go first.")
    message_seconds: float = Field(
        1.0, gt=0, description="A device sends about one message in this much real time, however fast the world goes."
    )
    backlog_messages: int = Field(
        5000, ge=1, description="Messages of all devices without an ack at which a run waits instead of saying more."
    )
    catch_up_seconds: float = Field(3600.0, ge=0, description="Slots missed by more than this are skipped.")
    keepalive_seconds: int = Field(60, ge=5, le=65_535, description="MQTT keep-alive of every device.")
    connect_parallel: int = Field(16, ge=1, le=256, description="Devices that connect at the same time.")
    connect_timeout_seconds: float = Field(5.0, gt=0, description="How long a device waits for TCP and TLS.")
    reconnect_min_seconds: float = Field(0.5, gt=0, description="First wait before a device connects again.")
    reconnect_max_seconds: float = Field(30.0, gt=0, description="Longest wait before a device connects again.")
    give_up_seconds: float = Field(
        30.0, gt=0, description="How long a run waits for a (further) device to be let in before it ends with an error."
    )
    stall_seconds: float = Field(
        600.0, gt=0, description="How long a run waits while nothing is acknowledged before it ends with an error."
    )
    stop_seconds: float = Field(3.0, ge=0, description="How long a stop waits for the last acks.")
    faults: bool = Field(True, description="Whether things go wrong in the demo city.")
    first_fault_seconds: float = Field(60.0, ge=0, description="When, after going live, the first fault begins.")
    fault_gap_seconds: float = Field(240.0, gt=0, description="Time from one fault's begin to the next one's.")
    fault_count: int = Field(180, ge=0, le=10_000, description="Faults in the plan (180 are half a day).")
    replay_devices: int = Field(2000, ge=1, le=20_000, description="Different devices that one replay may have.")
    replay_window_rows: int = Field(
        50_000,
        ge=1,
        description="Rows of a text file that are kept to put them in order of time; about 300 bytes each.",
    )
