"""fintel: any payment feed in, ranked accounts with checkable reasons and draft reports out.

The names below are the public interface. They load on first use, so that ``import fintel`` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fintel.alerts import find_alert
    from fintel.config import Settings
    from fintel.config import load as load_settings
    from fintel.errors import FintelError
    from fintel.feeds.mapping_loader import load as load_mapping
    from fintel.feeds.synthetic import generate
    from fintel.models.training import score, train
    from fintel.pipeline import canonical_tables, detect, draft, ingest, load_library
    from fintel.store.lake import Lake
    from fintel.store.sql import connect

__all__ = [
    "FintelError", "Lake", "Settings", "canonical_tables", "connect", "detect", "draft", "find_alert",
    "generate", "ingest", "load_library", "load_mapping", "load_settings", "score", "train",
]  # fmt: skip

_HOMES = {
    "FintelError": ("fintel.errors", "FintelError"),
    "Lake": ("fintel.store.lake", "Lake"),
    "Settings": ("fintel.config", "Settings"),
    "canonical_tables": ("fintel.pipeline", "canonical_tables"),
    "connect": ("fintel.store.sql", "connect"),
    "detect": ("fintel.pipeline", "detect"),
    "draft": ("fintel.pipeline", "draft"),
    "find_alert": ("fintel.alerts", "find_alert"),
    "generate": ("fintel.feeds.synthetic", "generate"),
    "ingest": ("fintel.pipeline", "ingest"),
    "load_library": ("fintel.pipeline", "load_library"),
    "load_mapping": ("fintel.feeds.mapping_loader", "load"),
    "load_settings": ("fintel.config", "load"),
    "score": ("fintel.models.training", "score"),
    "train": ("fintel.models.training", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fintel' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
