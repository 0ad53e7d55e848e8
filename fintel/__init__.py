"""fintel: any payment feed in, ranked accounts with checkable reasons and draft reports out."""

from __future__ import annotations

__version__ = "0.1.0"
