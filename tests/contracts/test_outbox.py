"""Every outbox keeps the promises of `core.ports.Outbox`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from backends.catalog import CatalogSettings, open_catalog, tables
from core.alerts import AlertEvent, EventKind, Evidence, Priority, event_id

if TYPE_CHECKING:
    from backends.catalog import Catalog


def tell(catalog: Catalog, alert: str, *kinds: EventKind) -> None:
    """Record events of *alert*; each makes one notice per channel."""
    start = catalog.alerts.position("log")
    facts = Evidence(code="gap", rule="r", priority=Priority.LOW, district="center", device="a", measured=1)
    for position, kind in enumerate(kinds, start + 1):
        evidence = facts if kind is EventKind.RAISED else None
        name = event_id(alert, kind, position)
        happened = AlertEvent(id=name, alert=alert, kind=kind, at=position, recorded=position, evidence=evidence)
        catalog.alerts.record("log", position, [happened])


def test_notices_come_oldest_first_and_one_per_alert_and_channel(catalog: Catalog) -> None:
    tell(catalog, "a", EventKind.RAISED, EventKind.CLEARED)
    tell(catalog, "b", EventKind.RAISED)

    due = catalog.outbox.due(0, 10)

    assert [(item.alert, item.channel, item.created) for item in due] == [
        ("a", "mqtt", 1),
        ("a", "webhook", 1),
        ("b", "mqtt", 3),
        ("b", "webhook", 3),
    ]
    assert due[0].topic == "urbanpulse/alerts/center/a"
    assert due[0].body.startswith(b'{"event":"raised"')
    assert [item.alert for item in catalog.outbox.due(0, 1)] == ["a"]
    assert catalog.outbox.pending() == 6


def test_the_next_notice_is_due_once_the_one_before_is_sent_or_given_up(catalog: Catalog) -> None:
    tell(catalog, "a", EventKind.RAISED, EventKind.CLEARED)
    mqtt, webhook = catalog.outbox.due(0, 10)

    catalog.outbox.sent(mqtt.id, 5)
    catalog.outbox.given_up(webhook.id, 5, "gone")

    assert [(item.channel, item.created) for item in catalog.outbox.due(5, 10)] == [("mqtt", 2), ("webhook", 2)]
    assert catalog.outbox.pending() == 2


def test_a_failed_notice_waits_and_holds_up_its_own_channel_only(catalog: Catalog) -> None:
    tell(catalog, "a", EventKind.RAISED, EventKind.CLEARED)
    mqtt, webhook = catalog.outbox.due(0, 10)

    catalog.outbox.failed(webhook.id, 100, "no route")
    catalog.outbox.sent(mqtt.id, 5)

    assert [(item.channel, item.created) for item in catalog.outbox.due(99, 10)] == [("mqtt", 2)]
    again = catalog.outbox.due(100, 10)[0]
    assert (again.id, again.attempts) == (webhook.id, 1)


def test_what_is_finished_stays_finished(catalog: Catalog) -> None:
    tell(catalog, "a", EventKind.RAISED)
    mqtt, webhook = catalog.outbox.due(0, 10)
    catalog.outbox.sent(mqtt.id, 5)
    catalog.outbox.given_up(webhook.id, 5, "gone")

    catalog.outbox.failed(mqtt.id, 0, "late answer")
    catalog.outbox.sent(webhook.id, 6)
    catalog.outbox.sent("unknown", 6)

    assert (catalog.outbox.due(10, 10), catalog.outbox.pending()) == ([], 0)
    with catalog.store.read() as db:
        assert db.execute(select(tables.outbox.c.state, tables.outbox.c.error).order_by(tables.outbox.c.seq)).all() == [
            ("sent", ""),
            ("failed", "gone"),
        ]


def test_finished_notices_are_kept_up_to_the_limit(catalog: Catalog) -> None:
    """`outbox_keep` is 3 here: the fourth makes the first go."""
    for name in "abcd":
        tell(catalog, name, EventKind.RAISED)
    for item in catalog.outbox.due(0, 10):
        if item.channel == "mqtt":
            catalog.outbox.sent(item.id, 1)

    with catalog.store.read() as db:
        sent = select(func.count(), func.min(tables.outbox.c.alert)).where(tables.outbox.c.state == "sent")
        assert db.execute(sent).one() == (3, "b")
    assert catalog.outbox.pending() == 4


def test_only_the_channels_of_the_settings_are_told(catalog_url: str) -> None:
    catalog = open_catalog(catalog_url, CatalogSettings(), channels=["webhook"])
    tell(catalog, "a", EventKind.RAISED)

    assert [item.channel for item in catalog.outbox.due(0, 10)] == ["webhook"]
    catalog.close()
