"""This module is the catalog as the roof sees it: one database, one attribute per port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.catalog.accounts import SqlAccounts
from backends.catalog.alerts import SqlAlerts
from backends.catalog.engine import Store, open_store
from backends.catalog.ledger import SqlLedger
from backends.catalog.outbox import SqlOutbox
from backends.catalog.registry import SqlRegistry
from core.notices import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.catalog.settings import CatalogSettings

__all__ = ["Catalog", "open_catalog"]


@dataclass(frozen=True, slots=True)
class Catalog:
    """An open catalog. Everything may be used from any thread.

    Attributes:
        registry: `core.ports.Registry` and `DeviceAdmin`.
        ledger: `core.ports.LedgerBook` and `LedgerReader`.
        alerts: `core.ports.AlertJournal` and `AlertDesk`.
        outbox: `core.ports.Outbox`.
        accounts: `core.ports.Accounts`.
    """

    store: Store
    registry: SqlRegistry
    ledger: SqlLedger
    alerts: SqlAlerts
    outbox: SqlOutbox
    accounts: SqlAccounts

    def close(self) -> None:
        """Release all connections."""
        self.store.close()


def open_catalog(url: str, settings: CatalogSettings, *, channels: Sequence[str] = CHANNELS) -> Catalog:
    """Open the catalog at the SQLAlchemy *url*, creating or updating its tables; any number of processes may.

    *channels* are those on which notices of alerts go out.

    Raises:
        SettingsError: the URL is wrong, its driver is not installed, or the catalog was written by a newer version.
        Unavailable: the database is away.
    """
    store = open_store(url, settings)
    return Catalog(
        store,
        SqlRegistry(store),
        SqlLedger(store, settings),
        SqlAlerts(store, channels),
        SqlOutbox(store, settings),
        SqlAccounts(store, settings),
    )
