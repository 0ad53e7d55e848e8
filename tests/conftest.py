"""Shared fixtures. Third-party samples live beside the checkout; a user has none, so tests skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Threads that wait by spinning take the core from whom they wait for, where cores are few.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

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
