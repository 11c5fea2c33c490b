"""The catalog backend: the relational side, on SQLAlchemy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from backends.catalog.catalog import Catalog, open_catalog
    from backends.catalog.settings import CatalogSettings

__all__ = [
    "Catalog",
    "CatalogSettings",
    "open_catalog",
]

__getattr__ = lazy(
    __name__,
    {
        "Catalog": "backends.catalog.catalog",
        "CatalogSettings": "backends.catalog.settings",
        "open_catalog": "backends.catalog.catalog",
    },
)
