"""Shared fixtures. Third-party samples live beside the checkout; a user has none, so tests skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Threads that wait by spinning take the core from whom they wait for, where cores are few.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# In CI the same examples every time: a change is judged by what it changed. Elsewhere new ones are looked for.
settings.register_profile("ci", derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of third-party samples and official schemas beside the checkout."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared: third-party samples and official schemas are not part of the project")
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``long`` run only when they are asked for."""
    if "long" in str(config.getoption("-m")):
        return
    skipped = pytest.mark.skip(reason="takes minutes: make test-long runs it, and CI does")
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(skipped)
