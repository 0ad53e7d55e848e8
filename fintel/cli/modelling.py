"""``fintel train | score``: the learned scorer."""

from __future__ import annotations

import typer


def learned_part(store: object, settings: object, model: str | None) -> None:
    del store, settings, model


def register(app: typer.Typer) -> None:
    del app
