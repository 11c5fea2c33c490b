"""The catalog backend: the relational side, on SQLAlchemy."""

from backends.catalog.catalog import Catalog, open_catalog
from backends.catalog.settings import CatalogSettings

__all__ = ["Catalog", "CatalogSettings", "open_catalog"]
