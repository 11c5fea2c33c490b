"""This module lets a package offer names that are imported only when somebody asks for them (PEP 562).

A role imports `gateway.settings` to read its settings; without this, the package would load the whole gateway with it.
Type checkers read the imports under `TYPE_CHECKING` beside it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["lazy"]


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module `__getattr__` for *package* that finds each name of *homes* in the module it maps to.

    >>> lazy("here", {"dumps": "json"})("dumps")([1])
    '[1]'
    """

    def find(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home), name)

    return find
