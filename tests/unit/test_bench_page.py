"""The page on backtests, transitions and promotions names the options that there are."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from fintel.bench.promotion import RULE_OF_THREE, SHADOW
from fintel.cli.main import app

COMMON = {"--config", "--lake", "--folder", "--json"}
ELSEWHERE = {"--run"}


def test_the_page_names_every_option_and_no_other(root: Path) -> None:
    page = (root / "docs" / "how-to" / "backtest-and-promote.md").read_text(encoding="utf-8")
    rules = typer.main.get_command(app).commands["rules"]  # type: ignore[attr-defined]
    parts = re.split(r"^## \d\. ", page, flags=re.MULTILINE)
    for name, part in zip(("backtest", "transition", "promote"), parts[1:], strict=True):
        there = {o for p in rules.commands[name].params for o in p.opts if o.startswith("--")}
        named = set(re.findall(r"--[a-z][a-z-]*", part))
        assert there - named <= COMMON, name
        assert named - there == set(), name


def test_the_numbers_on_the_page_are_those_of_the_gates(root: Path) -> None:
    page = (root / "docs" / "how-to" / "backtest-and-promote.md").read_text(encoding="utf-8")
    assert f"{SHADOW.days} shadow days" in page
    assert f"{RULE_OF_THREE / 10 * 10_000:,.0f} accounts for 30 days" in page
