"""Shared fixtures. Third-party samples live beside the checkout; a user has none, so tests skip."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import polars as pl

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


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of the synthetic sample; one a module, for a module may write runs into it."""
    from fintel.config import Settings
    from fintel.feeds import mapping_loader
    from fintel.pipeline import ingest
    from fintel.store.lake import Lake

    home = tmp_path_factory.mktemp("synthetic") / "lake"
    with Lake.create_or_open(home) as store:
        ingest(store, ROOT / "data" / "synthetic", mapping_loader.load("fintel"), Settings(lake=home))
    return home


@pytest.fixture(scope="module")
def tables(lake: Path) -> dict[str, pl.LazyFrame]:
    """The canonical tables of ``lake``, held in memory."""
    from fintel.pipeline import canonical_tables
    from fintel.store.lake import Lake

    with Lake.open(lake) as store:
        return {name: frame.collect().lazy() for name, frame in canonical_tables(store).items()}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``long`` run only when they are asked for."""
    if "long" in str(config.getoption("-m")):
        return
    skipped = pytest.mark.skip(reason="takes minutes: make test-long runs it, and CI does")
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(skipped)
