"""The mark ``long``: minutes of the same again with other data; only run when asked for by ``-m long``."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; run with -m long only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "long" in str(config.getoption("-m")):
        return
    skipped = pytest.mark.skip(reason="takes minutes: run it with -m long")
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(skipped)
